"""Listings that are known from a file come in: a row of the frontier that is done, with pictures that are still to be had.

So what is fetched from the web, what lies on this machine, what failed, and where a killed run goes on are all kept in one
place, project.db. Beside pages, products and pictures the frontier has three kinds for imports:

listing   known from a source; `etag` is a hash of its content, `depth` its line, `fetched_at` the run that read it last
file      a picture that is no web address; `host` is its source, `etag` its version, `data` what tables say of it
row       a row of a source that could not be used; `url` is the source and the line
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import urlsplit

from curate.database import transaction
from curate.forgotten import Forgotten

AT_ONCE = 500  # entries that one transaction takes
LONGEST_REASON = 300
_T = TypeVar("_T")


@dataclass(frozen=True)
class Picture:
    """One picture of a listing: an http(s) address, or the place of a file that the source can read."""

    url: str
    mark: str | None = None  # version of a file; another one is read again
    shown: str | None = None  # what tables say instead of the place
    label: str | None = None  # its known class

    @property
    def of_the_web(self) -> bool:
        """Whether it has to be fetched politely."""
        return self.url.startswith(("http://", "https://"))


@dataclass(frozen=True)
class Entry:
    """One listing of a source, with its columns of LISTINGS and its pictures in order."""

    marketplace: str
    listing_id: str
    columns: dict[str, Any]
    pictures: tuple[Picture, ...]
    line: int | str  # where it stands in the source
    faults: tuple[str, ...] = ()  # why some of its pictures cannot be asked for
    rows: int = 1  # of the source that say it


@dataclass(frozen=True)
class Bad:
    """A row that cannot be used, and why."""

    line: int | str
    reason: str
    listing_id: str | None = None
    rows: int = 1


@dataclass(frozen=True)
class Got:
    """A file that was read: its picture, or why there is none."""

    url: str
    image_id: str | None = None
    blob: str | None = None
    bytes: int | None = None
    dropped: str | None = None


@dataclass
class Counts:
    """What became of the rows of a source. Rows in = new + changed + same + repeated + bad + forgotten + joined."""

    rows: int = 0
    new: int = 0
    changed: int = 0
    same: int = 0
    repeated: int = 0  # the same row again
    bad: int = 0
    forgotten: int = 0
    joined: int = 0  # rows that only add pictures to the listing above them
    faults: int = 0  # pictures that cannot be asked for
    reasons: list[str] = field(default_factory=list)  # of the first bad rows


class Intake:
    """Writes entries of one source into project.db. Run again with a changed source it changes what has changed."""

    def __init__(self, db: sqlite3.Connection, source: str, forgotten: Forgotten, refresh: bool = False) -> None:
        """`source` is its name in tables; `refresh` asks again for pictures that failed for good."""
        self.db, self.source, self.forgotten, self.refresh = db, source, forgotten, refresh
        self.at = datetime.now(UTC).isoformat()
        self.counts = Counts()
        self.marketplaces: set[str] = set()

    def take_all(self, entries: Iterable[Entry | Bad]) -> None:
        """Take entries in, some hundred a transaction."""
        with transaction(self.db) as db:
            db.execute("DELETE FROM frontier WHERE kind = 'row' AND host = ?", (self.source,))
        for batch in batches(entries, AT_ONCE):
            self.take(batch)

    def take(self, entries: Sequence[Entry | Bad]) -> None:
        """Take some entries in, all or none."""
        before = replace(self.counts, reasons=list(self.counts.reasons))
        try:
            with transaction(self.db):
                for entry in entries:
                    self.counts.rows += entry.rows
                    self.counts.joined += entry.rows - 1
                    self._bad(entry) if isinstance(entry, Bad) else self._entry(entry)
        except BaseException:
            self.counts = before
            raise

    def _entry(self, entry: Entry) -> None:
        if self._is_forgotten(entry):
            self.counts.forgotten += 1
            return
        key = f"listing:{entry.marketplace}/{entry.listing_id}"
        digest = _digest(entry)
        there = self.db.execute("SELECT etag, fetched_at, depth FROM frontier WHERE url = ?", (key,)).fetchone()
        if there and there["fetched_at"] == self.at:
            self._again(entry, digest == there["etag"], there["depth"])
            return
        self.marketplaces.add(entry.marketplace)
        self._write(key, entry, digest)
        if there is None or there["etag"] != digest:
            self._gallery(entry)
        for picture in entry.pictures:
            self._picture(entry, picture)
        self.counts.faults += len(entry.faults)
        for place, reason in enumerate(entry.faults, start=1):
            self._fail(f"{self.source}#{entry.line}/{place}", reason, entry.marketplace, entry.listing_id)
        kind = "new" if there is None else "same" if there["etag"] == digest else "changed"
        setattr(self.counts, kind, getattr(self.counts, kind) + 1)

    def _is_forgotten(self, entry: Entry) -> bool:
        return self.forgotten.refuses(entry.marketplace, entry.listing_id, entry.columns.get("attributes"))

    def _again(self, entry: Entry, same: bool, line: int | str) -> None:
        """A second row of one listing in one run."""
        if same:
            self.counts.repeated += 1
            return
        self._bad(
            Bad(
                entry.line,
                f"another listing ({'line ' if isinstance(line, int) else ''}{line}) has the same id",
                entry.listing_id,
            )
        )

    def _write(self, key: str, entry: Entry, digest: str) -> None:
        data = json.dumps(entry.columns, ensure_ascii=False)
        self.db.execute(
            "INSERT INTO frontier (url, kind, host, depth, marketplace, listing_id, state, data, final_url, etag,"
            " first_seen_at, fetched_at) VALUES (?, 'listing', '', ?, ?, ?, 'done', ?, ?, ?, ?, ?)"
            " ON CONFLICT (url) DO UPDATE SET depth = excluded.depth, data = excluded.data, final_url = excluded.final_url,"
            " etag = excluded.etag, fetched_at = excluded.fetched_at, state = 'done', dropped = NULL",
            (key, entry.line, entry.marketplace, entry.listing_id, data, self.source, digest, self.at, self.at),
        )

    def _gallery(self, entry: Entry) -> None:
        """The pictures in their order now; one that was shown before keeps the time when it was first."""
        named = (entry.marketplace, entry.listing_id)
        rows = self.db.execute("SELECT url, first_seen_at FROM gallery WHERE marketplace = ? AND listing_id = ?", named)
        first = {row["url"]: row["first_seen_at"] for row in rows}
        self.db.execute("DELETE FROM gallery WHERE marketplace = ? AND listing_id = ?", named)
        self.db.executemany(
            "INSERT INTO gallery VALUES (?, ?, ?, ?, ?)",
            [(*named, place, one.url, first.get(one.url, self.at)) for place, one in enumerate(entry.pictures)],
        )

    def _picture(self, entry: Entry, picture: Picture) -> None:
        """A picture that is new waits to be had; so does a file that has changed or could not be read."""
        web = picture.of_the_web
        data = None if web else json.dumps({"shown": picture.shown or picture.url, "label": picture.label})
        again = (
            "UPDATE SET kind = 'picture', state = 'pending', marketplace = excluded.marketplace,"
            " listing_id = excluded.listing_id WHERE kind = 'page' OR (state = 'failed' AND ?)"
            if web
            else "UPDATE SET state = CASE WHEN state = 'done' AND etag IS excluded.etag THEN 'done' ELSE 'pending' END,"
            " etag = excluded.etag, data = excluded.data, host = excluded.host WHERE kind = 'file' OR ?"
        )
        self.db.execute(
            "INSERT INTO frontier (url, kind, host, depth, marketplace, listing_id, state, data, etag, first_seen_at)"
            f" VALUES (?, ?, ?, 0, ?, ?, 'pending', ?, ?, ?) ON CONFLICT (url) DO {again}",
            (
                picture.url, "picture" if web else "file", urlsplit(picture.url).netloc.lower() if web else self.source,
                entry.marketplace, entry.listing_id, data, picture.mark, self.at, self.refresh if web else False,
            ),
        )  # fmt: skip

    def _bad(self, bad: Bad) -> None:
        self.counts.bad += 1
        if len(self.counts.reasons) < 3:
            self.counts.reasons.append(f"{'line ' if isinstance(bad.line, int) else ''}{bad.line}: {bad.reason}")
        self._fail(f"{self.source}#{bad.line}", bad.reason, self.source, bad.listing_id)

    def _fail(self, url: str, reason: str, marketplace: str, listing_id: str | None) -> None:
        self.db.execute(
            "INSERT OR REPLACE INTO frontier (url, kind, host, depth, marketplace, listing_id, state, dropped, tries,"
            " first_seen_at, fetched_at) VALUES (?, 'row', ?, 0, ?, ?, 'failed', ?, 1, ?, ?)",
            (url, self.source, marketplace, listing_id, reason[:LONGEST_REASON], self.at, self.at),
        )

    def save(self, files: Sequence[Got]) -> None:
        """Write what came of some files, all or nothing, after their bytes are on disk."""
        with transaction(self.db) as db:
            db.executemany(
                "UPDATE frontier SET state = ?, dropped = ?, image_id = ?, blob = ?, bytes = ?, tries = 1, fetched_at = ?"
                " WHERE url = ?",
                [
                    ("failed" if one.dropped else "done", one.dropped, one.image_id, one.blob, one.bytes, self.at, one.url)
                    for one in files
                ],
            )  # fmt: skip

    def vanished(self) -> int:
        """Listings that an earlier import brought to the same marketplaces and that this run did not name."""
        marks = ", ".join("?" * len(self.marketplaces))
        return self._one(
            f"SELECT count(*) FROM frontier WHERE kind = 'listing' AND fetched_at < ? AND marketplace IN ({marks})",
            self.at,
            *self.marketplaces,
        )

    def gone(self) -> int:
        """Listings that an earlier run of this very source brought and that this run did not find."""
        query = "SELECT count(*) FROM frontier WHERE kind = 'listing' AND fetched_at < ? AND final_url = ?"
        return self._one(query, self.at, self.source)

    def pictures(self) -> int:
        """Pictures that are there of the listings that this run read."""
        return self._one(
            "SELECT count(DISTINCT p.image_id) FROM frontier l JOIN gallery g USING (marketplace, listing_id)"
            " JOIN frontier p ON p.url = g.url AND p.state IN ('done', 'stale') WHERE l.kind = 'listing'"
            " AND l.final_url = ? AND l.fetched_at = ?",
            self.source,
            self.at,
        )

    def _one(self, query: str, *values: object) -> int:
        return int(self.db.execute(query, values).fetchone()[0])


def failed_pictures(db: sqlite3.Connection, source: str, at: str) -> Iterator[tuple[str, int]]:
    """Why pictures of the listings that a run of a source read are not there, and how many of each reason."""
    yield from db.execute(
        "SELECT p.dropped, count(DISTINCT p.url) FROM frontier l JOIN gallery g USING (marketplace, listing_id)"
        " JOIN frontier p ON p.url = g.url WHERE l.kind = 'listing' AND l.final_url = ? AND l.fetched_at = ?"
        " AND p.state = 'failed' GROUP BY 1",
        (source, at),
    )


def _digest(entry: Entry) -> str:
    """A hash of what an entry says; the line it stands on is no part of it."""
    said = [entry.columns, [(one.url, one.label) for one in entry.pictures], entry.faults]
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[
        :32
    ]


def batches(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Lists of up to `size` items."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
