"""An older crowd.db becomes the newest one: one function a version, in order, all in the transaction that opens the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Table, update
from sqlalchemy.schema import CreateColumn

from curate.crowd.server.schema import hits, schema_version, tables, test_runs


def _to_2(connection: Connection) -> None:
    """Who people are, drafts, bonuses, blocks, messages, events, layouts, review policies."""
    _add(
        connection,
        tables.tables["worker"],
        "language",
        "country",
        "subdivision",
        "merged_into",
        "came_by",
        "forgotten_at",
    )
    _add(connection, tables.tables["worker_session"], "device", "address")
    _add(
        connection,
        tables.tables["hit"],
        "layout_id",
        "assignment_review_policy",
        "hit_review_policy",
        "expiry_due",
    )
    connection.execute(update(hits).values(expiry_due=hits.c.expires_at))
    _add(connection, tables.tables["assignment"], "device", "address")
    _add(connection, test_runs, "status", "judged_at", "reason", default={"status": "'Granted'"})
    connection.execute(update(test_runs).where(test_runs.c.score.is_(None)).values(status="Pending"))


def _to_3(connection: Connection) -> None:
    """Review policies that wait for the last answer; the next HIT is found by hit_free."""
    _add(connection, hits, "review_waiting")
    connection.exec_driver_sql("DROP INDEX IF EXISTS hit_open")


MIGRATIONS: dict[int, Callable[[Connection], None]] = {2: _to_2, 3: _to_3}


def migrate(connection: Connection, found: int, wanted: int) -> None:
    """Bring the tables from version `found` to `wanted`; new tables have been made already."""
    for version in range(found + 1, wanted + 1):
        MIGRATIONS[version](connection)
    for table in tables.sorted_tables:
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    connection.execute(update(schema_version).values(version=wanted))


def _add(connection: Connection, table: Table, *names: str, default: dict[str, Any] | None = None) -> None:
    """Add columns; one that must not be missing needs a default for the rows that are there (SQL text)."""
    for name in names:
        column = CreateColumn(table.c[name]).compile(connection)
        fill = f" DEFAULT {default[name]}" if default and name in default else ""
        connection.exec_driver_sql(f'ALTER TABLE "{table.name}" ADD COLUMN {column}{fill}')
