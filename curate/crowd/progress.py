"""How far the HITs of a task are, in a few lines."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.crowd import budget, journal
from curate.crowd.journal import Entry
from curate.savings import saved
from schemas.task import Task

if TYPE_CHECKING:
    from curate.crowd.requester import Requester


def describe(project: sqlite3.Connection, requester: Requester, task: Task) -> list[str]:
    """Lines about HITs, assignments and money of a task; asks the endpoint how many answers there are."""
    written = journal.entries(project, task.task)
    mine = {entry.hit_id: entry for entry in written if entry.endpoint == requester.endpoint and entry.hit_id}
    found = [hit for hit in requester.hits() if hit["HITId"] in mine] if mine else []
    wanted = sum(entry.max_assignments for entry in mine.values())
    open_ = sum(hit.get("NumberOfAssignmentsAvailable", 0) for hit in found)
    busy = sum(hit.get("NumberOfAssignmentsPending", 0) for hit in found)
    judged = sum(hit.get("NumberOfAssignmentsCompleted", 0) for hit in found)
    waiting = sum(entry.state == "pending" and entry.ended is None for entry in written)
    elsewhere = sorted({entry.endpoint for entry in written} - {requester.endpoint})
    by_kind = budget.by_kind(project, task.task)
    reserved = by_kind.get("reserved", 0) + by_kind.get("released", 0)
    paid = sum(by_kind.get(kind, 0) for kind in ("earned", "bonus", "fee"))
    lines = [
        f"task {task.task} at {requester.endpoint}",
        f"  HITs         {len(mine)}, asking about {len(journal.asked(list(mine.values())))} pictures",
        f"  assignments  {wanted}: {open_} open, {busy} being answered, {wanted - open_ - busy - judged} to review, {judged} judged",
        f"  budget       {budget.dollars(round(task.crowd.budget_usd * budget.MICRO))}: {budget.dollars(paid)} earned, "
        f"{budget.dollars(reserved)} reserved, {budget.dollars(budget.left(project, task))} left",
    ]
    rounds = sorted({entry.round for entry in mine.values()})
    lines[3:3] = [
        _round(number, [e for e in mine.values() if e.round == number]) for number in rounds if len(rounds) > 1
    ]
    if found_saved := saved(journal.hits_table(list(mine.values())), task):
        lines.append(f"  adaptive     {found_saved.line()}")
    if waiting:
        lines.append(f"  {waiting} HITs are written down but not made: run `curate hits create` again")
    lines += [f"  more HITs at {endpoint}: --endpoint {endpoint}" for endpoint in elsewhere]
    return lines


def _round(number: int, entries: Sequence[Entry]) -> str:
    """What one round asks about, and why."""
    pictures = {a.image_id: a.chosen_by for entry in entries for a in entry.images if a.chosen_by != "gold"}
    why = ", ".join(
        f"{n} {name}" for name, n in sorted(Counter(pictures.values()).items(), key=lambda c: (-c[1], c[0]))
    )
    return f"    round {number}: {len(pictures)} pictures ({why}) in {len(entries)} HITs"
