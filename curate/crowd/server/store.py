"""crowd.db: everything the crowd server knows. It belongs to the server; no other part of Consenso reads it.

SQLite by default, PostgreSQL by URL; all statements are SQLAlchemy Core. Its tables are in `schema.py`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, OperationalError

from curate import database
from curate.crowd.crash import crash_point
from curate.crowd.server.group_commit import GroupCommit
from curate.crowd.server.migrations import migrate
from curate.crowd.server.schema import VERSION, schema_version, tables
from schemas.errors import UserError

SIMULATED = "ASIM"  # worker ids that begin so are simulated people; nobody else's do
_TRIES = 5  # of a write that loses a race each time
Made = TypeVar("Made")
_SCHEMA_LOCK = 0x434F4E53  # of PostgreSQL, while the tables are made or migrated
SETTLE_LOCK = _SCHEMA_LOCK + 1  # while one server brings the store to the present
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Store:
    """The database of one crowd server."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._glancing = engine.execution_options(consenso_begin="")  # on SQLite without BEGIN and COMMIT
        # SQLite lets one writer in at a time and syncs the disk at each commit: those who write at once share one commit.
        self._group = GroupCommit(engine) if engine.dialect.name == "sqlite" else None
        # On SQLite one thread works while another waits for the disk; more only fight for the interpreter's lock.
        self.threads = ThreadPoolExecutor(2 if self._group else 4, "store")

    @property
    def prompt(self) -> bool:
        """Whether one small read or write is over before it could be handed to a thread."""
        return self._group is not None and self._group.prompt

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction: all of it or nothing, and on the disk when the block ends."""
        with self._group.writing() if self._group else database.writing(self.engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read transaction: a steady view."""
        with database.reading(self.engine) as connection:
            yield connection

    def row(self, statement: Any, values: dict[str, Any] | None = None) -> Any:
        """The single row of one query, or None: a steady view by itself, at half the price of a read transaction."""
        with self._glancing.connect() as connection:
            return one(connection, statement, values)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A long read: one moment of the store, however much is written meanwhile."""
        level = {} if self._group else {"isolation_level": "REPEATABLE READ"}
        with self.engine.connect().execution_options(consenso_begin="DEFERRED", **level) as connection:
            yield connection

    def retrying(self, call: Callable[[], Made]) -> Made:
        """What `call` gives, which is begun again where another process won a race: a row that it was about to add is there by now.

        A lost race has been rolled back whole, so beginning again is safe.
        """
        for _ in range(_TRIES - 1):
            try:
                return call()
            except DBAPIError as error:
                if not _lost_race(error):
                    raise
        return call()

    def close(self) -> None:
        """Close all connections, once what is being answered has been."""
        self.threads.shutdown()
        if self._group:
            self._group.close()
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open the database at a SQLAlchemy URL, making its tables when it is new.

    Raises UserError when the URL is not one, the database cannot be reached, or it comes from a newer program.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            _make_private(parsed.database)
        engine = database.engine(url)
        store = Store(engine)
        with store.writing() as connection:
            _prepare(connection, str(parsed.database or url))
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(
            f"--db {url}: is not a database URL; write sqlite:///path/crowd.db or postgresql+psycopg://user@host/name"
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"--db {parsed.render_as_string()}: needs the Python package {error.name}, not installed"
        ) from error
    except OperationalError as error:
        raise UserError(f"--db {parsed.render_as_string()}: cannot be opened: {error.orig}") from error
    return store


def _lost_race(error: DBAPIError) -> bool:
    """Whether the same again may go well: a row that came first, a serialization failure, a deadlock."""
    return isinstance(error, IntegrityError) or getattr(error.orig, "sqlstate", None) in ("40001", "40P01")


def _make_private(path: str | None) -> None:
    """A new SQLite file is readable by its owner alone: it holds the requesters' secrets."""
    if not path or path == ":memory:":
        raise UserError("--db: the crowd needs a database file, for example sqlite:///crowd.db")
    file = Path(path)
    if not file.parent.is_dir():
        raise UserError(f"{file.parent}: no such folder; the crowd's database {file.name} cannot be made there")
    if not file.exists():
        file.touch(mode=0o600)


def _prepare(connection: Connection, name: str) -> None:
    alone(connection, _SCHEMA_LOCK)  # two servers that start at once make or migrate the tables once
    known = inspect(connection).has_table(schema_version.name)
    found = connection.scalar(select(schema_version.c.version)) if known else None
    if found is None:
        tables.create_all(connection)
        connection.execute(insert(schema_version).values(version=VERSION))
        return
    database.check_version(name, found, VERSION)
    if found < VERSION:
        for table in tables.sorted_tables:
            if not inspect(connection).has_table(table.name):
                table.create(connection)
        migrate(connection, found, VERSION)
        crash_point("migrate-before-commit")


def alone(connection: Connection, key: int) -> None:
    """Wait until no other transaction holds `key`, and hold it until this one ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()


def new_id() -> str:
    """An unguessable id in MTurk's form: 30 characters, the first a 3."""
    return "3" + "".join(secrets.choice(_ALPHABET) for _ in range(29))


def new_worker_id(simulated: bool) -> str:
    """A random worker id: `ASIM…` for simulated people, `A…` for everybody else."""
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(13))
    if simulated:
        return SIMULATED + tail
    return new_worker_id(False) if f"A{tail}".startswith(SIMULATED) else f"A{tail}"


def one(connection: Connection, statement: Any, values: dict[str, Any] | None = None) -> Any:
    """The single row of a query, or None."""
    return connection.execute(statement, values).one_or_none()
