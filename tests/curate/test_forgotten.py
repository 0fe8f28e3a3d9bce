"""The list of hashes: what it says yes to, what it leaves of a text, and that asking costs nothing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest

from curate.forget.plan import Plan, write_down
from curate.forgotten import Forgotten
from curate.workspace import Workspace

IMAGE, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def forgotten(workspace: Workspace) -> Forgotten:
    """One picture, one listing, one seller."""
    plan = Plan("2026-01-01T00:00:00+00:00", "tests", None, [IMAGE], [["mx.example", "1"]], sellers=["Casa  Ñandú"])
    with closing(workspace.project()) as project:
        write_down(project, plan)
    return Forgotten.of(workspace)


def test_a_workspace_that_forgot_nothing_says_no_and_makes_no_database(workspace: Workspace) -> None:
    nothing = Forgotten.of(workspace)
    assert not nothing
    assert not nothing.image(IMAGE)
    assert not nothing.refuses("mx.example", "1", {"seller": "Casa"})
    assert nothing.veil(IMAGE) == IMAGE
    assert not (workspace.root / "project.db").exists()


def test_it_knows_what_it_was_told_and_nothing_else(forgotten: Forgotten) -> None:
    assert forgotten.image(IMAGE)
    assert not forgotten.image(OTHER)
    assert forgotten.listing("mx.example", "1")
    assert not forgotten.listing("mx.example", "2")
    assert not forgotten.listing("mx.exampl", "e1")
    assert not forgotten.seller(None)
    assert not forgotten.seller("Casa")


@pytest.mark.parametrize("name", ["Casa Ñandú", "CASA ñandú ", "Casa\u00a0N\u0303andu\u0301"])
def test_a_seller_is_known_however_the_name_is_written(forgotten: Forgotten, name: str) -> None:
    assert forgotten.seller(name)
    assert forgotten.refuses("any", "listing", {"seller": name})


def test_a_text_names_the_hash_in_place_of_the_picture_and_keeps_the_rest(forgotten: Forgotten) -> None:
    text = f"{IMAGE}.jpg {OTHER} 0{IMAGE}"
    veiled = forgotten.veil(text)
    assert IMAGE + "." not in veiled
    assert veiled.endswith(f".jpg {OTHER} 0{IMAGE}"), "65 digits are another number"
    assert forgotten.veil(veiled) == veiled


def test_what_was_answered_about_the_picture_goes_and_the_other_answers_stay(forgotten: Forgotten) -> None:
    one = "<Answer><QuestionIdentifier>{}</QuestionIdentifier><FreeText>{}</FreeText></Answer>"
    parts = [(IMAGE, "dots"), (f"seconds.{IMAGE}", "3"), (OTHER, "plain")]
    xml = "<QuestionFormAnswers>" + "\n".join(one.format(*part) for part in parts) + "</QuestionFormAnswers>"
    left = forgotten.without_answers(xml)
    assert "plain" in left
    assert "dots" not in left
    assert IMAGE not in left
    assert left.count("<Answer>") == 1


def test_two_workspaces_have_different_hashes_of_one_picture(forgotten: Forgotten) -> None:
    assert not Forgotten("another salt", forgotten.hashes).image(IMAGE)
    assert len(forgotten.salt) == 32


def test_asking_loads_nothing_heavy() -> None:
    code = "import sys, curate.forgotten; print(sorted({'pandas', 'pyarrow', 'numpy', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
