"""Several processes write one database and no update is lost."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from curate.database import backup, connect, engine, migrate, reading, transaction, writing
from curate.project import open_project
from schemas.errors import UserError

STEPS = ("CREATE TABLE counter (n INTEGER NOT NULL);\nINSERT INTO counter VALUES (0)",)


def _count_up(path: str, times: int) -> None:
    connection = connect(path)
    for _ in range(times):
        with transaction(connection):
            n = connection.execute("SELECT n FROM counter").fetchone()[0]
            connection.execute("UPDATE counter SET n = ?", (n + 1,))


def _count_up_by_engine(path: str, times: int) -> None:
    made = engine(f"sqlite:///{path}")
    for _ in range(times):
        with writing(made) as connection:
            n = connection.execute(text("SELECT n FROM counter")).scalar_one()
            connection.execute(text("UPDATE counter SET n = :n"), {"n": n + 1})


def test_three_processes_lose_no_update(tmp_path: Path) -> None:
    path = str(tmp_path / "counter.db")
    migrate(connect(path), STEPS, path)
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=job, args=(path, 100)) for job in (_count_up, _count_up_by_engine, _count_up)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
        assert job.exitcode == 0
    assert connect(path).execute("SELECT n FROM counter").fetchone()[0] == 300


def test_a_failed_transaction_changes_nothing(tmp_path: Path) -> None:
    connection = connect(tmp_path / "counter.db")
    migrate(connection, STEPS, "counter.db")

    def fail_half_way() -> None:
        with transaction(connection):
            connection.execute("UPDATE counter SET n = 7")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert connection.execute("SELECT n FROM counter").fetchone()[0] == 0


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    connection = connect(tmp_path / "counter.db")
    connection.execute("PRAGMA user_version=99")
    with pytest.raises(UserError, match="version 99; this program knows up to 1"):
        migrate(connection, STEPS, "counter.db")


def test_a_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "project.db").write_text("x" * 5000)
    with pytest.raises(UserError, match=r"project\.db: cannot be opened as a database"):
        open_project(tmp_path / "project.db")


def test_every_connection_is_wal_full_and_patient(tmp_path: Path) -> None:
    made = engine(f"sqlite:///{tmp_path / 'a.db'}")
    with reading(made) as connection:
        pragmas = {
            p: connection.exec_driver_sql(f"PRAGMA {p}").scalar()
            for p in ("journal_mode", "synchronous", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 30_000}


def test_whoever_opens_a_new_database_second_waits_for_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says "locked" at once, without any patience, while somebody writes to a database that is not yet in WAL mode."""
    first = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    first.execute("BEGIN IMMEDIATE")
    first.execute("CREATE TABLE made (x)")
    waited = []

    def until_it_is_done(seconds: float) -> None:
        waited.append(seconds)
        first.execute("COMMIT")

    monkeypatch.setattr("curate.database.time.sleep", until_it_is_done)
    second = connect(tmp_path / "new.db")
    assert len(waited) == 1
    assert second.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert second.execute("SELECT count(*) FROM made").fetchone()[0] == 0


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "counter.db"
    writer = connect(path)
    migrate(writer, STEPS, "counter.db")
    made = engine(f"sqlite:///{path}")
    with transaction(writer):
        writer.execute("UPDATE counter SET n = 5")
        with reading(made) as connection:
            assert connection.execute(text("SELECT n FROM counter")).scalar_one() == 0


def test_a_backup_of_a_live_database_is_complete(tmp_path: Path) -> None:
    connection = connect(tmp_path / "counter.db")
    migrate(connection, STEPS, "counter.db")
    backup(tmp_path / "counter.db", tmp_path / "copy.db")
    assert sqlite3.connect(tmp_path / "copy.db").execute("SELECT n FROM counter").fetchone() == (0,)


def test_opening_a_project_twice_keeps_its_rows(tmp_path: Path) -> None:
    first = open_project(tmp_path / "project.db")
    with transaction(first):
        first.execute("INSERT INTO qualification VALUES ('apron', 'http://x', 'Q1', 10, '2026-01-01')")
    assert open_project(tmp_path / "project.db").execute("SELECT count(*) FROM qualification").fetchone()[0] == 1
