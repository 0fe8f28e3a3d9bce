"""What looks wrong in a worker's record, each with its figure and reason.

A flag is a reason to look, never a verdict: nothing is excluded but by a person (`curate workers exclude`). Slow answers came
with more errors in real labeling, so `too fast` says nothing by itself; and who shares pictures with spammers agrees with
nobody. Each flag is held against chance or against the other workers of the task, not against a number from elsewhere.
"""

from __future__ import annotations

import numpy as np

from curate.label.record import Record
from schemas.interval import wilson

ENOUGH = (
    10  # answers, about one HIT: with fewer a worker is listed, never flagged (gold needs none: its interval is enough)
)
CERTAIN = 0.05  # how often a flag by chance may fall on somebody in the whole crowd
# Share of answers given as if without looking; below it a worker leans to a class, which the confusion matrix shows.
STRAIGHT = 0.5
HASTE = 1 / 3  # of the median worker's seconds
OUTLYING = 3.0  # robust standard deviations below the median worker


def flags(found: Record, classes: tuple[str, ...], pass_mark: float) -> list[list[str]]:
    """For each worker what looks wrong, in words with figures; an empty list where nothing does."""
    said: list[list[str]] = [[] for _ in found.n]
    for find in (_low_gold, _spam, _low_agreement, _straight_lining, _long_run, _too_fast):
        for w, text in find(found, classes, pass_mark).items():
            said[w].append(text)
    return said


def _low_gold(found: Record, _classes: tuple[str, ...], pass_mark: float) -> dict[int, str]:
    low, high = wilsons(found.gold_right, found.gold_n)
    return {
        int(w): f"low gold: {found.gold_right[w]} of {found.gold_n[w]} right ({span(low[w], high[w])}); "
        f"the task asks for {100 * pass_mark:.0f} %"
        for w in np.flatnonzero((found.gold_n > 0) & (high < pass_mark))
    }


def _spam(found: Record, _classes: tuple[str, ...], _mark: float) -> dict[int, str]:
    """Workers whose answers fit the pictures no better than the same answers dealt at random, where a typical worker's would."""
    right = found.agree + found.gold_right
    n = found.agreement_n + found.gold_n
    typical = _typical(found)
    with np.errstate(invalid="ignore"):
        no_better = right <= found.by_chance + 1.645 * found.by_chance_sd  # one-sided 5 %
    _, high = wilsons(right, n)
    return {
        int(w): f"no better than chance (spammer score {found.score[w]:.2f}): {right[w]} of {n[w]} answers fit, "
        f"{found.by_chance[w]:.0f} would if dealt at random"
        for w in np.flatnonzero((n >= ENOUGH) & no_better & (high < typical) & ~np.isnan(found.score))
    }


def _low_agreement(found: Record, _classes: tuple[str, ...], _mark: float) -> dict[int, str]:
    """Workers who even at the upper end of their interval lie OUTLYING robust deviations below the median worker."""
    enough = found.agreement_n >= ENOUGH
    share = found.agree / np.maximum(found.agreement_n, 1)
    middle = _typical(found)
    spread = 1.4826 * float(np.median(np.abs(share[enough] - middle))) if enough.any() else 0.0
    low, high = wilsons(found.agree, found.agreement_n)
    return {
        int(w): f"low agreement: {100 * share[w]:.0f} % of {found.agreement_n[w]} ({span(low[w], high[w])}); "
        f"the median worker has {100 * middle:.0f} %"
        for w in np.flatnonzero(enough & (high < middle - OUTLYING * spread))
    }


def _typical(found: Record) -> float:
    """Agreement of the median worker, among those with ENOUGH votes; 0 where there is none."""
    enough = found.agreement_n >= ENOUGH
    return float(np.median(found.agree[enough] / found.agreement_n[enough])) if enough.any() else 0.0


def _straight_lining(found: Record, classes: tuple[str, ...], _mark: float) -> dict[int, str]:
    """Workers who say one class far more often than others do of the same pictures.

    The others' share of each picture is the chance that a looking worker says the class; the tail of such a sum is at most
    exp(-n KL(said || expected)) (H. Chernoff 1952, W. Hoeffding 1956), tested for every worker and class at once.
    """
    n = np.maximum(found.compared_n, 1)
    x, q = found.straight_n / n, found.straight_expected / n
    unlikely = np.exp(-n * _divergence(x, q)) * len(n) * max(len(classes), 1) < CERTAIN
    blind = (x - q) / np.maximum(1 - q, 1e-9)
    name = [classes[c] for c in found.straight] if classes else []
    return {
        int(w): f"straight-lining: {100 * x[w]:.0f} % {name[w]}; the others {100 * q[w]:.0f} % "
        f"on the same {found.compared_n[w]:.0f} pictures"
        for w in np.flatnonzero((found.compared_n >= ENOUGH) & (x > q) & unlikely & (blind >= STRAIGHT))
    }


def _long_run(found: Record, classes: tuple[str, ...], _mark: float) -> dict[int, str]:
    """Workers with a run of ENOUGH equal answers that chance would bring up in fewer than one such crowd of twenty."""
    p = found.run_p * len(found.n) * max(len(classes), 1)
    return {
        int(w): f"straight-lining: {found.run[w]} times {classes[found.run_class[w]]} in a row "
        f"(chance {'below 1 in a million' if p[w] < 1e-6 else f'{p[w]:.1g}'} in this crowd)"
        for w in np.flatnonzero((found.run >= ENOUGH) & (p < CERTAIN))
    }


def _too_fast(found: Record, _classes: tuple[str, ...], _mark: float) -> dict[int, str]:
    timed = (found.seconds_n >= ENOUGH) & ~np.isnan(found.seconds)
    if timed.sum() < 2:
        return {}
    usual = float(np.median(found.seconds[timed]))
    return {
        int(w): f"too fast: {found.seconds[w]:.1f} s a picture; the median worker takes {usual:.1f} s"
        for w in np.flatnonzero(timed & (found.seconds < HASTE * usual))
    }


def wilsons(right: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`schemas.interval.wilson` for arrays: 95 % interval of right / n; 0 to 1 where n is 0."""
    found = np.array([wilson(int(r), int(m)) for r, m in zip(right, n, strict=True)], float).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _divergence(x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of two coins, nats; infinite where q rules out what was seen."""
    with np.errstate(divide="ignore", invalid="ignore"):
        heads = np.where(x > 0, x * np.log(x / q), 0.0)
        tails = np.where(x < 1, (1 - x) * np.log((1 - x) / (1 - q)), 0.0)
    return np.where(q >= 1, 0.0, heads + tails)


def span(low: float, high: float) -> str:
    """An interval in percent, as people read it."""
    return f"{100 * low:.0f}–{100 * high:.0f}"
