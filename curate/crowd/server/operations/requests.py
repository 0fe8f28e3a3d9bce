"""Qualification requests: what workers ask for and the requester decides by hand."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select, update

from curate.crowd.server import inbox
from curate.crowd.server.errors import RequestError
from curate.crowd.server.operations.call import Call, page
from curate.crowd.server.operations.qualifications import grant, own_type, tell_granted
from curate.crowd.server.schema import qualification_types, test_runs, workers
from curate.crowd.server.store import one
from curate.crowd.server.texts import LANGUAGES, word

_WITH_TYPE = select(
    test_runs,
    qualification_types.c.test,
    qualification_types.c.name,
    qualification_types.c.requester,
).join(qualification_types, qualification_types.c.qualification_type_id == test_runs.c.qualification_type_id)


def list_qualification_requests(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the requests that wait for the caller, oldest first."""
    rows = _WITH_TYPE.where(qualification_types.c.requester == call.requester, test_runs.c.status == "Pending")
    order = [test_runs.c.submitted_at, test_runs.c.run_id]
    with call.store.reading() as connection:
        if identifier := data.get("QualificationTypeId"):
            own_type(connection, call, identifier)
            rows = rows.where(test_runs.c.qualification_type_id == identifier)
        return page(connection, rows, order, data, "QualificationRequests", _shape)


def accept_qualification_request(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Grant what was asked for, with a value (1 unless said)."""
    value = data.get("IntegerValue", 1)
    with call.store.writing() as connection:
        row = _pending(connection, call, data["QualificationRequestId"])
        _judge(connection, call, row, "Granted", score=value)
        grant(connection, row.qualification_type_id, row.worker_id, value, call.now)
        tell_granted(connection, call, row.worker_id, row.name, value)
    return {}


def reject_qualification_request(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Refuse what was asked for; the worker reads the reason."""
    with call.store.writing() as connection:
        row = _pending(connection, call, data["QualificationRequestId"])
        _judge(connection, call, row, "Rejected", reason=data.get("Reason"))
        language = connection.scalar(select(workers.c.language).where(workers.c.worker_id == row.worker_id))
        said = word("request_rejected", language if language in LANGUAGES else "en")
        inbox.post(connection, row.worker_id, call.requester, f"{said}: {row.name}", data.get("Reason") or "", call.now)
    return {}


def _judge(connection: Connection, call: Call, row: Any, status: str, **values: Any) -> None:
    changes = {"status": status, "judged_at": call.now, **values}
    connection.execute(update(test_runs).where(test_runs.c.run_id == row.run_id).values(changes))


def _pending(connection: Connection, call: Call, run_id: str) -> Any:
    """The request, when it is about a type of the caller and not judged yet."""
    row = one(connection, _WITH_TYPE.where(test_runs.c.run_id == run_id))
    if row is None or row.requester != call.requester:
        raise RequestError("QualificationRequestDoesNotExist", f"QualificationRequest {run_id} does not exist.")
    if row.status != "Pending":
        raise RequestError(
            "InvalidQualificationRequestState",
            "This operation can be called with a status of: Pending. "
            f"QualificationRequest {run_id} has the status {row.status}.",
        )
    return row


def _shape(row: Any) -> dict[str, Any]:
    reply = {
        "QualificationRequestId": row.run_id,
        "QualificationTypeId": row.qualification_type_id,
        "WorkerId": row.worker_id,
        "Test": row.test,
        "Answer": row.answer or None,
        "SubmitTime": row.submitted_at,
    }
    return {name: value for name, value in reply.items() if value is not None}


OPERATIONS = {
    "ListQualificationRequests": list_qualification_requests,
    "AcceptQualificationRequest": accept_qualification_request,
    "RejectQualificationRequest": reject_qualification_request,
}
