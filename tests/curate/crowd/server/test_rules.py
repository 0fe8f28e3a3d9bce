"""The life of assignments, with the time given: nothing waits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.crowd.server import rules, sessions, workers
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.operations.assignments import OPERATIONS as ASSIGNMENTS
from curate.crowd.server.operations.call import Call
from curate.crowd.server.operations.hits import OPERATIONS as HITS
from curate.crowd.server.store import now, open_store

HOUR = 3600


@pytest.fixture
def store(each_db):
    made = open_store(each_db)
    yield made
    made.close()


@pytest.fixture
def hit(store, our_question):
    """A HIT for one worker, ten minutes each, approved after an hour."""
    data = {
        "Title": "t",
        "Description": "d",
        "Reward": "0.10",
        "Question": our_question(),
        "LifetimeInSeconds": 24 * HOUR,
        "AssignmentDurationInSeconds": 600,
        "AutoApprovalDelayInSeconds": HOUR,
    }
    return HITS["CreateHIT"](Call(store, "me", now()), data)["HIT"]


def status_of(store, hit, at):
    return HITS["GetHIT"](Call(store, "me", at), {"HITId": hit["HITId"]})["HIT"]["HITStatus"]


def test_an_assignment_past_its_deadline_is_abandoned_and_its_place_free(store, hit):
    worker, _ = sessions.join(store, "Bo", False)
    late = workers.accept(store, worker, hit["HITTypeId"])
    rules.settle(store, now() + 599)
    assert status_of(store, hit, now()) == "Unassignable"
    rules.settle(store, now() + 601)
    assert status_of(store, hit, now()) == "Assignable"
    with pytest.raises(WorkerError, match="too_late"):
        workers.submit(store, late, "<x/>")
    assert workers.accept(store, worker, hit["HITTypeId"]) != late  # the same person may try again


def test_an_answer_nobody_judged_is_approved_at_its_delay(store, hit):
    worker, _ = sessions.join(store, "Bo", False)
    assignment = workers.accept(store, worker, hit["HITTypeId"])
    workers.submit(store, assignment, "<x/>")
    read = Call(store, "me", now()), {"AssignmentId": assignment}
    rules.settle(store, now() + HOUR - 60)
    assert ASSIGNMENTS["GetAssignment"](*read)["Assignment"]["AssignmentStatus"] == "Submitted"
    rules.settle(store, now() + HOUR + 1)
    found = ASSIGNMENTS["GetAssignment"](*read)
    assert found["Assignment"]["AssignmentStatus"] == "Approved"
    assert found["Assignment"]["ApprovalTime"] == found["Assignment"]["AutoApprovalTime"]
    assert found["HIT"]["NumberOfAssignmentsCompleted"] == 1


def test_an_expired_hit_is_reviewable_only_when_nobody_works_on_it(store, hit):
    worker, _ = sessions.join(store, "Bo", False)
    workers.accept(store, worker, hit["HITTypeId"])
    after = now() + 25 * HOUR
    assert status_of(store, hit, after) == "Unassignable"
    rules.settle(store, after)
    assert status_of(store, hit, after) == "Reviewable"


def test_a_rejection_is_final_after_thirty_days(store, hit):
    worker, _ = sessions.join(store, "Bo", False)
    assignment = workers.accept(store, worker, hit["HITTypeId"])
    workers.submit(store, assignment, "<x/>")
    named = {"AssignmentId": assignment}
    ASSIGNMENTS["RejectAssignment"](Call(store, "me", now()), {**named, "RequesterFeedback": "no"})
    later = Call(store, "me", now() + 31 * 24 * HOUR)
    with pytest.raises(Exception, match="can be called with a status of"):
        ASSIGNMENTS["ApproveAssignment"](later, {**named, "OverrideRejection": True})


@pytest.mark.parametrize(
    ("comparator", "values", "held", "meets"),
    [
        ("GreaterThanOrEqualTo", [70], 70, True),
        ("GreaterThan", [70], 70, False),
        ("LessThan", [70], 69, True),
        ("LessThanOrEqualTo", [70], 71, False),
        ("EqualTo", [1], 1, True),
        ("NotEqualTo", [1], 1, False),
        ("In", [1, 2], 2, True),
        ("NotIn", [1, 2], 2, False),
        ("NotIn", [1, 2], 3, True),
        ("Exists", [], 0, True),
        ("Exists", [], None, False),
        ("DoesNotExist", [], None, True),
        ("DoesNotExist", [], 5, False),
        ("NotEqualTo", [1], None, False),  # MTurk: without the qualification only DoesNotExist holds
    ],
)
def test_a_requirement_compares_what_a_worker_holds(comparator, values, held, meets):
    requirement = {"QualificationTypeId": "3Q", "Comparator": comparator, "IntegerValues": values}
    assert rules.meets(requirement, {} if held is None else {"3Q": held}) is meets


@given(st.booleans(), st.booleans(), st.booleans(), st.integers(1, 5), st.integers(0, 5), st.integers(0, 5))
def test_every_state_of_a_hit_has_one_status_and_the_conditions_agree(gone, expired, reviewing, most, taken, pending):
    taken, now_ = min(taken, most), 100.0
    row = SimpleNamespace(
        disposed_at=1.0 if gone else None,
        expires_at=50.0 if expired else 150.0,
        taken=taken,
        max_assignments=most,
        pending=min(pending, taken),
        reviewing=reviewing,
    )
    found = rules.status(row, now_)
    assert (found == "Assignable") == (not gone and not expired and taken < most)
    assert (found in ("Reviewable", "Reviewing")) == (not gone and (expired or taken == most) and row.pending == 0)
