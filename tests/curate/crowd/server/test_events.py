"""Events reach SQS, SNS (moto's server on a free port) and an address (a real SMTP server), whatever happens in between."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import uuid
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from curate.crowd.server import rules, sender, sessions, workers
from curate.crowd.server.operations import OPERATIONS
from curate.crowd.server.operations.call import Call
from curate.crowd.server.schema import events, messages
from curate.crowd.server.store import now, open_store

ALL = [
    "AssignmentAccepted",
    "AssignmentAbandoned",
    "AssignmentReturned",
    "AssignmentSubmitted",
    "AssignmentRejected",
    "AssignmentApproved",
    "HITCreated",
    "HITExpired",
    "HITReviewable",
    "HITExtended",
    "HITDisposed",
]
DAY = 24 * 3600


@pytest.fixture(scope="module")
def cloud():
    """SQS and SNS on loopback; the environment points every boto3 client of this process and its children there."""
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL_SQS": url,
            "AWS_ENDPOINT_URL_SNS": url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            patch.setenv(name, value)
        sqs, sns = (boto3.client(name, region_name="us-east-1") for name in ("sqs", "sns"))
        yield SimpleNamespace(sqs=sqs, sns=sns)
    server.stop()


@pytest.fixture
def queue(cloud):
    """A new queue, and a function that waits for a number of notifications in it."""
    url = cloud.sqs.create_queue(QueueName=f"q{uuid.uuid4().hex}")["QueueUrl"]

    def receive(count, seconds=30):
        found, end = [], time.monotonic() + seconds
        while len(found) < count and time.monotonic() < end:
            reply = cloud.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in reply.get("Messages", []):
                found.append(json.loads(message["Body"]))
                cloud.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found

    return SimpleNamespace(url=url, receive=receive)


@pytest.fixture
def server(start_crowd, cloud, mailbox, monkeypatch, tmp_path):
    monkeypatch.setenv("CURATE_SMTP_URL", mailbox.url)
    monkeypatch.setenv("CURATE_MAIL_FROM", "crowd@example.org")
    started = start_crowd(f"sqlite:///{tmp_path / 'crowd.db'}", tmp_path)
    yield started
    if started.process.poll() is None:
        started.stop()
    started.process.stdout.close()


def spec(destination, transport="SQS", wanted=ALL):
    return {"Destination": destination, "Transport": transport, "Version": "2014-08-15", "EventTypes": list(wanted)}


@pytest.fixture
def store(tmp_path):
    made = open_store(f"sqlite:///{tmp_path / 'alone.db'}")
    yield made
    made.close()


@pytest.fixture
def ask(store, our_question):
    """Call an operation at a time; `kind` is a HIT type about which everything is told to a queue."""

    def call(operation, at=None, **values):
        return OPERATIONS[operation](Call(store, "me", now() if at is None else at), values)

    values = {"Title": "t", "Description": "d", "Reward": "0.1", "AssignmentDurationInSeconds": 600}
    kind = call("CreateHITType", **values, AutoApprovalDelayInSeconds=3600)["HITTypeId"]
    call("UpdateNotificationSettings", HITTypeId=kind, Notification=spec("http://queue.example.org/q"))

    def hit(**changes):
        base = {"HITTypeId": kind, "LifetimeInSeconds": 7200, "Question": our_question()}
        return call("CreateHITWithHITType", **{**base, **changes})["HIT"]["HITId"]

    return SimpleNamespace(call=call, kind=kind, hit=hit)


def told(store):
    with store.reading() as connection:
        bodies = connection.scalars(select(events.c.body).order_by(events.c.seq)).all()
    return [json.loads(body)["Events"][0]["EventType"] for body in bodies]


def test_the_life_of_an_answer_is_told_in_order(store, ask):
    worker, _ = sessions.join(store, "Bo", False)
    hit = ask.hit()
    workers.give_back(store, worker, workers.accept(store, worker, ask.kind))
    assignment = workers.accept(store, worker, ask.kind)
    workers.submit(store, assignment, "<x/>")
    ask.call("RejectAssignment", AssignmentId=assignment, RequesterFeedback="no")
    ask.call("ApproveAssignment", AssignmentId=assignment, OverrideRejection=True)
    ask.call("CreateAdditionalAssignmentsForHIT", HITId=hit, NumberOfAdditionalAssignments=1)
    ask.call("UpdateExpirationForHIT", HITId=hit, ExpireAt=0)
    ask.call("UpdateExpirationForHIT", HITId=hit, ExpireAt=0)
    ask.call("DeleteHIT", HITId=hit)
    assert told(store) == [
        *("HITCreated", "AssignmentAccepted", "AssignmentReturned", "AssignmentAccepted", "AssignmentSubmitted"),
        *("HITReviewable", "AssignmentRejected", "AssignmentApproved", "HITExtended", "HITExpired", "HITReviewable"),
        "HITDisposed",
    ]


def test_what_time_does_is_told_too(store, ask):
    worker, _ = sessions.join(store, "Bo", False)
    ask.hit(LifetimeInSeconds=60, MaxAssignments=2)
    start = now()
    workers.submit(store, workers.accept(store, worker, ask.kind), "<x/>")
    workers.accept(store, sessions.join(store, "Al", False)[0], ask.kind)
    for at in (61, 62, 599, 602, 603, 3602, 3603):
        rules.settle(store, start + at)
    assert told(store)[4:] == ["HITExpired", "AssignmentAbandoned", "HITReviewable", "AssignmentApproved"]


def test_only_what_was_asked_for_is_told_and_only_from_then_on(store, ask):
    ask.hit(LifetimeInSeconds=30)
    ask.call("UpdateNotificationSettings", HITTypeId=ask.kind, Active=False)
    rules.settle(store, now() + 60)
    ask.hit()
    later = now() + 70
    ask.call("UpdateNotificationSettings", at=later, HITTypeId=ask.kind, Notification=spec("http://q", wanted=ALL))
    rules.settle(store, now() + 80)
    assert told(store) == ["HITCreated"]  # inactive: a kept Active = False is not undone by another specification
    ask.call("UpdateNotificationSettings", at=later, HITTypeId=ask.kind, Active=True)
    rules.settle(store, now() + 80)
    assert told(store) == ["HITCreated"]
    wanted = spec("http://q", wanted=["HITDisposed"])
    ask.call("UpdateNotificationSettings", HITTypeId=ask.kind, Notification=wanted)
    ask.hit()
    assert told(store) == ["HITCreated"]


def test_an_event_and_what_it_tells_about_are_one_transaction(store, ask):
    hit = ask.hit()
    with contextlib.suppress(RuntimeError), store.writing() as connection:
        rules.dispose(connection, hit, now())
        raise RuntimeError
    assert told(store) == ["HITCreated"]


def test_a_delivery_that_fails_is_tried_again_and_given_up_aloud(store, ask, caplog):
    ask.hit()
    tried = []

    def fail(row):
        tried.append(row.seq)
        raise sender.NotSent("the queue is away")

    at = now()
    assert sender.send_due(store, at, fail) == 0
    assert sender.send_due(store, at, fail) == 0  # not yet
    for _ in range(30):
        at += 3700
        sender.send_due(store, at, fail)
    assert len(tried) == sender.TRIES
    assert "given up" in caplog.text


def test_a_sender_killed_between_sending_and_marking_leaves_the_event_to_be_sent_again(store, ask):
    ask.hit()
    sent = []

    def die(row):
        sent.append(row.body)
        raise SystemExit

    at = now()
    with pytest.raises(SystemExit):
        sender.send_due(store, at, die)
    assert sender.send_due(store, at + 1, lambda row: sent.append(row.body)) == 0  # it might still be on its way
    assert sender.send_due(store, at + sender.LEASE + 1, lambda row: sent.append(row.body)) == 1
    assert sent[0] == sent[1]  # with the EventDocId by which a reader knows it


def test_two_senders_share_one_outbox(store, ask):
    for _ in range(5):
        ask.hit()
    sent, at = [], now()

    def first(row):
        sent.append(row.seq)
        sender.send_due(store, at, lambda other: sent.append(other.seq))  # the other server, meanwhile

    sender.send_due(store, at, first)
    assert sorted(sent) == sorted(set(sent))
    assert len(sent) == 5


def test_a_closed_hit_is_disposed_of_after_120_days_and_never_with_open_answers(store, ask):
    worker, _ = sessions.join(store, "Bo", False)
    done, open_ = ask.hit(), ask.hit()
    ask.call("ApproveAssignment", AssignmentId=_submitted(store, worker, ask.kind))
    _submitted(store, worker, ask.kind)
    assert rules.dispose_old(store, now() + 119 * DAY) == 0
    assert rules.dispose_old(store, now() + 121 * DAY) == 1
    assert ask.call("GetHIT", HITId=done)["HIT"]["HITStatus"] == "Disposed"
    assert ask.call("GetHIT", HITId=open_)["HIT"]["HITStatus"] == "Reviewable"
    assert told(store)[-1] == "HITDisposed"


def _submitted(store, worker, kind):
    assignment = workers.accept(store, worker, kind)
    workers.submit(store, assignment, "<x/>")
    return assignment


def test_a_queue_gets_the_documented_message(server, queue, our_question):
    client = server.client()
    values = {"Title": "t", "Description": "d", "Reward": "0.1", "AssignmentDurationInSeconds": 600}
    kind = client.create_hit_type(**values)["HITTypeId"]
    client.update_notification_settings(HITTypeId=kind, Notification=spec(queue.url))
    hit = client.create_hit_with_hit_type(HITTypeId=kind, LifetimeInSeconds=600, Question=our_question())["HIT"]
    (document,) = queue.receive(1)
    (event,) = document.pop("Events")
    assert document.keys() == {"EventDocVersion", "EventDocId", "CustomerId"}
    assert (document["EventDocVersion"], document["CustomerId"]) == ("2014-08-15", "tests")
    assert time.strptime(event.pop("EventTimestamp"), "%Y-%m-%dT%H:%M:%SZ")
    assert event == {"EventType": "HITCreated", "HITTypeId": kind, "HITGroupId": kind, "HITId": hit["HITId"]}


def test_a_topic_gets_every_kind_of_test_event(server, cloud, queue):
    topic = cloud.sns.create_topic(Name=f"t{uuid.uuid4().hex}")["TopicArn"]
    arn = cloud.sqs.get_queue_attributes(QueueUrl=queue.url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    cloud.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    client = server.client()
    for event in [*ALL, "Ping"]:
        client.send_test_event_notification(Notification=spec(topic, "SNS"), TestEventType=event)
    documents = queue.receive(12)
    found = {document["Events"][0]["EventType"]: document["Events"][0] for document in documents}
    assert set(found) == {*ALL, "Ping"}
    assert set(found["Ping"]) == {"EventType", "EventTimestamp"}
    assert "AssignmentId" in found["AssignmentAccepted"]


def test_events_and_messages_go_by_mail(server, mailbox, our_question):
    client = server.client()
    mail = spec("boss@example.org", "Email")
    client.send_test_event_notification(Notification=mail, TestEventType="HITReviewable")
    _until(lambda: len(mailbox.mails) == 1)
    assert mailbox.mails[0]["to"] == ["boss@example.org"]
    assert json.loads(mailbox.mails[0]["message"].get_content())["Events"][0]["EventType"] == "HITReviewable"


def test_a_message_is_mailed_to_a_verified_address_once(store, mailbox, monkeypatch):
    from curate.crowd.server import inbox
    from curate.crowd.server.schema import emails

    worker, _ = sessions.join(store, "Bo", False)
    silent, _ = sessions.join(store, "Al", False)
    with store.writing() as connection:
        for address in ("bo@example.org", "also-bo@example.org"):
            connection.execute(emails.insert().values(email=address, worker_id=worker.worker_id, verified_at=now()))
        inbox.post(connection, worker.worker_id, "me", "Hello", "Words", now())
        inbox.post(connection, silent.worker_id, "me", "Hello", "Words", now())
    assert sender.mail_due(store, now()) == 0  # no mail server is configured: the inbox is all there is
    monkeypatch.setenv("CURATE_SMTP_URL", mailbox.url)
    monkeypatch.setenv("CURATE_MAIL_FROM", "crowd@example.org")
    assert [sender.mail_due(store, now() + 60) for _ in range(2)] == [1, 0]
    assert len(mailbox.mails) == 1
    with store.reading() as connection:
        assert connection.scalars(select(messages.c.mailed_at).order_by(messages.c.seq)).all()[1] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"Transport": "SQS", "Destination": "my queue"},
        {"Transport": "SNS", "Destination": "http://x/q"},
        {"Transport": "Email", "Destination": "boss"},
        {"Version": "1999-01-01"},
        {"EventTypes": ["Ping"]},
        {"EventTypes": []},
    ],
)
def test_a_destination_that_is_none_is_refused(server, changes):
    client = server.client()
    values = {"Title": "t", "Description": "d", "Reward": "0.1", "AssignmentDurationInSeconds": 600}
    kind = client.create_hit_type(**values)["HITTypeId"]
    with pytest.raises(client.exceptions.RequestError) as caught:
        client.update_notification_settings(HITTypeId=kind, Notification={**spec("http://x/q"), **changes})
    assert caught.value.response["TurkErrorCode"] == "AWS.MechanicalTurk.ParameterValidationError"


def test_a_server_killed_with_events_waiting_sends_them_when_it_is_back(
    start_crowd, cloud, queue, tmp_path, our_question
):
    db = f"sqlite:///{tmp_path / 'crowd.db'}"
    first = start_crowd(db, tmp_path)
    client = first.client()
    values = {"Title": "t", "Description": "d", "Reward": "0.1", "AssignmentDurationInSeconds": 600}
    kind = client.create_hit_type(**values)["HITTypeId"]
    client.update_notification_settings(HITTypeId=kind, Notification=spec(queue.url))
    made = {"HITTypeId": kind, "LifetimeInSeconds": 600, "Question": our_question()}
    hits = {client.create_hit_with_hit_type(**made)["HIT"]["HITId"] for _ in range(20)}
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    first.process.stdout.close()
    store = open_store(db)
    with store.writing() as connection:  # whatever the killed one had claimed is due again at once
        connection.execute(events.update().where(events.c.sent_at.is_(None)).values(next_try_at=0))
    store.close()
    second = start_crowd(db, tmp_path)
    got = queue.receive(20)
    while {document["Events"][0]["HITId"] for document in got} != hits and (more := queue.receive(1)):
        got += more
    assert {document["Events"][0]["HITId"] for document in got} == hits
    assert second.stop() == 0
    second.process.stdout.close()


def _until(done, seconds=20):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
