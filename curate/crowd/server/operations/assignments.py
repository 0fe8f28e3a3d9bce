"""Assignments: read, listed, approved, rejected."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select, update

from curate.crowd.server import events, rules
from curate.crowd.server.errors import RequestError
from curate.crowd.server.operations.call import Call, page
from curate.crowd.server.operations.hits import own_hit
from curate.crowd.server.operations.hits import shape as hit_shape
from curate.crowd.server.schema import assignments, hits, workers
from curate.crowd.server.store import one

OVERRIDE_WINDOW = 30 * 24 * 3600  # seconds in which a rejection can be taken back


def list_assignments_for_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the answers to a HIT, in the order in which they came."""
    wanted = data.get("AssignmentStatuses") or list(rules.DONE)
    table = assignments.c
    rows = _with_person().where(table.hit_id == data["HITId"], table.status.in_(wanted))
    with call.store.reading() as connection:
        own_hit(connection, call, data["HITId"])
        return page(connection, rows, [table.submitted_at, table.assignment_id], data, "Assignments", _shape)


def get_assignment(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """One answer, with its HIT."""
    with call.store.reading() as connection:
        row = own_assignment(connection, call, data["AssignmentId"])
        return {"Assignment": _shape(row), "HIT": hit_shape(own_hit(connection, call, row.hit_id), call.now)}


def approve_assignment(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Approve an answer; with OverrideRejection also one that was rejected in the last 30 days."""
    override = data.get("OverrideRejection", False)
    with call.store.writing() as connection:
        row = own_assignment(connection, call, data["AssignmentId"])
        if row.status == "Rejected" and override and call.now - row.rejected_at <= OVERRIDE_WINDOW:
            values = {"status": "Approved", "approved_at": call.now, "feedback": data.get("RequesterFeedback")}
            connection.execute(
                update(assignments).where(assignments.c.assignment_id == row.assignment_id).values(**values)
            )
            events.record(connection, "AssignmentApproved", row.hit_id, call.now, row.assignment_id)
            return {}
        _judge(connection, call, row, "Approved", data.get("RequesterFeedback"))
    return {}


def reject_assignment(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Reject an answer. An empty reason is accepted, as MTurk did."""
    with call.store.writing() as connection:
        row = own_assignment(connection, call, data["AssignmentId"])
        _judge(connection, call, row, "Rejected", data["RequesterFeedback"])
    return {}


def _judge(connection: Connection, call: Call, row: Any, verdict: str, feedback: str | None) -> None:
    if not rules.judge(connection, row.assignment_id, row.hit_id, verdict, call.now, feedback):
        raise RequestError(
            "InvalidAssignmentState",
            "This operation can be called with a status of: Submitted. "
            f"Assignment {row.assignment_id} has the status {row.status}.",
        )


def own_assignment(connection: Connection, call: Call, assignment_id: str) -> Any:
    """The answer, when it is to a HIT of the caller. One that is still being worked on is as good as none."""
    row = one(
        connection,
        _with_person()
        .join(hits, hits.c.hit_id == assignments.c.hit_id)
        .where(assignments.c.assignment_id == assignment_id, hits.c.requester == call.requester),
    )
    if row is None or row.status not in rules.DONE:
        raise RequestError("AssignmentDoesNotExist", f"Assignment {assignment_id} does not exist.")
    return row


def _with_person() -> Select:
    """Assignments with who `merged_into` says the worker is: two accounts of one person answer under one id."""
    person = workers.c.merged_into
    return select(assignments, person).join_from(assignments, workers, workers.c.worker_id == assignments.c.worker_id)


def _shape(row: Any) -> dict[str, Any]:
    reply = {
        "AssignmentId": row.assignment_id,
        "WorkerId": row.merged_into or row.worker_id,
        "HITId": row.hit_id,
        "AssignmentStatus": row.status,
        "AutoApprovalTime": row.auto_approve_at,
        "AcceptTime": row.accepted_at,
        "SubmitTime": row.submitted_at,
        "ApprovalTime": row.approved_at,
        "RejectionTime": row.rejected_at,
        "Deadline": row.deadline,
        "Answer": row.answer,
        "RequesterFeedback": row.feedback,
    }
    return {name: value for name, value in reply.items() if value is not None}


OPERATIONS = {
    "ListAssignmentsForHIT": list_assignments_for_hit,
    "GetAssignment": get_assignment,
    "ApproveAssignment": approve_assignment,
    "RejectAssignment": reject_assignment,
}
