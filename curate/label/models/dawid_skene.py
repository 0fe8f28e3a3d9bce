"""Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", Applied Statistics 28 (1979).

Each worker has a confusion matrix: how often they say each class of pictures of each class.
"""

from __future__ import annotations

import numpy as np

from curate.label.models.coded import Coded
from curate.label.models.em import TINY, Fitted, fit


def dawid_skene(votes: Coded, smoothing: float = 0.01, iterations: int = 100, tolerance: float = 1e-5) -> Fitted:
    """Class probabilities of pictures and confusion matrices of workers, from votes alone.

    Args:
        smoothing: imagined votes in each cell of each confusion matrix; keeps workers with few votes from being certain.
            With 0 it is the method as published.
    """

    def maximize(counts: np.ndarray) -> tuple[np.ndarray, float]:
        confusion = counts.transpose(0, 2, 1) + smoothing
        confusion = confusion / np.maximum(confusion.sum(axis=2, keepdims=True), TINY)
        density = smoothing * float(np.log(np.maximum(confusion, TINY)).sum()) if smoothing else 0.0
        return confusion, density

    return fit(votes, maximize, iterations=iterations, tolerance=tolerance)
