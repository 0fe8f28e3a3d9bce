"""What a pilot tells: how people answered, how long they took, what that pays an hour, and what the full round would cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.crowd import budget
from curate.crowd.prices import disagreement, fair_reward_usd, hourly_usd, tie_breaks
from curate.crowd.votes import PILOT
from schemas.interval import wilson
from schemas.question import CANNOT_SEE
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

PAIRS = 5  # confused pairs that are told


@dataclass(frozen=True)
class Agreement:
    """How far the pilot's workers agree, as the label stage measures it."""

    alpha: float  # Krippendorff's; NaN without pictures that two people answered
    pairs: list[tuple[str, str, int]]  # classes said of one picture, and of how many pictures


def of_pilot(votes: pd.DataFrame, hits: pd.DataFrame) -> pd.DataFrame:
    """The votes of the pilot's HITs, whether they are kept or not."""
    mine = set(hits.loc[hits["purpose"] == PILOT, "hit_id"])
    return votes[votes["hit_id"].isin(mine) | (votes["dropped"] == PILOT)]


def kept(votes: pd.DataFrame, hit_ids: set[str]) -> pd.DataFrame:
    """The votes with those of these HITs no longer dropped as a pilot's."""
    free = votes["hit_id"].isin(hit_ids) & (votes["dropped"] == PILOT)
    return votes.assign(dropped=votes["dropped"].mask(free, None))


def report(votes: pd.DataFrame, task: Task, gold: pd.DataFrame, agreed: Agreement, pictures_left: int) -> list[str]:
    """The pilot in a few lines.

    Args:
        votes: of the pilot.
        agreed: measured by the label stage on the same votes.
        pictures_left: pictures that a full round would ask about.
    """
    asked = votes.loc[votes["dropped"] != "gold", "image_id"].nunique()
    unseen = int((votes["answer"] == CANNOT_SEE).sum())
    who = "simulated workers" if set(votes["source"]) == {"simulated"} else "workers"
    return [
        f"pilot of task {task.task}: {len(votes)} answers of {votes['worker_id'].nunique()} {who} on {asked} pictures",
        *_agreement(votes, task, agreed),
        *_gold(votes, gold),
        *_pay(votes, task),
        f"  cannot see    {unseen} of {len(votes)} answers ({unseen / len(votes):.1%})",
        *_round(votes, task, pictures_left),
    ]


def _agreement(votes: pd.DataFrame, task: Task, agreed: Agreement) -> list[str]:
    open_ = disagreement(votes, task)
    said = "too few pictures to say" if math.isnan(agreed.alpha) else f"alpha {agreed.alpha:.2f}"
    rest = (
        f"; {open_.value:.0%} of {open_.n} pictures stay open after {task.crowd.assignments.first} answers"
        if open_.n
        else ""
    )
    lines = [f"  agreement     {said}{rest}"]
    if agreed.pairs:
        pairs = ", ".join(f"{a} and {b} ({n} pictures)" for a, b, n in agreed.pairs[:PAIRS])
        lines.append(f"  confused      {pairs}")
    return lines


def _gold(votes: pd.DataFrame, gold: pd.DataFrame) -> list[str]:
    answer = dict(zip(gold["image_id"], gold["label"], strict=True))
    known = votes[(votes["dropped"] == "gold") & votes["image_id"].isin(answer)]
    if known.empty:
        return ["  gold          no hidden gold was answered; `curate gold import` adds some"]
    right, n = int((known["label"] == known["image_id"].map(answer)).sum()), len(known)
    low, high = wilson(right, n)
    return [f"  gold          {right} of {n} right ({right / n:.0%}; 95 % interval {low:.0%} to {high:.0%})"]


def _pay(votes: pd.DataFrame, task: Task) -> list[str]:
    times = votes["seconds"].dropna()
    if times.empty:
        return ["  time          not told by the pages of this crowd"]
    median = float(times.median())
    paid, fair = hourly_usd(task, median), fair_reward_usd(task, median)
    least, now = task.crowd.min_hourly_usd, task.crowd.reward_usd
    enough = "enough" if paid >= least else "too little: raise crowd.reward_usd"
    return [
        f"  time          {median:.1f} s a picture (median of {len(times)})",
        f"  pay           ${paid:.2f} an hour at ${now:.2f} a HIT of {task.crowd.pictures_per_hit}; "
        f"${least:.2f} an hour needs ${max(fair, 0.01):.2f}: {enough}",
    ]


def _round(votes: pd.DataFrame, task: Task, pictures: int) -> list[str]:
    if not pictures:
        return ["  full round    no more pictures can be asked about"]
    per_hit = max(1.0, task.crowd.pictures_per_hit * (1 - task.crowd.gold_share))
    first = task.crowd.assignments.first * math.ceil(pictures / per_hit - 1e-9) * budget.price(task).total
    more = tie_breaks(task, pictures, disagreement(votes, task).value)
    ties = f" ({budget.dollars(more)} of it for expected tie-breaks)" if more else ""
    return [f"  full round    {budget.dollars(first + more)} for {pictures} pictures{ties}, fees included"]
