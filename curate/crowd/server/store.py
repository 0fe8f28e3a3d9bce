"""crowd.db: everything the crowd server knows. It belongs to the server; no other part of Consenso reads it.

SQLite by default, PostgreSQL by URL; all statements are SQLAlchemy Core. Times are seconds since 1970, UTC. Money is the text
that the requester sent ("0.10"). A HIT's status is never stored: `rules.status` derives it from its counts and the time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from curate import database
from schemas.errors import UserError

VERSION = 1
SIMULATED = "ASIM"  # worker ids that begin so are simulated people; nobody else's do
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

tables = MetaData()

schema_version = Table("schema_version", tables, Column("version", Integer, primary_key=True))

keys = Table(
    "requester_key",
    tables,
    Column("access_key_id", Text, primary_key=True),
    Column("secret", Text, nullable=False),  # SigV4 is an HMAC: the server has to know it
    Column("requester", Text, nullable=False),  # the account: keys of one name see the same HITs
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
)

workers = Table(
    "worker",
    tables,
    Column("worker_id", Text, primary_key=True),
    Column("name", Text, nullable=False),  # what the person typed; never leaves this database
    Column("simulated", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
)

sessions = Table(
    "worker_session",
    tables,
    Column("token_hash", Text, primary_key=True),  # sha256 of the cookie: a stolen database opens no session
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("created_at", Double, nullable=False),
)

qualification_types = Table(
    "qualification_type",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("qualification_type_id", Text, nullable=False, unique=True),
    Column("requester", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("keywords", Text),
    Column("description", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("test", Text),
    Column("answer_key", Text),
    Column("test_duration", Integer),
    Column("retry_delay", Integer),  # missing = the test can be taken once
    Column("auto_granted", Boolean, nullable=False),
    Column("auto_granted_value", Integer),
    Column("created_at", Double, nullable=False),
    UniqueConstraint("requester", "name"),
)

qualifications = Table(
    "qualification",
    tables,
    Column("qualification_type_id", Text, primary_key=True),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), primary_key=True),
    Column("value", Integer, nullable=False),
    Column("status", Text, nullable=False),  # Granted, Revoked
    Column("granted_at", Double, nullable=False),
)

test_runs = Table(
    "test_run",  # every time somebody took a test; without an AnswerKey it waits for the requester
    tables,
    Column("run_id", Text, primary_key=True),
    Column("qualification_type_id", Text, nullable=False),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("answer", Text, nullable=False),
    Column("score", Integer),
    Column("submitted_at", Double, nullable=False),
    Index("test_run_worker", "qualification_type_id", "worker_id"),
)

hit_types = Table(
    "hit_type",
    tables,
    Column("hit_type_id", Text, primary_key=True),  # hash of all below: equal values are the same type
    Column("requester", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("keywords", Text),
    Column("reward", Text, nullable=False),
    Column("assignment_duration", Integer, nullable=False),
    Column("auto_approval_delay", Integer, nullable=False),
    Column("requirements", Text, nullable=False),  # JSON list of QualificationRequirement
    Column("created_at", Double, nullable=False),
)

hits = Table(
    "hit",
    tables,
    Column("seq", Integer, primary_key=True),
    Column("hit_id", Text, nullable=False, unique=True),
    Column("hit_type_id", Text, ForeignKey("hit_type.hit_type_id"), nullable=False),
    Column("requester", Text, nullable=False),
    Column("question", Text, nullable=False),
    Column("annotation", Text),
    Column("max_assignments", Integer, nullable=False),
    Column("taken", Integer, nullable=False),  # assignments accepted and not given back: never above max_assignments
    Column("pending", Integer, nullable=False),  # of them not yet submitted
    Column("judged", Integer, nullable=False),  # of them approved or rejected
    Column("reviewing", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("disposed_at", Double),
    Index("hit_open", "hit_type_id", "expires_at"),
    Index("hit_requester", "requester", "seq"),
)

assignments = Table(
    "assignment",
    tables,
    Column("assignment_id", Text, primary_key=True),  # random: whoever knows it may submit it
    Column("hit_id", Text, ForeignKey("hit.hit_id"), nullable=False),
    Column("worker_id", Text, ForeignKey("worker.worker_id"), nullable=False),
    Column("status", Text, nullable=False),  # Accepted, Abandoned, Returned, Submitted, Approved, Rejected
    Column("accepted_at", Double, nullable=False),
    Column("deadline", Double, nullable=False),
    Column("submitted_at", Double),
    Column("auto_approve_at", Double),
    Column("approved_at", Double),
    Column("rejected_at", Double),
    Column("answer", Text),
    Column("feedback", Text),
    UniqueConstraint("hit_id", "worker_id"),  # one assignment per worker per HIT, whatever the code above does
    Index("assignment_deadline", "status", "deadline"),
    Index("assignment_auto_approve", "status", "auto_approve_at"),
    Index("assignment_worker", "worker_id", "status"),
)

tokens = Table(
    "request_token",
    tables,
    Column("requester", Text, primary_key=True),
    Column("operation", Text, primary_key=True),
    Column("token", Text, primary_key=True),
    Column("result_id", Text, nullable=False),
    Column("created_at", Double, nullable=False),
)


class Store:
    """The database of one crowd server."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        # SQLite lets one writer in at a time and makes the others poll; within this process they queue here instead.
        self._one_writer = threading.Lock() if engine.dialect.name == "sqlite" else None

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A write transaction: all of it or nothing."""
        if self._one_writer is None:
            with database.writing(self.engine) as connection:
                yield connection
            return
        with self._one_writer, database.writing(self.engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read transaction: a steady view."""
        with database.reading(self.engine) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
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
    tables.create_all(connection)
    found = connection.scalar(select(schema_version.c.version))
    if found is None:
        connection.execute(insert(schema_version).values(version=VERSION))
    else:
        database.check_version(name, found, VERSION)


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
