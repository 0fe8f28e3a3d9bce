"""A round of asking, planned: which pictures, in which HITs, for how much. `making.py` makes them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from curate.crowd import budget, journal
from curate.crowd.journal import Asked, Entry
from curate.crowd.question import task_page
from schemas.errors import UserError
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

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
    selection: str | None = None  # hash of the selection that is asked; None = a random sample
    kept_out: int = 0  # workers who may not take some of the new HITs
    alone: int = 0  # new HITs for which too few other workers are known
    gold_short: int = 0  # hidden gold pictures that are missing, for each HIT to have its share
    purpose: str = "label"

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

    def done(self, task: str) -> str:
        """Why there is nothing to make."""
        if self.purpose == "tie-break":
            return f"no picture of task {task} lacks an answer that is not on its way"
        if self.purpose == "again":
            return f"{self.asked} labeled pictures of task {task} have been asked about again"
        if self.selection is None:
            return f"{self.asked} random pictures of task {task} have been asked about"
        return f"the {self.asked} pictures of this selection have been asked about"

    def lines(self) -> list[str]:
        """The plan as a person reads it before it costs anything."""
        told = []
        if self.waiting:
            told.append(
                f"{len(self.waiting)} HITs were written down by a run that was stopped; they are made first, already paid for"
            )
        if self.new:
            per_assignment = f"{budget.dollars(self.price.reward)} reward and {budget.dollars(self.price.fee)} fee each"
            before = self._reasons()
            if self.selection is None and self.purpose in ("label", "pilot"):
                before = f" ({self.asked} of {self.wanted} asked before)"
            told += [
                f"{self.pictures} pictures{before} and {self.gold} hidden gold in {len(self.new)} HITs",
                f"{self._workers()} each: {self.assignments} assignments, {self.answers} answers",
                f"{budget.dollars(self.cost)} at most ({per_assignment}); the budget has {budget.dollars(self.left)} left",
            ]
        if self.gold_short:
            told.append(
                f"{self.gold_short} more hidden gold pictures are needed (`curate gold import`): some HITs have fewer than "
                "crowd.gold_share, since one picture stands in crowd.gold_exposure HITs at most"
            )
        if self.kept_out:
            told.append(f"{self.kept_out} workers answered some of these pictures before; they do not see those HITs")
        if self.alone:
            told.append(f"{self.alone} HITs need more workers than are known who have not answered: invite more")
        missing = self.wanted - self.asked - self.pictures
        if missing > 0 and self.selection is None and self.purpose != "tie-break":
            told.append(f"{missing} fewer than wanted: no more pictures of this workspace can be asked about")
        return told

    def _reasons(self) -> str:
        """Why the pictures were chosen, most frequent first."""
        counts = Counter(a.chosen_by for entry in self.new for a in entry.images if a.chosen_by != "gold")
        return " (" + ", ".join(f"{n} {why}" for why, n in sorted(counts.items(), key=lambda c: (-c[1], c[0]))) + ")"

    def _workers(self) -> str:
        wanted = sorted({entry.max_assignments for entry in self.new})
        if wanted[-1] == 1:
            return "1 worker"
        return f"{wanted[0]} workers" if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]} workers"


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
    pictures: Sequence[str],
    hidden: Sequence[str],
    per_hit: int,
    gold_share: float,
    seed: int,
    first: int = 0,
    chosen_by: Mapping[str, str] | None = None,
    shown: Counter[str] | None = None,
    most: int | None = None,
) -> list[list[Asked]]:
    """The pictures in groups of `per_hit`, hidden gold among them, each group in a random order.

    Where the share gives no whole number, gold falls on every second or third HIT. `first` is the number of HITs made before.
    The gold that stood in the fewest HITs goes first (`shown` counts them, those made here are added), and none stands in
    more than `most`: where all have, HITs go without. Pictures without a reason in `chosen_by` are random.
    """
    reasons = chosen_by or {}
    rate = per_hit * gold_share
    times = Counter() if shown is None else shown
    turn = {image_id: _draw(seed, "gold", image_id) for image_id in hidden}
    ring = [(times[i], turn[i], i) for i in hidden if most is None or times[i] < most]
    heapify(ring)
    waiting = list(pictures)
    made: list[list[Asked]] = []
    while waiting:
        number = first + len(made)
        start, end = int(number * rate + 1e-9), int((number + 1) * rate + 1e-9)
        count = min(end - start, len(ring), per_hit - 1)
        golds = [heappop(ring)[2] for _ in range(count)]
        times.update(golds)
        for image_id in golds:
            if most is None or times[image_id] < most:
                heappush(ring, (times[image_id], turn[image_id], image_id))
        fresh, waiting = waiting[: per_hit - count], waiting[per_hit - count :]
        group = [Asked(i, reasons.get(i, "random")) for i in fresh] + [Asked(i, "gold") for i in golds]
        made.append(sorted(group, key=lambda asked: _draw(seed, str(number), asked.image_id)))
    return made


def token(project_name: str, task: Task, round_number: int | str, image_ids: Iterable[str]) -> str:
    """The name of a HIT, the same however often it is planned: 64 hex characters, MTurk's limit for a UniqueRequestToken.

    A HIT of a selection is named by the selection in place of the round, which rises with every round that is made.
    """
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
    purpose: str = "label",
) -> Plan:
    """What to ask so that `wanted` random pictures of the task have been asked in all; touches nothing.

    Pictures are never asked twice: not one whose cluster was asked before, is labeled already, or is gold. A pilot asks
    `wanted` pictures for itself; since its votes do not count, its pictures are free for the round that counts.
    """
    if wanted < 1:
        raise UserError(f"--images must be at least 1, got {wanted}")
    before = journal.entries(project, task.task)
    mine = gold[gold["task"] == task.task]
    labeled = labels.loc[(labels["task"] == task.task) & labels["label"].notna(), "image_id"]
    counted = [entry for entry in before if purpose == "pilot" or entry.purpose != "pilot"]
    free = candidates(pictures, clusters, journal.asked(counted) | set(mine["image_id"]) | set(labeled))
    own = [entry for entry in before if (entry.purpose == "pilot") == (purpose == "pilot")]
    done = len(journal.asked(own, "random"))
    hidden = usable_gold(pictures, gold, task.task, clusters)
    crowd, price = task.crowd, budget.price(task)
    shown = exposures(before)
    groups = batches(
        sample(free, max(0, wanted - done), seed), hidden, crowd.pictures_per_hit, crowd.gold_share, seed, len(before),
        shown=shown, most=crowd.gold_exposure,
    )  # fmt: skip
    key = FIRST if purpose == "label" else purpose
    new = [
        entry_of(task, name, key, endpoint, group, round_number=FIRST, purpose=purpose, before=before)
        for group in groups
    ]
    waiting = [entry for entry in before if entry.state == "pending" and entry.endpoint == endpoint and not entry.ended]
    made = Plan(new, waiting, price, budget.left(project, task), done, wanted, len(free))
    return replace(made, gold_short=gold_short(new, len(before), task), purpose=purpose)


def entry_of(
    task: Task,
    name: str,
    key: int | str,
    endpoint: str,
    group: Sequence[Asked],
    *,
    round_number: int,
    purpose: str = "label",
    assignments: int | None = None,
    before: Iterable[Entry] = (),
    **facts: Any,
) -> Entry:
    """A HIT to write down. `key` names its round; a batch that was refused before gets a new name."""
    refused = {entry.token for entry in before if entry.ended == "refused"}
    ids = [asked.image_id for asked in group]
    named, tries = token(name, task, key, ids), 1
    while named in refused:
        tries += 1
        named = token(name, task, f"{key} try {tries}", ids)
    return Entry(
        token=named,
        task=task.task,
        round=round_number,
        endpoint=endpoint,
        state="pending",
        images=tuple(group),
        reward_cents=budget.price(task).reward // budget.CENT,
        max_assignments=assignments or task.crowd.assignments.first,
        question_version=task.question_version,
        taxonomy_version=task.taxonomy_version,
        purpose=purpose,
        **facts,
    )


def exposures(entries: Iterable[Entry]) -> Counter[str]:
    """In how many HITs each gold picture stands by now, over all rounds."""
    return Counter(
        a.image_id for entry in entries if entry.ended != "refused" for a in entry.images if a.chosen_by == "gold"
    )


def gold_short(new: Sequence[Entry], first: int, task: Task) -> int:
    """How many more hidden gold pictures these HITs needed, so that each has its share and none is shown too often."""
    rate = task.crowd.pictures_per_hit * task.crowd.gold_share
    wanted = int((first + len(new)) * rate + 1e-9) - int(first * rate + 1e-9)
    there = sum(a.chosen_by == "gold" for entry in new for a in entry.images)
    return -(-max(0, wanted - there) // task.crowd.gold_exposure)


@dataclass(frozen=True)
class Group:
    """Selected pictures that one HIT may hold: so many workers each, none of whom answered one of them before."""

    assignments: int
    image_ids: list[str]
    kept_out: frozenset[str]


def grouped(rows: Iterable[tuple[str, int]], answered: Mapping[str, frozenset[str]], crowd: int) -> list[Group]:
    """The pictures (image_id, assignments) in groups, each picture with the first group that suits it, in order.

    A group has one number of assignments, and keeps out everybody who answered one of its pictures before: a second answer
    of the same worker would count for nothing. So many workers of `crowd` are left that each HIT can be filled, where that is
    possible at all.
    """
    found: list[Group] = []
    for image_id, assignments in rows:
        earlier = answered.get(image_id, frozenset())
        for place, group in enumerate(found):
            together = group.kept_out | earlier
            fits = len(together) == len(group.kept_out) or len(together) <= crowd - assignments
            if group.assignments == assignments and fits:
                group.image_ids.append(image_id)
                found[place] = Group(assignments, group.image_ids, together)
                break
        else:
            found.append(Group(assignments, [image_id], earlier))
    return found


def selected_batches(
    selection: pd.DataFrame,
    task: Task,
    hidden: Sequence[str],
    answered: Mapping[str, frozenset[str]],
    crowd: int,
    seed: int,
    first: int,
    shown: Counter[str] | None = None,
) -> list[tuple[Group, list[Asked]]]:
    """The HITs that ask a selection: those with its first pictures come first. `first` is the number of HITs made before.

    `shown` counts in how many HITs each gold picture stands; without it gold is shown as often as it takes.
    """
    reasons = dict(zip(selection["image_id"], selection["chosen_by"], strict=True))
    rank = {image_id: place for place, image_id in enumerate(selection["image_id"])}
    rows = zip(selection["image_id"].tolist(), selection["assignments"].astype(int).tolist(), strict=True)
    made: list[tuple[Group, list[Asked]]] = []
    per_hit, share = task.crowd.pictures_per_hit, task.crowd.gold_share
    most = None if shown is None else task.crowd.gold_exposure
    for group in grouped(rows, answered, crowd):
        batch = batches(group.image_ids, hidden, per_hit, share, seed, first + len(made), reasons, shown, most)
        made += [(group, asked) for asked in batch]
    return sorted(made, key=lambda hit: min(rank[a.image_id] for a in hit[1] if a.chosen_by != "gold"))


def cost(
    selection: pd.DataFrame, task: Task, hidden: int, answered: Mapping[str, frozenset[str]], crowd: int, first: int
) -> int:
    """What asking these rows (image_id, assignments) costs at most, hidden gold and fees included, in millionths."""
    golds = [f"gold {number}" for number in range(hidden)]
    made = selected_batches(selection.assign(chosen_by="any"), task, golds, answered, crowd, 0, first)
    return sum(group.assignments for group, _ in made) * budget.price(task).total


def usable_gold(pictures: pd.DataFrame, gold: pd.DataFrame, task: str, clusters: pd.DataFrame) -> list[str]:
    """Gold that can be hidden among the questions of a task: no near twin of a picture that a worker learns the answer of."""
    from curate.crowd.gold import apart

    kept = set(pictures.loc[pictures["dropped"].isna(), "image_id"])
    return [i for i in apart(gold[gold["task"] == task], clusters)["hidden"] if i in kept]


def answered_before(votes: pd.DataFrame, endpoint: str) -> dict[str, frozenset[str]]:
    """Who answered each picture at this endpoint, whether the answer counted or not."""
    mine = votes.loc[(votes["endpoint"] == endpoint) & votes["answer"].notna(), ["image_id", "worker_id"]]
    found: dict[str, set[str]] = {}
    for image_id, worker_id in zip(mine["image_id"].tolist(), mine["worker_id"].tolist(), strict=True):
        found.setdefault(image_id, set()).add(worker_id)
    return {image_id: frozenset(workers) for image_id, workers in found.items()}


def last_of(before: Sequence[Entry]) -> int:
    """The round of the newest HITs; 0 before the first."""
    return max((entry.round for entry in before), default=0)


def selection_id(selection: pd.DataFrame) -> str:
    """Hash of what a selection asks: pictures in order, reasons, numbers of answers."""
    rows = selection.sort_values("rank")[["image_id", "chosen_by", "assignments"]].values.tolist()
    return hashlib.sha256(json.dumps([[str(i), str(why), int(n)] for i, why, n in rows]).encode()).hexdigest()


def plan_selection(
    project: sqlite3.Connection,
    task: Task,
    *,
    name: str,
    endpoint: str,
    selection: pd.DataFrame,
    where: str,
    seed: int,
    pictures: pd.DataFrame,
    clusters: pd.DataFrame,
    gold: pd.DataFrame,
    answered: Mapping[str, frozenset[str]],
    crowd: int,
    last_round: int | None = None,
) -> Plan:
    """What to make so that exactly the pictures of a selection are asked as the next round; touches nothing.

    A selection is asked once: when HITs of it were written down before, nothing new is planned. Whoever answered a picture
    before is kept out of its new HIT.

    Args:
        selection: SELECTION rows; `rank` is the order.
        where: the file it came from, for messages.
        answered: who answered each picture before, at this endpoint.
        crowd: how many workers are known there.
        last_round: of the task when the selection was made; what was asked later is not asked again.
    Raises UserError for a selection of another task, and for pictures that cannot be asked (any more).
    """
    before = journal.entries(project, task.task)
    identity = selection_id(selection)
    waiting = [entry for entry in before if entry.state == "pending" and entry.endpoint == endpoint and not entry.ended]
    price, left = budget.price(task), budget.left(project, task)
    done = [entry for entry in before if entry.selection == identity and entry.ended != "refused"]
    if done:
        return Plan([], waiting, price, left, len(journal.asked(done)), len(selection), 0, identity)
    mine = gold[gold["task"] == task.task]
    later = [entry for entry in before if last_round is not None and entry.round > last_round]
    _check_selection(selection, where, task, pictures, clusters, set(mine["image_id"]), before, journal.asked(later))
    hidden = usable_gold(pictures, gold, task.task, clusters)
    made = selected_batches(
        selection.sort_values("rank"), task, hidden, answered, crowd, seed, len(before), exposures(before)
    )
    number = last_of(before) + 1
    new = [
        entry_of(
            task, name, identity, endpoint, batch, round_number=number, assignments=group.assignments, before=before,
            selection=identity, kept_out=tuple(sorted(group.kept_out)),
        )
        for group, batch in made
    ]  # fmt: skip
    out = {worker for entry in new for worker in entry.kept_out}
    alone = sum(bool(entry.kept_out) and crowd - len(entry.kept_out) < entry.max_assignments for entry in new)
    short = gold_short(new, len(before), task)
    return Plan(new, waiting, price, left, 0, len(selection), len(selection), identity, len(out), alone, short)


def _check_selection(
    selection: pd.DataFrame,
    where: str,
    task: Task,
    pictures: pd.DataFrame,
    clusters: pd.DataFrame,
    gold: Collection[str],
    before: Sequence[Entry],
    later: Collection[str],
) -> None:
    """Raise UserError for the first picture that cannot be asked, and say how many there are."""
    if selection.empty:
        raise UserError(f"{where}: is empty; make it with `curate select`")
    others = sorted(set(selection["task"]) - {task.task})
    if others:
        raise UserError(f"{where}: is a selection of task {', '.join(others)}, not {task.task}")
    wrong = selection[(selection["assignments"] < 1) | (selection["assignments"] > 9)]
    if len(wrong):
        raise UserError(f"{where}: assignments must be 1 to 9, got {wrong['assignments'].iloc[0]}")
    known = dict(zip(pictures["image_id"], pictures["dropped"], strict=True))
    cluster = dict(zip(clusters["image_id"], clusters["cluster_id"], strict=True))
    asked = journal.asked(before)
    taken = {cluster.get(image_id, image_id) for image_id in asked}
    faults = []
    for image_id, why in zip(selection["image_id"], selection["chosen_by"], strict=True):
        again = why in ("disputed", "recheck")
        if image_id not in known:
            faults.append(f"{image_id} is no picture of this workspace")
        elif isinstance(known[image_id], str):
            faults.append(f"{image_id} is dropped ({known[image_id]})")
        elif image_id in gold or why == "gold":
            faults.append(f"{image_id} is gold")
        elif not again and cluster.get(image_id, image_id) in taken:
            faults.append(f"{image_id}, or a twin of it, has been asked about since")
        elif again and image_id in later:
            faults.append(f"{image_id} has been asked again since")
    if faults:
        raise UserError(
            f"{where}: {len(faults)} of {len(selection)} pictures cannot be asked about: {faults[0]}. Run `curate select` again"
        )
