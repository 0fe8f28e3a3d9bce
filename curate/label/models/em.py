"""Expectation maximization over workers: the loop that Dawid-Skene, one-coin and MACE share.

All three say how probable each answer of a worker is, given the true class; they differ only in how that is estimated from
expected counts. One pass over the pictures computes what the classes of all pictures probably are, and counts, for each worker,
how often they said one class of pictures that probably are another. Memory is a block of pictures at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from curate.label.models.coded import Coded, blocks

TINY = 1e-10  # no probability is smaller: an answer nobody gave so far may still be given


@dataclass(frozen=True)
class Fitted:
    """What a model makes of votes."""

    probs: np.ndarray  # [T, K] how probable each class is for each picture
    confusion: np.ndarray  # [W, K, K] P(worker says column | row is true)
    prior: np.ndarray  # [K] P(class)
    history: list[float] = field(default_factory=list)  # what was maximized, after each iteration
    skill: np.ndarray | None = None  # [W] one number a worker, where the model has one

    @property
    def iterations(self) -> int:
        """How many times all votes were gone through."""
        return len(self.history)


# Expected counts [W, K said, K true] -> (confusion [W, K true, K said], log of the prior density of the parameters)
Maximize = Callable[[np.ndarray], tuple[np.ndarray, float]]


def fit(
    votes: Coded,
    maximize: Maximize,
    *,
    start: np.ndarray | None = None,
    learn_prior: bool = True,
    iterations: int = 100,
    tolerance: float = 1e-5,
) -> Fitted:
    """Run expectation maximization until what it maximizes rises by less than `tolerance` a vote.

    What is watched is the observed-data log-likelihood plus the log prior density of the parameters: the value that no
    iteration lowers. (A bound that counts the class prior once a vote falls, and would stop after two iterations.)

    Args:
        start: confusion [W, K, K] to begin with; default: the shares of the votes stand for the classes at first.
        learn_prior: estimate how frequent classes are; else all are equally frequent.
    """
    matrix, k = votes.matrix(), votes.classes
    even = np.full(k, 1 / k)
    density, prior = 0.0, even
    if start is None:
        counts, mass = _count_shares(matrix, votes)
        start, density = maximize(counts)
        prior = _shares(mass) if learn_prior else even
    confusion = start
    history: list[float] = []
    while True:
        counts, mass, likelihood = _pass(matrix, votes, confusion, prior)
        history.append(likelihood + density)
        risen = history[-1] - history[-2] if len(history) > 1 else np.inf
        if len(history) == iterations or risen < tolerance * max(votes.votes, 1):
            return Fitted(_posterior(matrix, votes, confusion, prior), confusion, prior, history)
        confusion, density = maximize(counts)
        prior = _shares(mass) if learn_prior else even


def _shares(mass: np.ndarray) -> np.ndarray:
    """How frequent classes are; none is impossible."""
    return np.maximum(mass / max(mass.sum(), TINY), TINY)


def _count_shares(matrix: sparse.csr_matrix, votes: Coded) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts [W, K, K] and class mass [K] where the shares of a picture's votes stand for its class."""
    k = votes.classes
    said = np.tile(np.eye(k, dtype=matrix.dtype), (votes.workers, 1))  # [W * K, K]
    counts, mass = np.zeros((votes.workers * k, k)), np.zeros(k)
    for _, part in blocks(matrix, k):
        shares = part @ said
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
        counts += part.T @ shares
        mass += shares.sum(axis=0, dtype=np.float64)
    return counts.reshape(votes.workers, k, k), mass


def _pass(
    matrix: sparse.csr_matrix, votes: Coded, confusion: np.ndarray, prior: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Once through all votes: expected counts [W, K, K], class mass [K], log-likelihood of all votes."""
    k = votes.classes
    counts, mass, likelihood = np.zeros((votes.workers * k, k)), np.zeros(k), 0.0
    scores = _log_said(confusion, matrix.dtype)
    for _, part in blocks(matrix, k):
        probs, log_total = _probs(part, scores, prior)
        counts += part.T @ probs
        mass += probs.sum(axis=0, dtype=np.float64)
        likelihood += float(log_total.sum(dtype=np.float64))
    return counts.reshape(votes.workers, k, k), mass, likelihood


def _posterior(matrix: sparse.csr_matrix, votes: Coded, confusion: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """How probable each class is for each picture [T, K]."""
    found = np.empty((votes.images, votes.classes), matrix.dtype)
    scores = _log_said(confusion, matrix.dtype)
    for place, part in blocks(matrix, votes.classes):
        found[place], _ = _probs(part, scores, prior)
    return found


def _log_said(confusion: np.ndarray, kind: np.dtype) -> np.ndarray:
    """[W * K said, K true] log P(said | true)."""
    w, k, _ = confusion.shape
    return np.log(np.maximum(confusion, TINY)).transpose(0, 2, 1).reshape(w * k, k).astype(kind)


def _probs(part: sparse.csr_matrix, scores: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities [n, K] of some pictures and the log-likelihood [n] of their votes."""
    found = np.ascontiguousarray((part @ scores).T)  # [K, n]: reducing over few classes is quick only along long rows
    found += np.log(prior).astype(found.dtype)[:, None]
    top = found.max(axis=0)
    np.exp(np.subtract(found, top, out=found), out=found)
    total = found.sum(axis=0)
    found /= total
    return np.ascontiguousarray(found.T), top + np.log(total)
