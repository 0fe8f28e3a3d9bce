"""Keys of requesters: issued, listed, revoked. A requester signs every request with one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, func, insert, select, update

from curate.crowd.server.schema import keys
from curate.crowd.server.store import Store, now
from schemas.errors import UserError

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True)
class Key:
    """A requester's key as people see it: never its secret."""

    access_key_id: str
    requester: str
    created_at: datetime
    revoked_at: datetime | None


def issue(store: Store, requester: str) -> tuple[str, str]:
    """A new access key id and its secret for the account `requester`. The secret is shown this once."""
    requester = requester.strip()
    if not requester or len(requester) > 100:
        raise UserError(f"the name of a key has 1 to 100 characters, got {requester!r}")
    access_key_id = "CK" + "".join(secrets.choice(_LETTERS) for _ in range(18))
    secret = secrets.token_urlsafe(30)
    with store.writing() as connection:
        connection.execute(
            insert(keys).values(access_key_id=access_key_id, secret=secret, requester=requester, created_at=now())
        )
    return access_key_id, secret


def listing(store: Store) -> list[Key]:
    """All keys, oldest first."""
    with store.reading() as connection:
        rows = connection.execute(select(keys).order_by(keys.c.created_at, keys.c.access_key_id)).all()
    return [Key(row.access_key_id, row.requester, _time(row.created_at), _time_or_none(row.revoked_at)) for row in rows]


def revoke(store: Store, access_key_id: str) -> None:
    """The key no longer signs anything; raises UserError when there is no such key in use."""
    with store.writing() as connection:
        done = connection.execute(
            update(keys)
            .where(keys.c.access_key_id == access_key_id, keys.c.revoked_at.is_(None))
            .values(revoked_at=now())
        )
    if done.rowcount == 0:
        raise UserError(f"no key {access_key_id!r} in use; `curate crowd keys list` shows them")


def requester_of(store: Store, access_key_id: str) -> tuple[str, str] | None:
    """The account and the secret of a key in use, or None."""
    row = store.row(_IN_USE, {"id": access_key_id})
    return (row.requester, row.secret) if row else None


_IN_USE = select(keys.c.requester, keys.c.secret).where(
    keys.c.access_key_id == bindparam("id"), keys.c.revoked_at.is_(None)
)


def in_use(store: Store) -> int:
    """How many keys are in use."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).where(keys.c.revoked_at.is_(None))) or 0


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _time_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else _time(seconds)
