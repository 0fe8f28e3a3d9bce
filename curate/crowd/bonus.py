"""Bonuses: written down and reserved before they are paid, so that a killed command pays each of them once.

A bonus is known by what it says: the same worker, assignment, amount and reason are the same bonus, however often it is
asked for. To pay somebody the same again, say another reason.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from curate.crowd import budget
from curate.crowd.crash import crash_point
from curate.crowd.requester import Refused
from curate.crowd.review import checked_reason
from curate.database import transaction
from schemas.errors import UserError
from schemas.task import Task

if TYPE_CHECKING:
    from curate.crowd.requester import Requester

COLUMNS = ("worker_id", "usd", "reason")


@dataclass(frozen=True)
class Bonus:
    """One bonus: who gets how much for what."""

    worker_id: str
    assignment_id: str
    cents: int
    reason: str

    def token(self, name: str, task: str) -> str:
        """Its UniqueRequestToken: equal bonuses of one workspace and task have the same."""
        said = json.dumps([name, task, self.worker_id, self.assignment_id, self.cents, self.reason])
        return hashlib.sha256(said.encode()).hexdigest()[:32]


def bonus(
    project: sqlite3.Connection,
    endpoint: str,
    task: Task,
    worker_id: str,
    usd: str,
    reason: str,
    assignment_id: str = "",
) -> Bonus:
    """A bonus for an assignment of this worker, the first one where none is named; raises UserError where there is none."""
    rows = project.execute(
        "SELECT a.assignment_id FROM answer a JOIN hit_journal j ON j.token = a.token "
        "WHERE a.worker_id = ? AND j.task = ? AND j.endpoint = ? ORDER BY a.submitted_at, a.assignment_id",
        (worker_id, task.task, endpoint),
    )
    theirs = [row[0] for row in rows]
    if not theirs:
        raise UserError(
            f"worker {worker_id}: no answer of theirs to task {task.task} has been read at {endpoint}, and a bonus belongs to "
            "one; `curate hits collect` reads new answers"
        )
    if assignment_id and assignment_id not in theirs:
        raise UserError(f"assignment {assignment_id} is none of worker {worker_id}; theirs begin with {theirs[0]}")
    return Bonus(worker_id, assignment_id or theirs[0], cents_of(usd), checked_reason(reason))


def cents_of(usd: str) -> int:
    """An amount as a person writes it, in cents; raises UserError for what is no positive amount of whole cents."""
    try:
        cents = Decimal(str(usd).strip().removeprefix("$")) * 100
    except InvalidOperation:
        cents = Decimal(0)
    if not cents.is_finite() or cents != int(cents) or not 0 < cents <= 10_000_000:
        raise UserError(f"--usd must be dollars with two decimals at most, from 0.01 to 100000, got {usd!r}")
    return int(cents)


def read_bonuses(project: sqlite3.Connection, endpoint: str, task: Task, path: Path) -> list[Bonus]:
    """The bonuses of a CSV file with worker_id, usd, reason and perhaps assignment_id; raises UserError naming the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            names = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UserError(f"{path}: missing columns {', '.join(missing)}; a bonus needs {', '.join(COLUMNS)}")
    found: dict[Bonus, int] = {}
    for line, row in enumerate(rows, start=2):
        try:
            one = bonus(
                project, endpoint, task, (row["worker_id"] or "").strip(), row["usd"] or "", row["reason"] or "",
                (row.get("assignment_id") or "").strip(),
            )  # fmt: skip
        except UserError as error:
            raise UserError(f"{path}, line {line}: {error}") from None
        if one in found:
            raise UserError(
                f"{path}, lines {found[one]} and {line} are the same bonus; give one of them another reason"
            )
        found[one] = line
    return list(found)


def unpaid(project: sqlite3.Connection, name: str, task: Task, bonuses: Sequence[Bonus]) -> list[Bonus]:
    """Those that have not been paid yet."""
    return [one for one in bonuses if not _has(project, f"bonus:{one.token(name, task.task)}")]


def cost(task: Task, one: Bonus) -> budget.Price:
    """What a bonus costs with its fee."""
    return budget.price_of(one.cents, task.crowd.fee_share)


def pay(project: sqlite3.Connection, requester: Requester, name: str, task: Task, one: Bonus) -> bool:
    """Reserve a bonus, pay it, and write it down; False when it was paid before. Killed anywhere and run again, it pays once.

    Raises UserError when the budget does not allow it, and when the endpoint refuses; then the reservation is given back.
    """
    token = one.token(name, task.task)
    if _has(project, f"bonus:{token}"):
        return False
    refused = project.execute(
        "SELECT COUNT(*) FROM ledger WHERE entry_id > ? AND entry_id < ?",
        (f"released:bonus:{token}:", f"released:bonus:{token};"),
    ).fetchone()[0]
    reserved, released = f"reserved:bonus:{token}:{refused}", f"released:bonus:{token}:{refused}"
    price, who = cost(task, one), {"assignment_id": one.assignment_id, "worker_id": one.worker_id}
    waiting = _has(project, reserved)
    if not waiting:
        with transaction(project):
            budget.check(project, task, price.total)
            budget.enter(project, reserved, task.task, "reserved", price.total, **who, note=one.reason)
    crash_point("bonus-reserved")
    try:
        if not (waiting and _arrived(requester, one)):
            requester.send_bonus(one.worker_id, one.assignment_id, one.cents, one.reason, token)
    except Refused as error:
        if not _was_there(requester, one):
            with transaction(project):
                budget.enter(project, released, task.task, "released", -price.total, **who, note=str(error))
            raise
    crash_point("bonus-sent")
    with transaction(project):
        budget.enter(project, released, task.task, "released", -price.total, **who)
        budget.enter(project, f"bonus:{token}", task.task, "bonus", price.reward, **who, note=one.reason)
        if price.fee:
            budget.enter(project, f"fee:bonus:{token}", task.task, "fee", price.fee, **who)
    crash_point("bonus-noted")
    return True


def _arrived(requester: Requester, one: Bonus) -> bool:
    """Whether an earlier run, killed before it could note it, paid this bonus: a token is remembered for a day only."""
    return any(
        paid["WorkerId"] == one.worker_id
        and paid["Reason"] == one.reason
        and Decimal(paid["BonusAmount"]) * 100 == one.cents
        for paid in requester.bonuses(one.assignment_id)
    )


def _was_there(requester: Requester, one: Bonus) -> bool:
    """After a refusal: whether it was refused because it is paid already, as MTurk does with a token that it has seen."""
    try:
        return _arrived(requester, one)
    except Refused:
        return False


def _has(project: sqlite3.Connection, entry_id: str) -> bool:
    return project.execute("SELECT 1 FROM ledger WHERE entry_id = ?", (entry_id,)).fetchone() is not None


def reserved(project: sqlite3.Connection, name: str, task: Task, bonuses: Sequence[Bonus]) -> int:
    """What an earlier run has set aside for these bonuses and not spent."""
    total = 0
    for one in bonuses:
        token = one.token(name, task.task)
        for kind in ("reserved", "released"):
            total += project.execute(
                "SELECT COALESCE(SUM(micro_usd), 0) FROM ledger WHERE entry_id > ? AND entry_id < ?",
                (f"{kind}:bonus:{token}:", f"{kind}:bonus:{token};"),
            ).fetchone()[0]
    return total
