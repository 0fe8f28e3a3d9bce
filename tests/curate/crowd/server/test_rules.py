"""The life of assignments, with the time given: nothing waits."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from curate.crowd.server import qualifying, rules, sessions, workers
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.operations.assignments import OPERATIONS as ASSIGNMENTS
from curate.crowd.server.operations.call import Call
from curate.crowd.server.operations.hits import OPERATIONS as HITS
from curate.crowd.server.operations.qualifications import OPERATIONS as QUALIFICATIONS
from curate.crowd.server.schema import test_starts
from curate.crowd.server.schema import workers as people
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


@pytest.mark.parametrize(
    ("comparator", "places", "country", "subdivision", "meets"),
    [
        ("EqualTo", "US", "US", None, True),
        ("EqualTo", "US", "us", "NY", True),
        ("EqualTo", "US", "BR", None, False),
        (
            "EqualTo",
            "US",
            None,
            None,
            True,
        ),  # nobody asked where they live: the owner of this crowd knows whom they invite
        ("EqualTo", "US-NY", "US", "NY", True),
        ("EqualTo", "US-NY", "US", "CA", False),
        ("EqualTo", "US-NY", "US", None, True),
        ("NotEqualTo", "US", "US", None, False),
        ("NotEqualTo", "US", "BR", None, True),
        ("NotEqualTo", "US-NY", "US", "CA", True),
        ("NotEqualTo", "US", None, None, True),
        ("In", "US BR", "BR", None, True),
        ("In", "US BR", "MX", None, False),
        ("NotIn", "US BR", "BR", None, False),
        ("NotIn", "US BR", "MX", None, True),
        ("Exists", "", "BR", None, True),
        ("DoesNotExist", "", "BR", None, False),
    ],
)
def test_a_place_is_compared_as_far_as_it_is_known(comparator, places, country, subdivision, meets):
    values = [dict(zip(("Country", "Subdivision"), place.split("-"), strict=False)) for place in places.split()]
    requirement = {"QualificationTypeId": rules.LOCALE, "Comparator": comparator, "LocaleValues": values}
    assert rules.meets(requirement, {rules.LOCALE: rules.Place(country, subdivision)}) is meets


@pytest.mark.parametrize(
    ("guard", "allowed"),
    [
        ({}, "Discover Preview"),
        ({"ActionsGuarded": "Accept"}, "Discover Preview"),
        ({"ActionsGuarded": "PreviewAndAccept"}, "Discover"),
        ({"RequiredToPreview": True}, "Discover"),
        ({"RequiredToPreview": False}, "Discover Preview"),
        ({"ActionsGuarded": "DiscoverPreviewAndAccept"}, ""),
    ],
)
def test_a_requirement_guards_what_it_says(guard, allowed):
    kind = SimpleNamespace(requirements=json.dumps([{"QualificationTypeId": "3Q", "Comparator": "Exists", **guard}]))
    able = [action for action in ("Discover", "Preview", "Accept") if rules.may(action, kind, {})]
    assert " ".join(able) == allowed
    assert rules.qualified(kind, {"3Q": 1})


def test_where_a_worker_lives_opens_and_closes_the_work(store, hit, our_question):
    rule = {"QualificationTypeId": rules.LOCALE, "Comparator": "EqualTo", "LocaleValues": [{"Country": "BR"}]}
    data = {"Title": "br", "Description": "d", "Reward": "0.1", "AssignmentDurationInSeconds": 60}
    data |= {"QualificationRequirements": [rule], "LifetimeInSeconds": 600, "Question": our_question()}
    kind = HITS["CreateHIT"](Call(store, "me", now()), data)["HIT"]["HITTypeId"]
    worker, _ = sessions.join(store, "Bo", False)
    with store.writing() as connection:
        connection.execute(update(people).values(country="MX"))
    with pytest.raises(WorkerError, match="not_qualified"):
        workers.accept(store, worker, kind)
    with store.writing() as connection:
        connection.execute(update(people).values(country="BR"))
    assert workers.accept(store, worker, kind)


def test_a_test_has_its_time_from_when_it_was_seen(store):
    kind = QUALIFICATIONS["CreateQualificationType"](
        Call(store, "me", now()),
        {
            "Name": "timed",
            "Description": "d",
            "QualificationTypeStatus": "Active",
            "Test": TEST,
            "TestDurationInSeconds": 60,
        },
    )["QualificationType"]["QualificationTypeId"]
    worker, _ = sessions.join(store, "Bo", False)
    assert qualifying.start_test(store, worker, kind) in (59, 60)
    _age(store, 40)
    assert qualifying.start_test(store, worker, kind) in (19, 20)  # looking again gives no more time
    _age(store, 60)
    with pytest.raises(WorkerError, match="test_over"):
        workers.take_test(store, worker, kind, [("q1", "me")])
    assert qualifying.start_test(store, worker, kind) in (59, 60)
    assert workers.take_test(store, worker, kind, [("q1", "me")]).score is None


def _age(store, seconds):
    with store.writing() as connection:
        connection.execute(update(test_starts).values(started_at=test_starts.c.started_at - seconds))


TEST = (
    '<QuestionForm xmlns="http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2017-11-06/QuestionForm.xsd">'
    "<Question><QuestionIdentifier>q1</QuestionIdentifier><QuestionContent><Text>Who?</Text></QuestionContent>"
    "<AnswerSpecification><FreeTextAnswer/></AnswerSpecification></Question></QuestionForm>"
)
