"""What a worker has answered so far in a HIT that is not submitted: kept by the server, so that no reload, crash or change of
device loses it. A draft is nobody's answer: it goes when the assignment ends, however it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

from curate.crowd.crash import crash_point
from curate.crowd.server import rules
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import assignments, drafts
from curate.crowd.server.sessions import Worker
from curate.crowd.server.store import Store, now, one

MOST_FIELDS = 500  # of one assignment: no HIT of ours has as many
_LONGEST_FIELD, _LONGEST_VALUE = 255, 10_000
_OPEN = select(assignments).where(assignments.c.assignment_id == bindparam("id")).with_for_update()
_COUNT = select(func.count()).where(drafts.c.assignment_id == bindparam("id"))
_ALL = select(drafts).where(drafts.c.assignment_id == bindparam("id"))


@dataclass(frozen=True)
class Draft:
    """One answer so far; an empty value is an answer taken back."""

    field: str
    value: str
    seconds: float | None = None
    saved_at: float = 0.0  # by the server's clock


def read_drafts(fields: Sequence[tuple[str, str]]) -> list[Draft]:
    """The drafts in a form: `field`, `value` and `seconds`, repeated for each; raises WorkerError when they do not fit together."""
    names, values, seconds = ([v for name, v in fields if name == part] for part in ("field", "value", "seconds"))
    fit = 0 < len(names) == len(values) == len(seconds) <= MOST_FIELDS
    if not fit or any(not 0 < len(name) <= _LONGEST_FIELD for name in names):
        raise WorkerError("bad_answer", 400)
    if any(len(value) > _LONGEST_VALUE or "\0" in value for value in (*names, *values)):
        raise WorkerError("bad_answer", 400)
    return [Draft(*each) for each in zip(names, values, map(_seconds, seconds), strict=True)]


def _seconds(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def save(store: Store, worker: Worker, assignment_id: str, given: Sequence[Draft]) -> None:
    """Keep drafts, the later of one field in place of the earlier; raises WorkerError once the assignment is over."""
    with store.writing() as connection:
        row = one(connection, _OPEN, {"id": assignment_id})
        if row is None or row.worker_id != worker.worker_id:
            raise WorkerError("no_assignment", 404)
        if row.status in rules.DONE:
            raise WorkerError("already_submitted")
        time = now()
        if row.status != "Accepted" or row.deadline <= time:
            raise WorkerError("too_late", 410)
        for draft in given:
            kept = {"field": draft.field, "value": draft.value, "seconds": draft.seconds, "saved_at": time}
            connection.execute(_UPSERT[connection.dialect.name], {"assignment_id": assignment_id, **kept})
        if (connection.scalar(_COUNT, {"id": assignment_id}) or 0) > MOST_FIELDS:
            raise WorkerError("bad_answer", 400)
        crash_point("draft-before-commit")
    crash_point("draft-committed")


def _upsert(insert: Any) -> Any:
    row = insert(drafts)
    changed = {name: row.excluded[name] for name in ("value", "seconds", "saved_at")}
    return row.on_conflict_do_update(index_elements=["assignment_id", "field"], set_=changed)


_UPSERT = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}


def drafts_of(store: Store, assignment_id: str) -> list[Draft]:
    """The drafts of an assignment."""
    with store.reading() as connection:
        rows = connection.execute(_ALL, {"id": assignment_id}).all()
    return [Draft(row.field, row.value, row.seconds, row.saved_at) for row in rows]
