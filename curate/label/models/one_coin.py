"""One coin a worker: right with one probability whatever the class, wrong evenly over the others.

The simplest model of Zhang, Chen, Zhou and Jordan, "Spectral Methods meet EM", JMLR 17 (2016), there called one-coin.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.label.models.coded import Coded
from curate.label.models.em import TINY, Fitted, fit


def one_coin(votes: Coded, smoothing: float = 0.01, iterations: int = 100, tolerance: float = 1e-5) -> Fitted:
    """Class probabilities of pictures, and in `skill` how often each worker is right; all classes equally frequent at first.

    Args:
        smoothing: imagined right and wrong votes of each worker.
    """

    def maximize(counts: np.ndarray) -> tuple[np.ndarray, float]:
        right = np.einsum("wkk->w", counts) + smoothing
        skill = right / np.maximum(counts.sum(axis=(1, 2)) + 2 * smoothing, TINY)
        likely = np.log(np.maximum(skill, TINY)) + np.log(np.maximum(1 - skill, TINY))
        return coins(skill, votes.classes), smoothing * float(likely.sum()) if smoothing else 0.0

    found = fit(votes, maximize, iterations=iterations, tolerance=tolerance)
    return replace(found, skill=found.confusion[:, 0, 0])


def coins(skill: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrices [W, K, K] of workers who are right with probability `skill` [W]."""
    wrong = (1 - skill) / max(classes - 1, 1)
    return wrong[:, None, None] + (skill - wrong)[:, None, None] * np.eye(classes)
