"""Answers come in: each assignment once, into project.db, with what it earned; run it as often as you like while people work.

Only HITs about which the endpoint has something new to tell are read, several at once. A block of them is written in one
transaction, answers and money together, so that a killed collection has read a block or has not. VOTES are written from
there afterwards (`curate/crowd/votes.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from curate.crowd import budget, journal
from curate.crowd.crash import crash_point
from curate.database import transaction
from curate.forgotten import Forgotten
from curate.workspace import now
from schemas.task import Task

if TYPE_CHECKING:
    from curate.crowd.requester import Requester

THREADS = 8  # HITs asked about at once
BLOCK = 200  # HITs written in one transaction: what a kill makes us read again, and what is in memory
FEW = 20  # HITs up to which the list of all HITs is not asked first
PER_PAGE = 100

_WAITING = """
SELECT j.token, j.hit_id, j.reward_cents, j.max_assignments, j.created_at, j.ended, COUNT(a.assignment_id) AS answers,
    COUNT(CASE WHEN a.status <> 'Submitted' THEN 1 END) AS judged
FROM hit_journal j LEFT JOIN answer a ON a.token = j.token
WHERE j.task = ? AND j.endpoint = ? AND j.hit_id IS NOT NULL AND (? OR j.collected_at IS NULL)
GROUP BY j.token ORDER BY j.rowid
"""


@dataclass(frozen=True)
class Collected:
    """What one collection brought."""

    hits: int  # HITs that were read
    new: int  # assignments seen for the first time
    changed: int  # assignments seen before that have another status now
    assignments: int  # all that are known by now
    open: int  # HITs to which answers may still come

    @property
    def nothing(self) -> bool:
        """Whether everything is as it was."""
        return not (self.new or self.changed)

    def line(self) -> str:
        """As a person reads it."""
        changed = f", {self.changed} changed" if self.changed else ""
        return f"{self.hits} HITs read: {self.new} new assignments{changed}"


@dataclass(frozen=True)
class Waiting:
    """A HIT of the journal that is not finished, and how much of it has been read."""

    token: str
    hit_id: str
    reward_cents: int
    max_assignments: int
    created_at: str | None
    ended: str | None
    answers: int
    judged: int

    def late(self, lifetime: timedelta) -> bool:
        """Whether it was ended, or should have expired by now: then the endpoint is asked whether that is so."""
        if self.ended is not None:
            return True
        return self.created_at is not None and now() - datetime.fromisoformat(self.created_at) >= lifetime


@dataclass(frozen=True)
class Read:
    """What the endpoint said about one HIT."""

    hit: Waiting
    assignments: list[dict[str, Any]]
    over: bool  # no more answers can come


def collect(
    project: sqlite3.Connection,
    requester: Requester,
    task: Task,
    again: bool = False,
    step: Callable[[int], object] = lambda _: None,
) -> Collected:
    """Read what is new at the endpoint into project.db. Collecting twice, or killed and again, ends with the same rows.

    HITs whose answers have all been read and judged are not read again unless `again`. What was earned goes into the ledger.
    """
    forgotten = Forgotten.read(project)
    rows = project.execute(_WAITING, (task.task, requester.endpoint, again))
    waiting = [Waiting(**dict(row)) for row in rows]
    told = _told(requester, waiting)
    lifetime = timedelta(days=task.crowd.lifetime_days)

    def read(hit: Waiting) -> Read:
        """The state first: an answer that comes in between is then read, and never taken for one that will not come."""
        state = told.get(hit.hit_id)
        if state is None and hit.late(lifetime):
            state = requester.hit(hit.hit_id) or {}
        if state == {}:  # deleted there: what was read of it stays
            return Read(hit, [], True)
        assignments = requester.assignments(hit.hit_id)
        full = len(assignments) >= max(hit.max_assignments, (state or {}).get("MaxAssignments", 0))
        closed = state is not None and state.get("HITStatus") not in ("Assignable", "Unassignable")
        return Read(hit, assignments, full or (closed and hit.late(lifetime)))

    todo = [hit for hit in waiting if again or hit.late(lifetime) or _news(hit, told.get(hit.hit_id))]
    counts = [0, 0, 0]
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(todo), BLOCK):
            block = list(pool.map(read, todo[start : start + BLOCK]))
            crash_point("collect-before-commit")
            with transaction(project):
                found = [_write(project, task.task, one, forgotten) for one in block]
            crash_point("collect-after-commit")
            counts = [sum(column) for column in zip(counts, *found, strict=True)]
            step(len(block))
    new, changed, over = counts
    known = project.execute(
        "SELECT COUNT(*) FROM answer a JOIN hit_journal j ON j.token = a.token WHERE j.task = ?", (task.task,)
    ).fetchone()[0]
    full = sum(hit.answers >= hit.max_assignments for hit in set(waiting) - set(todo))
    return Collected(len(todo), new, changed, known, len(waiting) - over - full)


def _told(requester: Requester, waiting: Sequence[Waiting]) -> dict[str, dict[str, Any]]:
    """State and counts of the waiting HITs as the endpoint lists them, a hundred a call.

    Where the list is longer than it is worth (another task's HITs, an old account), it is not read to its end: a HIT that
    was not met is asked about directly.
    """
    if len(waiting) <= FEW:
        return {}
    wanted, found = {hit.hit_id for hit in waiting}, {}
    most = 2 * len(waiting) + 5 * PER_PAGE
    for met, hit in enumerate(requester.hits(), start=1):
        if hit["HITId"] in wanted:
            found[hit["HITId"]] = {name: value for name, value in hit.items() if name in _STATE}
        if len(found) == len(wanted) or met >= most:
            break
    return found


_COUNTS = ("NumberOfAssignmentsAvailable", "NumberOfAssignmentsPending", "NumberOfAssignmentsCompleted")
_STATE = {"HITStatus", "MaxAssignments", *_COUNTS}


def _news(hit: Waiting, state: Mapping[str, Any] | None) -> bool:
    """Whether the endpoint has answers or judgments that were not read; True where its counts do not say.

    Of MaxAssignments, those neither available nor pending are answered, and `Completed` ones of them judged. Both numbers
    only grow, so a HIT with the numbers that were read last has nothing new.
    """
    if state is None or not state.keys() >= _STATE:
        return True
    available, pending, completed = (state[name] for name in _COUNTS)
    return (state["MaxAssignments"] - available - pending, completed) != (hit.answers, hit.judged)


def _write(project: sqlite3.Connection, task: str, read: Read, forgotten: Forgotten) -> tuple[int, int, int]:
    """Note one HIT's answers and what they earned; returns how many are new, changed, and whether it is over (0 or 1)."""
    hit = read.hit
    before = dict(project.execute("SELECT assignment_id, status FROM answer WHERE token = ?", (hit.token,)).fetchall())
    price = budget.reserved_price(project, hit.token, hit.reward_cents, hit.max_assignments)
    for a in read.assignments:
        identity, status, worker = a["AssignmentId"], a["AssignmentStatus"], a["WorkerId"]
        if before.get(identity) != status:
            _note(project, hit.token, a, forgotten)
            budget.settle(project, task, status, price, identity, hit.hit_id, worker)
    if read.over:
        rest = max(0, hit.max_assignments - max(len(read.assignments), hit.answers))
        budget.release(project, hit.token, task, rest, price, hit.hit_id, f"HIT {hit.ended or 'expired'}")
        if rest and hit.ended is None:
            journal.ended(project, hit.token, "expired")
        if all(a["AssignmentStatus"] != "Submitted" for a in read.assignments):
            journal.collected(project, [hit.token])
    new = sum(a["AssignmentId"] not in before for a in read.assignments)
    changed = sum(
        before.get(a["AssignmentId"], a["AssignmentStatus"]) != a["AssignmentStatus"] for a in read.assignments
    )
    return new, changed, int(read.over)


def _note(project: sqlite3.Connection, token: str, assignment: Mapping[str, Any], forgotten: Forgotten) -> None:
    accepted = assignment.get("AcceptTime")
    project.execute(
        "INSERT INTO answer (assignment_id, token, worker_id, status, accepted_at, submitted_at, xml) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (assignment_id) DO UPDATE SET status = excluded.status",
        (
            assignment["AssignmentId"], token, assignment["WorkerId"], assignment["AssignmentStatus"],
            accepted.timestamp() if accepted else None, assignment["SubmitTime"].timestamp(),
            forgotten.without_answers(assignment.get("Answer") or ""),
        ),
    )  # fmt: skip
