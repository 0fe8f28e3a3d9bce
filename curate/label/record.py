"""What a worker's record is counted from, all workers at once.

The record is held against the *answer* of each picture: its gold label, else what more than half of the other workers say
(leave-one-out, so no vote agrees with itself).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.label.ballots import Ballots, class_counts

_BLOCK = 1 << 21  # cells of confusion matrices held at once


@dataclass(frozen=True)
class Record:
    """What is counted per worker, each array with one element per worker of the votes' list."""

    n: np.ndarray  # [W] votes that count, or would if the worker was not shut out
    gold_n: np.ndarray
    gold_right: np.ndarray
    agreement_n: np.ndarray
    agree: np.ndarray
    seconds_n: np.ndarray
    seconds: np.ndarray  # [W] median, NaN where no time is known
    score: np.ndarray  # [W] spammer score, NaN where it cannot be told
    confusion: list[np.ndarray | None]  # each [K x K] by rows
    by_chance: np.ndarray  # [W] agreements expected of the same answers dealt at random over the same pictures
    by_chance_sd: np.ndarray
    top_n: np.ndarray  # [W] how often the most frequent answer was said
    compared_n: np.ndarray  # [W] votes on pictures that others voted on
    straight: np.ndarray  # [W] class said most beyond what the others say of the same pictures
    straight_n: np.ndarray  # [W] how often the worker said it there
    straight_expected: np.ndarray  # [W] how often the others would have
    run: np.ndarray  # [W] most equal answers in a row, 0 where the order is not known
    run_class: np.ndarray
    run_p: np.ndarray  # [W] most probable such a run is by chance


def measure(
    votes: Ballots, gold: Mapping[str, str], seconds: np.ndarray | None = None, order: np.ndarray | None = None
) -> Record:
    """Count what a worker's record shows. `seconds` are [V]; `order` says in which order the votes were given, [V]."""
    w, k = len(votes.workers), max(len(votes.classes), 1)
    plain = ~votes.gold
    n = np.bincount(votes.worker[plain], minlength=w)
    answer = others_majority(votes)
    known = _places([gold.get(str(image), "") for image in votes.images], votes.classes)[votes.image]
    on_gold = votes.gold & (known >= 0)
    right = np.bincount(votes.worker[on_gold & (known == votes.label)], minlength=w)
    judged = plain & (answer >= 0)
    reference = np.where(on_gold, known, np.where(judged, answer, -1))
    said = np.bincount(votes.worker[plain] * k + votes.label[plain], minlength=w * k).reshape(w, k)
    times = _median_by(votes.worker, seconds, w)
    return Record(
        n, np.bincount(votes.worker[on_gold], minlength=w), right,
        np.bincount(votes.worker[judged], minlength=w),
        np.bincount(votes.worker[judged & (answer == votes.label)], minlength=w),
        *times, *_matrices(votes, reference), *_by_chance(votes, reference), said.max(axis=1),
        *_straight(votes), *_runs(votes, order),
    )  # fmt: skip


def others_majority(votes: Ballots) -> np.ndarray:
    """For each vote the class that more than half of the other workers gave the picture, -1 where there is none, [V].

    With one other worker it is that worker's answer. Votes that do not count have all voters as others.
    """
    image, label, n = class_counts(votes)
    pictures, order = len(votes.images), np.lexsort((label, -n, image))
    image, label, n = image[order], label[order], n[order]
    first = np.r_[True, image[1:] != image[:-1]] if len(image) else np.zeros(0, bool)
    second = np.r_[False, first[:-1]] & ~first if len(image) else first
    top, top_n = np.full(pictures, -1), np.zeros(pictures, np.int64)
    next_, next_n = np.full(pictures, -1), np.zeros(pictures, np.int64)
    top[image[first]], top_n[image[first]] = label[first], n[first]
    next_[image[second]], next_n[image[second]] = label[second], n[second]
    total = np.bincount(image, n, pictures).astype(np.int64)
    i, own = votes.image, votes.counts.astype(np.int64)
    others = total[i] - own
    # without the own vote only the two most frequent classes can have more than half
    top_left = top_n[i] - own * (votes.label == top[i])
    next_left = next_n[i] - own * (votes.label == next_[i])
    return np.where(2 * top_left > others, top[i], np.where(2 * next_left > others, next_[i], -1))


def _matrices(votes: Ballots, reference: np.ndarray) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """Each worker's spammer score, and confusion matrix P(said | answer), NaN in the row of an answer that never came."""
    w, k = len(votes.workers), max(len(votes.classes), 1)
    use = np.flatnonzero(reference >= 0)
    use = use[np.argsort(votes.worker[use], kind="stable")]
    worker = votes.worker[use]
    cell = reference[use] * k + votes.label[use]
    step = max(1, _BLOCK // (k * k))
    scores, matrices = [], list[np.ndarray | None]()
    for start in range(0, w, step):
        low, high = np.searchsorted(worker, [start, start + step])
        size = min(step, w - start)
        counts = np.bincount((worker[low:high] - start) * k * k + cell[low:high], minlength=size * k * k)
        table = counts.reshape(size, k, k).astype(float)
        rows = table.sum(axis=2, keepdims=True)
        with np.errstate(invalid="ignore"):
            shares = table / np.where(rows > 0, rows, np.nan)
        scores.append(spammer_score(table))
        matrices += [matrix if total else None for matrix, total in zip(shares, rows.sum(axis=(1, 2)), strict=True)]
    return np.concatenate(scores) if scores else np.zeros(0), matrices


def spammer_score(counts: np.ndarray) -> np.ndarray:
    """How far the answers depend on the picture: 0 = not at all, 1 = each class has an answer of its own, [W].

    The distance of the confusion matrix from rank one, as V. C. Raykar and S. Yu measure it (Eliminating spammers and ranking
    annotators for crowdsourced labeling tasks, JMLR 13, 2012): the mean of |row c - row c'|^2 / 2 over pairs of classes. Two
    things differ, since a worker's matrix is counted from a few dozen answers and not fitted: a pair weighs as often as both
    classes occur, else two answers on a rare class would decide; and what chance alone adds to a squared distance of two
    counted rows is taken off. Classes that occurred once say nothing. NaN where fewer than two classes are left.

    Args:
        counts: [W, K, K], answer of the picture by class that the worker said.
    """
    n = counts.sum(axis=2)  # [W, K]
    n = np.where(n >= 2, n, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = np.where(n[..., None] > 0, counts / n[..., None], 0)
        square = (rows**2).sum(axis=2)
        noise = np.where(n > 0, (1 - square) / (n - 1), 0)  # expected square of the row's own sampling error
    total = n.sum(axis=1)
    middle = (n[..., None] * rows).sum(axis=1)
    apart = (n * (square - noise) * (total[:, None] - n)).sum(axis=1)
    alike = ((middle**2).sum(axis=1) - (n**2 * square).sum(axis=1)) / 2
    pairs = (total**2 - (n**2).sum(axis=1)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        score = (apart - 2 * alike) / (2 * pairs)
    return np.where(pairs > 0, np.clip(score, 0, 1), np.nan)


def _by_chance(votes: Ballots, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation, over all ways to deal a worker's own answers over their pictures, of how many would agree.

    The permutation distribution of a sum of d(i, j) (W. Hoeffding, A combinatorial central limit theorem, 1951), where d is 1
    when answer j equals picture i's.
    """
    w, k = len(votes.workers), max(len(votes.classes), 1)
    use = reference >= 0
    a = np.bincount(votes.worker[use] * k + reference[use], minlength=w * k).reshape(w, k).astype(float)
    b = np.bincount(votes.worker[use] * k + votes.label[use], minlength=w * k).reshape(w, k).astype(float)
    n, equal = a.sum(axis=1), (a * b).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = equal / n
        spread = equal - (a * b * (a + b)).sum(axis=1) / n + (equal / n) ** 2
        variance = np.where(n > 1, spread / (n - 1), np.nan)
    return mean, np.sqrt(np.maximum(variance, 0))


def _straight(votes: Ballots) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Votes compared, class said most beyond what others say of the same pictures, how often, how often they would, each [W]."""
    w, k = len(votes.workers), max(len(votes.classes), 1)
    image, label, times = class_counts(votes)
    plain = ~votes.gold
    total = np.bincount(image, times, len(votes.images))
    left = np.maximum(total[votes.image] - votes.counts, 0)  # other votes on the picture
    use = np.flatnonzero(plain & (left > 0))
    worker, weight = votes.worker[use], 1 / left[use]
    said = np.bincount(worker * k + votes.label[use], minlength=w * k).reshape(w, k).astype(float)
    expected = -np.bincount(worker * k + votes.label[use], weight * votes.counts[use], w * k).reshape(w, k)
    starts = np.searchsorted(image, np.arange(len(votes.images) + 1))
    for turn in range(int(np.diff(starts).max(initial=0))):  # the first, second, … class of each picture
        entry = starts[votes.image[use]] + turn
        there = entry < starts[votes.image[use] + 1]
        entry = entry[there]
        share = weight[there] * times[entry]
        expected += np.bincount(worker[there] * k + label[entry], share, w * k).reshape(w, k)
    n = said.sum(axis=1)
    most = (said - expected).argmax(axis=1)
    at = np.arange(w)
    return n, most, said[at, most], np.maximum(expected[at, most], 0)


def _runs(votes: Ballots, order: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longest run of one answer, its class, and a bound of its probability when pictures come in random order, each [W].

    Among n pictures of which a share q is of a class, a run of L begins at one of n places: its probability is at most
    (1 + (n - L)(1 - q)) q^L. q is the class's share in the votes of all other workers, counted with one more vote for each class.
    """
    w, k = len(votes.workers), max(len(votes.classes), 1)
    longest, which, p = np.zeros(w, np.int64), np.zeros(w, np.int64), np.ones(w)
    if order is None or not len(votes.image):
        return longest, which, p
    rows = np.argsort(order, kind="stable")
    rows = rows[~votes.gold[rows]]
    rows = rows[np.argsort(votes.worker[rows], kind="stable")]
    worker, label = votes.worker[rows], votes.label[rows]
    starts = np.flatnonzero(np.r_[True, (worker[1:] != worker[:-1]) | (label[1:] != label[:-1])][: len(rows)])
    length = np.diff(np.r_[starts, len(rows)])
    best = np.lexsort((-label[starts], length))  # the last one written is the longest, of the first class
    longest[worker[starts][best]] = length[best]
    which[worker[starts][best]] = label[starts][best]
    cells = np.bincount(worker * k + label, minlength=w * k).reshape(w, k)
    n = cells.sum(axis=1)
    others = (cells.sum(axis=0) - cells)[np.arange(w), which]
    rest = n.sum() - n
    q = np.where(rest > 0, (others + 1) / (rest + k), 1.0)  # a class nobody else has said yet is not impossible
    places = 1 + np.maximum(n - longest, 0) * (1 - q)
    return longest, which, np.minimum(1.0, places * q**longest)


def _median_by(worker: np.ndarray, seconds: np.ndarray | None, w: int) -> tuple[np.ndarray, np.ndarray]:
    """How many times a worker has, and their median, NaN without one."""
    if seconds is None:
        return np.zeros(w, np.int64), np.full(w, np.nan)
    timed = ~np.isnan(seconds)
    medians = pd.Series(seconds[timed]).groupby(worker[timed]).median()
    found = np.full(w, np.nan)
    found[medians.index.to_numpy()] = medians.to_numpy()
    return np.bincount(worker[timed], minlength=w), found


def _places(values: list[str], classes: tuple[str, ...]) -> np.ndarray:
    return np.append(pd.Index(list(classes), dtype="str").get_indexer(pd.Index(values, dtype="str")), -1)
