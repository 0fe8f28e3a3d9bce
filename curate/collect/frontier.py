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
from curate.collect.plan import Plan
from curate.collect.quota import Quota
from curate.database import transaction


@dataclass(frozen=True)
class Todo:
    """An address to fetch."""

    url: str
    kind: str  # page, product (known from before) or picture
    depth: int
    stale: bool = False  # there from an earlier run, and looked at again
    etag: str | None = None  # what the server called the version that we have
    last_modified: str | None = None


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
    etag: str | None = None
    last_modified: str | None = None
    most_pictures: int | None = None  # of the listing; None = all


def _now() -> str:
    return datetime.now(UTC).isoformat()


def host_of(url: str) -> str:
    """Host and port in lower case."""
    return urlsplit(url).netloc.lower()


# What comes first; of pages only those that are known are looked at once the limit of listings is reached.
_ORDER = (("pending", "picture"), ("stale", "product"), ("stale", "page"), ("stale", "picture"), ("pending", "page"))
_LISTING = "marketplace || char(0) || listing_id"
_NAMED = "marketplace = ? AND listing_id = ?"
_PICTURES = " pictures"  # of one page, among the columns of its listing

# Imports keep what is no web address in the same table: listings that they know, files, rows that they could not use.
_OF_THE_WEB = ("page", "product", "picture")


class Frontier:
    """The crawl's memory. Reading and writing use a connection each: a read never sees half of a write."""

    def __init__(self, reader: sqlite3.Connection, writer: sqlite3.Connection, plan: Plan) -> None:
        self._reader, self._writer = reader, writer
        listings = reader.execute(f"SELECT count(DISTINCT {_LISTING}) FROM frontier WHERE kind = 'product'").fetchone()[
            0
        ]
        known = reader.execute(
            f"SELECT host, count(*), count(DISTINCT CASE WHEN kind = 'product' THEN {_LISTING} END) FROM frontier"
            " WHERE kind IN ('page', 'product') AND fetched_at IS NOT NULL GROUP BY host"
        )
        self.quota = Quota(plan, map(tuple, known), listings)

    def start(self, urls: Iterable[str], refresh: bool = False) -> None:
        """Put in the start pages; what a later try may cure is asked for again, and with `refresh` all that is known."""
        with transaction(self._writer) as db:
            for url in urls:
                _add(db, Todo(url, "page", 0), host_of(url), None)
            db.execute(
                "UPDATE frontier SET state = 'pending', tries = 0 WHERE state = 'failed' AND (later OR ?)"
                f" AND kind IN {_OF_THE_WEB}",
                (refresh,),
            )
            db.execute(
                f"UPDATE frontier SET state = 'stale' WHERE state = 'done' AND (later OR ?) AND kind IN {_OF_THE_WEB}",
                (refresh,),
            )

    def next(self, host: str, taken: Collection[str], most: int) -> list[Todo]:
        """Up to `most` addresses of a host that nobody has taken: pictures first, so that listings get complete."""
        found: list[Todo] = []
        for state, kind in _ORDER:
            if (state, kind) == ("pending", "page") and self.quota.full(host):
                break
            rows = self._reader.execute(
                "SELECT url, kind, depth, etag, last_modified FROM frontier WHERE state = ? AND host = ? AND kind = ?"
                " ORDER BY rowid LIMIT ?",
                (state, host, kind, len(taken) + most),
            )
            found += [_todo(row, state == "stale") for row in rows if row["url"] not in taken]
            if len(found) >= most:
                break
        return found[:most]

    def hosts(self) -> list[str]:
        """Hosts with something to fetch."""
        rows = self._reader.execute(
            f"SELECT DISTINCT host FROM frontier WHERE state IN ('pending', 'stale') AND kind IN {_OF_THE_WEB}"
        )
        return [row["host"] for row in rows]

    def waiting(self) -> int:
        """How many addresses are not fetched yet, or to be looked at again."""
        counts = self.counts().items()
        return sum(n for (kind, state), n in counts if state in ("pending", "stale") and kind in _OF_THE_WEB)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many addresses there are by kind and state."""
        rows = self._reader.execute("SELECT kind, state, count(*) AS n FROM frontier GROUP BY kind, state")
        return {(row["kind"], row["state"]): row["n"] for row in rows}

    def save(self, results: Sequence[Result]) -> None:
        """Write what came of some addresses, all or nothing. A product beyond the limit of listings stays pending."""
        with transaction(self._writer) as db:
            for result in results:
                new = result.listing and self._is_new(db, result.listing)
                if not new or self.quota.takes_listing(host_of(result.todo.url)):
                    _write(db, result)

    @staticmethod
    def _is_new(db: sqlite3.Connection, listing: Listing) -> bool:
        query = "SELECT 1 FROM frontier WHERE kind = 'product' AND marketplace = ? AND listing_id = ?"
        return db.execute(query, (listing.marketplace, listing.listing_id)).fetchone() is None


def _todo(row: sqlite3.Row, stale: bool) -> Todo:
    known = (row["etag"], row["last_modified"]) if stale else (None, None)
    return Todo(row["url"], row["kind"], row["depth"], stale, *known)


def _write(db: sqlite3.Connection, result: Result) -> None:
    """One result: its own row, what it leads to, and its gallery."""
    todo = result.todo
    now = _now()
    if todo.kind != "picture" and _is_picture_now(db, todo.url):
        return  # while it was fetched as a page, a listing named it as its picture: it waits for its turn as one
    if todo.stale and (result.dropped or result.status == 304):
        _keep_as_it_was(db, result, now)
        return
    if todo.stale and todo.kind == "picture":
        _keep_the_old_picture(db, result, now)
    db.execute(
        "UPDATE frontier SET state = ?, dropped = ?, later = ?, status = ?, tries = ?, final_url = ?, image_id = ?, blob = ?,"
        " bytes = ?, etag = ?, last_modified = ?, fetched_at = ? WHERE url = ?",
        (
            "failed" if result.dropped else "done", result.dropped, result.later, result.status, result.tries,
            result.final_url, result.image_id, result.blob, result.bytes, result.etag, result.last_modified, now, todo.url,
        ),
    )  # fmt: skip
    for link in result.links:
        _add(db, link, host_of(link.url), None)
    if result.listing is not None:
        _write_listing(db, result.listing, todo, now, result.most_pictures)


def _is_picture_now(db: sqlite3.Connection, url: str) -> bool:
    return db.execute("SELECT 1 FROM frontier WHERE url = ? AND kind = 'picture'", (url,)).fetchone() is not None


def _keep_as_it_was(db: sqlite3.Connection, result: Result, now: str) -> None:
    """What was looked at again and has not changed, or is gone, or could not be had: what it said before stays."""
    seen_at = None if result.later else now
    db.execute(
        "UPDATE frontier SET state = 'done', dropped = ?, later = ?, tries = ?, fetched_at = coalesce(?, fetched_at)"
        " WHERE url = ?",
        (result.dropped, result.later, result.tries, seen_at, result.todo.url),
    )


def _keep_the_old_picture(db: sqlite3.Connection, result: Result, now: str) -> None:
    """Where another picture stands at an address now: the old one stays known, in a row that nobody fetches."""
    url, image_id = result.todo.url, result.image_id
    db.execute(
        "INSERT OR IGNORE INTO frontier (url, kind, host, depth, marketplace, listing_id, state, image_id, blob, bytes,"
        " first_seen_at, fetched_at) SELECT url || '#' || image_id, kind, host, depth, marketplace, listing_id, 'replaced',"
        " image_id, blob, bytes, first_seen_at, fetched_at FROM frontier WHERE url = ? AND image_id <> ?",
        (url, image_id),
    )
    if db.execute("SELECT changes()").fetchone()[0]:
        db.execute("UPDATE gallery SET first_seen_at = ? WHERE url = ?", (now, url))


def _write_listing(db: sqlite3.Connection, listing: Listing, todo: Todo, now: str, most: int | None) -> None:
    """A listing with its gallery: what its pages show, all together, first the pictures of the page met first."""
    named = (listing.marketplace, listing.listing_id)
    data = json.dumps({**listing.columns, _PICTURES: listing.pictures}, ensure_ascii=False)
    db.execute(
        "UPDATE frontier SET kind = 'product', marketplace = ?, listing_id = ?, data = ? WHERE url = ?",
        (*named, data, todo.url),
    )
    known = db.execute(f"SELECT url, first_seen_at FROM gallery WHERE {_NAMED} ORDER BY position", named).fetchall()
    before = {row["url"]: row["first_seen_at"] for row in known}
    pages = db.execute(
        f"SELECT url, data FROM frontier WHERE kind = 'product' AND {_NAMED} ORDER BY rowid", named
    ).fetchall()
    showing = {url for page in pages for url in json.loads(page["data"]).get(_PICTURES, before)}
    leads = todo.stale and pages[0]["url"] == todo.url
    order = [*listing.pictures, *before] if leads else [*before, *listing.pictures]
    shown = [url for url in dict.fromkeys(order) if url in showing][:most]
    if shown == list(before):
        return
    db.execute(f"DELETE FROM gallery WHERE {_NAMED}", named)
    for position, url in enumerate(shown):
        db.execute("INSERT INTO gallery VALUES (?, ?, ?, ?, ?)", (*named, position, url, before.get(url, now)))
        _add(db, Todo(url, "picture", todo.depth + 1), *named)


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
