"""What one crowd knows about itself, in its table `setting`: its secret, the consent text."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from sqlalchemy import Connection, delete, insert, select

from curate.crowd.server.schema import settings
from curate.crowd.server.store import Store

SECRET = "secret"
CONSENT_VERSION, CONSENT_TEXT = "consent_version", "consent_text"


def read(connection: Connection, name: str) -> str | None:
    """The value of a setting, or None."""
    value: str | None = connection.scalar(select(settings.c.value).where(settings.c.name == name))
    return value


def write(connection: Connection, name: str, value: str | None) -> None:
    """Set a value; None takes it away."""
    connection.execute(delete(settings).where(settings.c.name == name))
    if value is not None:
        connection.execute(insert(settings).values(name=name, value=value))


def secret(store: Store) -> str:
    """The crowd's own secret, made when it is first asked for. Hashes of devices, addresses and codes hang on it."""
    with store.reading() as connection:
        known = read(connection, SECRET)
    return known or store.retrying(lambda: _make_secret(store))


def _make_secret(store: Store) -> str:
    with store.writing() as connection:
        if not read(connection, SECRET):  # another server of this crowd may have been quicker
            write(connection, SECRET, secrets.token_hex(32))
        return read(connection, SECRET) or ""


def keyed(key: str, *parts: str) -> str:
    """A hash that says nothing to whoever lacks the key: 32 hex digits."""
    return hmac.new(key.encode(), "\0".join(parts).encode(), hashlib.sha256).hexdigest()[:32]
