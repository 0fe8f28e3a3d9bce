"""Who somebody is: workers, and the sessions that keep a browser signed in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, exists, insert, or_, select, update

from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import consents, emails, sessions, settings, workers
from curate.crowd.server.settings import CONSENT_VERSION
from curate.crowd.server.store import Store, new_worker_id, now, one

LONGEST_NAME = 80
LIFE = 180 * 24 * 3600  # seconds after which a session that nobody renewed is over
RENEW = 7 * 24 * 3600  # age at which a session gets a new token
OVERLAP = 60  # seconds that the old token still opens: requests may be under way
_WANTED = select(settings.c.value).where(settings.c.name == CONSENT_VERSION).scalar_subquery()
_CONSENTED = or_(  # one statement for every page: who it is, and whether they accepted the words that hold now
    workers.c.simulated,
    _WANTED.is_(None),
    exists().where(consents.c.worker_id == workers.c.worker_id, consents.c.version == _WANTED),
)
_SESSION = (
    select(workers, sessions.c.created_at.label("since"), _CONSENTED.label("consented"))
    .join(sessions)
    .where(sessions.c.token_hash == bindparam("hash"), sessions.c.created_at > bindparam("oldest"))
)


@dataclass(frozen=True)
class Worker:
    """Somebody with a session."""

    worker_id: str
    name: str
    simulated: bool
    consented: bool = True  # to the words that this crowd asks for now
    since: float = 0.0  # when the session began
    came_by: str = "name"  # name, email, invitation: NOTE, panel NAME


@dataclass(frozen=True)
class Place:
    """From where somebody comes, as keyed hashes: a browser, and a network address."""

    device: str | None = None
    address: str | None = None


NOWHERE = Place()


def join(store: Store, name: str, simulated: bool, place: Place = NOWHERE) -> tuple[Worker, str]:
    """A new worker and the token of their session. Two people of one name are two workers."""
    with store.writing() as connection:
        worker = new_worker(connection, name, simulated, "name")
        return worker, admit(connection, worker.worker_id, place)


def new_worker(connection: Connection, name: str, simulated: bool, came_by: str) -> Worker:
    """Somebody who has not been here before."""
    name = " ".join(name.split())
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise WorkerError("bad_name", 400)
    worker = Worker(new_worker_id(simulated), name, simulated)
    values = {"worker_id": worker.worker_id, "name": name, "simulated": simulated}
    connection.execute(insert(workers).values(**values, created_at=now(), came_by=came_by))
    return worker


def admit(connection: Connection, worker_id: str, place: Place) -> str:
    """The token of a new session."""
    token = secrets.token_urlsafe(32)
    values = {"token_hash": _hash(token), "worker_id": worker_id, "created_at": now()}
    connection.execute(insert(sessions).values(**values, device=place.device, address=place.address))
    return token


def renew(store: Store, token: str, place: Place) -> str:
    """A new token for a session; the old one is over in a minute. Raises WorkerError when there is none to renew."""
    with store.writing() as connection:
        row = one(connection, _SESSION, _values(token))
        if row is None:
            raise WorkerError("sign_in", 401)
        ends = update(sessions).where(sessions.c.token_hash == _hash(token))
        connection.execute(ends.values(created_at=now() - LIFE + OVERLAP))
        connection.execute(delete(sessions).where(sessions.c.created_at <= now() - LIFE))
        return admit(connection, row.worker_id, place)


def leave(store: Store, token: str) -> None:
    """End a session."""
    with store.writing() as connection:
        connection.execute(delete(sessions).where(sessions.c.token_hash == _hash(token)))


def leave_all(connection: Connection, worker_id: str) -> None:
    """End all sessions of somebody: a device is lost."""
    connection.execute(delete(sessions).where(sessions.c.worker_id == worker_id))


def who(store: Store, token: str | None) -> Worker | None:
    """The worker of a session token, or None."""
    if not token:
        return None
    row = store.row(_SESSION, _values(token))
    if row is None:
        return None
    came_by = row.came_by or "name"
    return Worker(row.worker_id, row.name, bool(row.simulated), bool(row.consented), row.since, came_by)


def has_email(store: Store, worker: Worker) -> bool:
    """Whether somebody can come back with a code sent by mail."""
    with store.reading() as connection:
        return connection.scalar(select(exists().where(emails.c.worker_id == worker.worker_id))) or False


def csrf(token: str) -> str:
    """What every form of this session carries: only a page of ours, read with the session's cookie, can know it."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()[:32]


def _values(token: str) -> dict[str, object]:
    return {"hash": _hash(token), "oldest": now() - LIFE}


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
