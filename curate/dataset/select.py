"""What to ask people next: pictures that would teach a model most, labels that it disbelieves, workers who guess.

Every selection is a list in order, and a budget takes its longest beginning that fits, so a larger budget asks the same
pictures and more. Chance enters only through sha256 of seed and id: row order does not matter.

Some pictures must stay honest. Only `random` ones may later be tested on, so no model may have a say in which these are, in
any round. A tenth of the clusters, fixed by a hash of their permanent id, is therefore kept from every model: models choose
among the others, and once a model has chosen, random pictures come from the kept tenth alone. It is a fair sample of
everything, whatever the models took elsewhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.dataset.candidates import (
    DISPUTED,
    LABELED,
    NEW,
    STALE,
    WAITING,
    Fits,
    Rule,
    Selected,
    counted,
    draw,
    left_out,
    longest,
    needed,
    selected,
)
from schemas.errors import UserError

KEPT = 0.1  # share of the clusters that no model ever chooses from
HONEST = ("random", "disputed", "recheck", "gold")  # reasons for asking in which no model chose among new pictures
DIVERSE_AMONG = 20_000  # pictures that the farthest are looked for among, and vectors of asked ones to be far from

Vectors = Callable[[Sequence[str]], tuple[list[str], np.ndarray]]  # ids that have one, and their vectors [n, d]


@dataclass(frozen=True)
class Wish:
    """What a person wants of pictures to label."""

    by: str = "margin"  # or entropy
    random_share: float = 0.1
    min_per_class: int = 0  # ask for a class until it has so many labels
    per_marketplace: int | None = None  # at most so many of one marketplace, random ones aside
    diverse_share: float = 0.0  # of the pictures that are not random: far from everything asked so far
    spread: bool = True  # where there are embeddings: not ten pictures of one kind among the uncertain ones
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ("margin", "entropy"):
            raise UserError(f"--by must be margin or entropy, got {self.by!r}")
        for name, value in (("random-share", self.random_share), ("diverse-share", self.diverse_share)):
            if not 0 <= value <= 1:
                raise UserError(f"--{name} must be between 0 and 1, got {value}")
        for name, number in (("min-per-class", self.min_per_class), ("per-marketplace", self.per_marketplace)):
            if number is not None and number < 0:
                raise UserError(f"--{name} must be 0 or more, got {number}")


def select_to_label(
    candidates: pd.DataFrame,
    hits: pd.DataFrame,
    rule: Rule,
    wish: Wish,
    fits: Fits,
    *,
    task: str,
    predictions: pd.DataFrame | None = None,
    vectors: Vectors | None = None,
) -> Selected:
    """Unlabeled pictures that are worth asking about, in order, as many as the budget takes.

    Every tenth (`random_share`) is random. The others: without predictions the disputed ones; with predictions first what
    rare classes lack, then the least certain, weighted by 1 / sqrt(labels of the predicted class). One per cluster, none of
    whose pictures is labeled, gold, or waiting for answers.

    Args:
        candidates: as `pool` gives them.
        hits: HITS of the task: whether a model has chosen before.
        predictions: image_id, predicted, probs in class order.
        vectors: reads embeddings, for `diverse_share`.
    Raises UserError when nothing is left to ask or the budget is too small for one picture.
    """
    free = _one_per_cluster(candidates)
    if free.empty:
        raise UserError(f"nothing left to ask: {_why_not(candidates)}")
    free["assignments"] = [
        rule.first if state == NEW else needed(int(n), int(top), rule)
        for state, n, top in zip(free["state"], free["n_votes"].fillna(0), free["n_agree"].fillna(0), strict=True)
    ]
    free["draw"] = [draw(wish.seed, "select", image_id) for image_id in free["image_id"]]
    kept = pd.Series([_kept(cluster) for cluster in free["cluster_id"]], index=free.index, dtype=bool)
    before = bool((~hits["chosen_by"].isin(HONEST)).any())
    steered = before or predictions is not None or wish.diverse_share > 0 or wish.per_marketplace is not None
    new = free["state"] == NEW
    at_random = _stratified(free[new & kept] if steered else free[new], wish.seed)
    at_random = at_random.assign(chosen_by="random", reason="drawn at random", score=np.nan)
    others = free[~new | ~kept]
    chosen, notes = _steered(others, candidates, rule, wish, fits, predictions, vectors)
    rows = _interleave(at_random, chosen, wish.random_share)
    if not len(rows):
        raise UserError(
            "nothing left to ask: all that could be chosen at random has been; give --predictions FILE, or --random-share 0"
        )
    rows = rows.iloc[: longest(rows, fits)]
    if not len(rows):
        raise UserError("the budget is too small for one picture; raise it")
    randoms = int((rows["chosen_by"] == "random").sum())
    wanted = int(np.ceil(wish.random_share * len(rows) - 1e-9))
    if randoms < wanted:
        notes.append(f"{wanted - randoms} fewer random pictures than wanted: no more are kept from the models")
    notes += left_out(candidates)
    return selected(rows, task, "label", notes)


def _one_per_cluster(candidates: pd.DataFrame) -> pd.DataFrame:
    """The picture to ask of each cluster that has no label, no gold and nothing under way: a disputed one first."""
    taken = candidates["state"].isin([LABELED, WAITING, STALE, "gold"]) | candidates["state"].str.startswith("out")
    blocked = set(candidates.loc[taken, "cluster_id"])
    free = candidates[candidates["state"].isin([NEW, DISPUTED]) & ~candidates["cluster_id"].isin(blocked)]
    free = free.assign(new=free["state"] == NEW, twin=~free["representative"])
    free = free.sort_values(["new", "twin", "image_id"]).drop_duplicates("cluster_id")
    return free.drop(columns=["new", "twin"]).sort_values("image_id", ignore_index=True)


def _kept(cluster_id: str) -> bool:
    """Whether a cluster is kept from every model: by its permanent id alone, whatever the seed."""
    return int(hashlib.sha256(f"kept from models {cluster_id}".encode()).hexdigest()[:8], 16) < KEPT * 2**32


def _stratified(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows in a random order of which every beginning has each marketplace in proportion, all equally likely."""
    rows = rows.sort_values("draw")
    place = rows.groupby("marketplace").cumcount()
    size = rows.groupby("marketplace")["image_id"].transform("size")
    starts = {name: int(draw(seed, "start", name)[:8], 16) / 2**32 for name in rows["marketplace"].unique()}
    start = rows["marketplace"].map(starts).astype(float)
    return rows.assign(at=(place + start) / size).sort_values(["at", "draw"]).drop(columns="at")


def _steered(
    rows: pd.DataFrame,
    candidates: pd.DataFrame,
    rule: Rule,
    wish: Wish,
    fits: Fits,
    predictions: pd.DataFrame | None,
    vectors: Vectors | None,
) -> tuple[pd.DataFrame, list[str]]:
    """Rows that are chosen for a reason, in order, with chosen_by, reason and score; and notes."""
    notes = []
    if predictions is None:
        disputed = rows[rows["state"] == DISPUTED].sort_values(["assignments", "draw"])
        ordered = disputed.assign(chosen_by=DISPUTED, score=1 / disputed["assignments"], reason=_disputed(disputed))
        if wish.per_marketplace is not None:
            ordered = pd.concat([ordered, _by_marketplace(rows[rows["state"] == NEW])])
    else:
        ordered, unknown = _uncertain(rows, candidates, rule, wish, predictions)
        if unknown:
            notes.append(f"{unknown:,} pictures have no prediction and could not be chosen by it")
        if vectors is not None and wish.spread:
            ordered = _spread(ordered, round((1 - wish.random_share) * longest(rows, fits)), vectors)
    if wish.per_marketplace is not None:
        ordered = ordered[ordered.groupby("marketplace").cumcount() < wish.per_marketplace]
    if wish.diverse_share > 0:
        if vectors is None:
            raise UserError("--diverse-share needs embeddings: run `curate embed`")
        count = round(wish.diverse_share * (1 - wish.random_share) * longest(rows, fits))
        far = _diverse(rows[rows["state"] == NEW], candidates, count, wish.seed, vectors)
        rest = ordered[~ordered["image_id"].isin(set(far["image_id"]))]
        ordered = _interleave(far, rest, wish.diverse_share)
    return ordered, notes


def _disputed(rows: pd.DataFrame) -> list[str]:
    return [
        f"{int(top)} of {int(n)} agree" if n else "nobody answered"
        for n, top in zip(rows["n_votes"].fillna(0), rows["n_agree"].fillna(0), strict=True)
    ]


def _by_marketplace(rows: pd.DataFrame) -> pd.DataFrame:
    """One of each marketplace, then a second one of each, and so on; at random within a marketplace."""
    rows = rows.sort_values("draw")
    rows = rows.assign(turn=rows.groupby("marketplace").cumcount()).sort_values(["turn", "draw"]).drop(columns="turn")
    return rows.assign(chosen_by="marketplace", score=np.nan, reason="of " + rows["marketplace"])


def _uncertain(
    rows: pd.DataFrame, candidates: pd.DataFrame, rule: Rule, wish: Wish, predictions: pd.DataFrame
) -> tuple[pd.DataFrame, int]:
    """Rows by what a model says of them: first what rare classes lack, then the least certain; and how many it does not know."""
    known = predictions.set_index("image_id")
    there = rows["image_id"].isin(known.index)
    mine = rows[there].reset_index(drop=True)
    probs = np.stack(known.loc[mine["image_id"], "probs"].to_list()) if len(mine) else np.zeros((0, len(rule.classes)))
    mine["predicted"] = np.array(rule.classes, object)[probs.argmax(axis=1)] if len(mine) else ""
    labeled = Counter(candidates.loc[candidates["state"] == LABELED, "label"])
    weight = np.array([max(labeled[key], 1) ** -0.5 for key in rule.classes])
    weight = weight / weight.min()
    doubt = uncertainty(probs, wish.by)
    mine["score"] = doubt * weight[probs.argmax(axis=1)]
    mine["reason"] = [
        f"{key} {top:.2f}, {other} {second:.2f}" for key, top, other, second in _two_best(probs, rule.classes)
    ]
    mine["chosen_by"] = np.where(mine["state"] == DISPUTED, DISPUTED, "uncertain")
    rare = _rare(mine, probs, rule.classes, labeled, wish.min_per_class)
    rest = mine.drop(index=rare.index).sort_values(["score", "draw"], ascending=[False, True])
    return pd.concat([rare, rest]), int((~there).sum())


def uncertainty(probs: np.ndarray, by: str = "margin") -> np.ndarray:
    """How unsure each row of probabilities [n, K] is, 0 to 1: 1 - the lead of the first class, or entropy / log K."""
    if by == "entropy":
        return -(probs * np.log(np.maximum(probs, 1e-12))).sum(axis=1) / np.log(max(probs.shape[1], 2))
    best = np.sort(probs, axis=1)[:, -2:]
    return 1 - (best[:, 1] - best[:, 0])


def _two_best(probs: np.ndarray, classes: Sequence[str]) -> Iterable[tuple[str, float, str, float]]:
    for row, order in zip(probs, np.argsort(-probs, axis=1, kind="stable"), strict=True):
        yield classes[order[0]], row[order[0]], classes[order[1]], row[order[1]]


def _rare(rows: pd.DataFrame, probs: np.ndarray, classes: Sequence[str], labeled: Counter, wanted: int) -> pd.DataFrame:
    """The likeliest pictures of every class that has fewer than `wanted` labels, as many as it lacks, class by class in turn."""
    found = []
    for number, key in enumerate(classes):
        lacks = max(0, wanted - labeled[key])
        likely = (rows["predicted"] == key) & (rows["state"] == NEW)
        mine = rows[likely].assign(p=probs[likely, number])
        mine = mine.sort_values(["p", "draw"], ascending=[False, True]).head(lacks)
        why = [f"{key} has {labeled[key]} labels; {key} {p:.2f}" for p in mine["p"]]
        found.append(mine.assign(turn=range(len(mine)), number=number, reason=why, chosen_by="rare"))
    both = pd.concat(found).sort_values(["turn", "number"])
    return both.drop(columns=["p", "turn", "number"])


def _spread(ordered: pd.DataFrame, count: int, vectors: Vectors) -> pd.DataFrame:
    """Of thrice as many of the least certain as wanted, first those that are farthest apart; the rest as before."""
    fixed = ordered[ordered["chosen_by"] == "rare"]
    rest = ordered.drop(index=fixed.index)
    count = max(count - len(fixed), 0)
    top = rest.head(min(3 * count, max(count, len(rest) // 2)))
    ids, x = vectors(top["image_id"].tolist())
    _, centers = vectors(fixed["image_id"].tolist())
    apart = [ids[place] for place, _ in _k_center(x, centers, count)]
    first = rest.set_index("image_id").loc[apart].reset_index()
    return pd.concat([fixed, first, rest[~rest["image_id"].isin(set(apart))]], ignore_index=True)


def _diverse(rows: pd.DataFrame, candidates: pd.DataFrame, count: int, seed: int, vectors: Vectors) -> pd.DataFrame:
    """Greedy k-center: each next picture is the one farthest from all that were asked or chosen so far (Sener, Savarese 2018)."""
    some = rows.sort_values("draw").head(DIVERSE_AMONG)
    ids, x = vectors(some["image_id"].tolist())
    asked = candidates.loc[candidates["n_votes"].notna() | (candidates["state"] == WAITING), "image_id"]
    far_from = sorted(asked, key=lambda image_id: draw(seed, "far from", image_id))[:DIVERSE_AMONG]
    _, centers = vectors(far_from)
    far = _k_center(x, centers, count)
    mine = some.set_index("image_id").loc[[ids[place] for place, _ in far]].reset_index()
    reason = [f"{distance:.2f} away from all asked before" for _, distance in far]
    return mine.assign(chosen_by="diverse", score=[distance for _, distance in far], reason=reason)


def _k_center(x: np.ndarray, centers: np.ndarray, count: int) -> list[tuple[int, float]]:
    """Places in x [n, d], each with its cosine distance from the centers [m, d] and the places before; unit vectors."""
    near = np.full(len(x), 2.0)  # farther than anything: without centers the first one is the first
    for start in range(0, len(centers), 1024):
        near = np.minimum(near, 1 - (x @ centers[start : start + 1024].T).max(axis=1, initial=-1))
    found = []
    for _ in range(min(count, len(x))):
        place = int(near.argmax())
        found.append((place, float(max(near[place], 0))))
        near = np.minimum(near, 1 - x @ x[place])
        near[[other for other, _ in found]] = -1
    return found


def _interleave(some: pd.DataFrame, others: pd.DataFrame, share: float) -> pd.DataFrame:
    """Both lists in one: of every beginning, `share` (rounded up) comes from `some`; what runs out leaves room for the other."""
    others = others[~others["image_id"].isin(set(some["image_id"]))]
    total = len(some) + len(others)
    at = np.arange(total + 1)
    from_some = np.ceil(at * share - 1e-9).astype(int)
    turns = np.diff(from_some) > 0
    mine, rest = np.flatnonzero(turns)[: len(some)], np.flatnonzero(~turns)[: len(others)]
    place_some = np.concatenate([mine, total + np.arange(len(some) - len(mine))])
    place_rest = np.concatenate([rest, total + np.arange(len(others) - len(rest))])
    both = pd.concat([some.assign(turn=place_some), others.assign(turn=place_rest)])
    return both.sort_values("turn", kind="stable").drop(columns="turn").reset_index(drop=True)


def _why_not(candidates: pd.DataFrame) -> str:
    """Why pictures cannot be asked, most frequent first."""
    short = candidates["state"].mask(candidates["state"] == NEW, "a twin of one that is taken")
    return counted(short) if len(candidates) else "there are no pictures; run `curate scrape` or `curate import`"
