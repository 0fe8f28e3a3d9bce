"""Votes as arrays: who said what about which picture, and which of it counts. What agreement and workers are counted from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from schemas.errors import UserError

GOLD = "gold"
# Votes that make no label and still show how a worker answers: a person who was shut out stays measured.
STILL_MEASURED = ("worker excluded", "unqualified", "rejected", "pilot")


@dataclass(frozen=True)
class Ballots:
    """Votes with a class, by picture, worker and label; `image`, `worker` and `label` are places in the three lists."""

    images: pd.Index  # sorted
    workers: pd.Index  # sorted
    classes: tuple[str, ...]
    image: np.ndarray  # [V] int64
    worker: np.ndarray  # [V] int64
    label: np.ndarray  # [V] int64
    counts: np.ndarray  # [V] bool: makes labels
    gold: np.ndarray  # [V] bool: on a picture whose answer is known
    row: np.ndarray  # [V] int64: place of the vote in the frame it came from

    def only(self, keep: np.ndarray) -> Ballots:
        """The votes where `keep` is true, with the same lists."""
        parts = (self.image, self.worker, self.label, self.counts, self.gold, self.row)
        return Ballots(self.images, self.workers, self.classes, *(part[keep] for part in parts))


def ballots(
    votes: pd.DataFrame, classes: Sequence[str], gold: Mapping[str, str] | None = None, source: str | None = None
) -> Ballots:
    """The votes that say something about pictures or workers: those that count, those on gold, those of workers shut out.

    A vote counts when nothing in `dropped` or `assignment_status` speaks against it, its label is a class, and its picture
    is no gold. Of equal votes of one worker on one picture one is kept; where they differ, none.

    Args:
        votes: image_id, worker_id, label; used when there: dropped, assignment_status, source.
        classes: class keys in order; a vote with another label, or none, is left out.
        gold: class key of the pictures whose answer is known.
        source: only votes of this source. Raises UserError where votes of several sources would be mixed.
    """
    nothing = pd.Series("", index=votes.index)
    reason = votes["dropped"].fillna("") if "dropped" in votes.columns else nothing
    status = votes["assignment_status"] if "assignment_status" in votes.columns else nothing
    image, images = pd.factorize(votes["image_id"], sort=True)
    worker, workers = pd.factorize(votes["worker_id"], sort=True)
    label = _places(votes["label"], classes)
    known = np.append(pd.Index(images).isin(list(gold or {})), False)[image]
    on_gold = known | (reason == GOLD).to_numpy()
    fine = (reason == "").to_numpy(bool)
    measured = fine | reason.isin(STILL_MEASURED).to_numpy(bool)
    use = (label >= 0) & (image >= 0) & (worker >= 0) & (on_gold | measured) & _of_source(votes, source, fine)
    counts = fine & ~on_gold & (status != "Rejected").to_numpy(bool)
    rows = np.flatnonzero(use)
    # by picture, worker and label, so that sums of floats do not know in which order votes came
    key = (image[rows].astype(np.int64) * max(len(workers), 1) + worker[rows]) * max(len(classes), 1) + label[rows]
    rows = rows[np.argsort(key, kind="stable")]
    made = Ballots(
        pd.Index(images), pd.Index(workers), tuple(classes),
        image[rows].astype(np.int64), worker[rows].astype(np.int64), label[rows], counts[rows], on_gold[rows], rows,
    )  # fmt: skip
    return made.only(_not_repeated(made))


def class_counts(votes: Ballots) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How often each class was said of each picture, by votes that count: picture, class, count; no zeros, by picture."""
    k = max(len(votes.classes), 1)
    cells, n = np.unique(votes.image[votes.counts] * k + votes.label[votes.counts], return_counts=True)
    return cells // k, cells % k, n


def _places(values: pd.Series, classes: Sequence[str]) -> np.ndarray:
    """For each value its place in the class list, -1 where it is missing or none of them."""
    codes, unique = pd.factorize(values)
    place = pd.Index(list(classes), dtype="str").get_indexer(pd.Index(unique))
    return np.append(place, -1)[codes].astype(np.int64)


def _of_source(votes: pd.DataFrame, wanted: str | None, fine: np.ndarray) -> np.ndarray:
    """Which votes are of the wanted source; all, when those that count have one source only."""
    if "source" not in votes.columns:
        return np.ones(len(votes), bool)
    found = votes["source"].fillna("crowd")
    names = sorted(found[fine].unique())
    if wanted is None and len(names) > 1:
        raise UserError(
            f"votes of several sources ({', '.join(names)}) are never mixed; say which with --source {' or '.join(names)}"
        )
    if wanted is not None and not (found == wanted).any():
        raise UserError(f"no votes of source {wanted!r}; found {', '.join(sorted(found.unique())) or 'none'}")
    return (found == wanted).to_numpy(bool) if wanted is not None else np.ones(len(votes), bool)


def _not_repeated(b: Ballots) -> np.ndarray:
    """False for the second of equal votes of one worker on one picture, and for all of that worker's votes on it where they
    differ. Gold may be met again and is always kept."""
    keep = np.ones(len(b.image), bool)
    rows = np.flatnonzero(~b.gold)
    pair = b.image[rows] * max(len(b.workers), 1) + b.worker[rows]
    ordered = np.sort(pair)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return keep
    again = np.isin(pair, twice)
    rows, pair = rows[again], pair[again]
    # a vote that counts is kept before one that does not; among equals it makes no difference which
    order = np.lexsort((b.row[rows], ~b.counts[rows], pair))
    rows, pair = rows[order], pair[order]
    first = np.r_[True, pair[1:] != pair[:-1]]
    starts, run = np.flatnonzero(first), np.cumsum(first) - 1
    said = b.label[rows]
    differs = (np.minimum.reduceat(said, starts) != np.maximum.reduceat(said, starts))[run]
    keep[rows[~first | differs]] = False
    return keep
