"""What can be asked next: every picture of a task with what has been asked and answered about it, and what makes a selection."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.tables import SELECTION

MOST = 9  # assignments of a HIT: MTurk's fee and its rules change at ten

Fits = Callable[[pd.DataFrame], bool]  # whether asking these rows (image_id, assignments) stays within the budget

NEW, DISPUTED, LABELED = "new", "disputed", "labeled"  # states that can be asked; any other text says why not
WAITING = "its answers are still to come"
UNSEEN = "cannot see the picture"  # as LABELS say it: two people said so
STALE = "answered since the last `curate aggregate`"


@dataclass(frozen=True)
class Rule:
    """What the task needs for a label: so many equal votes, of at least so many, and so many people at first."""

    classes: Sequence[str]
    agree: int = 2
    first: int = 3


@dataclass(frozen=True)
class Selected:
    """What to ask, in order, and what a person should know about it."""

    rows: pd.DataFrame  # SELECTION
    marketplace: pd.Series  # of each row
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Counts by reason, class and marketplace, then the notes."""
        recheck = (self.rows["purpose"] == "recheck").any()
        what = "label" if recheck or self.rows["predicted"].isna().all() else "predicted"
        told = [
            f"{len(self.rows):,} picture{'s' * (len(self.rows) > 1)}, {int(self.rows['assignments'].sum()):,} answers: {counted(self.rows['chosen_by'])}"
        ]
        if self.rows[what].notna().any():
            told.append(f"  by {what} class: {counted(self.rows[what])}")
        if self.marketplace.nunique() > 1:
            told.append(f"  by marketplace: {counted(self.marketplace)}")
        return told + [f"  {note}" for note in self.notes]


def pool(
    pictures: pd.DataFrame,
    clusters: pd.DataFrame,
    appearances: pd.DataFrame,
    labels: pd.DataFrame,
    splits: pd.DataFrame,
    gold: pd.DataFrame,
    hits: pd.DataFrame,
    votes: pd.DataFrame,
    *,
    lifetime_days: float,
    now: datetime,
    pending: Collection[str] = (),
) -> pd.DataFrame:
    """One row per picture in image_id order with what asking depends on; all tables are of one task.

    Args:
        lifetime_days: how long a HIT can be answered; pictures of one that is open and not full are waited for.
        pending: further pictures that were written down to be asked.
    Returns:
        image_id, cluster_id, representative, marketplace (the first; `none` without a listing), label, source, n_votes,
        n_agree, label_probs, split, state: new, disputed (asked, no label), labeled, or why it cannot be asked.
    """
    rows = pictures[["image_id", "dropped"]].sort_values("image_id", ignore_index=True)
    rows = rows.merge(clusters[["image_id", "cluster_id", "representative"]], on="image_id", how="left")
    rows["cluster_id"] = rows["cluster_id"].where(rows["cluster_id"].notna(), rows["image_id"])
    rows["representative"] = rows["representative"].fillna(True).astype(bool)
    seen = appearances.sort_values(["first_seen_at", "marketplace", "listing_id", "position"]).drop_duplicates(
        "image_id"
    )
    first = dict(zip(seen["image_id"], seen["marketplace"], strict=True))
    rows["marketplace"] = [first.get(image_id, "none") for image_id in rows["image_id"]]
    said = labels[["image_id", "label", "source", "n_votes", "n_agree", "label_probs"]]
    rows = rows.merge(said, on="image_id", how="left")
    rows["unseen"] = rows["image_id"].isin(set(labels.loc[labels["dropped"] == UNSEEN, "image_id"]))
    rows = rows.merge(splits[["image_id", "split", "split_reason"]], on="image_id", how="left")
    asked = hits[hits["chosen_by"] != "gold"]
    rows["rechecked"] = rows["image_id"].isin(set(asked.loc[asked["chosen_by"] == "recheck", "image_id"]))
    rows["state"] = _states(rows, gold, asked, votes, set(pending) | _open(asked, votes, lifetime_days, now))
    return rows


def _open(asked: pd.DataFrame, votes: pd.DataFrame, lifetime_days: float, now: datetime) -> set[str]:
    """Pictures of HITs that can still be answered and are not full."""
    came = asked["hit_id"].map(votes.groupby("hit_id")["assignment_id"].nunique()).astype(float).fillna(0)
    alive = asked["created_at"] + timedelta(days=lifetime_days) > pd.Timestamp(now)
    return set(asked.loc[alive & (came < asked["max_assignments"]), "image_id"])


def _states(
    rows: pd.DataFrame, gold: pd.DataFrame, asked: pd.DataFrame, votes: pd.DataFrame, waiting: set[str]
) -> pd.Series:
    voters = votes.loc[votes["dropped"].isna()].groupby("image_id")["worker_id"].nunique()
    came = rows["image_id"].map(voters).astype(float).fillna(0)
    was_asked = rows["image_id"].isin(set(asked["image_id"]))
    untold = was_asked & rows["n_votes"].isna()  # asked, and not aggregated since
    out = (rows["split"] == "out") & ~rows["split_reason"].isin(["label withdrawn"])
    state = pd.Series(NEW, index=rows.index, dtype="str").mask(rows["n_votes"].notna(), DISPUTED)
    state = state.mask(rows["unseen"], UNSEEN)
    state = state.mask(rows["label"].notna(), LABELED)
    state = state.mask(untold | (was_asked & (came > rows["n_votes"].fillna(0))), STALE)
    state = state.mask(rows["image_id"].isin(waiting), WAITING)
    state = state.mask(out, "out: " + rows["split_reason"].fillna("").astype(str))
    state = state.mask(rows["image_id"].isin(set(gold["image_id"])), "gold")
    return state.mask(rows["dropped"].notna(), "dropped")


def needed(n_votes: int, n_agree: int, rule: Rule) -> int:
    """How many further answers can at best make a label: enough in all, enough equal ones, and more than half."""
    wanted = max(rule.first - n_votes, rule.agree - n_agree, n_votes - 2 * n_agree + 1, 1)
    return min(wanted, MOST)


def longest(rows: pd.DataFrame, fits: Fits) -> int:
    """How many rows from the first on fit into the budget."""
    low, high = 0, min(len(rows), 64)
    while high < len(rows) and fits(rows.iloc[:high]):  # twice as many each time: a budget is small beside a pool
        low, high = high, min(2 * high, len(rows))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(rows.iloc[:middle]) else (low, middle - 1)
    return low


def counted(values: pd.Series, most: int = 12) -> str:
    """Values with their counts, most frequent first, as text."""
    found = sorted(values.dropna().value_counts().items(), key=lambda item: (-item[1], str(item[0])))
    rest = sum(count for _, count in found[most:])
    return ", ".join([f"{count:,} {name}" for name, count in found[:most]] + ([f"{rest:,} others"] if rest else []))


def draw(seed: int, purpose: str, name: str) -> str:
    """A random text that depends on nothing but these: what is sorted by it is in random order."""
    return hashlib.sha256(f"{seed} {purpose} {name}".encode()).hexdigest()


def left_out(candidates: pd.DataFrame) -> list[str]:
    """Notes about pictures that could be asked once something else has happened."""
    states = Counter(candidates["state"])
    return [f"left out: {states[why]:,} pictures, {why}" for why in (WAITING, STALE) if states[why]]


def selected(rows: pd.DataFrame, task: str, purpose: str, notes: list[str]) -> Selected:
    """The rows as a SELECTION in this order."""
    rows = rows.reset_index(drop=True)
    wanted = rows.assign(task=task, purpose=purpose, rank=np.arange(len(rows)))
    made = SELECTION.check(wanted[[name for name in SELECTION.names if name in wanted.columns]])
    return Selected(made, rows["marketplace"], notes)


def check_predictions(
    predictions: pd.DataFrame,
    metadata_classes: Sequence[str] | None,
    *,
    where: str,
    task: str,
    classes: Sequence[str],
    manifests: Sequence[str],
) -> list[str]:
    """Notes about predictions that can be used; raises UserError for those that cannot.

    Args:
        metadata_classes: class order of `probs` as the file says it; None when it says none.
        manifests: manifest_ids of the task, oldest first.
    """
    if predictions.empty:
        raise UserError(f"{where}: holds no predictions; run `curate probe`, or train a model")
    if list(metadata_classes or []) != list(classes):
        found = ", ".join(metadata_classes or []) or "none"
        raise UserError(
            f"{where}: its probabilities are of the classes {found}; task {task} has {', '.join(classes)}. Predict again"
        )
    tasks, runs = sorted(predictions["task"].unique()), sorted(predictions["run"].unique())
    if tasks != [task]:
        raise UserError(f"{where}: is about task {', '.join(tasks)}, not {task}")
    if len(runs) > 1:
        raise UserError(f"{where}: holds several runs ({', '.join(runs)}); give a file with one")
    ids = sorted(predictions["manifest_id"].unique())
    if len(ids) > 1 or ids[0] not in manifests:
        said = ", ".join(i[:12] for i in ids)
        raise UserError(
            f"{where}: was made on manifest {said}, which is none of task {task} here; run `curate probe`, or predict again"
        )
    newer = len(manifests) - 1 - list(manifests).index(ids[0])
    return [f"predictions are {newer} manifest{'s' * (newer > 1)} old; labels since then taught the model nothing"] * (
        newer > 0
    )
