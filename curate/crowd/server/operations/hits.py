"""HIT types and HITs: made, read, listed, extended, expired, disposed of."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from curate.crowd.crash import crash_point
from curate.crowd.server import events, reviewing, rules
from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.layouts import question_of_layout
from curate.crowd.server.operations.call import Call, bounded, keep_token, page, seen_token
from curate.crowd.server.operations.qualifications import check_requirements, known_type
from curate.crowd.server.questions import parse_question
from curate.crowd.server.review_policies import read_known_answers, read_plurality
from curate.crowd.server.schema import hit_types, hits
from curate.crowd.server.store import new_id, one

YEAR = 31_536_000  # seconds; the longest that MTurk allows for a lifetime or an assignment
_MONTH = 2_592_000

# HITs, each with the values of its type.
_TYPE_COLUMNS = [column for column in hit_types.c if column.name not in hits.c]
WITH_TYPE = select(*hits.c, *_TYPE_COLUMNS).join(hit_types, hits.c.hit_type_id == hit_types.c.hit_type_id)
_OWN = WITH_TYPE.where(hits.c.hit_id == bindparam("id"), hits.c.requester == bindparam("requester"))


def create_hit_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """The HIT type with these values: the same id whenever they are equal."""
    with call.store.writing() as connection:
        return {"HITTypeId": _hit_type(connection, call, data)}


def _hit_type(connection: Connection, call: Call, data: dict[str, Any]) -> str:
    """The id of the type with these values, made when it is new."""
    bounded(data, "AssignmentDurationInSeconds", 30, YEAR)
    bounded(data, "AutoApprovalDelayInSeconds", 0, _MONTH)
    for name, longest in (("Title", 128), ("Description", 2000), ("Keywords", 1000)):
        if len(data.get(name, "")) > longest:
            raise BadInput(f"{name}: has {len(data[name])} characters; at most {longest} are allowed")
    requirements = data.get("QualificationRequirements", [])
    check_requirements(connection, requirements)
    values = {
        "requester": call.requester,
        "title": data["Title"],
        "description": data["Description"],
        "keywords": data.get("Keywords"),
        "reward": data["Reward"],
        "assignment_duration": data["AssignmentDurationInSeconds"],
        "auto_approval_delay": data.get("AutoApprovalDelayInSeconds", _MONTH),
        "requirements": json.dumps(requirements, sort_keys=True),
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()
    identifier = "3" + base64.b32encode(digest).decode()[:29]
    if one(connection, select(hit_types.c.hit_type_id).where(hit_types.c.hit_type_id == identifier)) is None:
        connection.execute(insert(hit_types).values(hit_type_id=identifier, created_at=call.now, **values))
    return identifier


def create_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A new HIT, its type made on the way."""
    return _create(call, "CreateHIT", data, lambda connection: _hit_type(connection, call, data))


def create_hit_with_hit_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A new HIT of a type that there is."""

    def known(connection: Connection) -> str:
        kind = own_hit_type(connection, call, data["HITTypeId"])
        check_requirements(connection, rules.requirements_of(kind))  # one of them may have been deleted since
        return kind.hit_type_id  # type: ignore[no-any-return]

    return _create(call, "CreateHITWithHITType", data, known)


def _create(call: Call, operation: str, data: dict[str, Any], type_id: Any) -> dict[str, Any]:
    _check(data)
    with call.store.writing() as connection:
        if earlier := seen_token(connection, call, "CreateHIT", data):
            raise RequestError(
                "HITAlreadyExists",
                f"The HIT with ID {earlier} already exists: a request with this UniqueRequestToken made it.",
            )
        values = {
            "hit_id": new_id(),
            "hit_type_id": type_id(connection),
            "requester": call.requester,
            "question": data.get("Question") or question_of_layout(connection, call.requester, data),
            "layout_id": data.get("HITLayoutId"),
            "assignment_review_policy": _json(data.get("AssignmentReviewPolicy")),
            "hit_review_policy": _json(data.get("HITReviewPolicy")),
            "review_waiting": "HITReviewPolicy" in data,
            "annotation": data.get("RequesterAnnotation"),
            "max_assignments": data.get("MaxAssignments", 1),
            "taken": 0,
            "pending": 0,
            "judged": 0,
            "reviewing": False,
            "created_at": call.now,
            "expires_at": call.now + data["LifetimeInSeconds"],
            "expiry_due": call.now + data["LifetimeInSeconds"],
        }
        connection.execute(insert(hits).values(values))
        keep_token(connection, call, "CreateHIT", data, values["hit_id"])
        events.record(connection, "HITCreated", values["hit_id"], call.now)
        made = shape(own_hit(connection, call, values["hit_id"]), call.now)
        crash_point("create-before-commit")
    crash_point("create-committed")
    return {"HIT": made}


def _json(policy: dict[str, Any] | None) -> str | None:
    return None if policy is None else json.dumps(policy)


def _check(data: dict[str, Any]) -> None:
    if ("Question" in data) == ("HITLayoutId" in data):
        raise BadInput("Question: either it or a HITLayoutId is required, and not both")
    if "HITLayoutParameters" in data and "HITLayoutId" not in data:
        raise BadInput("HITLayoutParameters: need a HITLayoutId")
    if "Question" in data:
        parse_question(data["Question"])
    if policy := data.get("AssignmentReviewPolicy"):
        read_known_answers(policy)
    if policy := data.get("HITReviewPolicy"):
        read_plurality(policy)
    bounded(data, "LifetimeInSeconds", 30, YEAR)
    bounded(data, "MaxAssignments", 1, 1_000_000_000)
    if len(data.get("RequesterAnnotation", "")) > 255:
        raise BadInput("RequesterAnnotation: at most 255 characters are allowed")


def get_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """One HIT of the caller."""
    with call.store.reading() as connection:
        return {"HIT": shape(own_hit(connection, call, data["HITId"]), call.now)}


def list_hits(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the caller's HITs, oldest first, without those disposed of."""
    rows = WITH_TYPE.where(hits.c.requester == call.requester, hits.c.disposed_at.is_(None))
    with call.store.reading() as connection:
        return page(connection, rows, [hits.c.seq], data, "HITs", lambda row: shape(row, call.now))


def list_reviewable_hits(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the caller's HITs for which nothing more can come in."""
    rows = WITH_TYPE.where(
        hits.c.requester == call.requester,
        rules.is_reviewable(call.now),
        hits.c.reviewing.is_(data.get("Status", "Reviewable") == "Reviewing"),
    )
    if type_id := data.get("HITTypeId"):
        rows = rows.where(hits.c.hit_type_id == type_id)
    with call.store.reading() as connection:
        return page(connection, rows, [hits.c.seq], data, "HITs", lambda row: shape(row, call.now))


def update_expiration_for_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Move the time after which nobody can accept; a time in the past ends it now."""
    with call.store.writing() as connection:
        hit = own_hit(connection, call, data["HITId"])
        if hit.disposed_at is not None:
            raise _wrong_state(hit, call.now, "Assignable, Unassignable, Reviewable, Reviewing")
        at = data["ExpireAt"]
        changes = {"expires_at": at, "expiry_due": None if max(at, hit.expires_at) <= call.now else at}
        connection.execute(update(hits).where(hits.c.hit_id == hit.hit_id).values(changes))
        if at > max(hit.expires_at, call.now):
            _reopen(connection, hit.hit_id, call.now)
        events.tell_expired(connection, call.now)
    return {}


def delete_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Dispose of a HIT: only when nothing more can come in and every answer is judged."""
    with call.store.writing() as connection:
        hit = own_hit(connection, call, data["HITId"])
        if rules.status(hit, call.now) not in ("Reviewable", "Reviewing") or hit.judged < hit.taken:
            raise _wrong_state(hit, call.now, "Reviewing, Reviewable (with all assignments approved or rejected)")
        rules.dispose(connection, hit.hit_id, call.now)
    return {}


def create_additional_assignments_for_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Ask more people. A HIT made for fewer than 10 can never reach 10: MTurk's fee changed there."""
    bounded(data, "NumberOfAdditionalAssignments", 1, 1_000_000_000)
    operation = "CreateAdditionalAssignmentsForHIT"
    with call.store.writing() as connection:
        if seen_token(connection, call, operation, data):
            raise RequestError(
                "HITAlreadyExists", f"A request with this UniqueRequestToken already extended HIT {data['HITId']}."
            )
        hit = own_hit(connection, call, data["HITId"])
        if hit.disposed_at is not None:
            raise _wrong_state(hit, call.now, "Assignable, Unassignable, Reviewable, Reviewing")
        wanted = hit.max_assignments + data["NumberOfAdditionalAssignments"]
        if hit.max_assignments < 10 <= wanted:
            raise RequestError(
                "InvalidMaximumAssignmentsIncrease",
                "HITs created with fewer than 10 assignments cannot be extended to have 10 or more assignments.",
            )
        connection.execute(update(hits).where(hits.c.hit_id == hit.hit_id).values(max_assignments=wanted))
        _reopen(connection, hit.hit_id, call.now)
        keep_token(connection, call, operation, data, hit.hit_id)
    return {}


def _reopen(connection: Connection, hit_id: str, now: float) -> None:
    """A HIT that more may come in for is not under review any more."""
    connection.execute(update(hits).where(hits.c.hit_id == hit_id).values(reviewing=False))
    reviewing.expect_again(connection, hit_id)
    events.record(connection, "HITExtended", hit_id, now)


def update_hit_review_status(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Mark a Reviewable HIT as Reviewing, or with Revert the other way round. The mark is the requester's own."""
    wanted = "Reviewing" if data.get("Revert") else "Reviewable"
    with call.store.writing() as connection:
        hit = own_hit(connection, call, data["HITId"])
        if rules.status(hit, call.now) != wanted:
            raise _wrong_state(hit, call.now, wanted)
        change = update(hits).where(hits.c.hit_id == hit.hit_id)
        connection.execute(change.values(reviewing=wanted == "Reviewable"))
    return {}


def update_hit_type_of_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Move a HIT to another type: title, reward, times and requirements are that type's from now on."""
    with call.store.writing() as connection:
        hit = own_hit(connection, call, data["HITId"])
        kind = own_hit_type(connection, call, data["HITTypeId"])
        if hit.disposed_at is not None:
            raise _wrong_state(hit, call.now, "Assignable, Unassignable, Reviewable, Reviewing")
        change = update(hits).where(hits.c.hit_id == hit.hit_id)
        connection.execute(change.values(hit_type_id=kind.hit_type_id))
    return {}


def list_hits_for_qualification_type(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the caller's HITs that ask for a qualification, without those disposed of."""
    identifier = data["QualificationTypeId"]
    asked = hit_types.c.requirements.contains(json.dumps(identifier), autoescape=True)
    rows = WITH_TYPE.where(hits.c.requester == call.requester, hits.c.disposed_at.is_(None), asked)
    with call.store.reading() as connection:
        if identifier not in rules.SYSTEM:
            known_type(connection, identifier)
        return page(connection, rows, [hits.c.seq], data, "HITs", lambda row: shape(row, call.now))


def own_hit_type(connection: Connection, call: Call, hit_type_id: str) -> Any:
    """The HIT type, when the caller made it; somebody else's is as good as none."""
    row = events.type_of(connection, call.requester, hit_type_id)
    if row is None:
        raise RequestError("HITTypeDoesNotExist", f"HITType {hit_type_id} does not exist.")
    return row


def own_hit(connection: Connection, call: Call, hit_id: str) -> Any:
    """The HIT, when the caller made it; somebody else's is as good as none."""
    row = one(connection, _OWN, {"id": hit_id, "requester": call.requester})
    if row is None:
        raise RequestError("HITDoesNotExist", f"HIT {hit_id} does not exist.")
    return row


def _wrong_state(hit: Any, now: float, allowed: str) -> RequestError:
    found = rules.status(hit, now)
    return RequestError(
        "InvalidHITState",
        f"This HIT is currently in the state '{found}'. This operation can be called with a status of: {allowed}",
    )


def shape(row: Any, now: float) -> dict[str, Any]:
    """A HIT as the protocol says it."""
    reply = {
        "HITId": row.hit_id,
        "HITTypeId": row.hit_type_id,
        "HITGroupId": row.hit_type_id,
        "CreationTime": row.created_at,
        "Title": row.title,
        "Description": row.description,
        "Question": row.question,
        "HITLayoutId": row.layout_id,
        "Keywords": row.keywords,
        "HITStatus": rules.status(row, now),
        "MaxAssignments": row.max_assignments,
        "Reward": row.reward,
        "AutoApprovalDelayInSeconds": row.auto_approval_delay,
        "Expiration": row.expires_at,
        "AssignmentDurationInSeconds": row.assignment_duration,
        "RequesterAnnotation": row.annotation,
        "QualificationRequirements": rules.requirements_of(row),
        "HITReviewStatus": "NotReviewed",
        "NumberOfAssignmentsPending": row.pending,
        "NumberOfAssignmentsAvailable": row.max_assignments - row.taken,
        "NumberOfAssignmentsCompleted": row.judged,
    }
    return {name: value for name, value in reply.items() if value is not None}


OPERATIONS = {
    "CreateHITType": create_hit_type,
    "CreateHIT": create_hit,
    "CreateHITWithHITType": create_hit_with_hit_type,
    "GetHIT": get_hit,
    "ListHITs": list_hits,
    "ListReviewableHITs": list_reviewable_hits,
    "UpdateExpirationForHIT": update_expiration_for_hit,
    "DeleteHIT": delete_hit,
    "UpdateHITReviewStatus": update_hit_review_status,
    "UpdateHITTypeOfHIT": update_hit_type_of_hit,
    "ListHITsForQualificationType": list_hits_for_qualification_type,
    "CreateAdditionalAssignmentsForHIT": create_additional_assignments_for_hit,
}
