"""CROWDLAB: Goh, Tkachenko and Mueller, "Utilizing supervised models to infer consensus labels", NeurIPS workshops 2022.

A weighted average of a classifier and the workers who saw the picture, each weighted by how much better than the most frequent
class it does where people agree. The classifier must not have been trained on the picture it is asked about.
"""

from __future__ import annotations

import numpy as np

from curate.label.models.coded import Coded
from curate.label.models.em import Fitted
from curate.label.models.one_coin import coins


def crowdlab(votes: Coded, predicted: np.ndarray) -> Fitted:
    """Class probabilities of pictures from votes and from a classifier, and in `skill` each worker's agreement with others.

    Args:
        predicted: [T, K] class probabilities of a classifier that was not trained on the picture.
    """
    k = votes.classes
    counts = votes.counts()
    seen = counts.sum(axis=1)
    rank = counts + predicted / 2  # a tie of votes goes to the class that the classifier finds likelier
    consensus = rank.argmax(axis=1)
    several = seen > 1
    on_several = several[votes.image]
    # how often a worker says what the others on the same picture say
    others = counts[votes.image, votes.label] - 1
    agrees = np.where(on_several, others / np.maximum(seen[votes.image] - 1, 1), 0.0)
    shared = np.bincount(votes.worker, on_several, votes.workers)
    overall = agrees.sum() / max(on_several.sum(), 1)
    agreement = np.where(shared > 0, np.bincount(votes.worker, agrees, votes.workers) / np.maximum(shared, 1), overall)
    # how often any vote is the consensus where several were given: what one vote is worth
    worth = float((votes.label == consensus[votes.image])[on_several].mean()) if on_several.any() else 0.5
    usual = (
        float((consensus[several] == np.bincount(consensus[several], minlength=k).argmax()).mean())
        if several.any()
        else 0
    )
    right = float((predicted.argmax(axis=1) == consensus)[several].mean()) if several.any() else 0.5
    trust = _weight(agreement, usual)  # [W]
    of_model = float(_weight(np.array([right]), usual)[0]) * np.sqrt(seen[seen > 0].mean() if (seen > 0).any() else 1)
    spread = (1 - worth) / max(k - 1, 1)
    weight = np.bincount(votes.image, trust[votes.worker], votes.images)
    cells = votes.image.astype(np.int64) * k + votes.label
    extra = np.bincount(cells, trust[votes.worker] * (worth - spread), votes.images * k).reshape(-1, k)
    total = of_model * predicted + extra + (weight * spread)[:, None]
    probs = total / total.sum(axis=1, keepdims=True)
    return Fitted(probs, coins(agreement, k), probs.mean(axis=0), [], agreement)


def _weight(accuracy: np.ndarray, usual: float) -> np.ndarray:
    """How much better than always saying the most frequent class, as a share of the errors that leaves; never quite 0."""
    return np.maximum(1 - (1 - accuracy) / max(1 - usual, 1e-6), 1e-6)
