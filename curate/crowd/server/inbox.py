"""A worker's inbox: what requesters and the crowd have to say. Each message also goes out by mail where that is possible."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from curate.crowd.server.schema import messages
from curate.crowd.server.sessions import Worker
from curate.crowd.server.store import Store, now

SHOWN = 200  # newest messages on the page


@dataclass(frozen=True)
class Message:
    """One message as the worker reads it."""

    subject: str
    body: str
    requester: str | None
    sent_at: float
    unread: bool


def post(connection: Connection, worker_id: str, requester: str | None, subject: str, body: str, at: float) -> None:
    """Put a message into somebody's inbox; `sender.py` mails it."""
    values = {"worker_id": worker_id, "requester": requester, "subject": subject, "body": body, "sent_at": at}
    connection.execute(insert(messages).values(**values, mail_tries=0))


def unread(store: Store, worker: Worker) -> int:
    """How many messages this worker has not read."""
    mine = select(func.count()).where(messages.c.worker_id == worker.worker_id, messages.c.read_at.is_(None))
    with store.reading() as connection:
        return connection.scalar(mine) or 0


def read(store: Store, worker: Worker) -> list[Message]:
    """The worker's messages, newest first; from now on they are read."""
    mine = select(messages).where(messages.c.worker_id == worker.worker_id).order_by(messages.c.seq.desc())
    with store.reading() as connection:
        rows = connection.execute(mine.limit(SHOWN)).all()
    if any(row.read_at is None for row in rows):
        with store.writing() as connection:
            new = (messages.c.worker_id == worker.worker_id) & messages.c.read_at.is_(None)
            connection.execute(update(messages).where(new, messages.c.seq <= rows[0].seq).values(read_at=now()))
    return [Message(row.subject, row.body, row.requester, row.sent_at, row.read_at is None) for row in rows]
