"""Worker blocks: whom a requester does not want on any of their HITs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.operations.call import Call, page
from curate.crowd.server.schema import blocks, workers
from curate.crowd.server.store import one

MOST = 100_000


def create_worker_block(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """The worker neither sees nor accepts the caller's HITs any more; again = another reason. Work under way may end."""
    if not data["Reason"].strip():
        raise BadInput("Reason: is required; only you can read it")
    with call.store.writing() as connection:
        known_worker(connection, data["WorkerId"])
        mine = (blocks.c.requester == call.requester) & (blocks.c.worker_id == data["WorkerId"])
        if connection.execute(update(blocks).where(mine).values(reason=data["Reason"])).rowcount:
            return {}
        count = connection.scalar(select(func.count()).where(blocks.c.requester == call.requester)) or 0
        if count >= MOST:
            raise RequestError("TooManyBlockedWorkers", f"You have blocked {MOST:,} Workers, the most allowed.")
        values = {"requester": call.requester, "worker_id": data["WorkerId"], "reason": data["Reason"]}
        connection.execute(insert(blocks).values(**values, created_at=call.now))
    return {}


def delete_worker_block(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Let a worker in again; nothing happens to one who is not blocked."""
    with call.store.writing() as connection:
        known_worker(connection, data["WorkerId"])
        mine = (blocks.c.requester == call.requester) & (blocks.c.worker_id == data["WorkerId"])
        connection.execute(delete(blocks).where(mine))
    return {}


def list_worker_blocks(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the caller's blocks, oldest first."""
    rows = select(blocks).where(blocks.c.requester == call.requester)
    order = [blocks.c.created_at, blocks.c.worker_id]
    with call.store.reading() as connection:
        return page(connection, rows, order, data, "WorkerBlocks", _shape)


def _shape(row: Any) -> dict[str, Any]:
    return {"WorkerId": row.worker_id, "Reason": row.reason}


def known_worker(connection: Connection, worker_id: str) -> Any:
    """The worker's row; raises RequestError when nobody has this id."""
    row = one(connection, select(workers).where(workers.c.worker_id == worker_id))
    if row is None:
        raise RequestError("WorkerDoesNotExist", f"WorkerId is invalid. Worker {worker_id} does not exist.")
    return row


OPERATIONS = {
    "CreateWorkerBlock": create_worker_block,
    "DeleteWorkerBlock": delete_worker_block,
    "ListWorkerBlocks": list_worker_blocks,
}
