"""How far a model's confidence can be trusted: a temperature and, per class, the confidence that a wished precision needs.

Both are fitted on val, which also chose the weights, so they are a little rosy; what they are worth is measured on test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schemas.errors import UserError

PRECISIONS = (0.9, 0.95, 0.98)  # thresholds for these stand in every config.json and report
LOWEST, HIGHEST = 0.25, 10.0  # temperatures; a val set without a mistake would ask for 0

Points = Mapping[
    str, Mapping[str, Sequence[float]]
]  # class: confidences of the val pictures called so, and 1 where right


def fit_temperature(probs: np.ndarray, truth: np.ndarray) -> float:
    """The temperature under which probabilities [n, K] have the lowest cross entropy; 1 without pictures (arXiv 1706.04599)."""
    from scipy.optimize import minimize_scalar

    if len(truth) == 0:
        return 1.0
    logs, own = _logs(probs), np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = logs / np.exp(log_temperature)
        top = scaled.max(axis=1)
        return float((np.log(np.exp(scaled - top[:, None]).sum(axis=1)) + top - scaled[own, truth]).mean())

    found = minimize_scalar(loss, bounds=(np.log(LOWEST), np.log(HIGHEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x)) if found.fun < loss(0.0) else 1.0


def at_temperature(probs: np.ndarray, temperature: float) -> np.ndarray:
    """The probabilities [n, K] that the same logits give when divided by `temperature`. float32"""
    if temperature == 1.0 or len(probs) == 0:
        return probs.astype(np.float32)
    scaled = _logs(probs) / temperature
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def _logs(probs: np.ndarray) -> np.ndarray:
    return np.log(np.clip(probs.astype(np.float64), 1e-37, None))


def points(probs: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """All that thresholds of any precision are fitted from: per class the val pictures called so, surest first."""
    guess, confidence = probs.argmax(axis=1), probs.max(axis=1)
    found: dict[str, dict[str, list[float]]] = {}
    for index, name in enumerate(classes):
        own = np.flatnonzero(guess == index)
        own = own[np.argsort(-confidence[own], kind="stable")]
        found[name] = {
            "confidence": [round(float(value), 6) for value in confidence[own]],
            "right": [int(truth[i] == index) for i in own],
        }
    return found


def thresholds(val: Points, precision: float) -> dict[str, float | None]:
    """Per class the lowest confidence from which on val reaches `precision`; None = never, the class always abstains.

    One more mistake than val shows is counted: right / (n + 1) must reach the precision, so 95 % needs 19 pictures. A class
    that val has too few of takes the threshold of all classes together.
    """
    if not 0.5 <= precision < 1:
        raise UserError(f"--precision must be at least 0.5 and below 1, got {precision:g}")
    confidence = np.concatenate([np.asarray(one["confidence"], float) for one in val.values()])
    right = np.concatenate([np.asarray(one["right"], float) for one in val.values()])
    order = np.argsort(-confidence, kind="stable")
    together = _threshold(confidence[order], right[order], precision)
    few = precision / (1 - precision) - 1e-9
    return {
        name: together
        if len(one["right"]) < few
        else _threshold(np.asarray(one["confidence"], float), np.asarray(one["right"], float), precision)
        for name, one in val.items()
    }


def _threshold(confidence: np.ndarray, right: np.ndarray, precision: float) -> float | None:
    """The lowest confidence, of those in falling order, down to which the precision holds. Ties go together."""
    n = np.arange(1, len(right) + 1)
    holds = np.cumsum(right) / (n + 1) >= precision - 1e-12
    last_of_tie = np.append(confidence[1:] < confidence[:-1], True) if len(confidence) else np.zeros(0, bool)
    good = np.flatnonzero(holds & last_of_tie)
    return float(confidence[good[-1]]) if len(good) else None


def coverage(
    probs: np.ndarray, truth: np.ndarray, classes: Sequence[str], needed: Mapping[str, float | None]
) -> dict[str, Any]:
    """How many pictures are answered under some thresholds, and how many of these answers are right."""
    sure = answered(probs, classes, needed)
    right = (probs.argmax(axis=1) == truth) & sure
    return {"n": len(truth), "answered": int(sure.sum()), "right": int(right.sum())}


def answered(probs: np.ndarray, classes: Sequence[str], needed: Mapping[str, float | None]) -> np.ndarray:
    """True where the most probable class reaches its threshold. [n] bool"""
    lowest = np.array([np.inf if needed[name] is None else needed[name] for name in classes], float)
    return probs.max(axis=1, initial=0) >= lowest[probs.argmax(axis=1)] - 1e-6
