"""MACE: Hovy, Berg-Kirkpatrick, Vaswani and Hovy, "Learning Whom to Trust with MACE", NAACL 2013.

A worker either knows the class, or answers without looking, from a distribution of their own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from curate.label.models.coded import Coded
from curate.label.models.em import TINY, Fitted, fit


def mace(
    votes: Coded,
    smoothing: float = 0.1,
    restarts: int = 4,
    seed: int = 0,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> Fitted:
    """Class probabilities of pictures, and in `skill` how often each worker looks; the likeliest of several starts.

    The first start is the shares of the votes, the others are drawn from `seed`. All classes are equally frequent.

    Args:
        smoothing: imagined votes of each worker that know, that do not, and that do not for each class.
    """
    k = votes.classes
    know = np.full(votes.workers, 0.5)  # of the iteration before: how a right answer is divided
    guess = np.full((votes.workers, k), 1 / k)

    def maximize(counts: np.ndarray) -> tuple[np.ndarray, float]:
        nonlocal know, guess
        agreed = np.einsum("wkk->wk", counts)  # [W, K] votes for the true class
        knew = agreed * (know[:, None] / np.maximum(know[:, None] + (1 - know[:, None]) * guess, TINY))
        guessed = counts.sum(axis=2) - knew + smoothing / k
        known = knew.sum(axis=1) + smoothing
        know = known / np.maximum(known + guessed.sum(axis=1), TINY)
        guess = guessed / np.maximum(guessed.sum(axis=1, keepdims=True), TINY)
        logs = np.log(np.maximum(know, TINY)).sum() + np.log(np.maximum(1 - know, TINY)).sum()
        logs += np.log(np.maximum(guess, TINY)).sum() / k
        return _confusion(know, guess), smoothing * float(logs)

    best: Fitted | None = None
    rng = np.random.default_rng(seed)
    for number in range(1 + restarts):
        start = None
        know, guess = np.full(votes.workers, 0.5), np.full((votes.workers, k), 1 / k)
        if number:
            know, guess = rng.beta(2, 2, votes.workers), rng.dirichlet(np.full(k, 10.0), votes.workers)
            start = _confusion(know, guess)
        found = fit(votes, maximize, start=start, learn_prior=False, iterations=iterations, tolerance=tolerance)
        found = replace(found, skill=know.copy())
        if best is None or found.history[-1] > best.history[-1] + 1e-9 * abs(best.history[-1]):
            best = found
    assert best is not None
    return best


def _confusion(know: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """[W, K, K] P(said | true) of workers who know with probability `know` [W] and else say `guess` [W, K]."""
    k = guess.shape[1]
    return (1 - know)[:, None, None] * guess[:, None, :] + know[:, None, None] * np.eye(k)
