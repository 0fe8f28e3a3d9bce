"""What workers are due, and how it is settled: export a batch, pay it however you pay people, mark it.

A batch is fixed by what was owed and paid when it was made, so exporting twice gives the same one until something changes.
Its file lists amounts; a copy stays in the workspace. Marking writes one movement a worker and batch: marking again changes
nothing, and nobody is ever marked as paid more than they are owed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from curate.crowd import budget
from curate.crowd.crash import crash_point
from curate.crowd.votes import SIMULATED
from curate.database import transaction
from schemas.errors import UserError
from schemas.files import write_text

if TYPE_CHECKING:
    from curate.crowd.requester import Requester

FOLDER = "payouts"  # in the workspace
COLUMNS = ("batch", "worker_id", "amount_usd")

_DUE = """
SELECT worker_id, task, SUM(CASE kind WHEN 'earned' THEN micro_usd ELSE 0 END) AS earned,
    SUM(CASE kind WHEN 'bonus' THEN micro_usd ELSE 0 END) AS bonus, SUM(CASE kind WHEN 'paid' THEN micro_usd ELSE 0 END) AS paid
FROM ledger WHERE worker_id IS NOT NULL AND kind IN ('earned', 'bonus', 'paid') GROUP BY worker_id, task ORDER BY worker_id, task
"""


@dataclass(frozen=True)
class Due:
    """What one worker has got coming from one task, in millionths of a dollar."""

    worker_id: str
    task: str
    earned: int
    bonus: int
    paid: int

    @property
    def owed(self) -> int:
        """What is left to pay."""
        return self.earned + self.bonus - self.paid


def dues(project: sqlite3.Connection, simulated: bool = False) -> list[Due]:
    """What every worker is due, by worker and task, in all tasks of the workspace; people alone, or simulated ones alone."""
    found = [Due(**dict(row)) for row in project.execute(_DUE)]
    return [due for due in found if due.worker_id.startswith(SIMULATED) == simulated]


def owed(found: list[Due]) -> dict[str, int]:
    """Worker to what they are owed, where that is anything."""
    sums: dict[str, int] = {}
    for due in found:
        sums[due.worker_id] = sums.get(due.worker_id, 0) + due.owed
    return {worker: amount for worker, amount in sums.items() if amount}


def owed_lines(found: list[Due]) -> list[str]:
    """A line for each worker: earned, bonus, paid, owed."""
    by_worker: dict[str, list[int]] = {}
    for due in found:
        sums = by_worker.setdefault(due.worker_id, [0, 0, 0, 0])
        for place, amount in enumerate((due.earned, due.bonus, due.paid, due.owed)):
            sums[place] += amount
    lines = [f"{'worker':<24}{'earned':>12}{'bonus':>12}{'paid':>12}{'owed':>12}"]
    total = [sum(column) for column in zip(*by_worker.values(), strict=True)] or [0, 0, 0, 0]
    for worker, sums in [*by_worker.items(), (f"{len(by_worker)} workers", total)]:
        lines.append(f"{worker:<24}" + "".join(f"{budget.dollars(amount):>12}" for amount in sums))
    return lines


def batch_of(found: list[Due]) -> str:
    """The id of the batch that pays what is owed now: equal figures have the same one."""
    figures = json.dumps([[due.worker_id, due.task, due.earned, due.bonus, due.paid] for due in found])
    return hashlib.sha256(figures.encode()).hexdigest()[:12]


def export(root: Path, file: Path, found: list[Due]) -> tuple[str, dict[str, int]]:
    """Write what is owed as a batch to `file`, and to the workspace's own copy; returns the batch and its amounts."""
    amounts = owed(found)
    if not amounts:
        raise UserError("nobody is owed anything: what was earned has been paid; `curate hits review` approves answers")
    batch = batch_of(found)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows((batch, worker, exact(amount)) for worker, amount in amounts.items())
    write_text(root / FOLDER / f"{batch}.csv", text.getvalue())
    crash_point("payout-kept")
    write_text(file, text.getvalue())
    return batch, amounts


def exact(micro: int) -> str:
    """Millionths of a dollar as decimals, with two at least."""
    value = f"{Decimal(micro) / budget.MICRO:.6f}"
    return value[:-4] + value[-4:].rstrip("0")


def read_batch(root: Path, named: str) -> tuple[str, dict[str, int]]:
    """The batch and the amounts to mark, by its id or from its file, of which rows may have been removed.

    Raises UserError for a file that was not exported here, and for an amount that is not the batch's.
    """
    kept = root / FOLDER / f"{named}.csv"
    batch, wanted = _read(kept if "/" not in named and kept.exists() else Path(named))
    kept = root / FOLDER / f"{batch}.csv"
    if not kept.exists():
        raise UserError(
            f"{named}: batch {batch} was not exported from this workspace; `curate pay export FILE.csv` makes one"
        )
    known = _read(kept)[1]
    for worker, amount in wanted.items():
        if known.get(worker) != amount:
            said = exact(known[worker]) if worker in known else "nothing"
            raise UserError(
                f"{named}: pays {worker} {exact(amount)}, batch {batch} says {said}; remove rows that were not paid, change none"
            )
    return batch, wanted


def _read(path: Path) -> tuple[str, dict[str, int]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, and no batch of this workspace is called so") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV ({error})") from error
    if not rows or any(row.get(name) is None for row in rows for name in COLUMNS):
        raise UserError(
            f"{path}: is no payout; it has rows with {', '.join(COLUMNS)}, as `curate pay export` writes them"
        )
    batches = {row["batch"] for row in rows}
    if len(batches) > 1 or not next(iter(batches)).isalnum():
        raise UserError(f"{path}: holds several batches ({', '.join(sorted(batches))}); mark each one by itself")
    amounts: dict[str, int] = {}
    for row in rows:
        if row["worker_id"] in amounts:
            raise UserError(f"{path}: pays worker {row['worker_id']} twice")
        try:
            amounts[row["worker_id"]] = int(Decimal(row["amount_usd"]) * budget.MICRO)
        except (InvalidOperation, ValueError, OverflowError):
            raise UserError(f"{path}: amount_usd of {row['worker_id']} is no amount: {row['amount_usd']!r}") from None
    return batches.pop(), amounts


def mark(project: sqlite3.Connection, batch: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """Write down that these workers got these amounts, all of them or none; returns those that were not marked before.

    Raises UserError where somebody is owed less by now: the batch overlaps with another that was marked since.
    """
    with transaction(project):
        marked = {
            row[0]
            for row in project.execute(
                "SELECT worker_id FROM ledger WHERE kind = 'paid' AND entry_id > ? AND entry_id < ?",
                (f"paid:{batch}:", f"paid:{batch};"),
            )
        }
        new = {worker: amount for worker, amount in wanted.items() if worker not in marked}
        by_worker: dict[str, list[Due]] = {}
        for due in [*dues(project), *dues(project, simulated=True)]:
            by_worker.setdefault(due.worker_id, []).append(due)
        for worker, amount in new.items():
            _settle(project, batch, worker, amount, by_worker.get(worker, []))
        crash_point("payout-before-commit")
    crash_point("payout-after-commit")
    return new


def _settle(project: sqlite3.Connection, batch: str, worker: str, amount: int, theirs: list[Due]) -> None:
    """Divide a payment over the tasks that it pays, in order."""
    left = sum(due.owed for due in theirs)
    if amount > left:
        raise UserError(
            f"batch {batch} pays {worker} {budget.dollars(amount)}, they are owed {budget.dollars(left)} by now: another batch "
            "was marked since it was exported. Nothing was marked; remove that row, or export again"
        )
    for due in theirs:
        part = min(due.owed, amount)
        amount -= part
        if part:
            entry = f"paid:{batch}:{worker}:{due.task}"
            budget.enter(project, entry, due.task, "paid", part, worker_id=worker, note=f"batch {batch}")


def tasks_of(project: sqlite3.Connection, batch: str) -> list[str]:
    """The tasks that a batch paid for."""
    rows = project.execute(
        "SELECT DISTINCT task FROM ledger WHERE kind = 'paid' AND entry_id > ? AND entry_id < ? ORDER BY task",
        (f"paid:{batch}:", f"paid:{batch};"),
    )
    return [str(row[0]) for row in rows]


def tell_paid(requester: Requester, batch: str, paid: Mapping[str, int]) -> list[str]:
    """Send each worker a message about their payment; returns those whom it did not reach."""
    missed: list[str] = []
    for amount in sorted(set(paid.values())):
        theirs = [worker for worker, due in paid.items() if due == amount]
        text = f"You were paid {budget.dollars(amount)}. Reference: batch {batch}."
        missed += requester.notify(theirs, f"You were paid {budget.dollars(amount)}", text)
    return missed
