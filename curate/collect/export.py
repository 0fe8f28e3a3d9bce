"""The crawl's memory as tables: LISTINGS, PICTURES, APPEARANCES, FAILURES. Run again it gives the same rows."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import pandas as pd

from curate.collect.merge import add_rows, joined, replace_rows
from curate.workspace import Workspace, open_workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES

_SHOWN = """
SELECT p.image_id, g.marketplace, g.listing_id, g.position, g.url, g.first_seen_at,
       CASE WHEN p.dropped LIKE 'opted out%' THEN p.dropped END AS dropped
FROM gallery g JOIN frontier p ON p.url = g.url AND p.kind = 'picture' AND p.state IN ('done', 'stale')
"""
_REPLACED = """
SELECT p.image_id, g.marketplace, g.listing_id, g.position, g.url, p.first_seen_at, 'replaced' AS dropped
FROM gallery g JOIN frontier p ON p.url > g.url || '#' AND p.url < g.url || '$' AND p.state = 'replaced'
"""  # $ is the letter behind #
_PRODUCTS = """
SELECT f.*, count(g.url) AS shown, sum(p.state = 'failed') AS lost
FROM frontier f
LEFT JOIN gallery g ON g.marketplace = f.marketplace AND g.listing_id = f.listing_id
LEFT JOIN frontier p ON p.url = g.url
WHERE f.kind = 'product' AND f.state IN ('done', 'stale')
GROUP BY f.url ORDER BY f.first_seen_at, f.rowid
"""


def export_here(workspace: Workspace) -> dict[str, int]:
    """Write the four tables from the workspace's project.db; returns how many rows of each the crawl has."""
    with contextlib.closing(workspace.project()) as db:
        return export(workspace, db)


def export(workspace: Workspace, db: sqlite3.Connection) -> dict[str, int]:
    """Write the four tables; returns how many rows of each the crawl has. What `curate check` filled in PICTURES stays."""
    pictures = PICTURES.frame(
        dict(row)
        for row in db.execute("SELECT DISTINCT image_id, blob, bytes FROM frontier WHERE image_id IS NOT NULL")
    )
    listings = LISTINGS.frame(_listings(db))
    shown = {tuple(row)[:4]: dict(row) for query in (_REPLACED, _SHOWN) for row in db.execute(query)}
    appearances = _with_earlier(workspace, APPEARANCES.frame(shown.values()), listings)
    failures = FAILURES.frame(_failures(db))
    add_rows(PICTURES, workspace.table("pictures"), pictures)
    replace_rows(LISTINGS, workspace.table("listings"), listings)
    APPEARANCES.write(appearances, workspace.table("appearances"))
    FAILURES.write(failures, workspace.table("failures"))
    gone = int(listings["dropped"].astype("string").str.startswith("gone: ").sum())
    return {"listings": len(listings), "pictures": len(pictures), "failures": len(failures), "gone": gone}


def _with_earlier(workspace: Workspace, now: pd.DataFrame, listings: pd.DataFrame) -> pd.DataFrame:
    """What the crawl's listings show, and what the table says of others; a picture that a listing showed once stays its own."""
    before = APPEARANCES.read_if_there(workspace.table("appearances"))
    key, named = list(APPEARANCES.key), ["marketplace", "listing_id"]
    before = before[~pd.MultiIndex.from_frame(before[key]).isin(pd.MultiIndex.from_frame(now[key]))]
    crawled = pd.MultiIndex.from_frame(before[named]).isin(pd.MultiIndex.from_frame(listings[named]))
    dropped = before["dropped"].astype(object).where(before["dropped"].notna() | ~crawled, "no longer shown")
    return joined(before.assign(dropped=dropped), now)


def _listings(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """A row a listing; of several pages that show one listing, the first seen."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in db.execute(_PRODUCTS):
        rows.setdefault(
            (row["marketplace"], row["listing_id"]),
            {
                **{name: value for name, value in json.loads(row["data"]).items() if name in LISTINGS.names},
                "marketplace": row["marketplace"],
                "listing_id": row["listing_id"],
                "first_seen_at": pd.Timestamp(row["first_seen_at"]),
                "fetched_at": pd.Timestamp(row["fetched_at"]),
                "dropped": _why_gone(row["dropped"]) or _why_bare(row["shown"], row["lost"]),
            },
        )
    return list(rows.values())


def _why_gone(dropped: str | None) -> str | None:
    """Why a listing that came in once does not count any more; a page that cannot be had just now is no reason."""
    return dropped if dropped and dropped.startswith(("gone: ", "opted out")) else None


def _why_bare(shown: int, lost: int | None) -> str | None:
    if not shown:
        return "no picture on its page"
    return "none of its pictures could be had" if lost == shown else None


def _failures(db: sqlite3.Connection) -> list[dict[str, Any]]:
    names = "url, kind, marketplace, listing_id, status, tries, dropped, fetched_at"
    failed = "state = 'failed' OR (dropped IS NOT NULL AND dropped NOT LIKE 'gone: %')"  # a gone listing says so itself
    rows = [dict(row) for row in db.execute(f"SELECT {names} FROM frontier WHERE {failed} ORDER BY url")]
    return [{**row, "fetched_at": pd.Timestamp(row["fetched_at"])} for row in rows]


def main() -> None:
    """`python -m curate.collect.export ROOT` writes the tables and prints the counts as JSON; it ends when its stdin does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the crawl's to hear; it ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    workspace = open_workspace(Path(sys.argv[1]))
    try:
        said: dict[str, Any] = export_here(workspace)
    except UserError as error:
        said = {"error": str(error)}
    except (OSError, sqlite3.OperationalError) as error:
        said = {"error": f"{workspace.root}: cannot be written ({error}); run the same command again to go on"}
    print(json.dumps(said), flush=True)
    os._exit(0)  # the other thread still waits for stdin


def _end_with_parent() -> None:
    """The crawl holds the workspace's lock: when it is killed, nothing may be written any more."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
