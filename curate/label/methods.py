"""Labels by a model of workers instead of 2 of 3, and how every method does on gold, so that nobody switches blindly."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curate.label.count import shares
from curate.label.models.coded import BLOCK_CELLS, Coded, coded
from curate.label.models.crowdlab import crowdlab
from curate.label.models.dawid_skene import dawid_skene
from curate.label.models.em import Fitted
from curate.label.models.glad import glad
from curate.label.models.mace import mace
from curate.label.models.one_coin import one_coin
from curate.label.rule import GOLD, NO_AGREEMENT, NO_LABEL, Rule, decide
from schemas.errors import UserError
from schemas.files import whole
from schemas.tables import PREDICTIONS

METHODS = ("dawid-skene", "one-coin", "mace", "glad", "crowdlab")
COMPARED_VOTES = 1_000_000  # with more, the other methods are not run just to be compared
LEAD = 1e-4  # two classes this near are a tie: single precision tells no more
MOST_CELLS = 200_000_000  # workers times classes times classes: 1.6 GB of confusion matrices
DISAGREES = 0.05  # share of 2-of-3 labels that a model may turn over before it is said aloud


@dataclass(frozen=True)
class Wanted:
    """A method and its settings."""

    name: str
    smoothing: float | None = None  # None = the method's own
    min_confidence: float = 0.0  # less probable classes make no label
    predictions: pd.DataFrame | None = None  # of a classifier, for crowdlab

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise UserError(f"--method {self.name!r} is not known; methods: majority, {', '.join(METHODS)}")
        if self.smoothing is not None and self.smoothing < 0:
            raise UserError(f"--smoothing must be 0 or more, got {self.smoothing}")
        if not 0 <= self.min_confidence < 1:
            raise UserError(f"--min-confidence must be from 0 to below 1, got {self.min_confidence}")
        if (self.name == "crowdlab") != (self.predictions is not None):
            raise UserError("--method crowdlab and --predictions FILE go together: votes and a classifier are weighed")


@dataclass(frozen=True)
class Modeled:
    """Labels by a model, and what a person should know."""

    labels: pa.Table  # of the columns that `count` gives, and others untouched
    fitted: Fitted
    workers: pd.Index  # whose confusion matrices `fitted` holds, in order
    said: list[str]


def label_by(
    wanted: Wanted,
    labels: pa.Table,
    votes: Coded,
    workers: pd.Index,
    rule: Rule,
    gold: Mapping[str, str] | None = None,
    source: str = "crowd",
) -> Modeled:
    """Labels in which the model's most probable class stands wherever enough votes were given.

    A picture that the rule would ask again (too few votes, a class that changed) stays unlabeled with its reason. One where
    no class reaches min_confidence, or two are equally probable, is `no_agreement`. label_probs are the model's, n_agree the
    votes for the label.

    Args:
        labels: by the rule, one row for each of the T pictures of `votes`, in their order.
        votes: those that count and those on gold: these count for the model, never for a label.
        gold: class by image_id, of the pictures whose answer is known.
        source: of the votes, as LABELS say it; the rule may have labeled nothing that would tell.
    """
    fitted = run(wanted, votes, rule.classes, labels)
    size = max(1, BLOCK_CELLS // max(1, votes.classes))
    parts = [
        _labeled(labels, fitted.probs, votes, rule, wanted, source, slice(at, at + size))
        for at in range(0, labels.num_rows, size)
    ]
    new = pa.concat_tables(parts) if parts else labels
    both = pc.and_(pc.is_valid(labels["label"]), pc.is_valid(new["label"]))
    n = pc.sum(both).as_py() or 0
    turned = n - (pc.sum(pc.and_kleene(both, pc.equal(labels["label"], new["label"]))).as_py() or 0)
    iterated = f"{fitted.iterations} iterations over " if fitted.iterations else ""
    said = [f"{wanted.name}: {iterated}{votes.votes:,} votes of {votes.workers:,} workers"]
    if n:
        aloud = "; look at them before you trust it" if turned / n > DISAGREES else ""
        said.append(f"{turned:,} of {n:,} labels differ from {rule.kind} ({100 * turned / n:.1f} %){aloud}")
    return Modeled(new, fitted, workers, said + compare(labels, votes, rule, gold or {}, wanted, fitted))


def frame_coded(labels: pd.DataFrame, audit: pd.DataFrame, rule: Rule) -> tuple[Coded, pd.Index]:
    """The votes of a frame that count or are on gold, about the pictures of `labels`; with the list of workers."""
    used = audit[audit["dropped"].isna() | (audit["dropped"] == GOLD)]
    return coded(used, pd.Index(labels["image_id"]), rule.classes)


def _labeled(
    labels: pa.Table, probs: np.ndarray, votes: Coded, rule: Rule, wanted: Wanted, source: str, part: slice
) -> pa.Table:
    """Some rows of `labels` with the model's classes."""
    start = part.start
    rows = labels.slice(start, part.stop - start)
    n, k = rows.num_rows, len(rule.classes)
    found, counts = probs[start : start + n].astype(np.float64), votes.counts(start, start + n)
    decided = pc.or_(pc.is_valid(rows["label"]), pc.fill_null(pc.equal(rows["dropped"], NO_AGREEMENT), False))
    use = decided.to_numpy() & (rows["n_votes"].to_numpy() >= rule.least)
    chosen = _choose(found, wanted)
    best, sure = found.argmax(axis=1), use & (chosen < k)
    mine, yes = pa.array(use), pa.array(sure)
    none = pa.nulls(n, pa.string())
    keys = pa.array([*rule.classes, None], pa.string()).take(pa.array(np.where(sure, best, k)))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * k), pa.array(found.ravel()))
    new = {
        "label": keys,
        "source": pc.if_else(yes, pa.scalar(source, pa.string()), none),
        "n_agree": pc.if_else(mine, pa.array(counts[np.arange(n), best].astype(np.int32)), rows["n_agree"]),
        "label_probs": _chosen(mine, lists, shares(counts, rows["n_votes"].to_numpy())),
        "method": pc.if_else(yes, pa.scalar(wanted.name), none),
        "dropped": pc.if_else(mine, pc.if_else(yes, none, pa.scalar(NO_AGREEMENT)), rows["dropped"]),
    }
    return pa.table({**{name: rows[name] for name in rows.column_names}, **new})


def _choose(probs: np.ndarray, wanted: Wanted) -> np.ndarray:
    """The most probable class [n] of each picture; K where two are equally probable, or it is too improbable."""
    k = probs.shape[1]
    upper = np.partition(probs, k - 2, axis=1)[:, k - 2 :]
    sure = (upper[:, 1] - upper[:, 0] > LEAD) & (upper[:, 1] >= wanted.min_confidence)
    return np.where(sure, probs.argmax(axis=1), k)


def _chosen(mask: pa.Array, yes: pa.Array, no: pa.Array) -> pa.Array:
    """if_else for lists."""
    use = mask.to_numpy(zero_copy_only=False)
    place = np.arange(len(use))
    return pa.concat_arrays([yes, no]).take(pa.array(np.where(use, place, place + len(use))))


def _fits(votes: Coded) -> bool:
    """Whether the confusion matrices of all workers can be held."""
    return votes.workers * votes.classes**2 <= MOST_CELLS


def run(wanted: Wanted, votes: Coded, classes: Sequence[str], labels: pa.Table) -> Fitted:
    """The model fitted to votes."""
    if not _fits(votes):
        raise UserError(
            f"--method {wanted.name}: confusion matrices of {votes.workers:,} workers and {votes.classes:,} classes are too large; "
            "the rule needs none"
        )
    smooth: dict[str, Any] = {} if wanted.smoothing is None else {"smoothing": wanted.smoothing}
    fits: dict[str, Callable[[], Fitted]] = {
        "dawid-skene": lambda: dawid_skene(votes, **smooth),
        "one-coin": lambda: one_coin(votes, **smooth),
        "mace": lambda: mace(votes, **smooth),
        "glad": lambda: glad(votes),
        "crowdlab": lambda: crowdlab(votes, _predicted(wanted, votes, classes, labels)),
    }
    return fits[wanted.name]()


def _predicted(wanted: Wanted, votes: Coded, classes: Sequence[str], labels: pa.Table) -> np.ndarray:
    """[T, K] class probabilities of a classifier for the pictures; refuses what it was trained on.

    A picture without a prediction (gold, say) counts as if the classifier found all classes equally probable. So does one
    of val or test: what models are judged by is decided by people.
    """
    assert wanted.predictions is not None
    rows = wanted.predictions.drop_duplicates("image_id").set_index("image_id")
    images = pd.Index(labels["image_id"].to_pandas())
    labeled = pc.is_valid(labels["label"]).to_numpy()
    missing = labeled & (rows.index.get_indexer(images) < 0)
    if missing.any():
        raise UserError(
            f"--predictions has no row for {int(missing.sum()):,} of {int(labeled.sum()):,} labeled pictures, for example "
            f"{images[missing][0]}; make it for all of them (`curate probe`)"
        )
    there = rows.reindex(images)
    in_fold = labeled & there["fold"].isna().to_numpy() & (there["split"].fillna("train") == "train").to_numpy()
    if in_fold.any():
        raise UserError(
            f"--predictions: {int(in_fold.sum()):,} labeled pictures are not predicted out of fold; a classifier agrees with "
            "labels that it was trained on. `curate probe` makes out-of-fold predictions"
        )
    even = np.full(len(classes), 1 / len(classes))
    judged = there["split"].isin(["val", "test"])
    lists = [p if isinstance(p, np.ndarray) else even for p in there["probs"].astype(object).mask(judged, None)]
    if any(len(p) != len(classes) for p in lists):
        raise UserError(f"--predictions: the votes have {len(classes)} classes, the predictions another number")
    return np.maximum(np.array(lists, np.float64), 1e-12)


def read_predictions(path: Path, classes: Sequence[str]) -> pd.DataFrame:
    """PREDICTIONS of one run, their probabilities in the class order asked for."""
    rows = PREDICTIONS.read(path)
    order = json.loads(PREDICTIONS.metadata(path).get("consenso.classes", "null")) or list(classes)
    if sorted(order) != sorted(classes):
        odd = sorted(set(order) ^ set(classes))
        raise UserError(f"{path}: its classes are not those of the votes; only one of them has {', '.join(odd[:5])}")
    if rows["run"].nunique() > 1:
        raise UserError(f"{path}: holds {rows['run'].nunique()} runs; one is expected")
    place = [order.index(key) for key in classes]
    return rows.assign(probs=pd.Series([np.asarray(p)[place] for p in rows["probs"]], dtype=object))


def compare(
    labels: pa.Table,
    votes: Coded,
    rule: Rule,
    gold: Mapping[str, str],
    wanted: Wanted | None = None,
    fitted: Fitted | None = None,
) -> list[str]:
    """A line for each method: how many gold pictures it labels, and how many of these labels are right.

    Empty without gold votes. Where there are very many votes, workers or classes only the method asked for stands beside it.
    """
    on_gold = np.flatnonzero(pc.is_in(labels["image_id"], pa.array(list(gold), pa.string())).to_numpy())
    place = {key: number for number, key in enumerate(rule.classes)}
    known = np.array([place.get(gold[i], -2) for i in labels["image_id"].take(pa.array(on_gold)).to_pylist()], int)
    counts = np.array([votes.counts(i, i + 1)[0] for i in on_gold.tolist()]).reshape(len(on_gold), len(rule.classes))
    answered = counts.sum(axis=1) > 0
    if not answered.any():
        return []
    on_gold, known, counts = on_gold[answered], known[answered], counts[answered]
    winner, n, _, reason = decide(counts, rule)
    none = len(rule.classes)
    found: dict[str, np.ndarray] = {rule.kind: winner}
    names = [name for name in METHODS if name != "crowdlab"] if votes.votes <= COMPARED_VOTES and _fits(votes) else []
    for name in dict.fromkeys([*names, *([wanted.name] if wanted else [])]):
        asked = wanted if wanted and name == wanted.name else Wanted(name)
        made = fitted if fitted and asked is wanted else run(asked, votes, rule.classes, labels)
        may = (n >= rule.least) & ((winner != none) | (reason == NO_LABEL.index(NO_AGREEMENT)))
        found[name] = np.where(may, _choose(made.probs[on_gold].astype(np.float64), asked), none)
    lines = [f"on {len(on_gold):,} gold pictures with votes:"]
    for name, best in found.items():
        labeled, both = best != none, (best != none) & (winner != none)
        right = int((best == known)[labeled].sum())
        share = f" ({100 * right / labeled.sum():.1f} %)" if labeled.any() else ""
        more = ""
        if both.sum() < labeled.sum():
            more = f"; of the {int(both.sum()):,} that {rule.kind} labels {int((best == known)[both].sum()):,}"
        mark = "  <- used" if name == (wanted.name if wanted else rule.kind) else ""
        lines.append(f"  {name:<12} labels {int(labeled.sum()):>5,}, {right:>5,} right{share}{more}{mark}")
    return lines


def write_confusion(made: Modeled, classes: Sequence[str], path: Path) -> None:
    """Each worker's confusion matrix as rows of worker_id, label (true), said, probability; CSV or Parquet by its name."""
    k = len(classes)
    frame = pd.DataFrame(
        {
            "worker_id": np.repeat(made.workers.to_numpy(object), k * k),
            "label": np.tile(np.repeat(np.array(classes, object), k), len(made.workers)),
            "said": np.tile(np.array(classes, object), len(made.workers) * k),
            "probability": made.fitted.confusion.ravel(),
        }
    )
    with whole(path) as part:
        frame.to_csv(part, index=False) if path.suffix.lower() == ".csv" else frame.to_parquet(part, index=False)
