"""NotifyWorkers: a message into the inbox of workers whom the requester has judged before, and by mail where possible."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from curate.crowd.server import inbox, rules
from curate.crowd.server.errors import BadInput
from curate.crowd.server.operations.call import Call
from curate.crowd.server.schema import assignments, hits, workers

MOST, LONGEST_SUBJECT, LONGEST_TEXT = 100, 200, 4096


def notify_workers(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Send one message to up to 100 workers; those whom it cannot reach are named in the reply, never an error."""
    for name, longest in (("Subject", LONGEST_SUBJECT), ("MessageText", LONGEST_TEXT)):
        if not 1 <= len(data[name]) <= longest:
            raise BadInput(f"{name}: has {len(data[name])} characters; allowed are 1 to {longest}")
    wanted = list(dict.fromkeys(data["WorkerIds"]))
    if not 1 <= len(wanted) <= MOST:
        raise BadInput(f"WorkerIds: has {len(wanted)} entries; allowed are 1 to {MOST}")
    with call.store.writing() as connection:
        known = set(connection.scalars(select(workers.c.worker_id).where(workers.c.worker_id.in_(wanted))))
        judged = _judged(connection, call.requester, wanted)
        for worker_id in (identifier for identifier in wanted if identifier in judged):
            inbox.post(connection, worker_id, call.requester, data["Subject"], data["MessageText"], call.now)
    failed = [_failure(identifier, identifier in known) for identifier in wanted if identifier not in judged]
    return {"NotifyWorkersFailureStatuses": failed}


def _judged(connection: Connection, requester: str, wanted: list[str]) -> set[str]:
    """Those of the workers of whom this requester has approved or rejected work."""
    rows = (
        select(assignments.c.worker_id)
        .join(hits, hits.c.hit_id == assignments.c.hit_id)
        .where(hits.c.requester == requester, assignments.c.worker_id.in_(wanted))
        .where(assignments.c.status.in_(rules.JUDGED))
        .distinct()
    )
    return set(connection.scalars(rows))


def _failure(worker_id: str, known: bool) -> dict[str, Any]:
    why = "you have not approved or rejected work of this Worker before" if known else "the Worker ID is not valid"
    return {
        "NotifyWorkersFailureCode": "HardFailure",
        "NotifyWorkersFailureMessage": f"The message to {worker_id} was not sent: {why}.",
        "WorkerId": worker_id,
    }


OPERATIONS = {"NotifyWorkers": notify_workers}
