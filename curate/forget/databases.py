"""SQLite databases: the crawl's and the crowd's memory of what is forgotten, and whatever else of them lies in the workspace."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from curate.database import connect, transaction
from curate.forget.plan import Plan
from curate.forgotten import REASON, Forgotten
from curate.workspace import Workspace, now

MAGIC = b"SQLite format 3\0"
_OPEN = """
SELECT j.task, j.endpoint, j.created_at, j.images FROM hit_journal j
WHERE j.ended IS NULL AND j.collected_at IS NULL
AND (SELECT count(*) FROM answer a WHERE a.token = j.token) < j.max_assignments
"""


@contextmanager
def project_of(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    """project.db, where what is deleted is overwritten, and what was deleted before is gone from its log."""
    with closing(workspace.project()) as project:
        project.execute("PRAGMA secure_delete = ON")
        emptied(project)
        yield project
        emptied(project)


def emptied(database: sqlite3.Connection) -> None:
    """Bring the log of a database into it, so that nothing old stands there."""
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def open_hits(workspace: Workspace, project: sqlite3.Connection, plan: Plan) -> dict[tuple[str, str], int]:
    """How many HITs that people may still answer show one of the pictures, by task and endpoint."""
    images, found = set(plan.images), dict[tuple[str, str], int]()
    lifetimes = {name: timedelta(days=workspace.task(name).crowd.lifetime_days) for name in workspace.tasks()}
    for row in project.execute(_OPEN):
        made = datetime.fromisoformat(row["created_at"]) if row["created_at"] else now()
        over = now() - made > lifetimes.get(row["task"], timedelta(0))
        if not over and images & {asked["image_id"] for asked in json.loads(row["images"])}:
            key = (row["task"], row["endpoint"])
            found[key] = found.get(key, 0) + 1
    return found


def endpoints(project: sqlite3.Connection, plan: Plan) -> set[str]:
    """Crowds that were asked about one of the pictures."""
    images = set(plan.images)
    rows = project.execute("SELECT endpoint, images FROM hit_journal WHERE hit_id IS NOT NULL")
    return {row["endpoint"] for row in rows if images & {asked["image_id"] for asked in json.loads(row["images"])}}


def count_project(project: sqlite3.Connection, plan: Plan) -> dict[str, int]:
    """Rows of project.db that are about what goes."""
    images, names, urls = set(plan.images), plan.names, set(plan.urls)
    pages = sum(
        row["image_id"] in images or row["url"] in urls or (row["marketplace"], row["listing_id"]) in names
        for row in project.execute("SELECT url, image_id, marketplace, listing_id FROM frontier")
    )
    hits = sum(
        bool(images & {asked["image_id"] for asked in json.loads(row["images"])})
        for row in project.execute("SELECT images FROM hit_journal")
    )
    return {"addresses of the crawl": pages, "HITs that showed them": hits, "copies in S3": len(plan.uploads)}


def clean_project(project: sqlite3.Connection, plan: Plan, forgotten: Forgotten) -> None:
    """Take what goes out of the frontier, the HIT journal and the answers, in one transaction. Money and who answered stay."""
    with transaction(project):
        project.execute("CREATE TEMP TABLE IF NOT EXISTS going (what TEXT PRIMARY KEY)")
        project.execute("DELETE FROM going")
        project.executemany("INSERT INTO going VALUES (?)", [(i,) for i in plan.images])
        for name in sorted(plan.names):
            project.execute("DELETE FROM gallery WHERE marketplace = ? AND listing_id = ?", name)
            project.execute(
                "DELETE FROM frontier WHERE kind IN ('product', 'listing', 'row') AND marketplace = ? AND listing_id = ?",
                name,
            )
        project.executemany("DELETE FROM frontier WHERE url = ?", [(url,) for url in plan.urls])
        project.execute("DELETE FROM frontier WHERE state = 'replaced' AND image_id IN (SELECT what FROM going)")
        project.execute(  # the address of a picture that a listing still shows stays, so that it is not fetched again
            "UPDATE frontier SET state = 'failed', dropped = ?, later = 0, image_id = NULL, blob = NULL, bytes = NULL, etag = NULL,"
            " last_modified = NULL WHERE image_id IN (SELECT what FROM going)",
            (REASON,),
        )
        for name in sorted(plan.names):  # a picture counts as of the first listing that shows it: now of another
            project.execute(
                "UPDATE frontier SET (marketplace, listing_id) = (SELECT g.marketplace, g.listing_id FROM gallery g"
                " WHERE g.url = frontier.url ORDER BY g.first_seen_at, g.marketplace, g.listing_id LIMIT 1)"
                " WHERE kind IN ('picture', 'file') AND marketplace = ? AND listing_id = ?"
                " AND EXISTS (SELECT 1 FROM gallery g WHERE g.url = frontier.url)",
                name,
            )
        project.execute("DELETE FROM upload WHERE image_id IN (SELECT what FROM going)")
        _clean_hits(project, plan, forgotten)
        project.execute("DELETE FROM going")
    project.execute("VACUUM")  # what was deleted in earlier days is still there without it
    emptied(project)


def _clean_hits(project: sqlite3.Connection, plan: Plan, forgotten: Forgotten) -> None:
    images = set(plan.images)
    for row in project.execute("SELECT token, images FROM hit_journal").fetchall():
        asked = json.loads(row["images"])
        left = [each for each in asked if each["image_id"] not in images]
        if len(left) < len(asked):
            project.execute("UPDATE hit_journal SET images = ? WHERE token = ?", (json.dumps(left), row["token"]))
    project.create_function("without_answers", 1, forgotten.without_answers, deterministic=True)
    project.create_function("names_forgotten", 1, forgotten.names, deterministic=True)
    project.execute("UPDATE answer SET xml = without_answers(xml) WHERE names_forgotten(xml)")


def databases(root: Path, paths: list[Path]) -> list[Path]:
    """Those of some files that are SQLite databases, project.db left out."""
    return [path for path in paths if path != root / "project.db" and _is_database(path)]


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def clean_database(path: Path, forgotten: Forgotten, write: bool = True) -> int:
    """Put the hash in place of each forgotten image_id in all texts of a database; returns how many values that are.

    A crowd server may be running on it.
    """
    with closing(connect(path)) as database:
        database.create_function("veil", 1, forgotten.veil, deterministic=True)
        database.create_function("names_forgotten", 1, _names(forgotten), deterministic=True)
        count = 0
        if not write:
            return sum(
                database.execute(f'SELECT count(*) FROM "{table}" WHERE names_forgotten("{column}")').fetchone()[0]
                for table, column in _texts(database)
            )
        database.execute("PRAGMA secure_delete = ON")
        with transaction(database):
            for table, column in _texts(database):
                sql = f'UPDATE "{table}" SET "{column}" = veil("{column}") WHERE names_forgotten("{column}")'
                count += database.execute(sql).rowcount
        database.execute("VACUUM")
        emptied(database)
        return count


def _names(forgotten: Forgotten) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and forgotten.names(value)


def _texts(database: sqlite3.Connection) -> list[tuple[str, str]]:
    """Every column of every table, since SQLite holds texts in columns of any type."""
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    names = [row["name"] for row in tables]
    return [
        (name, row["name"])
        for name in names
        for row in database.execute(f'PRAGMA table_info("{name}")')
        if "TEXT" in (row["type"] or "TEXT").upper() or "CHAR" in (row["type"] or "").upper()
    ]
