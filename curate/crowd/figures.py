"""How far the HITs of a task are, in figures: what `hits status --json` prints and the desk shows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from curate.crowd import budget, journal
from curate.workspace import now

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.requester import Requester
    from schemas.task import Task

HOURS = 24
_STATES = {"Assignable": "open", "Unassignable": "full", "Reviewable": "answered", "Reviewing": "answered"}


@dataclass(frozen=True)
class Money:
    """The budget of a task in dollars; what is reserved is not spent yet."""

    budget_usd: float
    reserved_usd: float
    earned_usd: float
    fees_usd: float
    bonuses_usd: float
    left_usd: float


@dataclass(frozen=True)
class Figures:
    """HITs by state, assignments by state, money."""

    task: str
    endpoint: str
    hits: dict[str, int]  # open, full, answered, stopped, expired, deleted, gone (the endpoint has none), not made
    assignments: dict[str, int]  # wanted, open, pending, submitted, judged
    money: Money

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def figures(project: sqlite3.Connection, requester: Requester, task: Task) -> Figures:
    """Asks the endpoint for its HITs, and the ledger for the money."""
    written = [e for e in journal.entries(project, task.task) if e.endpoint == requester.endpoint]
    made = {entry.hit_id: entry for entry in written if entry.hit_id}
    found = {hit["HITId"]: hit for hit in requester.hits() if hit["HITId"] in made} if made else {}
    states = Counter(
        e.ended or _STATES.get(found.get(e.hit_id, {}).get("HITStatus", ""), "gone") for e in made.values()
    )
    states["not made"] = sum(entry.hit_id is None and entry.ended is None for entry in written)
    wanted = sum(hit["MaxAssignments"] for hit in found.values())
    counts = {
        name: sum(hit.get(f"NumberOfAssignments{key}", 0) for hit in found.values())
        for name, key in (("open", "Available"), ("pending", "Pending"), ("judged", "Completed"))
    }
    submitted = wanted - sum(counts.values())
    assignments = {"wanted": wanted, **counts, "submitted": submitted}
    return Figures(task.task, requester.endpoint, dict(+states), assignments, money(project, task))


def money(project: sqlite3.Connection, task: Task) -> Money:
    """What the ledger of a task adds up to."""
    sums = budget.by_kind(project, task.task)

    def usd(*kinds: str) -> float:
        return sum(sums.get(kind, 0) for kind in kinds) / budget.MICRO

    left = budget.left(project, task) / budget.MICRO
    reserved = usd("reserved", "released")
    return Money(task.crowd.budget_usd, reserved, usd("earned"), usd("fee"), usd("bonus"), left)


def answers_an_hour(votes: pd.DataFrame, at: datetime | None = None) -> list[int]:
    """Assignments that came in in each of the last 24 hours, the newest last."""
    end = at or now()
    times = votes.drop_duplicates("assignment_id")["submitted_at"]
    return _by_hour((time.to_pydatetime() for time in times[times > end - timedelta(hours=HOURS)]), end)


def _by_hour(times: Iterable[datetime], end: datetime) -> list[int]:
    counts = [0] * HOURS
    for time in times:
        ago = int((end - time).total_seconds() // 3600)
        if 0 <= ago < HOURS:
            counts[HOURS - 1 - ago] += 1
    return counts
