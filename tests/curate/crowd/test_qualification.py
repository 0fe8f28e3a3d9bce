from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from lxml import etree

from curate.crowd.qualification import LIMIT, answer_key, pictures_of_test, question_form
from curate.tasks import make_task
from schemas.errors import UserError
from schemas.tables import GOLD
from schemas.task import Task

IDS = [f"{number:064x}" for number in range(40)]
URL = "http://127.0.0.1:8055/picture"


def gold(text: str) -> pd.DataFrame:
    """Gold from words like `dots:test`, one picture each."""
    words = [word.split(":") for word in text.split()]
    return GOLD.frame(
        {"image_id": IDS[n], "task": "apron", "label": label, "use": use, "source": "me"}
        for n, (label, use) in enumerate(words)
    )


def with_questions(count: int, classes: int = 9) -> Task:
    task = make_task("apron", None) if classes == 9 else make_task("x", [f"pattern-{n}" for n in range(classes)])
    return task.model_copy(update={"crowd": task.crowd.model_copy(update={"test_questions": count})})


def test_only_test_gold_is_asked_and_rare_classes_get_their_place() -> None:
    found = pictures_of_test(gold("dots:test dots:test dots:test plain:test stars:hidden"), with_questions(2))
    assert sorted(found.values()) == ["dots", "plain"]


def test_the_order_of_the_questions_does_not_give_the_answers_away() -> None:
    found = pictures_of_test(gold("stars:test plain:test dots:test"), with_questions(3))
    assert list(found) == sorted(found)


def test_form_and_key_are_valid_by_amazons_schemas(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("mturk-xsd") / "2005-10-01"
    task = make_task("apron").model_copy(update={"question": {"en": "This & that <now>?"}})
    answers = dict.fromkeys(IDS[:10], "dots")
    for xml, name in (
        (question_form(task, IDS[:10], URL + "?a=1&b"), "QuestionForm"),
        (answer_key(task, answers), "AnswerKey"),
    ):
        schema = etree.XMLSchema(etree.parse(str(folder / f"{name}.xsd")))
        assert schema.validate(etree.fromstring(xml.encode())), schema.error_log


def test_a_test_that_is_too_large_says_how_many_questions_fit() -> None:
    task = with_questions(30, classes=26)
    with pytest.raises(UserError, match=r"has 40 questions and [\d,]+ bytes; 65,535 are allowed, so \d+ fit") as fault:
        question_form(task, IDS, URL)
    fit = int(str(fault.value).split(" fit:")[0].split()[-1])
    assert len(question_form(task, IDS[:fit], URL).encode()) <= LIMIT
    with pytest.raises(UserError):
        question_form(task, IDS[: fit + 1], URL)
