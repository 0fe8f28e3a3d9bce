"""Votes only where they are needed: which pictures lack an answer after the first ones, and the HITs that ask for it."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from curate.crowd import budget, journal
from curate.crowd.journal import Entry
from curate.crowd.rounds import Plan, candidates, entry_of, exposures, gold_short, last_of, sample, selected_batches
from curate.crowd.rounds import usable_gold as hidden_gold
from schemas.errors import UserError
from schemas.tables import SELECTION
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

UNSEEN = "cannot see the picture"
MOST = 9  # answers of a picture: a HIT of fewer than 10 is what the task file allows


@dataclass(frozen=True)
class Crowd:
    """Who is known at an endpoint, as far as asking a picture again needs it."""

    answered: Mapping[str, frozenset[str]]  # who answered each picture, whether it counted or not
    excluded: frozenset[str]  # whose answers do not count
    size: int  # workers who may take HITs


def needed(counts: Mapping[str, int], first: int, up_to: int, agree: int) -> int:
    """How many more answers a picture with these counts of its classes needs; 0 where it has its label or can get none.

    First the `first` answers that everybody gets. Then as few as could make a label: `agree` equal ones, more than half.
    """
    votes, top = sum(counts.values()), max(counts.values(), default=0)
    short = max(0, first - votes)
    for more in range(short, up_to - votes + 1):
        if top + more >= agree and 2 * (top + more) > votes + more:
            return more
    return short


def undecided(counts: Mapping[str, int], agree: int) -> bool:
    """Whether these votes make no label."""
    votes, top = sum(counts.values()), max(counts.values(), default=0)
    return top < agree or 2 * top <= votes


def lacking(
    entries: Sequence[Entry], votes: pd.DataFrame, task: Task, up_to: int, excluded: Collection[str] = ()
) -> list[tuple[str, str, int]]:
    """Pictures that lack answers which are not on their way: (image_id, why it was chosen, answers), in the order asked.

    A HIT that is open may still bring its answers, so its pictures wait; nothing is asked twice. Answers of rejected
    assignments and excluded workers do not count. Two people who cannot see a picture end it.
    """
    counting = votes[(votes["assignment_status"] != "Rejected") & ~votes["worker_id"].isin(set(excluded))]
    seen = counting[counting["dropped"].isna() & counting["label"].isin(task.keys)]
    counts: dict[str, Counter[str]] = {}
    for image_id, label in zip(seen["image_id"], seen["label"], strict=True):
        counts.setdefault(image_id, Counter())[label] += 1
    blind = Counter(counting.loc[counting["dropped"] == UNSEEN, "image_id"])
    waiting = _on_their_way(entries, votes)
    found = []
    for image_id, reason in _asked(entries).items():
        if waiting[image_id] or blind[image_id] >= 2:
            continue
        more = needed(counts.get(image_id, Counter()), task.crowd.assignments.first, up_to, task.crowd.agree)
        if more:
            found.append((image_id, reason, more))
    return found


def _asked(entries: Iterable[Entry]) -> dict[str, str]:
    """The pictures whose votes count, in the order asked, with why each was chosen at first."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.purpose != "pilot" and entry.ended != "refused":
            for asked in entry.images:
                if asked.chosen_by != "gold":
                    found.setdefault(asked.image_id, asked.chosen_by)
    return found


def _on_their_way(entries: Iterable[Entry], votes: pd.DataFrame) -> Counter[str]:
    """Answers that open HITs may still bring, by picture. A HIT that was collected for good brings none."""
    come = votes.drop_duplicates("assignment_id")["hit_id"].value_counts().to_dict()
    found: Counter[str] = Counter()
    for entry in entries:
        if entry.purpose != "pilot" and entry.ended not in ("refused", "deleted") and entry.collected_at is None:
            for asked in entry.images:
                found[asked.image_id] += max(0, entry.max_assignments - come.get(entry.hit_id, 0))
    return found


def plan_lacking(
    project: sqlite3.Connection,
    task: Task,
    *,
    name: str,
    endpoint: str,
    seed: int,
    pictures: pd.DataFrame,
    clusters: pd.DataFrame,
    gold: pd.DataFrame,
    votes: pd.DataFrame,
    crowd: Crowd,
    up_to: int | None = None,
    beside: Sequence[Entry] = (),
) -> Plan:
    """HITs for what the policy of the task still lacks, batched from these pictures only; touches nothing.

    Whoever answered one of the pictures before is kept out, and so is everybody who was excluded. `up_to` allows more
    answers than the task file does, for this run. `beside` are HITs that the same run makes.
    """
    most = up_to or task.crowd.assignments.up_to
    if not task.crowd.assignments.first <= most <= MOST:
        raise UserError(
            f"--up-to must be from {task.crowd.assignments.first} (crowd.assignments.first) to {MOST}, got {up_to}"
        )
    before = journal.entries(project, task.task)
    mine = [entry for entry in before if entry.endpoint == endpoint]
    there = votes[votes["endpoint"] == endpoint]
    known = set(pictures.loc[pictures["dropped"].isna(), "image_id"]) - set(
        gold.loc[gold["task"] == task.task, "image_id"]
    )
    rows = [row for row in lacking(mine, there, task, most, crowd.excluded) if row[0] in known]
    hidden = hidden_gold(pictures, gold, task.task, clusters)
    made = _planned(project, task, name, endpoint, [*before, *beside], rows, hidden, crowd, seed, "tie-break")
    return replace(made, waiting=[]) if beside else made


def plan_again(
    project: sqlite3.Connection,
    task: Task,
    *,
    name: str,
    endpoint: str,
    wanted: int,
    seed: int,
    pictures: pd.DataFrame,
    clusters: pd.DataFrame,
    gold: pd.DataFrame,
    labels: pd.DataFrame,
    crowd: Crowd,
) -> Plan:
    """HITs that ask once more about `wanted` pictures in all whose cluster has its label; touches nothing."""
    if wanted < 1:
        raise UserError(f"--images must be at least 1, got {wanted}")
    before = journal.entries(project, task.task)
    done = journal.asked(before, "again")
    labeled = labels.loc[(labels["task"] == task.task) & labels["label"].notna(), "image_id"]
    cluster = dict(zip(clusters["image_id"], clusters["cluster_id"], strict=True))
    has = {cluster.get(image_id, image_id) for image_id in labeled}
    free = candidates(pictures, clusters, done | set(gold.loc[gold["task"] == task.task, "image_id"]))
    free = [image_id for image_id in free if cluster[image_id] in has]
    chosen = sample(free, max(0, wanted - len(done)), seed)
    rows = [(image_id, "again", task.crowd.assignments.first) for image_id in chosen]
    hidden = hidden_gold(pictures, gold, task.task, clusters)
    made = _planned(project, task, name, endpoint, before, rows, hidden, crowd, seed, "again")
    return replace(made, asked=len(done), wanted=wanted, candidates=len(free))


def _planned(
    project: sqlite3.Connection,
    task: Task,
    name: str,
    endpoint: str,
    before: Sequence[Entry],
    rows: Sequence[tuple[str, str, int]],
    hidden: Sequence[str],
    crowd: Crowd,
    seed: int,
    purpose: str,
) -> Plan:
    """The rows as HITs of a round of their own, earlier and excluded workers kept out."""
    chosen = SELECTION.frame(
        {"image_id": i, "task": task.task, "purpose": "label", "chosen_by": why, "assignments": more, "rank": rank}
        for rank, (i, why, more) in enumerate(rows)
    )
    out = {i: crowd.answered.get(i, frozenset()) | crowd.excluded for i, _, _ in rows}
    made = selected_batches(chosen, task, hidden, out, crowd.size, seed, len(before), exposures(before))
    number = last_of(before) + 1
    new = [
        entry_of(
            task, name, f"{purpose} {number}", endpoint, batch, round_number=number, assignments=group.assignments,
            purpose="tie-break" if purpose == "tie-break" else "label", before=before,
            kept_out=tuple(sorted(group.kept_out)),
        )
        for group, batch in made
    ]  # fmt: skip
    waiting = [entry for entry in before if entry.state == "pending" and entry.endpoint == endpoint and not entry.ended]
    away = {worker for entry in new for worker in entry.kept_out}
    alone = sum(bool(e.kept_out) and crowd.size - len(e.kept_out) < e.max_assignments for e in new)
    return Plan(
        new, waiting, budget.price(task), budget.left(project, task), 0, len(rows), len(rows),
        kept_out=len(away), alone=alone, gold_short=gold_short(new, len(before), task), purpose=purpose,
    )  # fmt: skip
