from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from curate.crowd.collect import merge, parse_answers, votes_of
from curate.crowd.journal import Asked, Entry
from curate.tasks import make_task
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


def entry(*images: str) -> Entry:
    """A HIT about pictures written `x` or `x:gold`."""
    pairs = [(word + ":random").split(":")[:2] for word in images]
    return Entry("t", "apron", 1, "http://here", "created", tuple(Asked(*p) for p in pairs), 10, 3, 1, 1, hit_id="H")


def assignment(number: int = 1, worker: str = "AW", status: str = "Submitted", **fields: str) -> dict[str, Any]:
    at = START + timedelta(minutes=number)
    return {
        "AssignmentId": f"S{number}", "WorkerId": worker, "AssignmentStatus": status,
        "AcceptTime": at, "SubmitTime": at + timedelta(seconds=30), "Answer": answers(**fields),
    }  # fmt: skip


def facts(rows: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def test_each_picture_of_the_hit_becomes_a_vote_with_the_reason_why_it_may_not_count() -> None:
    rows = votes_of(
        assignment(a="dots", b="cannot_see", c="dotz", e="plain"), entry("a", "b", "c", "d", "e:gold"), TASK
    )
    assert facts(rows, "label") == ["dots", None, None, None, "plain"]
    assert facts(rows, "answer") == ["dots", "cannot_see", "dotz", None, "plain"]
    assert facts(rows, "dropped") == [None, "cannot see the picture", "invalid label", "invalid label", "gold"]


def test_fields_that_nobody_asked_for_are_left_out() -> None:
    assert facts(votes_of(assignment(a="dots", zzz="plain"), entry("a"), TASK), "image_id") == ["a"]


@pytest.mark.parametrize(("said", "seconds"), [("4.25", 4.25), ("", 15.0), ("soon", 15.0), ("nan", 15.0), ("-3", 15.0)])
def test_seconds_are_those_of_the_page_or_a_share_of_the_whole(said: str, seconds: float) -> None:
    rows = votes_of(assignment(a="dots", b="dots", seconds__a=said), entry("a", "b"), TASK)
    assert rows[0]["seconds"] == seconds


def test_simulated_workers_are_known_by_their_id() -> None:
    both = votes_of(assignment(worker="ASIM01", a="dots"), entry("a"), TASK) + votes_of(
        assignment(worker="A51M01", a="dots"), entry("a"), TASK
    )
    assert facts(both, "source") == ["simulated", "crowd"]


def test_merging_twice_is_merging_once_and_order_is_no_matter() -> None:
    one = votes_of(assignment(1, a="dots"), entry("a"), TASK)
    two = votes_of(assignment(2, a="plain"), entry("a"), TASK)
    both = merge(VOTES.empty(), one + two)
    assert merge(both, one + two).equals(both)
    assert merge(merge(VOTES.empty(), two), one).equals(both)


def test_an_assignment_read_again_takes_its_new_status_and_others_stay() -> None:
    first = merge(VOTES.empty(), votes_of(assignment(1, a="dots"), entry("a"), TASK))
    imported = first.assign(assignment_id="I1", source="imported")
    both = merge(merge(VOTES.empty(), imported.to_dict("records")), votes_of(assignment(1, a="dots"), entry("a"), TASK))
    later = merge(both, votes_of(assignment(1, status="Approved", a="dots"), entry("a"), TASK))
    assert sorted(zip(later["assignment_id"], later["assignment_status"], strict=True)) == [
        ("I1", "Submitted"),
        ("S1", "Approved"),
    ]


def test_an_empty_answer_has_no_fields_and_a_broken_one_names_its_assignment() -> None:
    assert parse_answers("", "S1") == {}
    assert parse_answers(answers(), "S1") == {}
    with pytest.raises(UserError, match="assignment S1: its answer is no XML"):
        parse_answers("<Quest", "S1")
