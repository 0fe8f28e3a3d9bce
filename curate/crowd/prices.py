"""What a round will probably cost and pay: from what was measured so far, else from an assumption that is said."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.crowd import budget
from curate.crowd.adaptive import undecided
from curate.crowd.rounds import Plan
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

ASSUMED = 0.25  # share of pictures on which the first answers make no label, before anything was measured
LEAST = 30  # pictures, or votes with a time, below which a measurement is not trusted
HELD_AWAY = ("pilot",)  # reasons not to count that say nothing against a vote as a measurement


@dataclass(frozen=True)
class Measured:
    """A share or a time, and from how much it comes; n = 0 is an assumption."""

    value: float
    n: int


def disagreement(votes: pd.DataFrame, task: Task) -> Measured:
    """The share of pictures on which the first answers of the task's policy make no label."""
    first = task.crowd.assignments.first
    fine = votes[(votes["dropped"].isna() | votes["dropped"].isin(HELD_AWAY)) & votes["label"].isin(task.keys)]
    said: dict[str, list[str]] = {}
    for image_id, label in zip(fine["image_id"], fine["label"], strict=True):  # votes stand in the order they came
        said.setdefault(image_id, []).append(label)
    firsts = [Counter(labels[:first]) for labels in said.values() if len(labels) >= first]
    if len(firsts) < LEAST:
        return Measured(ASSUMED, 0)
    return Measured(sum(undecided(counts, task.crowd.agree) for counts in firsts) / len(firsts), len(firsts))


def seconds(votes: pd.DataFrame, task: Task) -> Measured:
    """Seconds that people take for a picture, the median; simulated workers do not count."""
    times = votes.loc[votes["seconds"].notna() & (votes["source"] == "crowd"), "seconds"]
    return (
        Measured(float(times.median()), len(times))
        if len(times) >= LEAST
        else Measured(task.crowd.seconds_per_picture, 0)
    )


def hourly_usd(task: Task, seconds_per_picture: float) -> float:
    """What the reward pays an hour, with HITs of pictures_per_hit."""
    return task.crowd.reward_usd * 3600 / max(seconds_per_picture * task.crowd.pictures_per_hit, 1e-9)


def fair_reward_usd(task: Task, seconds_per_picture: float) -> float:
    """The smallest reward in whole cents that pays min_hourly_usd."""
    cents = 100 * task.crowd.min_hourly_usd * seconds_per_picture * task.crowd.pictures_per_hit / 3600
    return math.ceil(cents - 1e-9) / 100


def tie_breaks(task: Task, pictures: int, share: float) -> int:
    """What further answers cost for `pictures` first asked by the policy, where each answer leaves this share open."""
    policy, total = task.crowd.assignments, 0
    per_hit = max(1.0, task.crowd.pictures_per_hit * (1 - task.crowd.gold_share))
    open_ = float(pictures)
    for _ in range(policy.up_to - policy.first):
        open_ *= share
        total += math.ceil(open_ / per_hit - 1e-9) * budget.price(task).total
    return total


def lines(planned: Plan, task: Task, votes: pd.DataFrame) -> list[str]:
    """What a person should know of a plan's money besides its maximum: tie-breaks to come, and pay an hour."""
    told = []
    policy = task.crowd.assignments
    if planned.new and policy.up_to > policy.first and planned.purpose == "label":
        found = disagreement(votes, task)
        why = f"measured on {found.n} pictures" if found.n else "assumed, nothing is measured yet"
        expected = planned.cost + tie_breaks(task, planned.pictures, found.value)
        most = planned.cost + tie_breaks(task, planned.pictures, 1.0)
        told.append(
            f"with tie-breaks {budget.dollars(expected)} expected ({found.value:.0%} of pictures stay open after "
            f"{policy.first} answers, {why}), {budget.dollars(most)} at most"
        )
        if expected > planned.left:
            told.append(f"the budget has {budget.dollars(planned.left)} left: too little for the expected tie-breaks")
    time = seconds(votes, task)
    paid = hourly_usd(task, time.value)
    if planned.new and paid < task.crowd.min_hourly_usd:
        why = f"median of {time.n} answers" if time.n else "crowd.seconds_per_picture, nothing is measured yet"
        told.append(
            f"WARNING: this pays ${paid:.2f} an hour at {time.value:.1f} s a picture ({why}), under crowd.min_hourly_usd "
            f"${task.crowd.min_hourly_usd:.2f}; ${fair_reward_usd(task, time.value):.2f} a HIT would pay it"
        )
    return told
