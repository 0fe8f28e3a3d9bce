from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.crowd import journal
from curate.crowd.journal import Asked, Entry
from curate.crowd.votes import merged as merged_pieces
from curate.crowd.votes import parse_answers, votes_of, write_votes
from curate.database import transaction
from curate.tasks import make_task
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import VOTES

TASK = make_task("apron")
START = datetime(2026, 11, 1, tzinfo=UTC)
SPACE = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2005-10-01/QuestionFormAnswers.xsd"


def answers(**fields: str) -> str:
    body = "".join(
        f"<Answer><QuestionIdentifier>{name.replace('__', '.')}</QuestionIdentifier><FreeText>{text}</FreeText></Answer>"
        for name, text in fields.items()
    )
    return f'<?xml version="1.0"?><QuestionFormAnswers xmlns="{SPACE}">{body}</QuestionFormAnswers>'


def answer(
    *images: str, number: int = 1, worker: str = "AW", status: str = "Submitted", **fields: str
) -> dict[str, Any]:
    """An answer to a HIT about pictures written `x` or `x:gold`, as project.db holds it."""
    pairs = [(word + ":random").split(":")[:2] for word in images]
    at = (START + timedelta(minutes=number)).timestamp()
    return {
        "assignment_id": f"S{number}", "worker_id": worker, "status": status, "accepted_at": at, "submitted_at": at + 30,
        "xml": answers(**fields), "hit_id": "H", "task": "apron", "round": 1, "endpoint": "http://here",
        "purpose": "label", "images": json.dumps([{"image_id": name, "chosen_by": why} for name, why in pairs]),
    }  # fmt: skip


def facts(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def test_each_picture_of_the_hit_becomes_a_vote_with_the_reason_why_it_may_not_count() -> None:
    asked = ("a", "b", "c", "d", "e:gold")
    rows = votes_of(answer(*asked, a="dots", b="cannot_see", c="dotz", e="plain"), TASK)
    assert facts(rows, "label") == ["dots", None, None, None, "plain"]
    assert facts(rows, "answer") == ["dots", "cannot_see", "dotz", None, "plain"]
    assert facts(rows, "dropped") == [None, "cannot see the picture", "invalid label", "invalid label", "gold"]


def test_votes_of_a_pilot_say_so() -> None:
    rows = votes_of({**answer("a", "g:gold", a="dots", g="dots"), "purpose": "pilot"}, TASK)
    assert facts(rows, "dropped") == ["pilot", "gold"]


def test_fields_that_nobody_asked_for_are_left_out() -> None:
    assert facts(votes_of(answer("a", a="dots", zzz="plain"), TASK), "image_id") == ["a"]


@pytest.mark.parametrize(("said", "seconds"), [("4.25", 4.25), ("", 15.0), ("soon", 15.0), ("nan", 15.0), ("-3", 15.0)])
def test_seconds_are_those_of_the_page_or_a_share_of_the_whole(said: str, seconds: float) -> None:
    rows = votes_of(answer("a", "b", a="dots", b="dots", seconds__a=said), TASK)
    assert rows[0]["seconds"] == seconds


def test_simulated_workers_are_known_by_their_id() -> None:
    both = [votes_of(answer("a", worker=worker, a="dots"), TASK)[0] for worker in ("ASIM01", "A51M01")]
    assert facts(both, "source") == ["simulated", "crowd"]


def test_an_empty_answer_has_no_fields_and_a_broken_one_names_its_assignment() -> None:
    assert parse_answers("", "S1") == {}
    assert parse_answers(answers(), "S1") == {}
    with pytest.raises(UserError, match="assignment S1: its answer is no XML"):
        parse_answers("<Quest", "S1")


@pytest.fixture
def project(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    """A project.db with one HIT about pictures a and b."""
    pictures = (Asked("b", "random"), Asked("a", "random"))
    with closing(workspace.project()) as opened:
        with transaction(opened):
            journal.write_down(opened, [Entry("t", "apron", 1, "http://here", "pending", pictures, 10, 3, 1, 1)])
            journal.made(opened, "t", "H", "T")
        yield opened


def read(project: sqlite3.Connection, number: int, minutes: int, status: str = "Submitted") -> None:
    """Note an answer as collecting does."""
    at = (START + timedelta(minutes=minutes)).timestamp()
    project.execute(
        "INSERT OR REPLACE INTO answer VALUES (?, 't', ?, ?, ?, ?, ?)",
        (f"S{number}", f"A{number}", status, at - 30, at, answers(a="dots", b="plain")),
    )


def imported(*minutes: int) -> list[dict[str, Any]]:
    return [
        {
            "assignment_id": f"I{n}", "image_id": "z", "task": "apron", "hit_id": "I", "worker_id": f"I{n}", "round": 1,
            "endpoint": "import", "assignment_status": "Approved", "source": "imported", "answer": "dots", "label": "dots",
            "submitted_at": START + timedelta(minutes=minute), "dropped": "worker excluded",
        }
        for n, minute in enumerate(minutes)
    ]  # fmt: skip


def test_votes_stand_in_the_order_of_time_whatever_the_order_of_reading(
    project: sqlite3.Connection, tmp_path: Path
) -> None:
    read(project, 2, 20)
    write_votes(project, TASK, tmp_path / "v.parquet")
    read(project, 1, 10)
    assert write_votes(project, TASK, tmp_path / "v.parquet") == 4
    both = VOTES.read(tmp_path / "v.parquet")
    assert list(zip(both["assignment_id"], both["image_id"], strict=True)) == [
        ("S1", "a"), ("S1", "b"), ("S2", "a"), ("S2", "b"),
    ]  # fmt: skip
    write_votes(project, TASK, tmp_path / "v.parquet")
    assert VOTES.read(tmp_path / "v.parquet").equals(both)


def test_what_stands_in_the_file_stays_and_a_changed_status_is_taken_over(
    project: sqlite3.Connection, tmp_path: Path
) -> None:
    path = tmp_path / "v.parquet"
    VOTES.write(VOTES.frame(imported(30, 5)), path, {"consenso.note": "kept"})  # not in order
    read(project, 1, 10)
    read(project, 2, 20)
    write_votes(project, TASK, path)
    judged = VOTES.read(path)
    judged.loc[judged["assignment_id"] != "I0", "dropped"] = "unqualified"  # as `curate aggregate` may write
    VOTES.write(judged, path, VOTES.metadata(path))
    read(project, 2, 20, "Approved")
    write_votes(project, TASK, path)
    votes = VOTES.read(path).drop_duplicates("assignment_id").set_index("assignment_id")
    assert list(votes.index) == ["I1", "S1", "S2", "I0"]
    assert list(votes["dropped"].fillna("")) == ["unqualified", "unqualified", "", "worker excluded"]
    assert list(votes["assignment_status"]) == ["Approved", "Submitted", "Approved", "Approved"]
    assert VOTES.metadata(path)["consenso.note"] == "kept"
    write_votes(project, TASK, path, again=True)
    assert VOTES.read(path)["dropped"].isna().sum() == 4


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=6),
    st.lists(st.lists(st.integers(0, 6), max_size=5), max_size=6),
)
def test_merging_pieces_gives_every_row_once_and_in_order(left: list[list[int]], right: list[list[int]]) -> None:
    def stream(pieces: list[list[int]], name: str) -> Iterator[pa.Table]:
        minutes = iter(sorted(m for piece in pieces for m in piece))
        for number, piece in enumerate(pieces):
            rows = imported(*[next(minutes) for _ in piece])
            yield VOTES.rows([{**row, "assignment_id": f"{name}{number}{row['assignment_id']}"} for row in rows])

    both = [*stream(left, "l"), *stream(right, "r")]
    merged = list(merged_pieces(stream(left, "l"), stream(right, "r")))
    found = [row for piece in merged for row in piece.to_pylist()]
    expected = [row for piece in both for row in piece.to_pylist()]
    assert found == sorted(expected, key=lambda row: (row["submitted_at"], row["assignment_id"], row["image_id"]))
