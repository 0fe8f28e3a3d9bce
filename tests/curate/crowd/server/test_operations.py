"""The rest of the requester protocol: blocks, bonuses, messages, requests, types. Every reply is held against the model."""

from __future__ import annotations

import uuid

import pytest

from curate.crowd.server.keys import issue
from curate.crowd.server.model import BadInput, check_output, operation_names
from curate.crowd.server.operations import OPERATIONS
from curate.crowd.server.store import open_store

NASTY = "<script>alert(1)</script>'; DROP TABLE worker; --  ñ 漢"
TEST = (
    '<QuestionForm xmlns="http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2017-11-06/QuestionForm.xsd">'
    "<Question><QuestionIdentifier>q1</QuestionIdentifier><QuestionContent><Text>Who?</Text></QuestionContent>"
    "<AnswerSpecification><FreeTextAnswer/></AnswerSpecification></Question></QuestionForm>"
)


@pytest.fixture
def client(crowd_server):
    return crowd_server.client()


@pytest.fixture
def other(crowd_server):
    """Another requester of the same server."""
    store = open_store(crowd_server.db)
    key, secret = issue(store, f"other {uuid.uuid4()}")
    store.close()
    return crowd_server.client(aws_access_key_id=key, aws_secret_access_key=secret)


@pytest.fixture
def refused(client):
    """Call an operation that must be refused; its code without the prefix."""

    def call(operation, by=None, **values):
        with pytest.raises((by or client).exceptions.RequestError) as caught:
            getattr(by or client, operation)(**values)
        return caught.value.response["TurkErrorCode"].removeprefix("AWS.MechanicalTurk.")

    return call


@pytest.fixture
def make_type(client):
    def make(**changes):
        values = {"Name": f"type {uuid.uuid4()}", "Description": "d", "QualificationTypeStatus": "Active"}
        return client.create_qualification_type(**{**values, **changes})["QualificationType"]

    return make


def needs(kind, **changes):
    return [{"QualificationTypeId": kind["QualificationTypeId"], "Comparator": "Exists", **changes}]


def test_all_operations_of_the_model_are_there():
    assert set(OPERATIONS) == operation_names()


def test_a_reply_outside_the_model_is_noticed():
    check_output("GetAccountBalance", {"AvailableBalance": "1.00"})
    for reply in ({"AvailableBalance": "one"}, {"Balance": "1.00"}, {"AvailableBalance": None}):
        with pytest.raises(BadInput):
            check_output("GetAccountBalance", reply)


def test_a_blocked_worker_neither_sees_nor_accepts_the_requesters_hits(client, other, post_hit, our_question, join):
    hit, person = post_hit(), join()
    elsewhere = other.create_hit(
        Title=f"t {uuid.uuid4()}",
        Description="d",
        Reward="0.01",
        LifetimeInSeconds=60,
        AssignmentDurationInSeconds=60,
        Question=our_question(),
    )["HIT"]
    client.create_worker_block(WorkerId=person.worker_id, Reason=NASTY)
    client.create_worker_block(WorkerId=person.worker_id, Reason=NASTY)
    assert person.group(hit["HITTypeId"]) is None
    assert person.post(f"/accept/{hit['HITTypeId']}").json() == {"error": "no work left"}
    assert person.http.get(f"/preview/{hit['HITTypeId']}").status_code == 404
    assert person.group(elsewhere["HITTypeId"])["available"] == 1
    mine = [b for b in client.list_worker_blocks()["WorkerBlocks"] if b["WorkerId"] == person.worker_id]
    assert mine == [{"WorkerId": person.worker_id, "Reason": NASTY}]
    assert other.list_worker_blocks()["WorkerBlocks"] == []
    client.delete_worker_block(WorkerId=person.worker_id)
    client.delete_worker_block(WorkerId=person.worker_id)
    person.answer(hit["HITTypeId"], "dots")


def test_a_block_needs_a_reason_and_somebody(refused, join):
    assert refused("create_worker_block", WorkerId="ANOBODY", Reason="r") == "WorkerDoesNotExist"
    assert refused("create_worker_block", WorkerId=join().worker_id, Reason=" ") == "ParameterValidationError"
    assert refused("delete_worker_block", WorkerId="ANOBODY") == "WorkerDoesNotExist"


def test_a_bonus_is_granted_once_for_a_token_and_counts_in_the_workers_record(client, refused, post_hit, join):
    hit, person = post_hit(), join()
    assignment = person.answer(hit["HITTypeId"], "dots")
    bonus = {"WorkerId": person.worker_id, "AssignmentId": assignment, "BonusAmount": "1.5", "Reason": NASTY}
    client.send_bonus(**bonus, UniqueRequestToken="b1")
    assert refused("send_bonus", **bonus, UniqueRequestToken="b1") == "BonusAlreadyExists"
    client.send_bonus(**{**bonus, "BonusAmount": "0.25"}, UniqueRequestToken="b2")
    for by in ({"HITId": hit["HITId"]}, {"AssignmentId": assignment}):
        paid = client.list_bonus_payments(**by)["BonusPayments"]
        assert [(p["BonusAmount"], p["Reason"], p["WorkerId"]) for p in paid] == [
            ("1.5", NASTY, person.worker_id),
            ("0.25", NASTY, person.worker_id),
        ]
    page = person.http.get("/work", headers={"Accept": "text/html"}).text
    assert "<dt>Bonus</dt><dd>$1.75</dd>" in page
    told = person.get("/inbox")["messages"]
    assert [(m["subject"], m["body"]) for m in told] == [("Bonus: $0.25", NASTY), ("Bonus: $1.50", NASTY)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"BonusAmount": "0"}, "ParameterValidationError"),
        ({"BonusAmount": "-1"}, "ParameterValidationError"),
        ({"BonusAmount": "1.234"}, "ParameterValidationError"),
        ({"BonusAmount": "10000.01"}, "InsufficientFunds"),
        ({"Reason": ""}, "ParameterValidationError"),
        ({"AssignmentId": "3NO"}, "AssignmentDoesNotExist"),
        ({"WorkerId": "ANOBODY"}, "WorkerDoesNotExist"),
        ({"WorkerId": None}, "ParameterValidationError"),
    ],
)
def test_a_bonus_that_is_none_is_refused(client, refused, post_hit, join, changes, code):
    hit, person = post_hit(), join()
    assignment = person.answer(hit["HITTypeId"], "dots")
    bonus = {"WorkerId": person.worker_id, "AssignmentId": assignment, "BonusAmount": "1", "Reason": "r", **changes}
    if bonus["WorkerId"] is None:  # somebody else's answer
        bonus["WorkerId"] = join().worker_id
    assert refused("send_bonus", **bonus) == code
    assert client.list_bonus_payments(HITId=hit["HITId"])["BonusPayments"] == []


def test_bonuses_are_listed_by_hit_or_by_assignment(refused):
    assert refused("list_bonus_payments") == "ParameterValidationError"
    assert refused("list_bonus_payments", HITId="3A", AssignmentId="3A") == "ParameterValidationError"


def test_a_message_reaches_workers_whom_the_requester_has_judged(client, post_hit, join):
    hit, known, stranger = post_hit(), join(), join()
    client.approve_assignment(AssignmentId=known.answer(hit["HITTypeId"], "dots"))
    ids = [known.worker_id, stranger.worker_id, "ANOBODY"]
    failed = client.notify_workers(Subject=NASTY, MessageText=f"{NASTY}\nsecond line", WorkerIds=ids)
    statuses = failed["NotifyWorkersFailureStatuses"]
    assert [(s["WorkerId"], s["NotifyWorkersFailureCode"]) for s in statuses] == [
        (stranger.worker_id, "HardFailure"),
        ("ANOBODY", "HardFailure"),
    ]
    assert known.get("/work")["unread"] == 1
    (message,) = known.get("/inbox")["messages"]
    assert (message["subject"], message["body"], message["unread"]) == (NASTY, f"{NASTY}\nsecond line", True)
    assert known.get("/work")["unread"] == 0
    page = known.http.get("/inbox", headers={"Accept": "text/html"}).text
    assert "&lt;script&gt;alert" in page
    assert "<script>alert" not in page
    assert stranger.get("/inbox")["messages"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"Subject": "x" * 201},
        {"MessageText": "x" * 4097},
        {"WorkerIds": [f"A{n}" for n in range(101)]},
        {"Subject": ""},
    ],
)
def test_a_message_has_its_limits(refused, changes):
    values = {"Subject": "s", "MessageText": "m", "WorkerIds": ["A1"]}
    assert refused("notify_workers", **{**values, **changes}) == "ParameterValidationError"


def test_a_request_without_a_test_waits_until_it_is_accepted(client, refused, post_hit, join, make_type):
    kind = make_type()
    hit, person = post_hit(QualificationRequirements=needs(kind)), join()
    (standing,) = person.group(hit["HITTypeId"])["qualifications"]
    assert (standing["state"], standing["test_url"]) == ("missing", None)
    assert person.post(standing["request_url"]).json() == {"status": "Pending"}
    assert person.post(standing["request_url"]).status_code == 409
    assert person.group(hit["HITTypeId"])["qualifications"][0]["state"] == "pending"
    (asked,) = client.list_qualification_requests(QualificationTypeId=kind["QualificationTypeId"])[
        "QualificationRequests"
    ]
    assert asked["WorkerId"] == person.worker_id
    assert "Test" not in asked
    named = {"QualificationRequestId": asked["QualificationRequestId"]}
    client.accept_qualification_request(**named, IntegerValue=7)
    assert refused("reject_qualification_request", **named) == "InvalidQualificationRequestState"
    held = client.get_qualification_score(QualificationTypeId=kind["QualificationTypeId"], WorkerId=person.worker_id)
    assert held["Qualification"]["IntegerValue"] == 7
    assert person.group(hit["HITTypeId"])["qualified"] is True
    assert [m["subject"] for m in person.get("/inbox")["messages"]] == [f"You are qualified: {kind['Name']}"]


def test_a_test_without_a_key_comes_as_a_request_with_its_answer(client, join, make_type):
    kind = make_type(Test=TEST, TestDurationInSeconds=600)
    person = join()
    assert person.get(f"/test/{kind['QualificationTypeId']}")["seconds_left"] in (599, 600)
    assert person.post(f"/test/{kind['QualificationTypeId']}", q1=NASTY).json()["score"] is None
    (asked,) = client.list_qualification_requests(QualificationTypeId=kind["QualificationTypeId"])[
        "QualificationRequests"
    ]
    assert asked["Test"] == TEST
    assert "&lt;script&gt;" in asked["Answer"]
    client.reject_qualification_request(QualificationRequestId=asked["QualificationRequestId"], Reason="too short")
    assert [m["body"] for m in person.get("/inbox")["messages"]] == ["too short"]
    assert client.list_qualification_requests(QualificationTypeId=kind["QualificationTypeId"])["NumResults"] == 0


def test_an_automatic_qualification_is_granted_when_asked_for(client, post_hit, join, make_type):
    kind = make_type(AutoGranted=True, AutoGrantedValue=3)
    hit, person = post_hit(QualificationRequirements=needs(kind)), join()
    url = person.group(hit["HITTypeId"])["qualifications"][0]["request_url"]
    assert person.post(url).json() == {"status": "Granted"}
    assert person.group(hit["HITTypeId"])["qualifications"][0]["score"] == 3
    person.answer(hit["HITTypeId"], "dots")


def test_nobody_is_told_of_a_grant_that_is_to_be_quiet(client, join, make_type):
    kind, person = make_type(), join()
    named = {"QualificationTypeId": kind["QualificationTypeId"], "WorkerId": person.worker_id}
    client.associate_qualification_with_worker(**named, SendNotification=False)
    assert person.get("/inbox")["messages"] == []
    client.associate_qualification_with_worker(**named, IntegerValue=2)
    assert len(person.get("/inbox")["messages"]) == 1


def test_a_test_is_replaced_and_never_removed(client, refused, make_type):
    kind = make_type(Test=TEST, TestDurationInSeconds=60, RetryDelayInSeconds=10, Keywords="k")
    named = {"QualificationTypeId": kind["QualificationTypeId"]}
    changed = client.update_qualification_type(**named, Description=NASTY, QualificationTypeStatus="Inactive")
    kept = {"Description": NASTY, "QualificationTypeStatus": "Inactive", "IsRequestable": False}
    assert changed["QualificationType"] == {**kind, **kept}
    assert refused("update_qualification_type", **named, AutoGranted=True) == "ParameterValidationError"
    assert refused("update_qualification_type", **named, TestDurationInSeconds=9) == "ParameterValidationError"
    assert refused("update_qualification_type", **named, Test="<p/>", TestDurationInSeconds=9) == "XMLParseError"
    changed = client.update_qualification_type(**named, Test=TEST, TestDurationInSeconds=90)["QualificationType"]
    assert (changed["TestDurationInSeconds"], changed["RetryDelayInSeconds"]) == (90, 10)


def test_a_test_that_comes_without_its_key_again_has_none(client, join, make_type):
    key = (
        '<AnswerKey xmlns="http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2005-10-01/AnswerKey.xsd">'
        "<Question><QuestionIdentifier>q1</QuestionIdentifier><AnswerOption><SelectionIdentifier>yes"
        "</SelectionIdentifier><AnswerScore>1</AnswerScore></AnswerOption></Question></AnswerKey>"
    )
    selections = (
        "<SelectionAnswer><Selections><Selection><SelectionIdentifier>yes</SelectionIdentifier><Text>Yes</Text>"
        "</Selection></Selections></SelectionAnswer>"
    )
    form = TEST.replace("<FreeTextAnswer/>", selections)
    kind = make_type(Test=form, AnswerKey=key, TestDurationInSeconds=60)
    assert kind["AnswerKey"] == key
    named = {"QualificationTypeId": kind["QualificationTypeId"]}
    changed = client.update_qualification_type(**named, Test=form, TestDurationInSeconds=60)["QualificationType"]
    assert "AnswerKey" not in changed
    assert join().post(f"/test/{kind['QualificationTypeId']}", q1="yes").json()["score"] is None


def test_a_deleted_type_frees_its_name_rejects_requests_and_leaves_running_hits_alone(
    client, refused, post_hit, join, make_type, our_question
):
    kind = make_type()
    hit, holder, asking = post_hit(QualificationRequirements=needs(kind)), join(), join()
    identifier = kind["QualificationTypeId"]
    client.associate_qualification_with_worker(QualificationTypeId=identifier, WorkerId=holder.worker_id)
    asking.post(f"/qualification/{identifier}")
    (asked,) = client.list_qualification_requests(QualificationTypeId=identifier)["QualificationRequests"]
    client.delete_qualification_type(QualificationTypeId=identifier)
    assert refused("get_qualification_type", QualificationTypeId=identifier) == "QualificationTypeDoesNotExist"
    assert refused("delete_qualification_type", QualificationTypeId=identifier) == "QualificationTypeDoesNotExist"
    named = {"QualificationRequestId": asked["QualificationRequestId"]}
    assert refused("accept_qualification_request", **named) == "QualificationRequestDoesNotExist"
    assert make_type(Name=kind["Name"])["QualificationTypeId"] != identifier
    holder.answer(hit["HITTypeId"], "dots")
    again = {"HITTypeId": hit["HITTypeId"], "LifetimeInSeconds": 60, "Question": our_question()}
    assert refused("create_hit_with_hit_type", **again) == "QualificationTypeDoesNotExist"


def test_hits_are_found_by_the_qualification_that_they_ask_for(client, other, refused, post_hit, make_type):
    kind = make_type()
    hit = post_hit(QualificationRequirements=needs(kind))
    post_hit()
    identifier = kind["QualificationTypeId"]
    found = client.list_hits_for_qualification_type(QualificationTypeId=identifier)["HITs"]
    assert [h["HITId"] for h in found] == [hit["HITId"]]
    assert other.list_hits_for_qualification_type(QualificationTypeId=identifier)["HITs"] == []
    client.update_expiration_for_hit(HITId=hit["HITId"], ExpireAt=0)
    client.delete_hit(HITId=hit["HITId"])
    assert client.list_hits_for_qualification_type(QualificationTypeId=identifier)["HITs"] == []
    assert refused("list_hits_for_qualification_type", QualificationTypeId="3NO") == "QualificationTypeDoesNotExist"


def test_a_hit_takes_on_another_type(client, refused, post_hit):
    hit, wanted = post_hit(Reward="0.10"), post_hit(Reward="0.20")
    client.update_hit_type_of_hit(HITId=hit["HITId"], HITTypeId=wanted["HITTypeId"])
    moved = client.get_hit(HITId=hit["HITId"])["HIT"]
    assert (moved["Reward"], moved["Title"], moved["HITTypeId"]) == ("0.20", wanted["Title"], wanted["HITTypeId"])
    assert refused("update_hit_type_of_hit", HITId=hit["HITId"], HITTypeId="3NO") == "HITTypeDoesNotExist"


def test_a_hit_is_reviewed_and_back_again(client, refused, post_hit, join):
    hit = post_hit()
    assert refused("update_hit_review_status", HITId=hit["HITId"]) == "InvalidHITState"
    join().answer(hit["HITTypeId"], "dots")
    client.update_hit_review_status(HITId=hit["HITId"])
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Reviewing"
    assert refused("update_hit_review_status", HITId=hit["HITId"]) == "InvalidHITState"
    by_type = {"HITTypeId": hit["HITTypeId"]}
    assert client.list_reviewable_hits(**by_type)["NumResults"] == 0
    assert client.list_reviewable_hits(**by_type, Status="Reviewing")["NumResults"] == 1
    client.update_hit_review_status(HITId=hit["HITId"], Revert=True)
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Reviewable"
    assert refused("update_hit_review_status", HITId=hit["HITId"], Revert=True) == "InvalidHITState"
    client.update_hit_review_status(HITId=hit["HITId"])
    client.create_additional_assignments_for_hit(HITId=hit["HITId"], NumberOfAdditionalAssignments=1)
    join().answer(hit["HITTypeId"], "dots")
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Reviewable"


def test_what_is_anothers_is_as_good_as_none(other, refused, post_hit, join, make_type):
    hit, kind, person = post_hit(), make_type(), join()
    assignment = person.answer(hit["HITTypeId"], "dots")
    of_hit, of_type = {"HITId": hit["HITId"]}, {"QualificationTypeId": kind["QualificationTypeId"]}
    of_answer, of_worker = {"AssignmentId": assignment}, {"WorkerId": person.worker_id}
    sqs = {"Destination": "http://x/q", "Transport": "SQS", "Version": "2014-08-15", "EventTypes": ["HITCreated"]}
    for operation, values, code in [
        ("get_hit", of_hit, "HITDoesNotExist"),
        ("delete_hit", of_hit, "HITDoesNotExist"),
        ("update_expiration_for_hit", {**of_hit, "ExpireAt": 0}, "HITDoesNotExist"),
        ("create_additional_assignments_for_hit", {**of_hit, "NumberOfAdditionalAssignments": 1}, "HITDoesNotExist"),
        ("update_hit_review_status", of_hit, "HITDoesNotExist"),
        ("update_hit_type_of_hit", {**of_hit, "HITTypeId": hit["HITTypeId"]}, "HITDoesNotExist"),
        ("list_assignments_for_hit", of_hit, "HITDoesNotExist"),
        ("list_bonus_payments", of_hit, "HITDoesNotExist"),
        ("list_bonus_payments", of_answer, "AssignmentDoesNotExist"),
        ("get_assignment", of_answer, "AssignmentDoesNotExist"),
        ("approve_assignment", of_answer, "AssignmentDoesNotExist"),
        ("reject_assignment", {**of_answer, "RequesterFeedback": "x"}, "AssignmentDoesNotExist"),
        ("send_bonus", {**of_answer, **of_worker, "BonusAmount": "1", "Reason": "r"}, "AssignmentDoesNotExist"),
        ("update_qualification_type", of_type, "QualificationTypeDoesNotExist"),
        ("delete_qualification_type", of_type, "QualificationTypeDoesNotExist"),
        ("list_qualification_requests", of_type, "QualificationTypeDoesNotExist"),
        ("list_workers_with_qualification_type", of_type, "QualificationTypeDoesNotExist"),
        ("get_qualification_score", {**of_type, **of_worker}, "QualificationTypeDoesNotExist"),
        ("associate_qualification_with_worker", {**of_type, **of_worker}, "QualificationTypeDoesNotExist"),
        ("disassociate_qualification_from_worker", {**of_type, **of_worker}, "QualificationTypeDoesNotExist"),
        (
            "update_notification_settings",
            {"HITTypeId": hit["HITTypeId"], "Notification": sqs},
            "HITTypeDoesNotExist",
        ),
    ]:
        assert refused(operation, by=other, **values) == code, operation
    failed = other.notify_workers(Subject="s", MessageText="m", WorkerIds=[person.worker_id])
    assert len(failed["NotifyWorkersFailureStatuses"]) == 1
    assert other.list_hits()["HITs"] == []


def test_html_and_sql_come_back_unchanged_from_every_text(client, post_hit, join, make_type):
    text = NASTY + uuid.uuid4().hex
    hit = post_hit(Title=text, Description=NASTY, Keywords=NASTY, RequesterAnnotation=NASTY)
    found = client.get_hit(HITId=hit["HITId"])["HIT"]
    assert [found[name] for name in ("Title", "Description", "Keywords", "RequesterAnnotation")] == [
        text,
        NASTY,
        NASTY,
        NASTY,
    ]
    kind = make_type(Name=text, Description=NASTY, Keywords=NASTY)
    (listed,) = client.list_qualification_types(Query=text, MustBeRequestable=True)["QualificationTypes"]
    assert listed == kind
    assignment = join().answer(hit["HITTypeId"], "dots")
    client.reject_assignment(AssignmentId=assignment, RequesterFeedback=NASTY)
    assert client.get_assignment(AssignmentId=assignment)["Assignment"]["RequesterFeedback"] == NASTY
    assert client.get_account_balance()["AvailableBalance"] == "10000.00"  # and every table is still there


def test_the_same_signed_request_may_come_twice_but_makes_one_hit(crowd_server, client, our_question):
    import httpx

    sent = []
    client.meta.events.register("before-send.mturk", lambda request, **_: sent.append(request))
    values = {"Title": "twice", "Description": "d", "Reward": "0.01", "AssignmentDurationInSeconds": 60}
    made = client.create_hit(
        **values, LifetimeInSeconds=60, Question=our_question(), UniqueRequestToken=uuid.uuid4().hex
    )["HIT"]
    (request,) = sent
    again = httpx.post(crowd_server.url, content=request.body, headers=dict(request.headers))
    assert (again.status_code, again.json()["TurkErrorCode"]) == (400, "AWS.MechanicalTurk.HITAlreadyExists")
    assert made["HITId"] in again.json()["Message"]
