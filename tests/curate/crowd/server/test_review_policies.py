"""Review policies: the scores of MTurk's documentation, and what a server does with them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from curate.crowd.server import rules
from curate.crowd.server.documents import FORM
from curate.crowd.server.errors import RequestError
from curate.crowd.server.review_policies import agreement, read_known_answers, read_plurality
from curate.crowd.server.store import open_store

KNOWN, PLURALITY = "ScoreMyKnownAnswers/2011-09-01", "SimplePlurality/2011-09-01"


def policy(name: str, **parameters: Any) -> dict[str, Any]:
    """A policy as boto3 sends it; a dict of values becomes MapEntries."""
    sent = []
    for key, value in parameters.items():
        if isinstance(value, dict):
            entries = [{"Key": k, "Values": v if isinstance(v, list) else [v]} for k, v in value.items()]
            sent.append({"Key": key, "MapEntries": entries})
        else:
            sent.append({"Key": key, "Values": value if isinstance(value, list) else [str(value)]})
    return {"PolicyName": name, "Parameters": sent}


def known(**parameters):
    return policy(KNOWN, **{"AnswerKey": {"q": "a"}, **parameters})


def plurality(**parameters):
    return policy(PLURALITY, **{"QuestionIds": ["q"], "QuestionAgreementThreshold": 50, **parameters})


def sets(**answers: str) -> dict[str, frozenset[str]]:
    return {question: frozenset(values.split()) for question, values in answers.items()}


def test_agreement_is_the_example_of_the_documentation():
    asked = read_plurality(plurality(QuestionIds=["A,B", "C", "D"]))
    answers = {
        "1": sets(A="coat", B="blue", C="large", D="Furry"),
        "2": sets(A="sweater", B="blue", C="large", D="fur"),
        "3": sets(A="coat", B="green", C="large", D="furr"),
    }
    found = agreement(asked, answers, list(answers))
    assert found.agreed == sets(A="coat", B="blue", C="large")
    assert found.agreement == {"A": 66, "B": 66, "C": 100}
    assert found.hit_score == 75
    assert [found.worker_score(worker) for worker in "123"] == [100, 66, 66]


def test_sets_agree_as_a_whole_and_long_answers_count_for_nothing():
    asked = read_plurality(plurality())
    answers = {"1": sets(q="a b"), "2": sets(q="a"), "3": sets(q="a b"), "4": {"q": frozenset({"x" * 257})}}
    found = agreement(asked, answers, list(answers))
    assert (found.agreed["q"], found.agreement["q"]) == ({"a", "b"}, 66)
    assert found.worker_score("4") == 0
    assert agreement(asked, {"4": answers["4"]}, ["4"]).hit_score == 0


def test_a_tie_is_no_agreement_whatever_the_threshold():
    answers = {"1": sets(q="a"), "2": sets(q="b")}
    found = agreement(read_plurality(plurality(QuestionAgreementThreshold=0)), answers, ["1", "2"])
    assert (found.agreed, found.worker_score("1")) == ({}, None)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), st.integers(0, 100))
def test_what_is_agreed_was_said_by_more_than_the_threshold(said, threshold):
    answers = {str(number): {"q": frozenset({value})} for number, value in enumerate(said)}
    found = agreement(read_plurality(plurality(QuestionAgreementThreshold=threshold)), answers, list(answers))
    share = {value: said.count(value) / len(said) for value in said}
    best = max(share.values())
    if 100 * best > threshold and list(share.values()).count(best) == 1:
        assert share[next(iter(found.agreed["q"]))] == best
    else:
        assert found.agreed == {}


@pytest.mark.parametrize(
    ("key", "answer", "right"),
    [
        (["a"], "a", True),
        ([" a "], "a", True),
        (["a"], "A", False),
        (["a", "b"], "a", False),
        (["a", "b"], "b a", True),
        (["a"], "a b", False),
        (["a", "b"], "b|a", True),  # boxes of a page of one's own
        ([], "", True),
        ([], "a", False),
        (["a"], "", False),
    ],
)
def test_a_known_answer_is_matched_as_a_whole(key, answer, right):
    asked = read_known_answers(known(AnswerKey={"q": key, "r": "x"}))
    assert asked.right(sets(q=answer)) == {"q": right, "r": False}
    assert asked.score(sets(q=answer)) == (50 if right else 0)


@pytest.mark.parametrize(
    ("level", "sent", "named"),
    [
        ("Assignment", policy("Guess/2011-09-01"), "PolicyName"),
        ("Assignment", plurality(), "PolicyName"),
        ("HIT", known(), "PolicyName"),
        ("Assignment", policy(KNOWN), "AnswerKey"),
        ("Assignment", known(AnswerKey={"": "a"}), "AnswerKey"),
        ("Assignment", known(ApproveIfKnownAnswerScoreIsAtLeast=102), "ApproveIfKnownAnswerScoreIsAtLeast"),
        ("Assignment", known(RejectIfKnownAnswerScoreIsLessThan="half"), "RejectIfKnownAnswerScoreIsLessThan"),
        ("Assignment", known(ExtendMaximumAssignments=26), "ExtendMaximumAssignments"),
        ("Assignment", known(ExtendMinimumTimeInSeconds=60), "ExtendMinimumTimeInSeconds"),
        ("Assignment", known(RejectReason=["a", "b"]), "RejectReason"),
        ("Assignment", known(Color="red"), "Color"),
        ("HIT", policy(PLURALITY, QuestionAgreementThreshold=50), "QuestionIds"),
        ("HIT", plurality(QuestionIds=["a,,b"]), "QuestionIds"),
        ("HIT", policy(PLURALITY, QuestionIds=["q"]), "QuestionAgreementThreshold"),
        ("HIT", plurality(QuestionAgreementThreshold=-1), "QuestionAgreementThreshold"),
        ("HIT", plurality(QuestionAgreementThreshold="9" * 5000), "QuestionAgreementThreshold"),
        ("HIT", plurality(DisregardAssignmentIfRejected="maybe"), "DisregardAssignmentIfRejected"),
        ("HIT", plurality(ExtendIfHITAgreementScoreIsLessThan=100), "ExtendMaximumAssignments"),
        ("HIT", plurality(QuestionIDs=["q"]), "twice"),
    ],
)
def test_a_policy_with_a_fault_is_refused_when_the_hit_is_made(post_hit, crowd_server, level, sent, named):
    before = len(crowd_server.client().list_hits(MaxResults=100)["HITs"])
    name = "AssignmentReviewPolicy" if level == "Assignment" else "HITReviewPolicy"
    with pytest.raises(RequestError, match=named):
        (read_known_answers if level == "Assignment" else read_plurality)(sent)
    with pytest.raises(ClientError, match=named) as error:
        post_hit(**{name: sent})
    assert error.value.response["TurkErrorCode"] == "AWS.MechanicalTurk.ParameterValidationError"
    assert len(crowd_server.client().list_hits(MaxResults=100)["HITs"]) == before


def test_other_spellings_that_clients_use_are_understood():
    asked = read_plurality(
        policy(
            PLURALITY, QuestionIDs=["q"], QuestionAgreementThreshold=50, ApproveIfWorkerAgreementScoreIsNotLessThan=99
        )
    )
    assert (asked.questions, asked.verdicts.approve_from) == (("q",), 99)


# ---- on the server


def question(*identifiers: str) -> str:
    asked = "".join(
        f"<Question><QuestionIdentifier>{i}</QuestionIdentifier><QuestionContent><Text>?</Text></QuestionContent>"
        "<AnswerSpecification><FreeTextAnswer/></AnswerSpecification></Question>"
        for i in identifiers
    )
    return f'<QuestionForm xmlns="{FORM[1]}">{asked}</QuestionForm>'


@pytest.fixture
def ask(post_hit, crowd_server, join):
    """Make a HIT of a form; gives a function by which somebody new answers it, and one that looks at it."""

    class Hit:
        def __init__(self, *identifiers, **changes):
            self.client = crowd_server.client()
            self.hit = post_hit(Question=question(*identifiers), **changes)
            self.id = self.hit["HITId"]

        def answer(self, **answers):
            person = join()
            accepted = person.post(f"/accept/{self.hit['HITTypeId']}").json()
            sent = person.post(accepted["url"], **answers)
            assert sent.json() == {"submitted": True}, sent.text
            return accepted["assignment_id"]

        def assignment(self, identifier):
            return self.client.get_assignment(AssignmentId=identifier)["Assignment"]

        def look(self):
            return self.client.get_hit(HITId=self.id)["HIT"]

        def results(self, **changes):
            return self.client.list_review_policy_results_for_hit(HITId=self.id, MaxResults=100, **changes)

    return Hit


def told(report, *keys):
    return [
        tuple(result.get(key) for key in ("SubjectType", "QuestionId", "Key", "Value"))
        for result in report["ReviewResults"]
        if not keys or result["Key"] in keys
    ]


def done(report):
    return [(action["ActionName"], action["Status"]) for action in report["ReviewActions"]]


def test_known_answers_approve_reject_and_ask_one_more(ask):
    hit = ask(
        "q", "r", "s",
        MaxAssignments=2,
        AssignmentReviewPolicy=known(
            AnswerKey={"q": "a", "r": "b"},
            ApproveIfKnownAnswerScoreIsAtLeast=100,
            ApproveReason="All right",
            RejectIfKnownAnswerScoreIsLessThan=50,
            RejectReason="Neither was right",
            ExtendIfKnownAnswerScoreIsLessThan=50,
            ExtendMaximumAssignments=3,
            ExtendMinimumTimeInSeconds=7200,
        ),
    )  # fmt: skip
    good, half, bad = hit.answer(q="a", r=" b "), hit.answer(q="a", r="x"), None
    assert hit.look()["HITStatus"] == "Reviewable"
    assert [hit.assignment(a)["AssignmentStatus"] for a in (good, half)] == ["Approved", "Submitted"]
    assert hit.assignment(good)["RequesterFeedback"] == "All right"
    hit.client.create_additional_assignments_for_hit(HITId=hit.id, NumberOfAdditionalAssignments=1)
    bad = hit.answer(q="x")
    assert (hit.assignment(bad)["AssignmentStatus"], hit.assignment(bad)["RequesterFeedback"]) == (
        "Rejected",
        "Neither was right",
    )
    assert hit.look()["MaxAssignments"] == 3  # extended to three already: the limit
    report = hit.results()["AssignmentReviewReport"]
    assert told(report, "KnownAnswerScore") == [
        ("Assignment", None, "KnownAnswerScore", score) for score in ("100", "50", "0")
    ]
    assert told(report)[:2] == [
        ("Assignment", "q", "KnownAnswerCorrect", "1"),
        ("Assignment", "r", "KnownAnswerCorrect", "1"),
    ]
    assert done(report) == [
        ("review", "Succeeded"), ("approve", "Succeeded"), ("review", "Succeeded"), ("review", "Succeeded"),
        ("reject", "Succeeded"), ("extend", "Succeeded"),
    ]  # fmt: skip


def test_a_bad_answer_is_replaced_by_one_more_with_time_to_give_it(ask):
    hit = ask("q", LifetimeInSeconds=600, AssignmentReviewPolicy=known(
        ExtendIfKnownAnswerScoreIsLessThan=101, ExtendMaximumAssignments=2, ExtendMinimumTimeInSeconds=7200))  # fmt: skip
    before = hit.look()["Expiration"]
    hit.answer(q="x")
    after = hit.look()
    assert (after["HITStatus"], after["MaxAssignments"]) == ("Assignable", 2)
    assert (after["Expiration"] - before).total_seconds() > 6000
    hit.answer(q="x")
    assert hit.look()["HITStatus"] == "Reviewable"


def test_nine_assignments_stay_nine(ask):
    hit = ask(
        "q",
        MaxAssignments=9,
        AssignmentReviewPolicy=known(ExtendIfKnownAnswerScoreIsLessThan=101, ExtendMaximumAssignments=12),
    )
    hit.answer(q="x")
    assert hit.look()["MaxAssignments"] == 9
    (_, action) = hit.results()["AssignmentReviewReport"]["ReviewActions"]
    assert (action["Status"], action["ErrorCode"]) == ("Failed", "AWS.MechanicalTurk.InvalidMaximumAssignmentsIncrease")


AGREE = {
    "ApproveIfWorkerAgreementScoreIsAtLeast": 100,
    "RejectIfWorkerAgreementScoreIsLessThan": 50,
    "RejectReason": "Alone",
}


def test_two_who_differ_bring_a_third_and_only_then_is_judged(ask):
    extend = {
        "ExtendIfHITAgreementScoreIsLessThan": 100,
        "ExtendMaximumAssignments": 3,
        "ExtendMinimumTimeInSeconds": 3600,
    }
    hit = ask("q", MaxAssignments=2, HITReviewPolicy=plurality(**AGREE, **extend))
    first, second = hit.answer(q="a"), hit.answer(q="b")
    assert (hit.look()["HITStatus"], hit.look()["MaxAssignments"]) == ("Assignable", 3)
    assert {hit.assignment(a)["AssignmentStatus"] for a in (first, second)} == {"Submitted"}
    third = hit.answer(q="b")
    assert hit.look()["HITStatus"] == "Reviewable"
    assert [hit.assignment(a)["AssignmentStatus"] for a in (first, second, third)] == [
        "Rejected",
        "Approved",
        "Approved",
    ]
    assert hit.assignment(first)["RequesterFeedback"] == "Alone"
    report = hit.results()["HITReviewReport"]
    assert told(report, "HitAgreementScore") == [("HIT", None, "HitAgreementScore", score) for score in ("0", "100")]
    assert told(report, "AgreedAnswer") == [("Question", "q", "AgreedAnswer", "b")]
    assert told(report, "AgreedAnswerFound") == [
        ("Question", "q", "AgreedAnswerFound", found) for found in ("false", "true")
    ]
    assert told(report, "WorkerAgreementScore") == [
        ("Assignment", None, "WorkerAgreementScore", score) for score in ("0", "100", "100")
    ]
    assert done(report) == [
        ("extend", "Succeeded"),
        ("reject", "Succeeded"),
        ("approve", "Succeeded"),
        ("approve", "Succeeded"),
    ]


def test_a_hit_whose_time_is_over_is_reviewed_with_what_there_is(ask):
    hit = ask("q", MaxAssignments=3, HITReviewPolicy=plurality(**AGREE))
    both = [hit.answer(q="a"), hit.answer(q="a")]
    assert hit.results()["HITReviewReport"]["ReviewResults"] == []
    hit.client.update_expiration_for_hit(HITId=hit.id, ExpireAt=0)
    assert told(hit.results()["HITReviewReport"], "HitAgreementScore") == [("HIT", None, "HitAgreementScore", "100")]
    assert {hit.assignment(a)["AssignmentStatus"] for a in both} == {"Approved"}
    hit.client.create_additional_assignments_for_hit(HITId=hit.id, NumberOfAdditionalAssignments=1)
    assert len(told(hit.results()["HITReviewReport"], "HitAgreementScore")) == 2  # opened again, over again


def test_servers_that_find_a_hit_over_at_once_review_it_once(ask, crowd_server):
    over = [ask("q", MaxAssignments=3, HITReviewPolicy=plurality(**AGREE)) for _ in range(5)]
    for hit in over:
        for _ in range(2):
            hit.answer(q="a")
        crowd_server.sql(
            "UPDATE hit SET expiry_due = NULL WHERE hit_id = :id", id=hit.id
        )  # that it is over was noticed
    later, ready = time.time() + 3601, threading.Barrier(4)

    def settle(_):
        store = open_store(crowd_server.db)
        ready.wait(20)
        rules.settle(store, later)
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(settle, range(4)))
    for hit in over:
        report = hit.results()["HITReviewReport"]
        assert told(report, "HitAgreementScore") == [("HIT", None, "HitAgreementScore", "100")]
        assert done(report) == [("approve", "Succeeded")] * 2


def test_work_under_way_is_waited_for(ask, join):
    hit = ask("q", MaxAssignments=2, HITReviewPolicy=plurality(**AGREE))
    slow = join("Slow")
    accepted = slow.post(f"/accept/{hit.hit['HITTypeId']}").json()
    first = hit.answer(q="a")
    hit.client.update_expiration_for_hit(HITId=hit.id, ExpireAt=0)
    assert hit.results()["HITReviewReport"]["ReviewResults"] == []
    slow.post(accepted["url"] + "/return")
    assert told(hit.results()["HITReviewReport"], "HitAgreementScore") != []
    assert hit.assignment(first)["AssignmentStatus"] == "Approved"


def test_who_failed_the_known_answers_has_no_say(ask):
    hit = ask(
        "q", "k", MaxAssignments=3,
        AssignmentReviewPolicy=known(AnswerKey={"k": "yes"}),
        HITReviewPolicy=plurality(**AGREE, DisregardAssignmentIfKnownAnswerScoreIsLessThan=100),
    )  # fmt: skip
    good = hit.answer(q="a", k="yes")
    careless = [hit.answer(q="b", k="no"), hit.answer(q="b", k="no")]
    assert hit.assignment(good)["AssignmentStatus"] == "Approved"
    assert {hit.assignment(a)["AssignmentStatus"] for a in careless} == {"Rejected"}


def test_who_was_rejected_has_no_say_and_stays_rejected(ask):
    hit = ask("q", MaxAssignments=3, HITReviewPolicy=plurality(**AGREE, DisregardAssignmentIfRejected="T"))
    out = [hit.answer(q="b"), hit.answer(q="b")]
    for assignment in out:
        hit.client.reject_assignment(AssignmentId=assignment, RequesterFeedback="no")
    good = hit.answer(q="a")
    assert hit.assignment(good)["AssignmentStatus"] == "Approved"
    assert told(hit.results()["HITReviewReport"], "AgreedAnswer") == [("Question", "q", "AgreedAnswer", "a")]
    assert done(hit.results()["HITReviewReport"]) == [
        ("reject", "Succeeded"),
        ("reject", "Succeeded"),
        ("approve", "Succeeded"),
    ]


def test_who_was_approved_is_not_rejected_any_more(ask):
    hit = ask("q", MaxAssignments=3, HITReviewPolicy=plurality(**AGREE))
    alone = hit.answer(q="b")
    hit.client.approve_assignment(AssignmentId=alone)
    hit.answer(q="a"), hit.answer(q="a")
    action = hit.results()["HITReviewReport"]["ReviewActions"][0]
    assert (action["TargetId"], action["Status"], action["ErrorCode"]) == (
        alone,
        "Failed",
        "AWS.MechanicalTurk.InvalidAssignmentState",
    )
    assert hit.assignment(alone)["AssignmentStatus"] == "Approved"


def test_answers_that_come_at_once_are_reviewed_once(ask, join):
    hit = ask("q", MaxAssignments=8, HITReviewPolicy=plurality(**AGREE), AssignmentReviewPolicy=known())
    people = [join(f"P{number}") for number in range(8)]
    urls = [person.post(f"/accept/{hit.hit['HITTypeId']}").json()["url"] for person in people]
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda pair: pair[0].post(pair[1], q="a").status_code, zip(people, urls, strict=True)))
    assert sent == [200] * 8
    report = hit.results()
    assert told(report["HITReviewReport"], "HitAgreementScore") == [("HIT", None, "HitAgreementScore", "100")]
    assert len(told(report["AssignmentReviewReport"], "KnownAnswerScore")) == 8
    assert hit.look()["NumberOfAssignmentsCompleted"] == 8


NASTY = "<script>alert(1)</script>'; DROP TABLE hit; --\n\"&"


def test_markup_and_sql_are_words_like_any_others(ask):
    hit = ask(
        "q",
        AssignmentReviewPolicy=known(
            AnswerKey={"q": NASTY, NASTY: "x"}, RejectIfKnownAnswerScoreIsLessThan=101, RejectReason=NASTY
        ),
    )
    assignment = hit.assignment(hit.answer(q=NASTY))
    assert (assignment["AssignmentStatus"], assignment["RequesterFeedback"]) == ("Rejected", NASTY)
    report = hit.results()["AssignmentReviewReport"]
    assert told(report, "KnownAnswerCorrect") == [
        ("Assignment", "q", "KnownAnswerCorrect", "1"),
        ("Assignment", NASTY, "KnownAnswerCorrect", "0"),
    ]


def test_results_come_in_pages_and_by_what_is_asked_for(ask):
    hit = ask("q", AssignmentReviewPolicy=known(ApproveIfKnownAnswerScoreIsAtLeast=1), HITReviewPolicy=plurality())
    hit.answer(q="a")
    whole = hit.results()
    assert whole["AssignmentReviewPolicy"] == known(ApproveIfKnownAnswerScoreIsAtLeast=1)
    seen, token = [], {}
    while True:
        part = hit.client.list_review_policy_results_for_hit(HITId=hit.id, MaxResults=2, **token)
        rows = [
            r
            for level in ("Assignment", "HIT")
            for kind in ("ReviewResults", "ReviewActions")
            for r in part[f"{level}ReviewReport"][kind]
        ]
        assert len(rows) <= 2
        if "NextToken" not in part:
            break
        seen += rows
        token = {"NextToken": part["NextToken"]}
    everything = [
        r
        for level in ("Assignment", "HIT")
        for kind in ("ReviewResults", "ReviewActions")
        for r in whole[f"{level}ReviewReport"][kind]
    ]
    assert sorted(map(str, seen)) == sorted(map(str, everything))
    assert "HITReviewReport" not in hit.results(PolicyLevels=["Assignment"])
    assert hit.results(RetrieveActions=False)["AssignmentReviewReport"]["ReviewActions"] == []
    assert hit.results(RetrieveResults=False)["AssignmentReviewReport"]["ReviewResults"] == []


def test_a_hit_without_policies_has_no_reports(ask, crowd_server):
    hit = ask("q")
    hit.answer(q="a")
    assert {"HITId"} <= set(hit.results()) <= {"HITId", "ResponseMetadata"}
    with pytest.raises(ClientError, match="does not exist"):
        crowd_server.client().list_review_policy_results_for_hit(HITId="3NONE")


def test_no_answer_has_a_file(crowd_server):
    with pytest.raises(ClientError, match="takes no file answers") as error:
        crowd_server.client().get_file_upload_url(AssignmentId="3NONE", QuestionIdentifier="q")
    assert error.value.response["TurkErrorCode"] == "AWS.MechanicalTurk.QuestionDoesNotExist"
