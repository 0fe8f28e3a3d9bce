"""What a worker is told about answers that were rejected."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from curate.crowd.server.schema import assignments, hit_types, hits
from curate.crowd.server.sessions import Worker
from curate.crowd.server.store import Store

SHOWN = 20  # the newest


@dataclass(frozen=True)
class Rejection:
    """One rejected answer: of which work, and why."""

    title: str
    reason: str
    at: float


def rejections(store: Store, worker: Worker) -> list[Rejection]:
    """A worker's rejected answers with the requester's reasons, newest first."""
    mine = (
        select(hit_types.c.title, assignments.c.feedback, assignments.c.rejected_at)
        .join(hits, hits.c.hit_id == assignments.c.hit_id)
        .join(hit_types, hit_types.c.hit_type_id == hits.c.hit_type_id)
        .where(assignments.c.worker_id == worker.worker_id, assignments.c.status == "Rejected")
        .order_by(assignments.c.rejected_at.desc())
        .limit(SHOWN)
    )
    with store.reading() as connection:
        return [Rejection(row.title, row.feedback or "", row.rejected_at or 0) for row in connection.execute(mine)]
