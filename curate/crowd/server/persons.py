"""The people of a crowd: listed with what looks odd, two accounts made one, one erased."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, exists, func, insert, or_, select, update

from curate.crowd.server import rules
from curate.crowd.server.alike import Alike, alike_pairs
from curate.crowd.server.invitations import INVITED, worker_named
from curate.crowd.server.schema import (
    arrivals,
    assignments,
    blocks,
    bonuses,
    consents,
    drafts,
    email_codes,
    emails,
    invitations,
    messages,
    qualifications,
    sessions,
    test_runs,
    test_starts,
    workers,
)
from curate.crowd.server.store import Store, now, one
from schemas.errors import UserError

FORGOTTEN = "forgotten"  # the name of whoever asked to be erased


@dataclass(frozen=True)
class Person:
    """One worker as the owner sees them."""

    worker_id: str
    name: str
    came_by: str
    joined_at: datetime
    submitted: int
    simulated: bool
    merged_into: str | None
    forgotten: bool
    flags: list[str]


def listing(store: Store) -> list[Person]:
    """Everybody, in the order in which they came, each with what makes them look like somebody else."""
    sent = func.count(assignments.c.assignment_id).label("submitted")
    mine = and_(assignments.c.worker_id == workers.c.worker_id, assignments.c.status.in_(rules.DONE))
    rows = select(workers, sent).outerjoin(assignments, mine).group_by(*workers.c)
    with store.reading() as connection:
        found = connection.execute(rows.order_by(workers.c.created_at, workers.c.worker_id)).all()
        flags = _flags(connection)
    return [
        Person(
            worker_id=row.worker_id,
            name=row.name,
            came_by=row.came_by or "name",
            joined_at=datetime.fromtimestamp(row.created_at, UTC),
            submitted=row.submitted,
            simulated=bool(row.simulated),
            merged_into=row.merged_into,
            forgotten=row.forgotten_at is not None,
            flags=flags.get(row.worker_id, []),
        )
        for row in found
    ]


def _flags(connection: Connection) -> dict[str, list[str]]:
    """What is odd, by worker. Simulated people and accounts that were made one already are never flagged."""
    people = select(workers.c.worker_id).where(~workers.c.simulated, workers.c.merged_into.is_(None))
    real = set(connection.scalars(people))
    flags: dict[str, list[str]] = {}
    for kind in ("device", "address"):
        for group in _shared(connection, kind, real):
            for worker_id in group:
                others = ", ".join(sorted(group - {worker_id}))
                flags.setdefault(worker_id, []).append(f"same {kind} as {others}")
    for pair in alike_pairs(connection, real):
        flags.setdefault(pair.one, []).append(_words(pair, pair.other))
        flags.setdefault(pair.other, []).append(_words(pair, pair.one))
    return flags


def _words(pair: Alike, other: str) -> str:
    return f"answers as {other}: {pair.same} of {pair.shared} the same, {pair.expected:.0%} expected"


def _shared(connection: Connection, kind: str, real: set[str]) -> list[set[str]]:
    """The groups of workers who used one device or address."""
    users: dict[str, set[str]] = {}
    for table in (sessions, assignments):
        used = select(table.c[kind], table.c.worker_id).where(table.c[kind].is_not(None)).distinct()
        for value, worker_id in connection.execute(used):
            if worker_id in real:
                users.setdefault(value, set()).add(worker_id)
    return sorted((group for group in users.values() if len(group) > 1), key=sorted)


# What moves to the remaining account as it is, and what moves only where that account has none of its own.
_MOVES = (sessions, emails, arrivals, invitations, bonuses, messages, test_runs)
_FILLS: tuple[tuple[Table, str], ...] = (
    (qualifications, "qualification_type_id"),
    (test_starts, "qualification_type_id"),
    (consents, "version"),
    (blocks, "requester"),
)


def merge(store: Store, kept_id: str, merged_id: str) -> tuple[str, str, int]:
    """Make two accounts one person; the ids, and on how many HITs both had answered.

    Answers move to the remaining worker. Where both answered one HIT the second row stays, and the protocol reports it
    under the remaining worker's id, so that whoever counts people counts one.
    """
    with store.writing() as connection:
        kept, merged = worker_named(connection, kept_id), worker_named(connection, merged_id)
        if kept.worker_id == merged.worker_id:
            raise UserError(f"{kept_id} and {merged_id} are one person already")
        if kept.simulated != merged.simulated:
            raise UserError(f"{kept_id} and {merged_id}: a simulated worker is nobody's second account")
        into, gone = kept.worker_id, merged.worker_id
        _clear_rivals(connection, into, gone)
        rival = assignments.alias()
        answered = exists().where(rival.c.hit_id == assignments.c.hit_id, rival.c.worker_id == into)
        moved = update(assignments).where(assignments.c.worker_id == gone, ~answered)
        connection.execute(moved.values(worker_id=into))
        for table in _MOVES:
            connection.execute(update(table).where(table.c.worker_id == gone).values(worker_id=into))
        for table, key in _FILLS:
            _fill(connection, table, key, into, gone)
        same = or_(workers.c.worker_id == gone, workers.c.merged_into == gone)
        connection.execute(update(workers).where(same).values(merged_into=into))
        twice = select(func.count()).where(assignments.c.worker_id == gone, assignments.c.status.in_(rules.DONE))
        return into, gone, connection.scalar(twice) or 0


def _clear_rivals(connection: Connection, into: str, gone: str) -> None:
    """Of two rows on one HIT of which one is no answer, that one goes; work under way is given back first."""
    mine, theirs = assignments.alias("mine"), assignments.alias("theirs")
    both = select(mine.c.assignment_id, mine.c.status, theirs.c.assignment_id, theirs.c.status, mine.c.hit_id).join(
        theirs, and_(mine.c.hit_id == theirs.c.hit_id, theirs.c.worker_id == gone)
    )
    for first, state, second, other, hit_id in connection.execute(both.where(mine.c.worker_id == into)).all():
        if other not in rules.DONE:
            _drop(connection, second, hit_id)
        elif state not in rules.DONE:
            _drop(connection, first, hit_id)


def _drop(connection: Connection, assignment_id: str, hit_id: str) -> None:
    rules.give_back(connection, assignment_id, hit_id, "Returned")
    connection.execute(delete(drafts).where(drafts.c.assignment_id == assignment_id))
    connection.execute(delete(assignments).where(assignments.c.assignment_id == assignment_id))


def _fill(connection: Connection, table: Table, key: str, into: str, gone: str) -> None:
    has = select(table.c[key]).where(table.c.worker_id == into)
    for row in connection.execute(select(table).where(table.c.worker_id == gone, table.c[key].not_in(has))).all():
        connection.execute(insert(table).values(**{**row._asdict(), "worker_id": into}))
    connection.execute(delete(table).where(table.c.worker_id == gone))


def forget(store: Store, worker_id: str) -> list[str]:
    """Erase a person: who they are goes, their answers stay under the worker id. The ids that were theirs."""
    with store.writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what is deleted is overwritten, too
        row = one(connection, select(workers).where(workers.c.worker_id == worker_id))
        if row is None:
            raise UserError(f"no worker {worker_id!r}; `curate crowd people` lists them")
        main = row.merged_into or worker_id
        same = or_(workers.c.worker_id == main, workers.c.merged_into == main)
        ids = list(connection.scalars(select(workers.c.worker_id).where(same).order_by(workers.c.worker_id)))
        _erase(connection, ids)
    if store.engine.dialect.name == "sqlite":
        with closing(store.engine.raw_connection()) as raw:  # outside of any transaction
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the old pages leave the log
    return ids


def _erase(connection: Connection, ids: list[str]) -> None:
    known = select(emails.c.email).where(emails.c.worker_id.in_(ids))
    connection.execute(delete(email_codes).where(email_codes.c.email.in_(known)))
    came = connection.scalars(select(workers.c.came_by).where(workers.c.worker_id.in_(ids)))
    notes = [text.removeprefix(INVITED) for text in came if text and text.startswith(INVITED)]
    spent = update(invitations).where(invitations.c.note.in_(notes), invitations.c.uses == 0)
    connection.execute(spent.values(note=FORGOTTEN))
    for table in (sessions, emails, arrivals, invitations, messages):
        connection.execute(delete(table).where(table.c.worker_id.in_(ids)))
    gone = {"name": FORGOTTEN, "language": None, "country": None, "subdivision": None, "came_by": None}
    connection.execute(update(workers).where(workers.c.worker_id.in_(ids)).values(**gone, forgotten_at=now()))
    traces = update(assignments).where(assignments.c.worker_id.in_(ids))
    connection.execute(traces.values(device=None, address=None))


def facts(store: Store, worker_id: str) -> dict[str, Any]:
    """What `forget` would erase, for the question before it."""
    with store.reading() as connection:
        row = one(connection, select(workers).where(workers.c.worker_id == worker_id))
        if row is None:
            raise UserError(f"no worker {worker_id!r}; `curate crowd people` lists them")
        sent = select(func.count()).where(assignments.c.worker_id == worker_id, assignments.c.status.in_(rules.DONE))
        return {"name": row.name, "submitted": connection.scalar(sent) or 0, "forgotten": row.forgotten_at is not None}
