"""The consent text: shown before any work, accepted by version, kept with the hash of exactly the words that were shown."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from sqlalchemy import delete, func, insert, select

from curate.crowd.server import settings
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import consents
from curate.crowd.server.store import Store, now
from schemas.errors import UserError

LONGEST = 50_000


@dataclass(frozen=True)
class Consent:
    """The words that hold now."""

    version: str
    text: str

    @property
    def text_hash(self) -> str:
        """sha256 of the words."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def blocks(self) -> list[tuple[str, list[str]]]:
        """The text as (kind, lines): heading, list or paragraph. Markdown's other marks stay as they are."""
        return [_block(part) for part in re.split(r"\n\s*\n", self.text) if part.strip()]


def _block(part: str) -> tuple[str, list[str]]:
    lines = [line.strip() for line in part.strip().splitlines()]
    if len(lines) == 1 and lines[0].startswith("#"):
        return "heading", [lines[0].lstrip("#").strip()]
    if all(re.match(r"[-*] ", line) for line in lines):
        return "list", [line[2:].strip() for line in lines]
    return "paragraph", [" ".join(lines)]


def current(store: Store) -> Consent | None:
    """What people are asked to accept, or None."""
    with store.reading() as connection:
        version = settings.read(connection, settings.CONSENT_VERSION)
        text = settings.read(connection, settings.CONSENT_TEXT)
    return Consent(version, text or "") if version else None


def set_text(store: Store, text: str, version: str) -> Consent:
    """Ask everybody for these words from now on. Raises UserError for other words under a version that somebody accepted."""
    text = text.replace("\r\n", "\n").strip()
    if not text or len(text) > LONGEST:
        raise UserError(f"the consent text has 1 to {LONGEST} characters, got {len(text)}")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", version):
        raise UserError(f"--version has 1 to 40 letters, digits, dots or dashes, got {version!r}")
    made = Consent(version, text)
    with store.writing() as connection:
        other = select(func.count()).where(consents.c.version == version, consents.c.text_hash != made.text_hash)
        if connection.scalar(other):
            raise UserError(
                f"--version {version}: people accepted other words under it; give the new text a new version"
            )
        settings.write(connection, settings.CONSENT_VERSION, version)
        settings.write(connection, settings.CONSENT_TEXT, text)
    return made


def unset(store: Store) -> None:
    """Ask for nothing from now on; what was accepted stays known."""
    with store.writing() as connection:
        settings.write(connection, settings.CONSENT_VERSION, None)
        settings.write(connection, settings.CONSENT_TEXT, None)


def accept(store: Store, worker_id: str, version: str, text_hash: str) -> None:
    """Keep that somebody accepted; raises WorkerError when the words changed since they saw them."""
    now_held = current(store)
    if now_held is None or (now_held.version, now_held.text_hash) != (version, text_hash):
        raise WorkerError("consent_changed")
    table = consents.c
    with store.writing() as connection:
        connection.execute(delete(consents).where(table.worker_id == worker_id, table.version == version))
        values = {"worker_id": worker_id, "version": version, "text_hash": text_hash}
        connection.execute(insert(consents).values(**values, accepted_at=now()))


def accepted(store: Store, version: str) -> int:
    """How many people accepted a version."""
    with store.reading() as connection:
        return connection.scalar(select(func.count()).where(consents.c.version == version)) or 0
