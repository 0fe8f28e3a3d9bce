"""A database of an older version opens as the newest one, whole, once, and not at all when it is killed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, select, text

from curate.crowd.server.schema import VERSION, hits, tables, test_runs
from curate.crowd.server.store import open_store
from schemas.errors import UserError

V1 = (Path(__file__).parent / "crowd_v1.sql").read_text()
OPEN = "import sys; from curate.crowd.server.store import open_store; open_store(sys.argv[1]).close()"


@pytest.fixture
def old(each_db):
    """A database as version 1 made it; its URL."""
    engine = create_engine(each_db)
    script = "\n".join(line for line in V1.splitlines() if not line.startswith("--"))
    if engine.dialect.name == "postgresql":
        script = script.replace("DOUBLE", "DOUBLE PRECISION").replace("seq INTEGER NOT NULL", "seq SERIAL NOT NULL")
    with engine.begin() as connection:
        for statement in script.split(";\n"):
            if statement.strip():
                connection.execute(text(statement.rstrip(";\n")))
    engine.dispose()
    return each_db


def rows(url):
    """Every table of version 1 as it stands: the columns of version 1, in order."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {}
        for line in V1.splitlines():
            if line.startswith("CREATE TABLE"):
                name = line.split()[2]
                body = V1.split(f"CREATE TABLE {name} (")[1].split(");\n")[0]
                columns = [part.split()[0] for part in body.splitlines() if part.strip() and part.split()[0].islower()]
                kept = connection.execute(text(f"SELECT {', '.join(columns)} FROM {name}"))
                found[name] = sorted((tuple(row) for row in kept), key=str)
    engine.dispose()
    return found


def start_opening(url, crash_at=""):
    environment = {**os.environ, "CONSENSO_CRASH_AT": crash_at}
    return subprocess.Popen([sys.executable, "-c", OPEN, url], env=environment, stderr=subprocess.PIPE, text=True)


def test_a_version_1_database_opens_with_everything_in_it(old):
    before = rows(old)
    store = open_store(old)
    after = rows(old)
    assert after.pop("schema_version") == [(VERSION,)]
    before.pop("schema_version")
    assert all(before.values())
    assert after == before
    with store.reading() as connection:
        found = inspect(connection)
        for table in tables.sorted_tables:
            assert {column["name"] for column in found.get_columns(table.name)} == {c.name for c in table.c}, table.name
            assert {i.name for i in table.indexes} <= {i["name"] for i in found.get_indexes(table.name)}, table.name
        states = dict(connection.execute(select(test_runs.c.run_id, test_runs.c.status)).all())
        due = connection.execute(select(hits.c.expires_at, hits.c.expiry_due)).all()
    store.close()
    assert states == {"3RUN": "Granted", "3WAITS": "Pending"}
    assert due
    assert all(row.expiry_due == row.expires_at for row in due)
    assert "hit_open" not in {index["name"] for index in inspect(create_engine(old)).get_indexes("hit")}


def test_two_processes_that_open_it_at_once_migrate_it_once(old):
    opening = [start_opening(old) for _ in range(3)]
    ended = [(process.communicate()[1], process.returncode) for process in opening]
    assert ended == [("", 0)] * 3
    assert rows(old)["schema_version"] == [(VERSION,)]


def test_two_processes_that_make_it_at_once_make_it_once(each_db):
    opening = [start_opening(each_db) for _ in range(3)]
    assert [(process.communicate()[1], process.returncode) for process in opening] == [("", 0)] * 3


def test_a_killed_migration_leaves_the_old_version(old):
    before = rows(old)
    killed = start_opening(old, "migrate-before-commit")
    killed.communicate()
    assert killed.returncode == 137
    assert rows(old) == before
    columns = {column["name"] for column in inspect(create_engine(old)).get_columns("worker")}
    assert "language" not in columns
    open_store(old).close()
    assert rows(old)["schema_version"] == [(VERSION,)]


def test_a_newer_version_is_refused_in_one_line(each_db):
    store = open_store(each_db)
    with store.writing() as connection:
        connection.execute(text("UPDATE schema_version SET version = 99"))
    store.close()
    with pytest.raises(UserError, match=rf"^[^\n]*is version 99; this program knows up to {VERSION}[^\n]*$"):
        open_store(each_db)
