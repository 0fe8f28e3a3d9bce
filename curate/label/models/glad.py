"""GLAD: Whitehill, Ruvolo, Wu, Bergsma and Movellan, "Whose Vote Should Count More", NIPS 2009.

Workers have a skill and pictures a difficulty: a vote is right with probability sigmoid(skill * easiness), wrong evenly.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, softmax

from curate.label.models.coded import Coded
from curate.label.models.em import Fitted
from curate.label.models.one_coin import coins


def glad(votes: Coded, iterations: int = 30, steps: int = 20, tolerance: float = 1e-5) -> Fitted:
    """Class probabilities of pictures, and in `skill` the skill of each worker (0 = guesses, below 0 = misleads).

    Skill and log easiness have normal priors, around 1 and 0, with variance 1. Each iteration takes up to `steps` steps of
    L-BFGS in them. All classes are equally frequent.
    """
    w, k = votes.workers, votes.classes
    theta = np.r_[np.ones(w), np.zeros(votes.images)]
    history: list[float] = []
    probs = np.empty((votes.images, k))
    for _ in range(iterations):
        probs, likelihood = _expect(votes, theta)
        history.append(likelihood + _log_prior(theta, w))
        if len(history) > 1 and history[-1] - history[-2] < tolerance * max(votes.votes, 1):
            break
        right = probs[votes.image, votes.label]
        theta = minimize(
            _loss, theta, args=(votes, right), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 10}
        ).x
    probs, _ = _expect(votes, theta)
    return Fitted(probs, coins(expit(theta[:w]), k), np.full(k, 1 / k), history, theta[:w])


def _strength(votes: Coded, theta: np.ndarray) -> np.ndarray:
    """[V] skill of the worker times easiness of the picture."""
    return theta[votes.worker] * np.exp(theta[votes.workers + votes.image])


def _expect(votes: Coded, theta: np.ndarray) -> tuple[np.ndarray, float]:
    """Class probabilities [T, K] and the log-likelihood of all votes."""
    strength = _strength(votes, theta)
    wrong = log_expit(-strength) - np.log(max(votes.classes - 1, 1))
    cells = votes.image.astype(np.int64) * votes.classes + votes.label
    scores = np.bincount(cells, log_expit(strength) - wrong, votes.images * votes.classes)
    scores = scores.reshape(votes.images, votes.classes) - np.log(votes.classes)
    scores += np.bincount(votes.image, wrong, votes.images)[:, None]
    top = scores.max(axis=1)
    likelihood = float((top + np.log(np.exp(scores - top[:, None]).sum(axis=1))).sum())
    return softmax(scores, axis=1), likelihood


def _log_prior(theta: np.ndarray, workers: int) -> float:
    return -0.5 * float(((theta[:workers] - 1) ** 2).sum() + (theta[workers:] ** 2).sum())


def _loss(theta: np.ndarray, votes: Coded, right: np.ndarray) -> tuple[float, np.ndarray]:
    """Minus the expected log-likelihood of all votes and priors, and its gradient; `right` [V] P(the vote is right)."""
    w = votes.workers
    easy = np.exp(theta[w + votes.image])
    strength = theta[votes.worker] * easy
    value = float((right * log_expit(strength) + (1 - right) * log_expit(-strength)).sum()) + _log_prior(theta, w)
    slope = right - expit(strength)
    of_worker = np.bincount(votes.worker, slope * easy, w) - (theta[:w] - 1)
    of_image = np.bincount(votes.image, slope * strength, votes.images) - theta[w:]
    return -value, -np.r_[of_worker, of_image]
