"""Assignments are judged: all that came in are approved and earn their reward, unless a worker's record says otherwise.

The record is the WORKERS table: right answers on hidden gold, agreement with the majority of the others, seconds a picture.
Nobody is rejected on fewer answers than the least numbers here: one slip must not cost a day's pay.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.crowd import budget
from curate.crowd.crash import crash_point
from curate.database import transaction
from schemas.errors import UserError
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.requester import Requester

MIN_GOLD = 5  # answers on hidden gold below which it rejects nobody
MIN_VOTES = 20  # answers below which agreement and seconds reject nobody
THREADS = 8  # assignments judged at once
BLOCK = 100  # assignments whose money is written in one transaction
LONGEST = 1024  # characters of the reason, as the protocol has it


@dataclass(frozen=True)
class Limits:
    """What a worker must reach at least; 0 asks nothing."""

    gold: float = 0.0  # share of right answers on hidden gold
    agreement: float = 0.0  # share of answers equal to what more than half of the others say
    seconds: float = 0.0  # per picture, the median

    def __post_init__(self) -> None:
        for name, value in (("--reject-below", self.gold), ("--agreement-below", self.agreement)):
            if not 0 <= value <= 1:
                raise UserError(f"{name} must be between 0 and 1, got {value}")
        if not self.seconds >= 0:
            raise UserError(f"--seconds-below must be 0 or more, got {self.seconds}")

    def reason(self, record: Mapping[str, Any]) -> str | None:
        """Why a worker with this record is rejected, as the worker reads it; None where nothing is held against them."""
        said = []
        n, right = record["gold_n"], record["gold_correct"]
        if n >= MIN_GOLD and right / n < self.gold:
            said.append(f"{right} of {n} pictures with a known answer were right; {self.gold:.0%} are needed")
        n, agreement = record["agreement_n"], record["agreement"]
        if n >= MIN_VOTES and agreement < self.agreement:
            said.append(f"{agreement:.0%} of {n} answers were those of most others; {self.agreement:.0%} are needed")
        n, seconds = record["n_votes"], record["median_seconds"]
        if n >= MIN_VOTES and seconds is not None and seconds < self.seconds:
            said.append(
                f"{seconds:.1f} seconds for a picture (the middle of {n}); {self.seconds:g} are needed to look at one"
            )
        return ". ".join(said) or None


@dataclass(frozen=True)
class Verdict:
    """What shall happen to one assignment."""

    assignment_id: str
    hit_id: str
    worker_id: str
    reason: str | None  # None approves; else what the worker reads about the rejection


def judge(votes: pd.DataFrame, records: pd.DataFrame, limits: Limits, words: str = "") -> list[Verdict]:
    """A verdict for each assignment that nobody has judged, in the order they came in.

    Args:
        votes: VOTES of one endpoint.
        records: WORKERS of them.
        limits: below which all of a worker's assignments are rejected.
        words: of the requester's own, added to the reason of each rejection.
    """
    reasons = {}
    for worker, record in _by_worker(records).items():
        reason = limits.reason(record)
        if reason is not None:
            reasons[worker] = checked_reason(f"{reason}. {words}" if words else reason)
    submitted = votes[votes["assignment_status"] == "Submitted"].drop_duplicates("assignment_id")
    return [
        Verdict(str(a), str(hit), str(worker), reasons.get(str(worker)))
        for a, hit, worker in zip(submitted["assignment_id"], submitted["hit_id"], submitted["worker_id"], strict=True)
    ]


def _by_worker(records: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Worker to the row of WORKERS, missing values as None."""
    names = [name for name in records.columns if name not in ("flags", "confusion")]
    plain = records[names].astype(object).where(records[names].notna(), None)
    return {
        str(row["worker_id"]): {str(name): value for name, value in row.items()} for row in plain.to_dict("records")
    }


def checked_reason(reason: str) -> str:
    """A reason that the protocol carries and a worker can read; raises UserError for an empty or endless one."""
    reason = " ".join(reason.split())
    if not reason:
        raise UserError("--reason is empty; the worker reads it, so it should say why")
    if len(reason) > LONGEST:
        raise UserError(f"--reason: a worker's message holds {LONGEST} characters, this one has {len(reason)}")
    return reason


def review(
    project: sqlite3.Connection,
    requester: Requester,
    task: Task,
    verdicts: Sequence[Verdict],
    step: Callable[[int], object] = lambda _: None,
    override: bool = False,
) -> dict[str, str]:
    """Carry the verdicts out; returns assignment to its status now. Run again after a kill, it pays nobody twice.

    Several are judged at once. `override` approves what was rejected in the last 30 days; it costs money that was given
    back, so the budget is asked again.
    """
    prices = _prices(project, requester, task, verdicts)
    if override:
        _check_override(project, task, [(v, prices[v.hit_id]) for v in verdicts])

    def carry_out(verdict: Verdict) -> str:
        if verdict.reason is None:
            status = requester.approve(verdict.assignment_id, override=override)
        else:
            status = requester.reject(verdict.assignment_id, verdict.reason)
        crash_point("after-judged")
        return status

    statuses: dict[str, str] = {}
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(verdicts), BLOCK):
            block = verdicts[start : start + BLOCK]
            found = list(zip(block, pool.map(carry_out, block), strict=True))
            crash_point("review-before-commit")
            with transaction(project):
                for verdict, status in found:
                    _note(project, task.task, verdict, status, prices[verdict.hit_id])
            crash_point("review-after-commit")
            statuses |= {verdict.assignment_id: status for verdict, status in found}
            step(len(block))
    return statuses


def _prices(
    project: sqlite3.Connection, requester: Requester, task: Task, verdicts: Sequence[Verdict]
) -> dict[str, budget.Price]:
    """What an answer to each HIT was reserved at; raises UserError for a HIT of another endpoint or task."""
    rows = project.execute(
        "SELECT hit_id, token, reward_cents, max_assignments FROM hit_journal WHERE task = ? AND endpoint = ?",
        (task.task, requester.endpoint),
    )
    wanted = {verdict.hit_id for verdict in verdicts}
    found = {
        row["hit_id"]: budget.reserved_price(project, row["token"], row["reward_cents"], row["max_assignments"])
        for row in rows
        if row["hit_id"] in wanted
    }
    for hit_id in sorted(wanted - found.keys()):
        raise UserError(
            f"HIT {hit_id} of task {task.task} was not made at {requester.endpoint}; name its endpoint with --endpoint"
        )
    return found


def _check_override(project: sqlite3.Connection, task: Task, wanted: Sequence[tuple[Verdict, budget.Price]]) -> None:
    rejected = [
        price.total
        for verdict, price in wanted
        if project.execute(
            "SELECT 1 FROM answer WHERE assignment_id = ? AND status = 'Rejected'", (verdict.assignment_id,)
        ).fetchone()
    ]
    if rejected:
        budget.check(project, task, sum(rejected))


def _note(project: sqlite3.Connection, task: str, verdict: Verdict, status: str, price: budget.Price) -> None:
    """Write down what became of an assignment and of its money."""
    project.execute("UPDATE answer SET status = ? WHERE assignment_id = ?", (status, verdict.assignment_id))
    budget.settle(project, task, status, price, verdict.assignment_id, verdict.hit_id, verdict.worker_id)


def named(project: sqlite3.Connection, task: Task, assignment_ids: Sequence[str], reason: str | None) -> list[Verdict]:
    """The same verdict for assignments that a person names; raises UserError for one that has not been collected."""
    found = []
    for assignment_id in dict.fromkeys(assignment_ids):
        row = project.execute(
            "SELECT j.hit_id, a.worker_id FROM answer a JOIN hit_journal j ON j.token = a.token "
            "WHERE a.assignment_id = ? AND j.task = ?",
            (assignment_id, task.task),
        ).fetchone()
        if row is None:
            raise UserError(
                f"assignment {assignment_id}: none of task {task.task} that was read is called so; "
                "`curate hits collect` reads new ones, and `--again` old ones"
            )
        found.append(Verdict(assignment_id, row["hit_id"], row["worker_id"], reason))
    return found


def plan_lines(verdicts: Sequence[Verdict]) -> list[str]:
    """The verdicts as a person reads them before they are carried out."""
    if not verdicts:
        return ["nothing to judge: every collected assignment has been judged; `curate hits collect` reads new ones"]
    rejected = {v.worker_id: v.reason for v in verdicts if v.reason}
    refused = [v for v in verdicts if v.reason]
    lines = [f"{len(verdicts) - len(refused)} assignments to approve, {len(refused)} to reject"]
    return lines + [f"  {worker}: {reason}" for worker, reason in sorted(rejected.items())]


def table_lines(verdicts: Sequence[Verdict], records: pd.DataFrame) -> list[str]:
    """A line for each worker whose assignments wait: how many, the record, and the verdict."""
    waiting: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        waiting.setdefault(verdict.worker_id, []).append(verdict)
    known = _by_worker(records)
    lines = [f"{'worker':<24}{'assignments':>12}{'gold':>10}{'agreement':>16}{'seconds':>9}  verdict"]
    for worker, own in sorted(waiting.items()):
        row = known.get(worker, {})
        gold = f"{row['gold_correct']} of {row['gold_n']}" if row.get("gold_n") else "-"
        agreement = f"{row['agreement']:.0%} of {row['agreement_n']}" if row.get("agreement_n") else "-"
        seconds = f"{row['median_seconds']:.1f}" if row.get("median_seconds") is not None else "-"
        word = "reject" if own[0].reason else "approve"
        lines.append(f"{worker:<24}{len(own):>12}{gold:>10}{agreement:>16}{seconds:>9}  {word}")
    return lines
