"""A look at a HIT before it is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from curate.crowd.server import qualifying, rules
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import hit_types, hits
from curate.crowd.server.sessions import Worker
from curate.crowd.server.store import Store, now, one
from curate.crowd.server.workers import next_hit

_TYPED_HIT = (
    select(*hits.c, hit_types.c.title)
    .join(hit_types, hits.c.hit_type_id == hit_types.c.hit_type_id)
    .where(hits.c.hit_id == bindparam("id"))
)


@dataclass(frozen=True)
class Preview:
    """A HIT to look at, with the values of its type, and whether this worker may accept it."""

    hit: Any
    qualified: bool


def preview(store: Store, worker: Worker, hit_type_id: str) -> Preview:
    """The HIT that `accept` would give next. Raises WorkerError where there is none, or it may not be looked at."""
    with store.reading() as connection:
        kind = one(connection, select(hit_types).where(hit_types.c.hit_type_id == hit_type_id))
        if kind is None or qualifying.blocked(connection, kind.requester, worker.worker_id):
            raise WorkerError("no_work", 404)
        held = rules.values_of(connection, worker.worker_id)
        if not rules.may("Preview", kind, held):
            raise WorkerError("not_qualified", 403 if rules.may("Discover", kind, held) else 404)
        hit_id = next_hit(connection, worker.worker_id, hit_type_id, now())
        if hit_id is None:
            raise WorkerError("no_work", 404)
        hit = one(connection, _TYPED_HIT, {"id": hit_id})
        return Preview(hit, rules.qualified(kind, held))


def any_hit(store: Store, hit_id: str) -> Any:
    """A HIT that is out, by its unguessable id alone, for pages in the sandboxed frame."""
    with store.reading() as connection:
        row = one(connection, _TYPED_HIT, {"id": hit_id})
    if row is None or row.disposed_at is not None or row.expires_at <= now():
        raise WorkerError("no_work", 404)
    return row
