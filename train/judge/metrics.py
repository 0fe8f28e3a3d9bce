"""What a set of predictions is worth, in plain numpy, every share with the count it stands on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.errors import UserError
from schemas.interval import wilson


def judge(probs: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Everything a report says about predictions: Acc@1, Acc@5, cross entropy, macro accuracy, ECE, per class, chance.

    Args:
        probs: one row a picture, one column a class, rows sum to 1 [n, K].
        truth: positions in `classes` [n].
    Returns:
        Shares between 0 and 1 with their counts; `acc5` is missing with five classes or fewer, where it says nothing.
    """
    n, k = len(truth), len(classes)
    if n == 0:
        return {"n": 0}
    order = np.argsort(-probs, axis=1, kind="stable")
    right = order[:, 0] == truth
    top5 = (order[:, : min(5, k)] == truth[:, None]).any(axis=1)
    confusion = np.zeros((k, k), dtype=int)
    np.add.at(confusion, (truth, order[:, 0]), 1)
    per_class = [_of_class(name, confusion[i], i) for i, name in enumerate(classes)]
    seen = [row["acc1"] for row in per_class if row["n"]]
    counts = np.bincount(truth, minlength=k)
    return {
        "n": n,
        "right": int(right.sum()),
        "acc1": float(right.mean()),
        "acc1_low": wilson(int(right.sum()), n)[0],
        "acc1_high": wilson(int(right.sum()), n)[1],
        "acc5": float(top5.mean()) if k > 5 else None,
        "right5": int(top5.sum()) if k > 5 else None,
        "ce": cross_entropy(probs, truth),
        "macro": float(np.mean(seen)),
        "ece": calibration_error(probs, truth),
        "chance": 1 / k,
        "largest_class": float(counts.max() / n),
        "classes": list(classes),
        "per_class": per_class,
        "confusion": confusion.tolist(),
    }


def _of_class(name: str, row: np.ndarray, own: int) -> dict[str, Any]:
    """One class: how many pictures, how many found."""
    n, right = int(row.sum()), int(row[own])
    low, high = wilson(right, n)
    return {"label": name, "n": n, "right": right, "acc1": right / n if n else None, "low": low, "high": high}


def judge_groups(
    probs: np.ndarray, truth: np.ndarray, groups: Sequence[Any], else_: Sequence[Any] | None = None
) -> list[dict[str, Any]]:
    """Right answers by group, in the order of the names; a picture counts in each of its groups.

    Args:
        groups: the names of each picture's groups; missing or empty = the one in `else_`, if that is there.
    """
    right = probs.argmax(axis=1) == truth
    found: dict[str, list[bool]] = {}
    for i, names in enumerate(groups):
        own = list(names) if names is not None and len(names) else []
        if not own and else_ is not None and isinstance(else_[i], str):
            own = [else_[i]]
        for name in own:
            found.setdefault(name, []).append(bool(right[i]))
    rows = []
    for name in sorted(found):
        n, hits = len(found[name]), sum(found[name])
        low, high = wilson(hits, n)
        rows.append({"label": name, "n": n, "right": hits, "acc1": hits / n, "low": low, "high": high})
    return rows


def cross_entropy(probs: np.ndarray, truth: np.ndarray) -> float:
    """Mean of -log of the true class's probability, in nats. Raises UserError where the model gave what is no number."""
    own = probs[np.arange(len(truth)), truth].astype(np.float64)
    if np.isnan(own).any():
        raise UserError(
            "the model answers with what is no number: its weights have exploded; the learning rate is probably too high: try "
            "half with --set, or --set clip_grad=1"
        )
    return float(-np.log(np.clip(own, 1e-12, None)).mean())


def calibration_error(probs: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, over equal bins of confidence."""
    confidence = probs.max(axis=1).astype(np.float64)
    right = probs.argmax(axis=1) == truth
    where = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(where, confidence - right, bins)
    return float(np.abs(gap).sum() / len(truth))


def bootstrap(
    probs_a: np.ndarray,
    probs_b: np.ndarray,
    truth: np.ndarray,
    rounds: int = 10_000,
    seed: int = 0,
    paired_seeds: bool = False,
) -> dict[str, dict[str, float]]:
    """Paired bootstrap of b minus a in Acc@1, macro accuracy and cross entropy: the same pictures drawn again for both.

    Of several seeds the mean is compared, and seeds are drawn again with the pictures (the multi-bootstrap of arXiv
    2106.16163). S seeds show only (S - 1) / S of their variance this way, so with two or three the interval is too narrow.

    Args:
        probs_a: of one run [n, K], or of several seeds [S, n, K]; as `probs_b`.
        paired_seeds: run i of a and run i of b share their seed and are drawn together.
    Returns:
        For each figure the difference, its 95 % interval (percentiles), and the share of rounds in which it is not above 0
        or not below 0, whichever is smaller, twice: a two-sided p.
    """
    rng = np.random.default_rng(seed)
    n, k = len(truth), probs_a.shape[-1]
    of_class = np.eye(k)[truth]  # [n, K]
    (right_a, loss_a), (right_b, loss_b) = (_right_and_loss(probs, truth) for probs in (probs_a, probs_b))
    if paired_seeds or len(right_a) == len(right_b) == 1:  # one difference a seed
        right, loss, signs = right_b - right_a, loss_b - loss_a, [np.ones(len(right_a))]
    else:
        right, loss = np.concatenate([right_a, right_b]), np.concatenate([loss_a, loss_b])
        signs = [-np.ones(len(right_a)), np.ones(len(right_b))]

    def figures(weight: np.ndarray, of_seed: np.ndarray) -> np.ndarray:
        """The three differences for each row of how often each picture [r, n] and each seed [r, S] was drawn. [r, 3]"""
        size = weight @ of_class  # [r, K]
        found = np.zeros((len(weight), 3))
        for one in range(len(right)):
            per_class = np.divide((weight * right[one]) @ of_class, size, out=np.zeros_like(size), where=size > 0)
            macro = per_class.sum(axis=1) / (size > 0).sum(axis=1)
            found += of_seed[:, one, None] * np.stack([weight @ right[one] / n, macro, weight @ loss[one] / n], axis=1)
        return found

    step = max(1, 4_000_000 // n)  # rounds at a time: 32 MB of weights
    drawn = []
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        picks = rng.integers(n, size=(size, n)) + np.arange(size)[:, None] * n
        weight = np.bincount(picks.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)
        seeds = [sign * rng.multinomial(len(sign), np.ones(len(sign)) / len(sign), size) / len(sign) for sign in signs]
        drawn.append(figures(weight, np.concatenate(seeds, axis=1)))
    samples = np.concatenate(drawn)
    point = figures(np.ones((1, n)), np.concatenate([sign / len(sign) for sign in signs])[None])[0]
    found = {}
    for i, name in enumerate(("acc1", "macro", "ce")):
        low, high = np.quantile(samples[:, i], [0.025, 0.975])
        p = 2 * min((samples[:, i] <= 0).mean(), (samples[:, i] >= 0).mean())
        found[name] = {"difference": float(point[i]), "low": float(low), "high": float(high), "p": float(min(1.0, p))}
    return found


def _right_and_loss(probs: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of one run [n, K] or several [S, n, K]: 1 where right, and -log of the true class's probability. [S, n] each"""
    runs = probs[None] if probs.ndim == 2 else probs
    own = runs[:, np.arange(len(truth)), truth].astype(np.float64)
    return (runs.argmax(axis=2) == truth).astype(np.float64), -np.log(np.clip(own, 1e-12, None))


def paired_test(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """McNemar's exact test of two models on the same pictures: pictures that only one has right, and how likely by chance."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1)) / 2**n if n else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": min(1.0, 2 * tail)}
