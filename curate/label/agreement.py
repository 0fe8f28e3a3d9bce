"""How far people agree: Krippendorff's alpha, Fleiss' kappa, and the classes they take for one another.

Both statistics are 1 when all votes on every picture are equal, about 0 when votes fall as if nobody had looked. Pictures
with one vote say nothing about agreement and are left out. Where all votes are one class no disagreement could have been
expected and the textbook formulas divide zero by zero: here that is 1, since nobody disagreed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.label.ballots import Ballots, class_counts
from schemas.tables import AGREEMENT, CONFUSIONS

OVERALL, CLASS, MARKETPLACE = "overall", "class", "marketplace"
_BLOCK = 1 << 22  # cells of the pictures x classes table held at once


@dataclass(frozen=True)
class Tally:
    """How often each class was said of each picture, pictures with two votes or more only; no zeros are kept."""

    image: np.ndarray  # [E] picture of the entry
    label: np.ndarray  # [E] class
    n: np.ndarray  # [E] float: votes of that class on that picture
    total: np.ndarray  # [E] float: all votes on that picture
    classes: int

    def of(self, images: np.ndarray) -> Tally:
        """Only the pictures that `images`, a mask over all of them, names."""
        keep = images[self.image]
        return Tally(self.image[keep], self.label[keep], self.n[keep], self.total[keep], self.classes)

    def by_class(self, values: np.ndarray) -> np.ndarray:
        """Values of the entries summed by class, [K]."""
        return np.bincount(self.label, values, self.classes)


def tally(votes: Ballots) -> Tally:
    """Count the votes that count."""
    image, label, n = class_counts(votes)
    total = np.bincount(image, n, len(votes.images))[image]
    several = total >= 2
    return Tally(image[several], label[several], n[several].astype(float), total[several], max(len(votes.classes), 1))


def alpha(counts: Tally) -> float:
    """Krippendorff's alpha for nominal data, any number of votes per picture; NaN without a picture of two votes.

    1 - observed / expected disagreement over pairs of votes, each vote weighing the same (K. Krippendorff, Computing
    Krippendorff's alpha-reliability, 2011, form C).
    """
    votes = counts.n.sum()
    if not votes:
        return float("nan")
    observed = (counts.n * (counts.total - counts.n) / (counts.total - 1)).sum() / votes
    of_class = counts.by_class(counts.n)
    expected = (of_class * (votes - of_class)).sum() / (votes * (votes - 1))
    return float(1 - observed / expected) if expected > 0 else 1.0


def kappa(counts: Tally) -> float:
    """Fleiss' kappa with each picture weighing the same, however many votes it has; NaN without a picture of two votes.

    With equal numbers of votes this is the textbook's value (J. L. Fleiss 1971); with unequal ones the mean over pictures of
    both the equal pairs and the class shares, as K. L. Gwet generalizes it (Handbook of Inter-Rater Reliability, ch. 2).
    """
    pictures = (counts.n / counts.total).sum()  # shares of a picture sum to 1
    if not pictures:
        return float("nan")
    equal = (counts.n * (counts.n - 1) / (counts.total * (counts.total - 1))).sum() / pictures
    shares = counts.by_class(counts.n / counts.total) / pictures
    chance = (shares**2).sum()
    return float((equal - chance) / (1 - chance)) if len(np.unique(counts.label)) > 1 else 1.0


def alpha_by_class(counts: Tally) -> np.ndarray:
    """Alpha of each class against all others, [K]: every vote becomes `this class` or not. NaN where nobody said the class."""
    votes, own = counts.n.sum(), counts.by_class(counts.n)
    observed = 2 * counts.by_class(counts.n * (counts.total - counts.n) / (counts.total - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = 2 * own * (votes - own) / (votes - 1)
        found = 1 - observed / expected
    return np.where(own == 0, np.nan, np.where(own == votes, 1.0, found))


def kappa_by_class(counts: Tally) -> np.ndarray:
    """Kappa of each class against all others, [K], as `alpha_by_class`."""
    pictures = (counts.n / counts.total).sum()
    own = counts.by_class(counts.n)
    differ = 2 * counts.by_class(counts.n * (counts.total - counts.n) / (counts.total * (counts.total - 1)))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = counts.by_class(counts.n / counts.total) / pictures
        found = 1 - (differ / pictures) / (2 * share * (1 - share))
    return np.where(own == 0, np.nan, np.where(own == counts.n.sum(), 1.0, found))


def agreement(votes: Ballots, appearances: pd.DataFrame | None = None) -> pd.DataFrame:
    """The AGREEMENT table: overall, by class in class order, by marketplace by name.

    A class row compares `this class` with `any other`; its `agreement` is the share of the other votes on a picture that say
    the class too, where one does. A picture counts in every marketplace of `appearances` (image_id, marketplace) that shows
    it. Marketplaces without a vote have no row.
    """
    counts = tally(votes)
    rows = [_row(OVERALL, "all", counts), *_class_rows(votes.classes, counts)]
    if appearances is not None and len(appearances):
        place = votes.images.get_indexer(pd.Index(appearances["image_id"]))
        for name in sorted(appearances["marketplace"].unique()):
            shown = place[(appearances["marketplace"] == name).to_numpy() & (place >= 0)]
            mask = np.zeros(len(votes.images), bool)
            mask[shown] = True
            if len((own := counts.of(mask)).n):
                rows.append(_row(MARKETPLACE, str(name), own))
    return AGREEMENT.frame(rows)


def _row(scope: str, name: str, counts: Tally) -> dict[str, object]:
    pairs = (counts.n * (counts.total - 1)).sum()
    return {
        "scope": scope,
        "name": name,
        "n_images": len(np.unique(counts.image)),
        "n_votes": int(counts.n.sum()),
        "alpha": _or_none(alpha(counts)),
        "kappa": _or_none(kappa(counts)),
        "agreement": float((counts.n * (counts.n - 1)).sum() / pairs) if pairs else None,
    }


def _class_rows(classes: Sequence[str], counts: Tally) -> list[dict[str, object]]:
    pairs = counts.by_class(counts.n * (counts.total - 1))
    equal = counts.by_class(counts.n * (counts.n - 1))
    images, own = np.bincount(counts.label, minlength=counts.classes), counts.by_class(counts.n)
    alphas, kappas = alpha_by_class(counts), kappa_by_class(counts)
    return [
        {
            "scope": CLASS,
            "name": key,
            "n_images": int(images[c]),
            "n_votes": int(own[c]),
            "alpha": _or_none(alphas[c]),
            "kappa": _or_none(kappas[c]),
            "agreement": float(equal[c] / pairs[c]) if pairs[c] else None,
        }
        for c, key in enumerate(classes)
    ]


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def confusions(votes: Ballots) -> pd.DataFrame:
    """The CONFUSIONS table: each pair of classes that were both said of one picture, the most frequent pair first."""
    counts = tally(votes)
    said = np.bincount(counts.label, minlength=counts.classes)
    both = _together(counts)
    a, b = np.nonzero(np.triu(both, 1))
    order = np.lexsort((b, a, -both[a, b]))
    a, b = a[order], b[order]
    keys = np.array([*votes.classes], object)
    frame = pd.DataFrame(
        {"class_a": keys[a], "class_b": keys[b], "n_images": both[a, b],
         "share_a": both[a, b] / np.maximum(said[a], 1), "share_b": both[a, b] / np.maximum(said[b], 1)}
    )  # fmt: skip
    return CONFUSIONS.check(frame) if len(frame) else CONFUSIONS.empty()


def _together(counts: Tally) -> np.ndarray:
    """Of how many pictures both classes were said, [K, K]; pictures in blocks, so that memory stays small."""
    pictures, at = np.unique(counts.image, return_inverse=True)
    step = max(1, _BLOCK // counts.classes)
    both = np.zeros((counts.classes, counts.classes), np.int64)
    for start in range(0, len(pictures), step):
        low, high = np.searchsorted(at, [start, start + step])  # entries are in picture order
        table = np.zeros((min(step, len(pictures) - start), counts.classes), np.float32)
        table[at[low:high] - start, counts.label[low:high]] = 1
        both += np.rint(table.T @ table).astype(np.int64)
    return both


NOISE = 0.05  # below one picture in twenty a second opinion is a slip of the hand rather than a likeness


def confused_with(pairs: pd.DataFrame, most: int = 3) -> dict[str, list[str]]:
    """For each class up to `most` classes that people take it for, the likeliest first.

    Pairs of CONFUSIONS seen on one picture only, or on less than NOISE of the pictures where somebody said the class, are
    left out; a class without any has no entry.
    """
    one = pairs.rename(columns={"class_a": "key", "class_b": "other", "share_a": "share"})
    two = pairs.rename(columns={"class_b": "key", "class_a": "other", "share_b": "share"})
    both = pd.concat([one, two])[["key", "other", "n_images", "share"]]
    both = both[(both["n_images"] >= 2) & (both["share"] >= NOISE)]
    both = both.sort_values(["key", "share", "n_images", "other"], ascending=[True, False, False, True])
    found: dict[str, list[str]] = {}
    for key, other in zip(both["key"], both["other"], strict=True):
        found.setdefault(str(key), []).append(str(other))
    return {key: others[:most] for key, others in found.items()}


def agreement_lines(table: pd.DataFrame, pairs: pd.DataFrame, most: int = 8) -> list[str]:
    """What a person wants to know after `curate agreement`, line by line."""
    total = table[table["scope"] == OVERALL].iloc[0]
    if pd.isna(total["alpha"]):
        return ["no picture has two votes that count; agreement cannot be measured"]
    lines = [
        f"alpha {total['alpha']:.3f}, kappa {total['kappa']:.3f} over {total['n_images']:,} pictures with two votes or more; "
        f"{100 * total['agreement']:.1f} % of the pairs of votes on one picture are equal",
        "(1 = all agree, 0 = as if nobody had looked; below 0.667 Krippendorff advises to draw no conclusions)",
    ]
    for scope, note in (
        (
            CLASS,
            "each against all others; pictures: where somebody said it; equal: share of the other votes there that say it too",
        ),
        (MARKETPLACE, "a picture counts in every marketplace that shows it"),
    ):
        own = table[(table["scope"] == scope) & (table["n_images"] > 0)]
        if len(own):
            lines += ["", *_grid(scope, own), f"({note})"]
    if len(pairs):
        lines += ["", "confused most often:"]
        for pair in pairs.head(most).to_dict("records"):
            n, a, b = pair["n_images"], pair["class_a"], pair["class_b"]
            lines.append(
                f"  {a} and {b}: {n:,} picture{'s' if n > 1 else ''} "
                f"({100 * pair['share_a']:.0f} % of {a}, {100 * pair['share_b']:.0f} % of {b})"
            )
    return lines


def _grid(scope: str, rows: pd.DataFrame) -> list[str]:
    """Rows of one scope, lined up."""
    width = max(len(scope), *(len(name) for name in rows["name"]))
    lines = [f"{scope:<{width}} {'pictures':>9} {'votes':>10} {'alpha':>6} {'kappa':>6} {'equal':>6}"]
    columns = (rows[name] for name in ("name", "n_images", "n_votes", "alpha", "kappa", "agreement"))
    for name, images, votes, a, k, equal in zip(*columns, strict=True):
        lines.append(f"{name:<{width}} {images:>9,} {votes:>10,} {a:>6.3f} {k:>6.3f} {100 * equal:>4.0f} %")
    return lines
