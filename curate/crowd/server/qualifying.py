"""How a worker comes by a qualification: by its test, in its time, or by asking for it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, insert, select

from curate.crowd.server.errors import WorkerError
from curate.crowd.server.operations.qualifications import grant
from curate.crowd.server.schema import blocks, qualification_types, test_runs, test_starts
from curate.crowd.server.sessions import Worker
from curate.crowd.server.store import Store, new_id, now, one

GRACE = 30  # seconds after a test's time in which its answers still count: they were on their way


def type_of(connection: Connection, identifier: str) -> Any:
    """The qualification type, or None."""
    return one(connection, select(qualification_types).where(qualification_types.c.qualification_type_id == identifier))


def url_of(kind: Any) -> str:
    """Where a worker earns it: its test, or the request for one without a test."""
    return f"/{'test' if kind.test is not None else 'qualification'}/{kind.qualification_type_id}"


def last_run(connection: Connection, identifier: str, worker_id: str) -> Any:
    """The last time this worker took the test or asked for the qualification, or None."""
    runs = select(test_runs).where(test_runs.c.qualification_type_id == identifier, test_runs.c.worker_id == worker_id)
    return connection.execute(runs.order_by(test_runs.c.submitted_at.desc()).limit(1)).one_or_none()


def retry_at(kind: Any, last: Any) -> float | None:
    """When somebody who tried may try again; None = never, or not while it waits. Without a retry delay there is one try."""
    if last is None:
        return 0.0
    if kind.retry_delay is None or last.status == "Pending":
        return None
    return float(last.submitted_at + kind.retry_delay)


def blocked(connection: Connection, requester: str, worker_id: str) -> bool:
    """Whether this requester does not want this worker."""
    mine = select(blocks.c.worker_id).where(blocks.c.requester == requester, blocks.c.worker_id == worker_id)
    return one(connection, mine) is not None


def request(store: Store, worker: Worker, identifier: str) -> str:
    """Ask for a qualification that has no test: Granted at once where it is so made, else Pending."""
    with store.writing() as connection:
        kind = type_of(connection, identifier)
        if kind is None or kind.status != "Active" or kind.test is not None:
            raise WorkerError("no_qualification", 404)
        again = retry_at(kind, last_run(connection, identifier, worker.worker_id))
        if again is None:
            raise WorkerError("asked_already")
        if again > now():
            raise WorkerError("ask_later")
        status = "Granted" if kind.auto_granted else "Pending"
        row: dict[str, Any] = {
            "run_id": new_id(),
            "qualification_type_id": identifier,
            "worker_id": worker.worker_id,
            "answer": "",
        }
        row |= {"submitted_at": now(), "status": status, "score": kind.auto_granted_value}
        connection.execute(insert(test_runs).values(row))
        if kind.auto_granted:
            grant(connection, identifier, worker.worker_id, kind.auto_granted_value, now())
    return status


def start_test(store: Store, worker: Worker, identifier: str) -> int:
    """Seconds left for a test that a worker sees now; its time runs from when they saw it first.

    A sitting whose time is over makes room for a new one: somebody who closed the page is not locked out.
    """
    mine = (test_starts.c.qualification_type_id == identifier) & (test_starts.c.worker_id == worker.worker_id)
    time = now()
    with store.reading() as connection:
        duration = type_of(connection, identifier).test_duration
        started = connection.scalar(select(test_starts.c.started_at).where(mine))
    if started is None or started + duration + GRACE <= time:
        with store.writing() as connection:
            connection.execute(delete(test_starts).where(mine))
            row = {"qualification_type_id": identifier, "worker_id": worker.worker_id}
            connection.execute(insert(test_starts).values(**row, started_at=time))
        started = time
    return max(0, int(started + duration - time))


def end_test(connection: Connection, kind: Any, worker_id: str, time: float) -> None:
    """Close the sitting; raises WorkerError when its time is over."""
    identifier = kind.qualification_type_id
    mine = (test_starts.c.qualification_type_id == identifier) & (test_starts.c.worker_id == worker_id)
    started = connection.scalar(select(test_starts.c.started_at).where(mine))
    if started is not None and started + kind.test_duration + GRACE <= time:
        raise WorkerError("test_over")
    connection.execute(delete(test_starts).where(mine))
