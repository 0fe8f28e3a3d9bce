"""A round of asking: which pictures, in which HITs, for how much; then making those HITs, each exactly once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.crowd import budget, journal
from curate.crowd.crash import crash_point
from curate.crowd.journal import Asked, Entry
from curate.crowd.question import html_question, task_page
from curate.database import transaction
from schemas.errors import UserError
from schemas.question import say
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.requester import Requester

FIRST = 1  # the round of a picture's first asking


@dataclass(frozen=True)
class Plan:
    """What `curate hits create` is about to do."""

    new: list[Entry]  # HITs to write down and make
    waiting: list[Entry]  # written down by a run that was stopped, still to be made
    price: budget.Price
    left: int  # of the budget before this round, in millionths of a dollar
    asked: int  # random pictures asked before
    wanted: int  # random pictures that shall be asked in all
    candidates: int  # pictures that could still be asked

    @property
    def pictures(self) -> int:
        """New pictures in the new HITs."""
        return len(journal.asked(self.new))

    @property
    def gold(self) -> int:
        """Hidden gold in the new HITs."""
        return sum(asked.chosen_by == "gold" for entry in self.new for asked in entry.images)

    @property
    def assignments(self) -> int:
        """Answers that the new HITs ask for."""
        return sum(entry.max_assignments for entry in self.new)

    @property
    def answers(self) -> int:
        """Votes on single pictures that the new HITs ask for."""
        return sum(entry.max_assignments * len(entry.images) for entry in self.new)

    @property
    def cost(self) -> int:
        """What the new HITs cost at most, in millionths of a dollar."""
        return self.assignments * self.price.total

    @property
    def nothing(self) -> bool:
        """True when there is nothing to make."""
        return not self.new and not self.waiting

    def lines(self) -> list[str]:
        """The plan as a person reads it before it costs anything."""
        told = []
        if self.waiting:
            told.append(
                f"{len(self.waiting)} HITs were written down by a run that was stopped; they are made first, already paid for"
            )
        if self.new:
            per_assignment = f"{budget.dollars(self.price.reward)} reward and {budget.dollars(self.price.fee)} fee each"
            told += [
                f"{self.pictures} pictures ({self.asked} of {self.wanted} asked before) and {self.gold} hidden gold in {len(self.new)} HITs",
                f"{self.new[0].max_assignments} workers each: {self.assignments} assignments, {self.answers} answers",
                f"{budget.dollars(self.cost)} at most ({per_assignment}); the budget has {budget.dollars(self.left)} left",
            ]
        missing = self.wanted - self.asked - self.pictures
        if missing > 0:
            told.append(f"{missing} fewer than wanted: no more pictures of this workspace can be asked about")
        return told


def candidates(pictures: pd.DataFrame, clusters: pd.DataFrame, taken: Iterable[str]) -> list[str]:
    """Pictures that may be asked about: the representative of each cluster that is not dropped and has no member in `taken`."""
    kept = set(pictures.loc[pictures["dropped"].isna(), "image_id"])
    taken_clusters = set(clusters.loc[clusters["image_id"].isin(set(taken)), "cluster_id"])
    mine = clusters[clusters["representative"] & clusters["image_id"].isin(kept)]
    return sorted(mine.loc[~mine["cluster_id"].isin(taken_clusters), "image_id"])


def sample(image_ids: Iterable[str], count: int, seed: int) -> list[str]:
    """A random sample that depends on nothing but the pictures and the seed; a larger one begins with the smaller one."""
    return sorted(image_ids, key=lambda image_id: _draw(seed, "sample", image_id))[:count]


def batches(
    pictures: Sequence[str], hidden: Sequence[str], per_hit: int, gold_share: float, seed: int, first: int = 0
) -> list[list[Asked]]:
    """The pictures in groups of `per_hit`, hidden gold among them, each group in a random order.

    Where the share gives no whole number, gold falls on every second or third HIT. `first` is the number of HITs made before:
    gold goes on where they stopped, so that every gold picture is shown about equally often.
    """
    rate = per_hit * gold_share
    ring = sorted(hidden, key=lambda image_id: _draw(seed, "gold", image_id))
    waiting = list(pictures)
    made: list[list[Asked]] = []
    while waiting:
        number = first + len(made)
        start, end = int(number * rate + 1e-9), int((number + 1) * rate + 1e-9)
        count = min(end - start, len(ring), per_hit - 1)
        golds = [ring[(start + turn) % len(ring)] for turn in range(count)]
        fresh, waiting = waiting[: per_hit - count], waiting[per_hit - count :]
        group = [Asked(i, "random") for i in fresh] + [Asked(i, "gold") for i in golds]
        made.append(sorted(group, key=lambda asked: _draw(seed, str(number), asked.image_id)))
    return made


def token(project_name: str, task: Task, round_number: int, image_ids: Iterable[str]) -> str:
    """The name of a HIT, the same however often it is planned: 64 hex characters, MTurk's limit for a UniqueRequestToken."""
    question = task_page(task, [], "").model_dump_json()
    content = [project_name, task.task, round_number, sorted(image_ids), hashlib.sha256(question.encode()).hexdigest()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _draw(seed: int, purpose: str, image_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{purpose}:{image_id}".encode()).digest()


def plan(
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
) -> Plan:
    """What to ask so that `wanted` random pictures of the task have been asked in all; touches nothing.

    Pictures are never asked twice: not one whose cluster was asked before, is labeled already, or is gold.
    """
    if wanted < 1:
        raise UserError(f"--images must be at least 1, got {wanted}")
    before = journal.entries(project, task.task)
    mine = gold[gold["task"] == task.task]
    labeled = labels.loc[(labels["task"] == task.task) & labels["label"].notna(), "image_id"]
    free = candidates(pictures, clusters, journal.asked(before) | set(mine["image_id"]) | set(labeled))
    done = len(journal.asked(before, "random"))
    usable = set(pictures.loc[pictures["dropped"].isna(), "image_id"])
    hidden = [i for i in mine.loc[mine["use"] == "hidden", "image_id"] if i in usable]
    crowd, price = task.crowd, budget.price(task)
    groups = batches(
        sample(free, max(0, wanted - done), seed), hidden, crowd.pictures_per_hit, crowd.gold_share, seed, len(before)
    )
    new = [
        Entry(
            token=token(name, task, FIRST, (asked.image_id for asked in group)),
            task=task.task,
            round=FIRST,
            endpoint=endpoint,
            state="pending",
            images=tuple(group),
            reward_cents=price.reward // budget.CENT,
            max_assignments=crowd.assignments.first,
            question_version=task.question_version,
            taxonomy_version=task.taxonomy_version,
        )
        for group in groups
    ]
    waiting = [entry for entry in before if entry.state == "pending" and entry.endpoint == endpoint]
    return Plan(new, waiting, price, budget.left(project, task), done, wanted, len(free))


def create(
    project: sqlite3.Connection,
    requester: Requester,
    task: Task,
    planned: Plan,
    pictures_url: str,
    requirements: list[dict[str, object]],
    step: Callable[[int], object] = lambda _: None,
) -> int:
    """Make the planned HITs and those that wait; returns how many were made. Killed at any point, run again, it asks nothing twice.

    Everything is written down first, together with the money it may cost. Then each HIT is made under its own token, and
    noted. What waits from an earlier run is looked for at the endpoint first, because a token is remembered for a day only.
    """
    todo = (*planned.waiting, *planned.new)
    for entry in todo:  # before anything is written: a question that is too large, a crowd that is not there
        html_question(task_page(task, entry.image_ids, pictures_url))
    types = {cents: _hit_type(requester, task, cents, requirements) for cents in {entry.reward_cents for entry in todo}}
    balance = round(requester.balance_usd() * budget.MICRO)
    if planned.cost > balance:
        raise UserError(
            f"{requester.endpoint}: this costs {budget.dollars(planned.cost)}, the account there holds {budget.dollars(balance)}"
        )
    crash_point("before-journal")
    with transaction(project):
        budget.reserve(project, task, [(e.token, e.max_assignments * planned.price.total) for e in planned.new])
        journal.write_down(project, planned.new)
    crash_point("after-journal")
    there = requester.hits_by_annotation() if planned.waiting else {}
    for entry in todo:
        crash_point("before-call")
        hit_id = there.get(entry.token) or requester.create_hit(
            entry.token,
            types[entry.reward_cents],
            html_question(task_page(task, entry.image_ids, pictures_url)),
            entry.max_assignments,
            round(task.crowd.lifetime_days * 86400),
        )
        crash_point("after-call")
        with transaction(project):
            journal.made(project, entry.token, hit_id, types[entry.reward_cents])
        crash_point("after-made")
        step(1)
    return len(todo)


def _hit_type(requester: Requester, task: Task, reward_cents: int, requirements: list[dict[str, object]]) -> str:
    """The HIT type of this task at this reward, asked for once."""
    question, instructions = say(task.question, "en"), say(task.instructions, "en")
    return requester.hit_type(
        Title=question[:128],
        Description=(instructions or question)[:2000],
        Keywords=f"pictures, label, {task.task}",
        Reward=f"{reward_cents / 100:.2f}",
        AssignmentDurationInSeconds=task.crowd.minutes * 60,
        AutoApprovalDelayInSeconds=round(task.crowd.auto_approve_days * 86400),
        QualificationRequirements=requirements,
    )
