"""Invitation links: they let new people in, or somebody who lost a device. Only the hash of a code is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from curate.crowd.server import sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import invitations, workers
from curate.crowd.server.sessions import Place
from curate.crowd.server.store import Store, now, one
from schemas.errors import UserError

DAY = 24 * 3600
INVITED = "invitation: "  # what `came_by` says, before the note
_SHOWN = 8  # digits of a code's hash that name an invitation


@dataclass(frozen=True)
class Invitation:
    """A link as its owner sees it: never its code."""

    name: str
    note: str
    worker_id: str | None
    uses: int
    expires_at: datetime
    state: str  # open, spent, expired, revoked


def invite(store: Store, note: str, uses: int = 1, days: int = 14, worker_id: str | None = None) -> str:
    """The code of a new link. With a worker it lets that worker in again, once."""
    note = " ".join(note.split())
    if not note or len(note) > 200:
        raise UserError(f"--note has 1 to 200 characters and says for whom the link is, got {note!r}")
    if not 1 <= uses <= 1000 or not 1 <= days <= 365:
        raise UserError(f"--uses goes from 1 to 1000 and --days from 1 to 365, got {uses} and {days}")
    code = secrets.token_urlsafe(18)
    with store.writing() as connection:
        who = worker_named(connection, worker_id).worker_id if worker_id else None
        values = {"code_hash": _hash(code), "note": note, "worker_id": who, "uses": 1 if who else uses}
        connection.execute(insert(invitations).values(**values, created_at=now(), expires_at=now() + days * DAY))
    return code


def worker_named(connection: Connection, worker_id: str) -> Any:
    """The worker of an id, or the one they were merged into; raises UserError when there is none to come back."""
    row = one(connection, select(workers).where(workers.c.worker_id == worker_id))
    if row is None:
        raise UserError(f"no worker {worker_id!r}; `curate crowd people` lists them")
    if row.forgotten_at is not None:
        raise UserError(f"worker {worker_id} was forgotten; invite the person anew, as somebody new")
    return worker_named(connection, row.merged_into) if row.merged_into else row


def listing(store: Store) -> list[Invitation]:
    """All links, newest first."""
    with store.reading() as connection:
        rows = connection.execute(select(invitations).order_by(invitations.c.created_at.desc())).all()
    return [
        Invitation(
            row.code_hash[:_SHOWN], row.note, row.worker_id, row.uses,
            datetime.fromtimestamp(row.expires_at, UTC), _state(row),
        )
        for row in rows
    ]  # fmt: skip


def revoke(store: Store, name: str) -> int:
    """Close the links that this names (as listed, or the link itself); how many. Raises UserError when there is none."""
    code = name.rstrip("/").rsplit("/", 1)[-1]
    named = or_(invitations.c.code_hash == _hash(code), invitations.c.code_hash == name)
    if len(name) == _SHOWN and set(name) <= set("0123456789abcdef"):
        named = invitations.c.code_hash.startswith(name)
    with store.writing() as connection:
        closed = update(invitations).where(named, invitations.c.revoked_at.is_(None)).values(revoked_at=now())
        done = connection.execute(closed).rowcount
    if not done:
        raise UserError(f"no open invitation {name!r}; `curate crowd invitations` lists them")
    return int(done)


def look(store: Store, code: str) -> Any:
    """The invitation of a code; raises WorkerError when it lets nobody in."""
    with store.reading() as connection:
        return _open(connection, code)


def _open(connection: Connection, code: str) -> Any:
    row = one(connection, select(invitations).where(invitations.c.code_hash == _hash(code)))
    if row is None or _state(row) != "open":
        raise WorkerError("bad_invitation", 410 if row else 404)
    return row


def come(store: Store, code: str, name: str, place: Place) -> str:
    """The session token of whoever comes with this code: somebody new, or the worker it was made for."""
    with store.writing() as connection:
        row = _open(connection, code)
        left = update(invitations).where(invitations.c.code_hash == row.code_hash, invitations.c.uses > 0)
        if not connection.execute(left.values(uses=invitations.c.uses - 1)).rowcount:  # two came at once
            raise WorkerError("bad_invitation", 410)
        if row.worker_id:
            return sessions.admit(connection, row.worker_id, place)
        worker = sessions.new_worker(connection, name, False, INVITED + row.note)
        return sessions.admit(connection, worker.worker_id, place)


def end_sessions(store: Store, worker_id: str) -> None:
    """Whoever holds the lost device is out."""
    with store.writing() as connection:
        sessions.leave_all(connection, worker_named(connection, worker_id).worker_id)


def _state(row: Any) -> str:
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at <= now():
        return "expired"
    return "open" if row.uses > 0 else "spent"


def _hash(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
