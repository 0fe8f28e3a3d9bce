"""The one way in which a database is opened, for frontier, journal and crowd alike.

SQLite under several processes loses updates or answers "database is locked" unless every connection is in WAL mode, waits,
and begins each write with BEGIN IMMEDIATE (measured: 400 of 600 updates lost with the usual defaults, none this way).
synchronous=FULL costs about a tenth and keeps what a client was told across a power cut.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError

if TYPE_CHECKING:
    from sqlalchemy import Engine

BUSY_MS = 30_000  # how long a writer waits for another before it gives up


def connect(path: Path | str) -> sqlite3.Connection:
    """Open a SQLite database in autocommit: WAL, synchronous FULL, foreign keys, 30 s of patience. Rows by name."""
    connection = sqlite3.connect(path, timeout=BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    _prepare(connection, path)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | str) -> None:
    try:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        _use_wal(connection)
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except sqlite3.DatabaseError as error:
        connection.close()
        raise UserError(f"{path}: cannot be opened as a database ({error}). Is it another kind of file?") from error


def _use_wal(connection: sqlite3.Connection) -> None:
    """Several may open a new database at once: whoever changes its mode second is told "locked" without any patience."""
    give_up = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One write: all of it or nothing. Takes the write lock at once, so two writers queue instead of failing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        if connection.in_transaction:  # a full disk ends it by itself
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def migrate(connection: sqlite3.Connection, steps: Sequence[str], name: str) -> None:
    """Bring a database to the newest version: `steps[i]` is the script from version i to i + 1.

    Raises UserError when the database comes from a newer program.
    """
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        check_version(name, version, len(steps))
        for number, script in enumerate(steps[version:], start=version + 1):
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version={number}")


def check_version(name: str, found: int, known: int) -> None:
    """Refuse a database from a newer program with one clear line."""
    if found > known:
        raise UserError(
            f"{name}: is version {found}; this program knows up to {known}. Upgrade with: pip install -U consenso"
        )


def engine(url: str) -> Engine:
    """A SQLAlchemy engine for `sqlite:///path` or `postgresql+psycopg://…`, with the same rules for SQLite as `connect`.

    Begin writes with `writing(engine)`: SQLAlchemy's own begin is deferred, and a deferred begin loses updates.
    """
    from sqlalchemy import create_engine, event
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=20, max_overflow=20)  # the server has 40 threads
    made = create_engine(url, connect_args={"timeout": BUSY_MS / 1000, "check_same_thread": False})

    @event.listens_for(made, "connect")
    def _connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None
        _prepare(raw, parsed.database or "memory")

    @event.listens_for(made, "begin")
    def _begin(connection: Any) -> None:
        mode = connection.get_execution_options().get("consenso_begin", "IMMEDIATE")
        if mode:
            connection.exec_driver_sql(f"BEGIN {mode}")

    return made


@contextmanager
def writing(made: Engine) -> Iterator[Any]:
    """A write transaction: BEGIN IMMEDIATE on SQLite."""
    with made.begin() as connection:
        yield connection


@contextmanager
def reading(made: Engine) -> Iterator[Any]:
    """A read transaction that takes no write lock: a steady view of the database."""
    with made.connect().execution_options(consenso_begin="DEFERRED") as connection, connection.begin():
        yield connection


def backup(source: Path, target: Path) -> None:
    """Copy a live SQLite database by SQLite's own backup call; a file copy could tear."""
    with sqlite3.connect(source) as live, sqlite3.connect(target) as copy:
        live.backup(copy)
