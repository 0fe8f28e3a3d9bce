"""What a set of predictions is worth, in plain numpy, every share with the count it stands on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

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


def cross_entropy(probs: np.ndarray, truth: np.ndarray) -> float:
    """Mean of -log of the true class's probability, in nats."""
    own = probs[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.clip(own, 1e-12, None)).mean())


def calibration_error(probs: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, over equal bins of confidence."""
    confidence = probs.max(axis=1).astype(np.float64)
    right = probs.argmax(axis=1) == truth
    where = np.minimum((confidence * bins).astype(int), bins - 1)
    gap = np.bincount(where, confidence - right, bins)
    return float(np.abs(gap).sum() / len(truth))


def paired_test(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """McNemar's exact test of two models on the same pictures: pictures that only one has right, and how likely by chance."""
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1)) / 2**n if n else 1.0
    return {"only_a": only_a, "only_b": only_b, "p": min(1.0, 2 * tail)}
