"""One answer per listing: what its pictures say together, or none where that is too unsure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from schemas.tables import ANSWERS
from train.judge.calibrate import answered


def answers(
    listings: pd.DataFrame,
    probs: np.ndarray,
    readable: np.ndarray,
    classes: list[str],
    needed: Mapping[str, float | None] | None = None,
) -> pd.DataFrame:
    """A row a listing: the class whose mean log-probability over the listing's pictures is highest.

    A mean and not a sum: more pictures of one thing are no new evidence, and the confidence stays one that thresholds of
    single pictures fit. Below its class's threshold, or without a readable picture, a listing has no answer and says why.

    Args:
        listings: marketplace, listing_id, row (a picture's place in probs); a picture may be in several.
        probs: calibrated [n, K]; rows that are not `readable` [n] are left out.
        needed: threshold per class, None = always abstain; without it every listing is answered.
    """
    used = listings[readable[listings["row"]]]
    groups = used.groupby(["marketplace", "listing_id"], sort=True)["row"]
    together = {key: _mean(probs[rows.to_numpy()]) for key, rows in groups}
    counts = groups.size()
    found = []
    for key in sorted(set(zip(listings["marketplace"], listings["listing_id"], strict=True))):
        row = {"marketplace": key[0], "listing_id": key[1], "n_pictures": int(counts.get(key, 0))}
        found.append(
            row | (_answer(together[key], classes, needed) if key in together else {"dropped": "no readable picture"})
        )
    return pd.DataFrame(found, columns=[name for name in ANSWERS.names if name not in _OF_THE_MODEL])


_OF_THE_MODEL = ("run", "task", "model_id", "precision", "temperature")


def _mean(probs: np.ndarray) -> np.ndarray:
    """Probabilities [n, K] of pictures as one row: the mean of their logarithms, made to sum to 1."""
    logs = np.log(np.clip(probs.astype(np.float64), 1e-12, None)).mean(axis=0)
    odds = np.exp(logs - logs.max())
    return (odds / odds.sum()).astype(np.float32)


def _answer(probs: np.ndarray, classes: list[str], needed: Mapping[str, float | None] | None) -> dict[str, object]:
    best = int(probs.argmax())
    guess, confidence = classes[best], float(probs[best])
    row: dict[str, object] = {"guess": guess, "confidence": confidence, "probs": probs}
    if needed is None:
        return row | {"answer": guess}
    row["threshold"] = needed[guess]
    if answered(probs[None], classes, needed)[0]:
        return row | {"answer": guess}
    return row | {"dropped": "its class never reaches the precision" if needed[guess] is None else "too unsure"}
