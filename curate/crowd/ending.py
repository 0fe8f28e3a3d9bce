"""HITs that were made: ended early, kept open longer, asked of more people, disposed of. Each may be killed and run again."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from curate.crowd import budget, journal
from curate.crowd.crash import crash_point
from curate.crowd.journal import Entry
from curate.crowd.requester import Refused
from curate.database import transaction
from schemas.errors import UserError
from schemas.task import Task

if TYPE_CHECKING:
    from curate.crowd.requester import Requester

STEP = 10  # a HIT made for fewer assignments can never have so many: MTurk's fee changed there
Step = Callable[[int], object]


@dataclass(frozen=True)
class Found:
    """A HIT of the journal, and what the endpoint says about it."""

    entry: Entry
    hit: dict[str, Any]

    @property
    def open(self) -> int:
        """Answers that could still be begun."""
        return int(self.hit.get("NumberOfAssignmentsAvailable", 0))

    @property
    def busy(self) -> int:
        """Workers who are at it."""
        return int(self.hit.get("NumberOfAssignmentsPending", 0))

    @property
    def unjudged(self) -> int:
        """Answers that wait for a judgment."""
        most, judged = int(self.hit["MaxAssignments"]), int(self.hit.get("NumberOfAssignmentsCompleted", 0))
        return most - self.open - self.busy - judged


def running(
    project: sqlite3.Connection, requester: Requester, task: Task, round_number: int | None = None
) -> list[Found]:
    """The HITs of the task that are not over, as the endpoint has them now."""
    mine = {
        entry.hit_id: entry
        for entry in journal.entries(project, task.task, requester.endpoint, "created")
        if entry.ended is None and entry.collected_at is None and round_number in (None, entry.round)
    }
    return [Found(mine[hit["HITId"]], hit) for hit in requester.hits() if hit["HITId"] in mine] if mine else []


# -- stop -------------------------------------------------------------------------------------------------------------


def stop_lines(found: Sequence[Found], project: sqlite3.Connection) -> list[str]:
    """What stopping would do."""
    free = sum(f.open * _price(project, f.entry).total for f in found)
    return [
        f"{len(found)} HITs end: {sum(f.open for f in found)} answers that nobody has begun are not asked any more, "
        f"{budget.dollars(free)} become free",
        f"{sum(f.busy for f in found)} workers who are at it may finish and are paid; all answers are kept",
    ]


def stop(project: sqlite3.Connection, requester: Requester, found: Sequence[Found], step: Step = lambda _: None) -> int:
    """Let nobody begin these HITs any more, and give back what their answers would have cost; returns how many answers.

    After the expiry nobody can accept, so what the endpoint then counts as available can never come.
    """
    gone = 0
    for one in found:
        requester.expire(str(one.entry.hit_id))
        crash_point("after-expired")
        hit = requester.hit(str(one.entry.hit_id)) or {}
        never = int(hit.get("NumberOfAssignmentsAvailable", 0))
        with transaction(project):
            price = _price(project, one.entry)
            budget.release(project, one.entry.token, one.entry.task, never, price, one.entry.hit_id, "HIT stopped")
            journal.ended(project, one.entry.token, "stopped")
        crash_point("after-stopped")
        gone += never
        step(1)
    return gone


# -- extend -----------------------------------------------------------------------------------------------------------


def longer(requester: Requester, found: Sequence[Found], until: datetime, step: Step = lambda _: None) -> int:
    """Keep these HITs open until a time at least; returns how many were moved. Said again it moves nothing."""
    short = to_move(found, until)
    for one in short:
        requester.expire(str(one.entry.hit_id), until.timestamp())
        crash_point("after-extended")
        step(1)
    return len(short)


def to_move(found: Sequence[Found], until: datetime) -> list[Found]:
    """HITs that end more than a minute before a time."""
    return [f for f in found if (until - f.hit["Expiration"].astimezone(UTC)).total_seconds() > 60]


def to_widen(found: Sequence[Found], assignments: int) -> list[Found]:
    """HITs that have room for fewer workers; raises UserError where the protocol forbids it."""
    few = [f for f in found if int(f.hit["MaxAssignments"]) < assignments]
    if assignments >= STEP and any(f.entry.max_assignments < STEP for f in few):
        raise UserError(
            f"--assignments {assignments}: a HIT made for fewer than {STEP} can never have {STEP} or more; at most {STEP - 1}"
        )
    return few


def widen_cost(project: sqlite3.Connection, found: Sequence[Found], assignments: int) -> int:
    """What the further answers cost at most, without what was reserved for them already, in millionths."""
    return sum(max(0, assignments - f.entry.max_assignments) * _price(project, f.entry).total for f in found)


def widen(
    project: sqlite3.Connection,
    requester: Requester,
    task: Task,
    found: Sequence[Found],
    assignments: int,
    step: Step = lambda _: None,
) -> int:
    """Ask these HITs of `assignments` workers in all: money first, then the call; returns how many were changed.

    Raises UserError when the budget does not allow it; nothing has changed then. A HIT that the endpoint refuses to change
    is as before.
    """
    if not (few := to_widen(found, assignments)):
        return 0
    with transaction(project):  # all of the money or none
        for one in few:
            more = assignments - one.entry.max_assignments
            if more > 0:
                amount = more * _price(project, one.entry).total
                budget.reserve(project, task, [(f"{one.entry.token}:to {assignments}", amount)])
                journal.widened(project, one.entry.token, assignments)
    crash_point("after-reserved")
    for one in few:
        name = hashlib.sha256(f"{one.entry.token} to {assignments}".encode()).hexdigest()
        try:
            requester.ask_more(name, str(one.entry.hit_id), assignments - int(one.hit["MaxAssignments"]))
        except Refused:
            with transaction(project):
                project.execute(
                    "DELETE FROM ledger WHERE entry_id = ?", (f"reserved:{one.entry.token}:to {assignments}",)
                )
                journal.widened(project, one.entry.token, int(one.hit["MaxAssignments"]))
            raise
        crash_point("after-widened")
        step(1)
    return len(few)


# -- delete -----------------------------------------------------------------------------------------------------------


def deletable(
    project: sqlite3.Connection, requester: Requester, task: Task
) -> tuple[list[Entry], list[tuple[Entry, str]]]:
    """HITs that can be disposed of, and those that cannot with the reason. Answers that were not collected would be lost."""
    there = {hit["HITId"]: hit for hit in requester.hits()}
    fine: list[Entry] = []
    kept: list[tuple[Entry, str]] = []
    for entry in journal.entries(project, task.task, requester.endpoint, "created"):
        if entry.ended == "deleted":
            continue
        if entry.hit_id not in there:  # gone: an earlier run was killed after the call
            fine.append(entry)
            continue
        why = _why_not(Found(entry, there[entry.hit_id]))
        if why:
            kept.append((entry, why))
        else:
            fine.append(entry)
    return fine, kept


def _why_not(one: Found) -> str | None:
    if one.busy:
        return f"{one.busy} workers are at it"
    if one.hit["HITStatus"] == "Assignable":
        return f"{one.open} answers may still come; `curate hits stop` ends it"
    if one.unjudged:
        return f"{one.unjudged} answers are not judged; `curate hits review` judges them"
    if one.entry.collected_at is None:
        return "its answers have not all been read; `curate hits collect` reads them"
    return None


def delete(
    project: sqlite3.Connection, requester: Requester, entries: Sequence[Entry], step: Step = lambda _: None
) -> int:
    """Dispose of HITs at the endpoint; what was collected of them stays here. Returns how many."""
    for entry in entries:
        found = requester.hit(str(entry.hit_id))
        if found is not None and found["HITStatus"] != "Disposed":
            requester.delete(str(entry.hit_id))
        crash_point("after-deleted")
        with transaction(project):
            journal.ended(project, entry.token, "deleted")
        step(1)
    return len(entries)


def _price(project: sqlite3.Connection, entry: Entry) -> budget.Price:
    return budget.reserved_price(project, entry.token, entry.reward_cents, entry.max_assignments)
