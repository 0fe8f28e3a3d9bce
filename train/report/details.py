"""Where one run goes wrong: classes, confusions, marketplaces, calibration, coverage, the worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from train.judge.calibrate import PRECISIONS, at_temperature, coverage
from train.judge.metrics import judge, judge_groups
from train.report.gather import Run, Task

BINS = 10


def details(task: Task, run: Run) -> dict[str, Any]:
    """All figures of section 5.2 for one run on test; what needs the manifest or the bundle is empty without it."""
    ids, probs, truth = task.truth(run)
    bundle = run.bundle
    temperature = bundle.temperature if bundle else 1.0
    calm = at_temperature(probs, temperature)
    found = judge(probs, truth, task.classes)
    rows = task.test.reindex(ids)
    known = task.manifest is not None
    return {
        "task": task.name, "run": run.name, "title": run.title, "n": found["n"],
        "per_class": found["per_class"], "confusion": found["confusion"], "confused": confused(found["confusion"], task.classes),
        "per_marketplace": judge_groups(probs, truth, rows["marketplaces"].tolist(), rows["marketplace"].tolist()) if known else [],
        "per_agreement": judge_groups(probs, truth, _agreement(rows)) if known else [],
        "temperature": temperature,
        "ce": found["ce"], "ece": found["ece"],
        "ce_calibrated": judge(calm, truth, task.classes)["ce"], "ece_calibrated": judge(calm, truth, task.classes)["ece"],
        "reliability": {"as trained": reliability(probs, truth), "calibrated": reliability(calm, truth)},
        "coverage": [{"precision": p, **coverage(calm, truth, task.classes, bundle.thresholds(p))} for p in PRECISIONS] if bundle else [],
        "curve": coverage_curve(calm, truth),
        "mistakes": mistakes(ids, calm, truth, task.classes),
    }  # fmt: skip


def _agreement(rows: Any) -> list[list[str]]:
    return [
        ["all agree" if n == agree else "not all agree"] if n == n and n else []
        for n, agree in zip(rows["n_votes"].astype(float), rows["n_agree"].astype(float), strict=True)
    ]


def confused(confusion: Sequence[Sequence[int]], classes: Sequence[str], count: int = 5) -> list[dict[str, Any]]:
    """The most frequent confusions, as label, taken for, how many of how many."""
    table = np.array(confusion)
    off = table.copy()
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[:count]
    places = [np.unravel_index(i, off.shape) for i in order]
    return [
        {"label": classes[a], "as": classes[b], "count": int(off[a, b]), "n": int(table[a].sum())}
        for a, b in places
        if off[a, b]
    ]


def reliability(probs: np.ndarray, truth: np.ndarray) -> list[dict[str, float]]:
    """For each tenth of confidence that occurs: pictures, their mean confidence, and how many are right."""
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == truth
    where = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {"bin": b, "n": int(own.sum()), "confidence": float(confidence[own].mean()), "right": int(right[own].sum())}
        for b in range(BINS)
        if (own := where == b).any()
    ]


def coverage_curve(probs: np.ndarray, truth: np.ndarray, steps: int = 60) -> list[tuple[float, float]]:
    """Precision when only the surest share of the pictures is answered, by confidence alone: (share, precision)."""
    order = np.argsort(-probs.max(axis=1), kind="stable")
    right = np.cumsum((probs.argmax(axis=1) == truth)[order])
    places = sorted({max(1, round(len(truth) * i / steps)) for i in range(1, steps + 1)})
    return [(n / len(truth), float(right[n - 1] / n)) for n in places]


def mistakes(
    ids: Any, probs: np.ndarray, truth: np.ndarray, classes: Sequence[str], count: int = 12
) -> list[dict[str, Any]]:
    """The wrong pictures that the model was surest about."""
    guess, confidence = probs.argmax(axis=1), probs.max(axis=1)
    wrong = np.flatnonzero(guess != truth)
    order = sorted(wrong, key=lambda i: (-confidence[i], ids[i]))[:count]
    return [
        {"image_id": str(ids[i]), "label": classes[truth[i]], "predicted": classes[guess[i]], "confidence": float(confidence[i]),
         "of_label": float(probs[i, truth[i]])}
        for i in order
    ]  # fmt: skip
