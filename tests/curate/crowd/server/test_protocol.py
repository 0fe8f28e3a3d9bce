"""Real boto3 against a real server: what any MTurk client relies on."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from curate.crowd.server.model import operation_names
from curate.crowd.server.operations import OPERATIONS


@pytest.fixture
def client(crowd_server):
    return crowd_server.client()


@pytest.fixture
def refused(client):
    """Call an operation that must be refused; its TurkErrorCode without the prefix, and its message."""

    def call(operation, **values):
        with pytest.raises(client.exceptions.RequestError) as caught:
            getattr(client, operation)(**values)
        reply = caught.value.response
        assert re.search(r" \(\d{13}\)$", reply["Error"]["Message"])
        return reply["TurkErrorCode"].removeprefix("AWS.MechanicalTurk."), reply["Error"]["Message"]

    return call


def test_the_account_has_a_balance(client):
    assert client.get_account_balance()["AvailableBalance"] == "10000.00"


def test_a_hit_is_read_as_it_was_created(client, post_hit):
    hit = post_hit(MaxAssignments=3, RequesterAnnotation="batch 7", Keywords="a,b")
    assert client.get_hit(HITId=hit["HITId"])["HIT"] == hit
    assert (hit["HITStatus"], hit["NumberOfAssignmentsAvailable"], hit["RequesterAnnotation"]) == (
        "Assignable",
        3,
        "batch 7",
    )


def test_equal_values_give_the_same_hit_type(client, post_hit):
    values = {"Title": "t", "Description": "d", "Reward": "0.05", "AssignmentDurationInSeconds": 60}
    first = client.create_hit_type(**values)["HITTypeId"]
    assert client.create_hit_type(**values)["HITTypeId"] == first
    assert client.create_hit_type(**{**values, "Reward": "0.06"})["HITTypeId"] != first


def test_a_hit_can_be_made_of_a_known_type(client, our_question):
    values = {"Title": "typed", "Description": "d", "Reward": "0.05", "AssignmentDurationInSeconds": 60}
    kind = client.create_hit_type(**values)["HITTypeId"]
    made = client.create_hit_with_hit_type(HITTypeId=kind, LifetimeInSeconds=60, Question=our_question())
    assert (made["HIT"]["HITTypeId"], made["HIT"]["Title"]) == (kind, "typed")


def test_a_token_that_comes_again_makes_no_second_hit_and_names_the_first(post_hit, client, our_question):
    hit = post_hit(UniqueRequestToken="once")
    with pytest.raises(client.exceptions.RequestError) as caught:
        post_hit(UniqueRequestToken="once")
    assert caught.value.response["TurkErrorCode"] == "AWS.MechanicalTurk.HITAlreadyExists"
    assert hit["HITId"] in caught.value.response["Error"]["Message"]


def test_one_token_from_sixteen_threads_makes_one_hit(post_hit):
    def attempt(_):
        try:
            return post_hit(UniqueRequestToken="race")["HITId"]
        except ClientError as error:
            return error.response["TurkErrorCode"]

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert outcomes.count("AWS.MechanicalTurk.HITAlreadyExists") == 15


def test_every_page_that_holds_something_has_a_next_token(client, post_hit):
    made = [post_hit()["HITId"] for _ in range(4)]
    seen, token = [], {}
    while True:
        page = client.list_hits(MaxResults=2, **token)
        if not page["HITs"]:
            assert "NextToken" not in page
            break
        seen += [hit["HITId"] for hit in page["HITs"]]
        token = {"NextToken": page["NextToken"]}  # a KeyError here is what other clients would get
    assert [hit for hit in seen if hit in made] == made
    assert len(seen) == len(set(seen))


def test_a_paginator_reads_all_answers_once(client, post_hit, join):
    hit = post_hit(MaxAssignments=5)
    sent = {join().answer(hit["HITTypeId"], "dots") for _ in range(5)}
    pages = client.get_paginator("list_assignments_for_hit").paginate(HITId=hit["HITId"], MaxResults=2)
    read = [a["AssignmentId"] for page in pages for a in page["Assignments"]]
    assert sorted(read) == sorted(sent)


@pytest.mark.parametrize(
    ("operation", "values", "code"),
    [
        ("get_hit", {"HITId": "3NOSUCHHIT"}, "HITDoesNotExist"),
        ("get_hit", {"HITId": "lower case"}, "ParameterValidationError"),
        ("get_assignment", {"AssignmentId": "3NO"}, "AssignmentDoesNotExist"),
        ("list_hits", {"MaxResults": 101}, "ParameterValidationError"),
        ("list_hits", {"NextToken": "made up"}, "InvalidNextToken"),
        ("get_qualification_type", {"QualificationTypeId": "3NO"}, "QualificationTypeDoesNotExist"),
        ("list_reviewable_hits", {"Status": "Assignable"}, "ParameterValidationError"),
        ("get_file_upload_url", {"AssignmentId": "3NO", "QuestionIdentifier": "q"}, "QuestionDoesNotExist"),
    ],
)
def test_what_cannot_be_is_a_modeled_error(refused, operation, values, code):
    assert refused(operation, **values)[0] == code


@pytest.mark.parametrize(
    "changes",
    [
        {"UniqueRequestToken": "x" * 65},
        {"Reward": "ten cents"},
        {"Reward": "0.123"},
        {"LifetimeInSeconds": 5},
        {"MaxAssignments": 0},
        {"Title": "x" * 129},
        {"QualificationRequirements": [{"QualificationTypeId": "3A", "Comparator": "Likes"}]},
        {"QualificationRequirements": [{"QualificationTypeId": "000000000000000000L0", "Comparator": "EqualTo"}]},
    ],
)
def test_values_outside_the_model_are_refused(post_hit, client, changes):
    with pytest.raises(client.exceptions.RequestError) as caught:
        post_hit(**changes)
    assert caught.value.response["TurkErrorCode"] == "AWS.MechanicalTurk.ParameterValidationError"


BOMB = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;&b;&b;">]><QuestionForm>&c;</QuestionForm>'


@pytest.mark.parametrize("question", ["<broken", "<p>hello</p>", "", BOMB, "x" * 70_000])
def test_a_question_that_is_none_is_refused(post_hit, client, question):
    with pytest.raises(client.exceptions.RequestError):
        post_hit(Question=question)


def test_every_operation_we_have_is_in_the_model():
    assert set(OPERATIONS) <= operation_names()
    assert len(operation_names()) == 39


def test_an_approved_answer_cannot_be_approved_again(client, refused, post_hit, join):
    hit = post_hit()
    assignment = join().answer(hit["HITTypeId"], "dots")
    client.approve_assignment(AssignmentId=assignment)
    code, message = refused("approve_assignment", AssignmentId=assignment)
    assert code == "InvalidAssignmentState"
    assert "This operation can be called with a status of: Submitted" in message


def test_a_rejection_needs_no_words_and_can_be_taken_back(client, refused, post_hit, join):
    hit = post_hit()
    assignment = join().answer(hit["HITTypeId"], "dots")
    client.reject_assignment(AssignmentId=assignment, RequesterFeedback="")
    assert refused("approve_assignment", AssignmentId=assignment)[0] == "InvalidAssignmentState"
    client.approve_assignment(AssignmentId=assignment, OverrideRejection=True)
    assert client.get_assignment(AssignmentId=assignment)["Assignment"]["AssignmentStatus"] == "Approved"


def test_a_hit_goes_from_assignable_to_reviewable_to_disposed(client, refused, post_hit, join):
    hit = post_hit()
    assert refused("delete_hit", HITId=hit["HITId"])[0] == "InvalidHITState"
    person = join()
    person.post(f"/accept/{hit['HITTypeId']}")
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Unassignable"
    assignment = person.answer(hit["HITTypeId"], "dots")
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Reviewable"
    listed = client.list_reviewable_hits(HITTypeId=hit["HITTypeId"])["HITs"]
    assert [found["HITId"] for found in listed] == [hit["HITId"]]
    assert refused("delete_hit", HITId=hit["HITId"])[0] == "InvalidHITState"  # its answer is not judged
    client.approve_assignment(AssignmentId=assignment)
    client.delete_hit(HITId=hit["HITId"])
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Disposed"


def test_an_expired_hit_is_not_offered_and_can_be_opened_again(client, post_hit, join):
    hit, person = post_hit(), join()
    client.update_expiration_for_hit(HITId=hit["HITId"], ExpireAt=0)
    assert person.group(hit["HITTypeId"]) is None
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["HITStatus"] == "Reviewable"
    client.update_expiration_for_hit(HITId=hit["HITId"], ExpireAt=4_000_000_000)
    assert person.group(hit["HITTypeId"])["available"] == 1


def test_nine_assignments_never_become_ten(client, refused, post_hit):
    hit = post_hit(MaxAssignments=3)
    extend = {"HITId": hit["HITId"], "UniqueRequestToken": hit["HITId"]}
    client.create_additional_assignments_for_hit(**extend, NumberOfAdditionalAssignments=6)
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["MaxAssignments"] == 9
    again = refused("create_additional_assignments_for_hit", **extend, NumberOfAdditionalAssignments=1)
    assert again[0] == "HITAlreadyExists"
    more = refused("create_additional_assignments_for_hit", HITId=hit["HITId"], NumberOfAdditionalAssignments=1)
    assert more[0] == "InvalidMaximumAssignmentsIncrease"


def test_requesters_do_not_see_each_other(start_crowd, crowd_server, post_hit, client):
    from curate.crowd.server.keys import issue
    from curate.crowd.server.store import open_store

    store = open_store(crowd_server.db)
    key, secret = issue(store, "somebody else")
    store.close()
    other = crowd_server.client(aws_access_key_id=key, aws_secret_access_key=secret)
    hit = post_hit()
    assert other.list_hits()["HITs"] == []
    with pytest.raises(other.exceptions.RequestError, match="does not exist"):
        other.get_hit(HITId=hit["HITId"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aws_secret_access_key": "wrong"}, "InvalidSignatureException"),
        ({"aws_access_key_id": "CKNOBODY"}, "UnrecognizedClientException"),
    ],
)
def test_a_wrong_key_is_refused(crowd_server, changes, code):
    with pytest.raises(ClientError) as caught:
        crowd_server.client(**changes).get_account_balance()
    assert caught.value.response["Error"]["Code"] == code


def test_a_request_without_signature_is_refused(crowd_server):
    import httpx

    target = {"X-Amz-Target": "MTurkRequesterServiceV20170117.GetAccountBalance"}
    reply = httpx.post(crowd_server.url, headers=target, content="{}")
    assert (reply.status_code, reply.json()["__type"]) == (403, "MissingAuthenticationToken")


def test_a_request_too_large_is_refused(crowd_server):
    import httpx

    assert httpx.post(crowd_server.url, content=b"x" * 1_100_000).status_code == 400
