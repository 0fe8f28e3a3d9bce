"""The crawl's memory as tables: LISTINGS, PICTURES, APPEARANCES, FAILURES. Run again it gives the same rows.

All of them are written a piece at a time, so that a catalogue of a million rows takes no more memory than a small one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from curate.collect.merge import join_rows
from curate.workspace import Workspace, open_workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES

# Kinds of the frontier: page, product and picture are of the web; listing, file and row came in by an import.
_SHOWN = """
SELECT p.image_id, g.marketplace, g.listing_id, g.position, coalesce(json_extract(p.data, '$.shown'), g.url) AS url,
    g.first_seen_at, CASE WHEN p.dropped LIKE 'opted out%' THEN p.dropped END AS dropped
FROM gallery g JOIN frontier p ON p.url = g.url AND p.kind IN ('picture', 'file') AND p.state IN ('done', 'stale')
    AND p.image_id IS NOT NULL
"""
_NAMED = "marketplace = ? AND listing_id = ? AND image_id = ?"
_SHOWN_NOW = f"SELECT 1 FROM ({_SHOWN}) WHERE {_NAMED} LIMIT 1"
_REPLACED = """
SELECT p.image_id, g.marketplace, g.listing_id, g.position, g.url, p.first_seen_at, 'replaced' AS dropped
FROM gallery g JOIN frontier p ON p.url > g.url || '#' AND p.url < g.url || '$' AND p.state = 'replaced'
"""  # $ is the letter behind #
_REPLACED_NOW = f"SELECT 1 FROM ({_REPLACED}) WHERE {_NAMED} LIMIT 1"
# Of several pages that show one listing, the first seen: SQLite takes the other columns from the row of min().
_PRODUCTS = """
SELECT f.*, min(f.rowid) AS first, count(g.url) AS shown, sum(p.state = 'failed') AS lost
FROM frontier f
LEFT JOIN gallery g ON g.marketplace = f.marketplace AND g.listing_id = f.listing_id
LEFT JOIN frontier p ON p.url = g.url
WHERE f.kind IN ('product', 'listing') AND f.state IN ('done', 'stale')
GROUP BY f.marketplace, f.listing_id ORDER BY first
"""
_LISTED = """
SELECT 1 FROM frontier WHERE kind = 'product' AND state IN ('done', 'stale') AND marketplace = ? AND listing_id = ?
UNION ALL SELECT 1 FROM frontier WHERE kind = 'listing' AND url = ? LIMIT 1
"""
_FAILED = "state = 'failed' OR (dropped IS NOT NULL AND dropped NOT LIKE 'gone: %')"  # a gone listing says so itself


def export_here(workspace: Workspace) -> dict[str, int]:
    """Write the four tables from the workspace's project.db; returns how many rows of each the crawl has."""
    with contextlib.closing(workspace.project()) as db:
        return export(workspace, db)


def export(workspace: Workspace, db: sqlite3.Connection) -> dict[str, int]:
    """Write the four tables; returns how many rows of each the crawl has. What `curate check` filled in PICTURES stays."""
    _write_pictures(workspace, db)
    seen = {"listings": 0, "gone": 0}
    join_rows(LISTINGS, workspace.table("listings"), _listings(db, seen), lambda row: not _is_listed(db, row))
    appearances = workspace.table("appearances")
    join_rows(
        APPEARANCES, appearances, _appearances(db), lambda row: not _is_known(db, row), lambda row: _why_old(db, row)
    )
    join_rows(FAILURES, workspace.table("failures"), _failures(db), lambda _: False)  # they are of the frontier alone
    return {
        "listings": seen["listings"],
        "pictures": _one(db, "SELECT count(DISTINCT image_id) FROM frontier"),
        "failures": _one(db, f"SELECT count(*) FROM frontier WHERE kind IN ('page', 'product', 'picture') AND ({_FAILED})"),
        "gone": seen["gone"],
    }  # fmt: skip


def _one(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _timed(row: dict[str, Any], *names: str) -> dict[str, Any]:
    """The row with times as times."""
    return {**row, **{name: row[name] and datetime.fromisoformat(row[name]) for name in names}}


def _write_pictures(workspace: Workspace, db: sqlite3.Connection) -> None:
    """Add the pictures that are not in their table yet, if there are any."""
    path = workspace.table("pictures")
    db.execute("CREATE TEMP TABLE IF NOT EXISTS there (image_id TEXT PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM temp.there")
    for piece in PICTURES.batches(path, ["image_id"]):
        db.execute("BEGIN")
        db.executemany("INSERT OR IGNORE INTO temp.there VALUES (?)", zip(piece["image_id"].to_pylist(), strict=True))
        db.execute("COMMIT")
    new = (
        "FROM frontier WHERE image_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM temp.there t WHERE t.image_id = "
        "frontier.image_id) GROUP BY image_id"
    )
    if path.exists() and db.execute(f"SELECT 1 {new} LIMIT 1").fetchone() is None:
        return
    rows = db.execute(f"SELECT image_id, blob, bytes, min(rowid) AS first {new} ORDER BY first")
    join_rows(PICTURES, path, ({"image_id": row[0], "blob": row[1], "bytes": row[2]} for row in rows))


def _is_listed(db: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    named = (row["marketplace"], row["listing_id"])
    return db.execute(_LISTED, (*named, f"listing:{'/'.join(named)}")).fetchone() is not None


def _appearances(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """What listings show now, and pictures that others took the place of, unless they are shown elsewhere in the listing."""
    yield from (_timed(dict(row), "first_seen_at") for row in db.execute(_SHOWN))
    for row in db.execute(_REPLACED):
        if db.execute(_SHOWN_NOW, _named(row)).fetchone() is None:
            yield _timed(dict(row), "first_seen_at")


def _is_known(db: sqlite3.Connection, row: Mapping[str, Any]) -> bool:
    """Whether the gallery says how the listing and the picture go together: a changed order does not double it."""
    return any(db.execute(query, _named(row)).fetchone() for query in (_SHOWN_NOW, _REPLACED_NOW))


def _why_old(db: sqlite3.Connection, row: Mapping[str, Any]) -> str | None:
    """Why an appearance of an earlier run does not count, that the gallery knows nothing of."""
    return "no longer shown" if _is_listed(db, row) else None


def _named(row: Mapping[str, Any] | sqlite3.Row) -> tuple[str, str, str]:
    return row["marketplace"], row["listing_id"], row["image_id"]


def _listings(db: sqlite3.Connection, seen: dict[str, int]) -> Iterator[dict[str, Any]]:
    """A row a listing; `seen` counts them."""
    names = set(LISTINGS.names)
    for row in db.execute(_PRODUCTS):
        gone = _why_gone(row["dropped"])
        seen["listings"] += 1
        seen["gone"] += bool(gone and gone.startswith("gone: "))
        data = {name: value for name, value in json.loads(row["data"]).items() if name in names}
        yield {
            **data,
            "marketplace": row["marketplace"],
            "listing_id": row["listing_id"],
            "first_seen_at": datetime.fromisoformat(row["first_seen_at"]),
            "fetched_at": datetime.fromisoformat(row["fetched_at"]),
            "dropped": gone or _why_bare(row),
        }


def _why_gone(dropped: str | None) -> str | None:
    """Why a listing that came in once does not count any more; a page that cannot be had just now is no reason."""
    return dropped if dropped and dropped.startswith(("gone: ", "opted out")) else None


def _why_bare(row: sqlite3.Row) -> str | None:
    if not row["shown"]:
        return "no picture on its page" if row["kind"] == "product" else "no usable picture in its row"
    return "none of its pictures could be had" if row["lost"] == row["shown"] else None


def _failures(db: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    names = "kind, marketplace, listing_id, status, tries, dropped, fetched_at"
    place = "coalesce(json_extract(CASE kind WHEN 'file' THEN data END, '$.shown'), url)"
    last = None
    for row in db.execute(f"SELECT {place} AS url, {names} FROM frontier WHERE {_FAILED} ORDER BY 1"):
        if row["url"] != last:  # files of two folders may go by one name
            yield _timed(dict(row), "fetched_at") | ({"kind": "picture"} if row["kind"] == "file" else {})
        last = row["url"]


def main() -> None:
    """`python -m curate.collect.export ROOT` writes the tables and prints the counts as JSON; it ends when its stdin does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the crawl's to hear; it ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.meta_path.insert(0, _NoPandas())
    workspace = open_workspace(Path(sys.argv[1]))
    try:
        said: dict[str, Any] = export_here(workspace)
    except UserError as error:
        said = {"error": str(error)}
    except (OSError, sqlite3.OperationalError) as error:
        said = {"error": f"{workspace.root}: cannot be written ({error}); run the same command again to go on"}
    print(json.dumps(said), flush=True)
    os._exit(0)  # the other thread still waits for stdin


class _NoPandas:
    """pyarrow imports pandas only to ask whether a list of ours is a Series: half of this process's time."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Say that it is not there."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def _end_with_parent() -> None:
    """The crawl holds the workspace's lock: when it is killed, nothing may be written any more."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
