"""What this collection was told to forget, as hashes: whoever takes something in asks here first, and keeps out what is named.

The hashes lie in project.db and are salted with a random number of the workspace, so that two workspaces cannot be compared
and no list made elsewhere finds a seller. They are no secret from the workspace itself: who holds it can test a guess.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field

from curate.workspace import Workspace

REASON = "forgotten"  # in `dropped` of what came again and was not taken
IMAGE, LISTING, SELLER = "image", "listing", "seller"
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ANSWER = re.compile(
    r"\s*<Answer>\s*<QuestionIdentifier>[^<]*?([0-9a-f]{64})\s*</QuestionIdentifier>.*?</Answer>", re.DOTALL
)


@dataclass(frozen=True)
class Forgotten:
    """The hashes of a workspace, in memory: about 200 bytes each, and no library but the standard one."""

    salt: str = ""
    hashes: Mapping[str, Collection[str]] = field(default_factory=dict)  # by kind

    @classmethod
    def of(cls, workspace: Workspace) -> Forgotten:
        """What a workspace was told to forget; without a project.db nothing, and none is made."""
        if not (workspace.root / "project.db").exists():
            return cls()
        with closing(workspace.project()) as project:
            return cls.read(project)

    @classmethod
    def read(cls, project: sqlite3.Connection) -> Forgotten:
        """The same from an open project.db."""
        hashes: dict[str, set[str]] = defaultdict(set)
        for row in project.execute("SELECT kind, hash FROM forgotten"):
            hashes[row["kind"]].add(row["hash"])
        salt = project.execute("SELECT value FROM forgetting WHERE name = 'salt'").fetchone()
        return cls(salt["value"] if salt else "", hashes)

    def __bool__(self) -> bool:
        return any(self.hashes.values())

    def image(self, image_id: str) -> bool:
        """Whether a picture is to be kept out, by the sha256 of its bytes."""
        return self._has(IMAGE, image_id)

    def listing(self, marketplace: str, listing_id: str) -> bool:
        """Whether a listing is to be kept out."""
        return self._has(LISTING, marketplace, listing_id)

    def seller(self, name: str | None) -> bool:
        """Whether everything of a seller is to be kept out: the value `seller` of LISTINGS.attributes, however it is written."""
        return bool(name) and self._has(SELLER, plain(str(name)))

    def refuses(self, marketplace: str, listing_id: str, attributes: Mapping[str, str] | None = None) -> bool:
        """Whether a listing is to be kept out, for itself or for its seller."""
        return self.listing(marketplace, listing_id) or self.seller((attributes or {}).get("seller"))

    def _has(self, kind: str, *parts: str) -> bool:
        there = self.hashes.get(kind, ())
        return bool(there) and hashed(self.salt, kind, *parts) in there

    def veil(self, text: str) -> str:
        """The text with the hash in place of each forgotten image_id."""
        return self._veil(text) if self.hashes.get(IMAGE) else text

    def _veil(self, text: str) -> str:
        def instead(found: re.Match[str]) -> str:
            made = hashed(self.salt, IMAGE, found[0])
            return made if made in self.hashes[IMAGE] else found[0]

        return _ID.sub(instead, text)

    def names(self, text: str) -> bool:
        """Whether a text holds a forgotten image_id."""
        return bool(self.hashes.get(IMAGE)) and any(self.image(found[0]) for found in _ID.finditer(text))

    def without_answers(self, xml: str) -> str:
        """A QuestionFormAnswers document without what was said about forgotten pictures."""
        if not self.hashes.get(IMAGE):
            return xml
        return self.veil(_ANSWER.sub(lambda found: "" if self.image(found[1]) else found[0], xml))


def plain(name: str) -> str:
    """A seller's name as it is compared: one space between words, case and width folded."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def hashed(salt: str, kind: str, *parts: str) -> str:
    """The hash that stands for something forgotten: 64 hex characters."""
    return hashlib.sha256("\0".join((salt, kind, *parts)).encode()).hexdigest()


def salt_of(project: sqlite3.Connection) -> str:
    """The workspace's salt, made when it is first asked for."""
    project.execute("INSERT OR IGNORE INTO forgetting (name, value) VALUES ('salt', ?)", (secrets.token_hex(16),))
    return str(project.execute("SELECT value FROM forgetting WHERE name = 'salt'").fetchone()["value"])
