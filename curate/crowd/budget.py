"""What a task may cost, and what it has cost: every movement of money is a row of the ledger, and the budget is their sum.

Money is counted in millionths of a dollar, so that shares and fees add up exactly. An entry's id says what it is for, so the
same movement written twice is one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from curate.workspace import now
from schemas.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from schemas.task import Task

MICRO = 1_000_000
CENT = MICRO // 100


@dataclass(frozen=True)
class Price:
    """What one assignment costs, in millionths of a dollar."""

    reward: int
    fee: int

    @property
    def total(self) -> int:
        """Reward and fee together."""
        return self.reward + self.fee


def price(task: Task) -> Price:
    """What one assignment of the task costs; raises UserError for a reward that is not whole cents."""
    cents = round(task.crowd.reward_usd * 100, 6)
    if cents != int(cents):
        raise UserError(
            f"task {task.task}: crowd.reward_usd: {task.crowd.reward_usd} is not whole cents, as MTurk's protocol needs"
        )
    return price_of(int(cents), task.crowd.fee_share)


def price_of(reward_cents: int, fee_share: float) -> Price:
    """A reward with its fee: the share rounded half up to a cent, a cent at least (MTurk's rule), nothing where it is 0."""
    fee_cents = max(1, int(reward_cents * fee_share + 0.5)) if fee_share > 0 else 0
    return Price(reward_cents * CENT, fee_cents * CENT)


def reserved_price(project: sqlite3.Connection, token: str, reward_cents: int, assignments: int) -> Price:
    """What one assignment of a HIT was reserved at, whatever the task file says by now; `assignments` in all, later ones too."""
    reserved = _sum(project, "reserved", token)
    return Price(reward_cents * CENT, reserved // assignments - reward_cents * CENT)


def _sum(project: sqlite3.Connection, kind: str, token: str) -> int:
    """All movements of one kind that name a HIT's token: `kind:token` or `kind:token:more`."""
    found = project.execute(
        "SELECT COALESCE(SUM(micro_usd), 0) FROM ledger WHERE entry_id = ? OR entry_id BETWEEN ? AND ?",
        (f"{kind}:{token}", f"{kind}:{token}:", f"{kind}:{token};"),
    )
    return int(found.fetchone()[0])


def release(
    project: sqlite3.Connection, token: str, task: str, answers: int, cost: Price, hit_id: str | None, note: str
) -> None:
    """Give back what was reserved for `answers` of a HIT, in all, that can never come; said again it gives nothing more.

    Call it inside a transaction. The number may grow: who was at work when a HIT ended may give up later.
    """
    rest = -answers * cost.total - _sum(project, "released", token)
    if rest < 0:
        enter(project, f"released:{token}:{answers}", task, "released", rest, hit_id, note=note)


def dollars(micro: int) -> str:
    """An amount as people write it."""
    return f"${micro / MICRO:,.2f}"


def spent(project: sqlite3.Connection, task: str) -> int:
    """What is reserved, earned, and paid in bonuses and fees together, in millionths of a dollar."""
    row = project.execute(
        "SELECT COALESCE(SUM(micro_usd), 0) FROM ledger WHERE task = ? AND kind != 'paid'", (task,)
    ).fetchone()
    return int(row[0])


def left(project: sqlite3.Connection, task: Task) -> int:
    """What the task's budget still allows, in millionths of a dollar; never reads below zero unless the budget was cut."""
    return round(task.crowd.budget_usd * MICRO) - spent(project, task.task)


def reserve(project: sqlite3.Connection, task: Task, entries: Iterable[tuple[str, int]]) -> None:
    """Set money aside, all of it or none: (token of a HIT, amount). Call it inside the transaction that writes the HITs down.

    Raises UserError when the budget does not allow it; the caller's transaction then leaves nothing behind.
    """
    entries = list(entries)
    allowed, wanted = left(project, task), sum(amount for _, amount in entries)
    if wanted > allowed:
        raise UserError(too_little(task, wanted, allowed))
    for token, amount in entries:
        enter(project, f"reserved:{token}", task.task, "reserved", amount)


def too_little(task: Task, wanted: int, allowed: int) -> str:
    """Why the budget does not allow what is wanted, and what to do."""
    return (
        f"task {task.task}: this costs {dollars(wanted)}, the budget has {dollars(max(allowed, 0))} left of "
        f"{dollars(round(task.crowd.budget_usd * MICRO))}. Ask for fewer pictures, or raise crowd.budget_usd in the task file"
    )


def settle(
    project: sqlite3.Connection, task: str, status: str, cost: Price, assignment_id: str, hit_id: str, worker_id: str
) -> None:
    """Turn the reservation of a judged assignment into what was earned (Approved) or give it back (Rejected); once only.

    A rejected assignment that is approved later is reserved again by nobody: it is simply earned.
    """
    who = {"assignment_id": assignment_id, "hit_id": hit_id, "worker_id": worker_id}
    if status in ("Approved", "Rejected"):
        enter(project, f"released:{assignment_id}", task, "released", -cost.total, **who)
    if status == "Approved":
        enter(project, f"earned:{assignment_id}", task, "earned", cost.reward, **who)
        if cost.fee:
            enter(project, f"fee:{assignment_id}", task, "fee", cost.fee, **who)


def enter(
    project: sqlite3.Connection,
    entry_id: str,
    task: str,
    kind: str,
    micro_usd: int,
    hit_id: str | None = None,
    assignment_id: str | None = None,
    worker_id: str | None = None,
    note: str | None = None,
) -> None:
    """Write one movement of money; a movement that is written already stays as it is."""
    project.execute(
        "INSERT INTO ledger (entry_id, at, task, kind, micro_usd, hit_id, assignment_id, worker_id, note) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (entry_id) DO NOTHING",
        (entry_id, now().isoformat(), task, kind, micro_usd, hit_id, assignment_id, worker_id, note),
    )


def by_kind(project: sqlite3.Connection, task: str) -> dict[str, int]:
    """Sum of each kind of movement, in millionths of a dollar."""
    rows = project.execute("SELECT kind, SUM(micro_usd) FROM ledger WHERE task = ? GROUP BY kind", (task,))
    return {kind: int(amount) for kind, amount in rows}


def ledger(project: sqlite3.Connection, task: str) -> pd.DataFrame:
    """The task's movements of money as the LEDGER table, oldest first."""
    from schemas.tables import LEDGER

    rows = project.execute("SELECT * FROM ledger WHERE task = ? ORDER BY at, entry_id", (task,))
    return LEDGER.frame(
        {
            **{
                name: row[name] for name in ("entry_id", "task", "kind", "hit_id", "assignment_id", "worker_id", "note")
            },
            "at": datetime.fromisoformat(row["at"]),
            "amount_usd": row["micro_usd"] / MICRO,
        }
        for row in rows
    )
