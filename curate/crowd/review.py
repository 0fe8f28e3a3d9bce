"""Assignments are judged: all that came in are approved and earn their reward, unless a worker's gold answers say otherwise."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.crowd import budget, journal
from curate.crowd.crash import crash_point
from curate.database import transaction
from schemas.errors import UserError
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.requester import Requester

MIN_GOLD = 5  # hidden gold answers below which nobody is rejected: one slip must not cost a day's pay
LONGEST = 1024  # characters of the reason, as the protocol has it


@dataclass(frozen=True)
class Verdict:
    """What shall happen to one assignment."""

    assignment_id: str
    hit_id: str
    worker_id: str
    reason: str | None  # None approves; else what the worker reads about the rejection


def judge(votes: pd.DataFrame, gold: pd.DataFrame, reject_below: float = 0.0) -> list[Verdict]:
    """A verdict for each assignment that nobody has judged, in the order they came in.

    A worker whose share of right answers on hidden gold is under `reject_below`, over at least MIN_GOLD of them, is rejected.
    """
    if not 0 <= reject_below <= 1:
        raise UserError(f"--reject-below must be between 0 and 1, got {reject_below}")
    answer = dict(zip(gold["image_id"], gold["label"], strict=True))
    on_gold = votes[(votes["dropped"] == "gold") & votes["image_id"].isin(answer)]
    right = on_gold["label"] == on_gold["image_id"].map(answer)
    accuracy = right.groupby(on_gold["worker_id"]).agg(["mean", "sum", "count"])
    reasons = {
        str(
            worker
        ): f"{int(row['sum'])} of {int(row['count'])} pictures with a known answer were right; {reject_below:.0%} are needed"
        for worker, row in accuracy.iterrows()
        if row["count"] >= MIN_GOLD and row["mean"] < reject_below
    }
    submitted = votes[votes["assignment_status"] == "Submitted"].drop_duplicates("assignment_id")
    return [
        Verdict(str(a), str(hit), str(worker), reasons.get(str(worker)))
        for a, hit, worker in zip(submitted["assignment_id"], submitted["hit_id"], submitted["worker_id"], strict=True)
    ]


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
    verdicts: list[Verdict],
    step: Callable[[int], object] = lambda _: None,
) -> dict[str, str]:
    """Carry the verdicts out; returns assignment to its status now. Run again after a kill, it pays nobody twice."""
    entries = {entry.hit_id: entry for entry in journal.entries(project, task.task, requester.endpoint, "created")}
    statuses = {}
    for verdict in verdicts:
        entry = entries.get(verdict.hit_id)
        if entry is None:
            raise UserError(
                f"HIT {verdict.hit_id} was not made at {requester.endpoint}; name its endpoint with --endpoint"
            )
        if verdict.reason is None:
            status = requester.approve(verdict.assignment_id)
        else:
            status = requester.reject(verdict.assignment_id, verdict.reason)
        crash_point("after-judged")
        price = budget.reserved_price(project, entry.token, entry.reward_cents, entry.max_assignments)
        with transaction(project):
            budget.settle(project, task.task, status, price, verdict.assignment_id, verdict.hit_id, verdict.worker_id)
        statuses[verdict.assignment_id] = status
        step(1)
    return statuses


def with_statuses(votes: pd.DataFrame, statuses: dict[str, str]) -> pd.DataFrame:
    """The votes with the new status of the assignments that were judged."""
    known = votes["assignment_id"].map(statuses)
    return votes.assign(assignment_status=known.where(known.notna(), votes["assignment_status"]))


def plan_lines(verdicts: list[Verdict]) -> list[str]:
    """The verdicts as a person reads them before they are carried out."""
    if not verdicts:
        return ["nothing to judge: every collected assignment has been judged; `curate hits collect` reads new ones"]
    rejected = {v.worker_id: v.reason for v in verdicts if v.reason}
    refused = [v for v in verdicts if v.reason]
    lines = [f"{len(verdicts) - len(refused)} assignments to approve, {len(refused)} to reject"]
    return lines + [f"  {worker}: {reason}" for worker, reason in sorted(rejected.items())]
