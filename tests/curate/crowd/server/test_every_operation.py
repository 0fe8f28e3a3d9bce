"""One requester's life, in which every operation of the protocol is called; each reply is held against the model."""

from __future__ import annotations

import uuid

import pytest

from curate.crowd.server.model import operation_names

QUEUE = {"Destination": "http://127.0.0.1:9/q", "Transport": "SQS", "Version": "2014-08-15"}


@pytest.fixture
def client(crowd_server):
    return crowd_server.client()


@pytest.fixture
def make_type(client):
    def make(**changes):
        values = {"Name": f"type {uuid.uuid4()}", "Description": "d", "QualificationTypeStatus": "Active"}
        return client.create_qualification_type(**{**values, **changes})["QualificationType"]["QualificationTypeId"]

    return make


def test_every_operation_replies_as_the_model_says(crowd_server, client, post_hit, join, make_type):
    crowd_server.replied.clear()
    tell_of_qualifications(client, post_hit, join, make_type())
    tell_of_hits(client, post_hit, join)
    tell_of_workers(client, post_hit, join)
    wanted = {**QUEUE, "EventTypes": ["HITCreated"]}
    hit_type = post_hit()["HITTypeId"]
    client.update_notification_settings(HITTypeId=hit_type, Notification=wanted, Active=False)
    client.send_test_event_notification(Notification=wanted, TestEventType="Ping")
    client.get_account_balance()
    with pytest.raises(client.exceptions.RequestError):  # a modeled refusal: no worker here can upload a file
        client.get_file_upload_url(AssignmentId="3NONE", QuestionIdentifier="q")
    assert operation_names() - crowd_server.replied == {"GetFileUploadURL"}


def tell_of_qualifications(client, post_hit, join, kind):
    """Two workers ask for a qualification, one is refused, a third is given it and loses it again."""
    hit = post_hit(QualificationRequirements=[{"QualificationTypeId": kind, "Comparator": "Exists"}])
    people = [join(), join()]
    for person in people:
        person.post(person.group(hit["HITTypeId"])["qualifications"][0]["request_url"])
    asked = client.list_qualification_requests(QualificationTypeId=kind)["QualificationRequests"]
    by_worker = {request["WorkerId"]: request["QualificationRequestId"] for request in asked}
    client.accept_qualification_request(QualificationRequestId=by_worker[people[0].worker_id])
    client.reject_qualification_request(QualificationRequestId=by_worker[people[1].worker_id], Reason="not yet")
    named = {"QualificationTypeId": kind, "WorkerId": people[1].worker_id}
    client.associate_qualification_with_worker(**named)
    client.get_qualification_score(**named)
    held = client.list_workers_with_qualification_type(QualificationTypeId=kind)["Qualifications"]
    assert {each["WorkerId"] for each in held} == {person.worker_id for person in people}
    client.disassociate_qualification_from_worker(**named)
    assert client.list_hits_for_qualification_type(QualificationTypeId=kind)["NumResults"] == 1
    assert client.list_qualification_types(MustBeRequestable=True)["NumResults"] > 0
    client.update_qualification_type(QualificationTypeId=kind, Description="still d")
    assert client.get_qualification_type(QualificationTypeId=kind)["QualificationType"]["Description"] == "still d"
    client.delete_qualification_type(QualificationTypeId=kind)


def tell_of_hits(client, post_hit, join):
    """A HIT is answered, reviewed, opened again, closed and deleted."""
    described = {"Title": "t", "Description": "d", "Reward": "0.01", "AssignmentDurationInSeconds": 60}
    hit_type = {"HITTypeId": client.create_hit_type(**described)["HITTypeId"]}
    first = post_hit()
    asked = {"LifetimeInSeconds": 3600, "Question": client.get_hit(HITId=first["HITId"])["HIT"]["Question"]}
    hit = client.create_hit_with_hit_type(**hit_type, **asked)["HIT"]
    named = {"HITId": hit["HITId"]}
    join().answer(hit["HITTypeId"], "dots")
    assert client.list_reviewable_hits(**hit_type)["NumResults"] == 1
    client.update_hit_review_status(**named)
    assert client.list_review_policy_results_for_hit(**named)["HITId"] == hit["HITId"]
    client.create_additional_assignments_for_hit(**named, NumberOfAdditionalAssignments=1)
    client.update_expiration_for_hit(**named, ExpireAt=0)
    client.update_hit_type_of_hit(**named, HITTypeId=first["HITTypeId"])
    (assignment,) = client.list_assignments_for_hit(**named)["Assignments"]
    client.approve_assignment(AssignmentId=assignment["AssignmentId"])
    assert hit["HITId"] in {each["HITId"] for each in client.list_hits(MaxResults=100)["HITs"]}
    client.delete_hit(**named)


def tell_of_workers(client, post_hit, join):
    """A worker is rejected with a reason, forgiven, thanked with a bonus, written to, blocked and unblocked."""
    person, hit = join(), post_hit()
    named = {"WorkerId": person.worker_id, "AssignmentId": person.answer(hit["HITTypeId"], "dots")}
    client.reject_assignment(AssignmentId=named["AssignmentId"], RequesterFeedback="all dots")
    client.approve_assignment(AssignmentId=named["AssignmentId"], OverrideRejection=True)
    assert client.get_assignment(AssignmentId=named["AssignmentId"])["Assignment"]["AssignmentStatus"] == "Approved"
    client.send_bonus(**named, BonusAmount="0.05", Reason="thanks", UniqueRequestToken=str(uuid.uuid4()))
    assert client.list_bonus_payments(HITId=hit["HITId"])["NumResults"] == 1
    client.notify_workers(Subject="hello", MessageText="thank you", WorkerIds=[person.worker_id])
    client.create_worker_block(WorkerId=person.worker_id, Reason="a test")
    blocked = client.list_worker_blocks(MaxResults=100)["WorkerBlocks"]
    assert person.worker_id in {each["WorkerId"] for each in blocked}
    client.delete_worker_block(WorkerId=person.worker_id)
