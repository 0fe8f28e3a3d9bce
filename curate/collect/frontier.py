"""What a crawl has seen and still has to fetch, in project.db, so that a killed crawl goes on where it was.

What came of an address and everything it leads to is written in one transaction, after the bytes it names are on disk.
So at any moment the database says nothing that is not so, and loses nothing that it said.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from curate.collect.extract import Listing
from curate.database import transaction


@dataclass(frozen=True)
class Todo:
    """An address to fetch."""

    url: str
    kind: str  # page or picture
    depth: int


@dataclass(frozen=True)
class Result:
    """What came of one address."""

    todo: Todo
    dropped: str | None = None  # why it failed
    later: bool = False
    status: int | None = None
    tries: int = 1
    final_url: str | None = None
    listing: Listing | None = None  # of a product page
    links: Sequence[Todo] = field(default_factory=tuple)  # what a page leads to
    image_id: str | None = None  # of a picture that is on disk
    blob: str | None = None
    bytes: int | None = None


def _now() -> str:
    return datetime.now(UTC).isoformat()


def host_of(url: str) -> str:
    """Host and port in lower case."""
    return urlsplit(url).netloc.lower()


class Frontier:
    """The crawl's memory. Reading and writing use a connection each: a read never sees half of a write."""

    def __init__(self, reader: sqlite3.Connection, writer: sqlite3.Connection, max_listings: int | None = None) -> None:
        self._reader, self._writer = reader, writer
        self._max_listings = max_listings
        self.listings = self._one(
            "SELECT count(DISTINCT marketplace || char(0) || listing_id) FROM frontier WHERE kind = 'product'"
        )

    def _one(self, query: str, *values: object) -> int:
        return self._reader.execute(query, values).fetchone()[0]

    @property
    def full(self) -> bool:
        """True when as many listings are known as were asked for: their pictures still come, other pages wait."""
        return self._max_listings is not None and self.listings >= self._max_listings

    def start(self, urls: Iterable[str], refresh: bool = False) -> None:
        """Put in the start pages; what a later try may cure is pending again, and with `refresh` every page that leads on."""
        with transaction(self._writer) as db:
            for url in urls:
                _add(db, Todo(url, "page", 0), host_of(url), None)
            db.execute("UPDATE frontier SET state = 'pending', tries = 0 WHERE state = 'failed' AND later")
            if refresh:
                db.execute("UPDATE frontier SET state = 'pending' WHERE kind = 'page' AND state = 'done'")

    def next(self, host: str, taken: Collection[str]) -> Todo | None:
        """The next address of a host that nobody is fetching: pictures first, so that listings get complete."""
        for kind in ("picture", "page"):
            if kind == "page" and self.full:
                break
            rows = self._reader.execute(
                "SELECT url, kind, depth FROM frontier WHERE state = 'pending' AND host = ? AND kind = ?"
                " ORDER BY rowid LIMIT ?",
                (host, kind, len(taken) + 1),
            )
            if free := next((row for row in rows.fetchall() if row["url"] not in taken), None):
                return Todo(free["url"], free["kind"], free["depth"])
        return None

    def hosts(self) -> list[str]:
        """Hosts with something to fetch."""
        rows = self._reader.execute("SELECT DISTINCT host FROM frontier WHERE state = 'pending'")
        return [row["host"] for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """How many addresses there are by kind and state."""
        rows = self._reader.execute("SELECT kind, state, count(*) AS n FROM frontier GROUP BY kind, state")
        return {(row["kind"], row["state"]): row["n"] for row in rows}

    def save(self, results: Sequence[Result]) -> None:
        """Write what came of some addresses, all or nothing. A product beyond the limit of listings stays pending."""
        listings = self.listings
        with transaction(self._writer) as db:
            for result in results:
                if result.listing and self._is_new(db, result.listing):
                    if self._max_listings is not None and listings >= self._max_listings:
                        continue
                    listings += 1
                _write(db, result)
        self.listings = listings

    @staticmethod
    def _is_new(db: sqlite3.Connection, listing: Listing) -> bool:
        query = "SELECT 1 FROM frontier WHERE kind = 'product' AND marketplace = ? AND listing_id = ?"
        return db.execute(query, (listing.marketplace, listing.listing_id)).fetchone() is None


def _write(db: sqlite3.Connection, result: Result) -> None:
    """One result: its own row, what it leads to, and its gallery."""
    todo = result.todo
    now = _now()
    db.execute(
        "UPDATE frontier SET state = ?, dropped = ?, later = ?, status = ?, tries = ?, final_url = ?, image_id = ?, blob = ?,"
        " bytes = ?, fetched_at = ? WHERE url = ?",
        (
            "failed" if result.dropped else "done", result.dropped, result.later, result.status, result.tries,
            result.final_url, result.image_id, result.blob, result.bytes, now, todo.url,
        ),
    )  # fmt: skip
    for link in result.links:
        _add(db, link, host_of(link.url), None)
    if (listing := result.listing) is None:
        return
    db.execute(
        "UPDATE frontier SET kind = 'product', marketplace = ?, listing_id = ?, data = ? WHERE url = ?",
        (listing.marketplace, listing.listing_id, json.dumps(listing.columns, ensure_ascii=False), todo.url),
    )
    for position, url in enumerate(listing.pictures):
        db.execute(
            "INSERT OR IGNORE INTO gallery VALUES (?, ?, ?, ?, ?)",
            (listing.marketplace, listing.listing_id, position, url, now),
        )
        _add(db, Todo(url, "picture", todo.depth + 1), listing.marketplace, listing.listing_id)


def _add(db: sqlite3.Connection, todo: Todo, marketplace: str, listing_id: str | None) -> None:
    """An address that is new becomes pending; one taken for a page that turns out to be a picture changes its kind."""
    db.execute(
        "INSERT INTO frontier (url, kind, host, depth, marketplace, listing_id, state, first_seen_at)"
        " VALUES (?, ?, ?, ?, ?, ?, 'pending', ?) ON CONFLICT (url) DO "
        + (
            "UPDATE SET kind = 'picture', state = 'pending', marketplace = excluded.marketplace,"
            " listing_id = excluded.listing_id WHERE kind = 'page'"
            if todo.kind == "picture"
            else "NOTHING"
        ),
        (todo.url, todo.kind, host_of(todo.url), todo.depth, marketplace, listing_id, _now()),
    )
