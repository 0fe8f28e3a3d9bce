"""A database of an older version opens as the newest one, with everything that was in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import inspect, select

from curate.crowd.server.schema import VERSION, hits, tables, test_runs
from curate.crowd.server.store import open_store
from schemas.errors import UserError

V1 = (Path(__file__).parent / "crowd_v1.sql").read_text()


@pytest.fixture
def old(tmp_path):
    """The file of a database as version 1 made it."""
    file = tmp_path / "crowd.db"
    with closing(sqlite3.connect(file)) as made:
        made.executescript(V1)
    return file


def contents(file, columns=None):
    """Table to its rows, in the columns given or all of them; and the columns."""
    with closing(sqlite3.connect(file)) as opened:
        names = [row[0] for row in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if columns is None:
            columns = {name: [row[1] for row in opened.execute(f"PRAGMA table_info({name})")] for name in names}
        found = {n: sorted(opened.execute(f"SELECT {', '.join(c)} FROM {n}").fetchall()) for n, c in columns.items()}
    return found, columns


def test_a_version_1_database_opens_with_everything_in_it(old):
    before, columns = contents(old)
    assert before.pop("schema_version") == [(1,)]
    assert all(before.values())  # a row of each kind
    store = open_store(f"sqlite:///{old}")
    with store.reading() as connection:
        states = dict(connection.execute(select(test_runs.c.run_id, test_runs.c.status)).all())
        due = connection.execute(select(hits.c.expires_at, hits.c.expiry_due)).all()
        found = inspect(connection)
        for table in tables.sorted_tables:
            assert {column["name"] for column in found.get_columns(table.name)} == {c.name for c in table.c}, table.name
            assert {i.name for i in table.indexes} <= {i["name"] for i in found.get_indexes(table.name)}, table.name
    store.close()
    after, _ = contents(old, columns)
    assert after.pop("schema_version") == [(VERSION,)]
    assert after == before
    assert states == {"3RUN": "Granted", "3WAITS": "Pending"}
    assert due
    assert all(row.expiry_due in (None, row.expires_at) for row in due)


def test_a_migration_that_fails_leaves_the_old_version(old, monkeypatch):
    from curate.crowd.server import migrations

    before = contents(old)
    first = migrations.MIGRATIONS[2]

    def broken(connection):
        first(connection)
        raise RuntimeError("the disk is full")

    monkeypatch.setitem(migrations.MIGRATIONS, 2, broken)
    with pytest.raises(RuntimeError, match="disk is full"):
        open_store(f"sqlite:///{old}")
    assert contents(old) == before


def test_a_newer_version_is_refused_in_one_line(old):
    open_store(f"sqlite:///{old}").close()
    with closing(sqlite3.connect(old)) as opened, opened:
        opened.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(UserError, match=rf"^[^\n]*is version 99; this program knows up to {VERSION}[^\n]*$"):
        open_store(f"sqlite:///{old}")
