"""A task file is right, or one line says which key, which value, and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.tasks import make_task, shipped
from schemas.errors import TaskError, UserError
from schemas.task import json_schema, parse_task, read_task

MINIMAL: dict[str, Any] = {
    "task": "neck",
    "question": {"en": "Which neck?"},
    "classes": [{"key": "v", "name": {"en": "V"}}, {"key": "round", "name": {"en": "Round"}}],
}


def test_a_minimal_task_takes_the_paper_policy() -> None:
    crowd = parse_task(MINIMAL, "here").crowd
    assert (crowd.assignments.first, crowd.assignments.up_to, crowd.agree) == (3, 3, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crowd": {"pass_mark": 180}}, "crowd.pass_mark: 180 is not allowed: should be less than or equal to 100"),
        ({"crowd": {"pasmark": 80}}, "crowd.pasmark: unknown key; did you mean pass_mark?"),
        ({"crowd": {"assignments": {"first": 3, "up_to": 2}}}, "up_to (2) must be at least first (3)"),
        ({"crowd": {"assignments": 1}}, "agree (2) can never be reached with 1 assignments"),
        (
            {"split": {"balance": "equal"}},
            "split.balance: 'equal' is not allowed: should be 'capped', 'strict' or 'natural'",
        ),
        ({"split": {"test": 0.6, "val": 0.5}}, "leave nothing for train"),
        ({"classes": [{"key": "v", "name": {"en": "V"}}] * 2}, "key 'v' is used twice"),
        (
            {"classes": [{"key": "v", "name": {"en": "V"}, "confused_with": ["w"]}, MINIMAL["classes"][1]]},
            "v: confused_with 'w' is not the key of another class",
        ),
        ({"classes": []}, "classes"),
        ({"task": "Two Words"}, "task: 'Two Words' is not allowed"),
        ({"question": None}, "question: None is not allowed"),
    ],
)
def test_a_wrong_task_names_key_value_and_what_is_allowed(change: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError) as error:
        parse_task({**MINIMAL, **change}, "tasks/neck.yaml")
    assert str(error.value).startswith("tasks/neck.yaml: ")
    assert said in str(error.value)


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(TaskError) as error:
        parse_task({**MINIMAL, "crowd": {"pass_mark": 180, "minutes": 0}}, "neck.yaml")
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "said"), [("task: [", "not readable as YAML"), ("- a\n- b\n", "found list"), ("", "found NoneType")]
)
def test_a_file_that_is_no_task_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "neck.yaml"
    path.write_text(text)
    with pytest.raises(TaskError, match=said) as error:
        read_task(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_missing_task_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="curate task add"):
        read_task(tmp_path / "none.yaml")


def test_the_published_schema_is_the_definition(root: Path) -> None:
    assert (root / "schemas" / "task.schema.json").read_text(encoding="utf-8") == json_schema()


@pytest.mark.parametrize("name", shipped())
def test_shipped_tasks_are_right_and_speak_three_languages(name: str) -> None:
    task = make_task(name)
    assert task.task == name
    for choice in task.classes:
        assert {"en", "es", "pt"} <= set(choice.name)


def test_a_dumped_task_reads_back_the_same(tmp_path: Path) -> None:
    task = make_task("apron")
    (tmp_path / "apron.yaml").write_text(task.dump(), encoding="utf-8")
    assert read_task(tmp_path / "apron.yaml") == task
    assert yaml.safe_load(task.dump())["crowd"]["agree"] == 2


def test_a_value_can_be_set_by_its_path() -> None:
    task = make_task("apron", settings=["split.test=0.25", "crowd.assignments=5", "crowd.agree=3"])
    assert (task.split.test, task.crowd.assignments.first, task.crowd.agree) == (0.25, 5, 3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("split.test", "expected part.key=value"),
        ("splt.test=1", "expected part.key=value"),
        ("split.tset=1", "did you mean test"),
    ],
)
def test_a_value_set_wrongly_is_one_line(setting: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_task("apron", settings=[setting])
