"""Who somebody is: workers, and the sessions that keep a browser signed in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select

from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import sessions, workers
from curate.crowd.server.store import Store, new_worker_id, now, one

LONGEST_NAME = 80
_SESSION = select(workers).join(sessions).where(sessions.c.token_hash == bindparam("hash"))


@dataclass(frozen=True)
class Worker:
    """Somebody with a session."""

    worker_id: str
    name: str
    simulated: bool


def join(store: Store, name: str, simulated: bool) -> tuple[Worker, str]:
    """A new worker and the token of their session. Two people of one name are two workers."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise WorkerError("bad_name", 400)
    worker = Worker(new_worker_id(simulated), name, simulated)
    token = secrets.token_urlsafe(32)
    with store.writing() as connection:
        connection.execute(
            insert(workers).values(worker_id=worker.worker_id, name=name, simulated=simulated, created_at=now())
        )
        connection.execute(
            insert(sessions).values(token_hash=_hash(token), worker_id=worker.worker_id, created_at=now())
        )
    return worker, token


def leave(store: Store, token: str) -> None:
    """End a session."""
    with store.writing() as connection:
        connection.execute(delete(sessions).where(sessions.c.token_hash == _hash(token)))


def who(store: Store, token: str | None) -> Worker | None:
    """The worker of a session token, or None."""
    if not token:
        return None
    with store.reading() as connection:
        row = one(connection, _SESSION, {"hash": _hash(token)})
    return Worker(row.worker_id, row.name, bool(row.simulated)) if row else None


def csrf(token: str) -> str:
    """What every form of this session carries: only a page of ours, read with the session's cookie, can know it."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()[:32]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
