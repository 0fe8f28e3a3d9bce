"""A linear probe: what a logistic regression on embeddings thinks of every picture, never about one that it was taught.

The labeled train pictures are cut into folds; near twins and pictures of one listing share a fold. For each fold a regression
learns from the others and says what it makes of this one: out-of-fold probabilities, which `curate select --for recheck`
needs. Pictures that teach nobody (unlabeled, val, test) get the mean of all regressions, and no fold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.folds import fold_of
from schemas.tables import PREDICTIONS

FOLDS = 5
AXES = 256  # principal axes kept of the vectors: a quarter of the work at the same accuracy, see docs/benchmarks.md
STRENGTH = 100.0  # of all labels together against the penalty on the weights: 30 to 300 make hardly a difference
ROUNDS = 200  # of L-BFGS, at most

Blocks = Callable[[], Iterator[tuple[list[str], np.ndarray]]]  # reads the vectors anew: image_ids and float32 [n, d]


@dataclass(frozen=True)
class Probed:
    """Predictions, with what a person should know about them."""

    rows: pd.DataFrame  # PREDICTIONS
    taught: int  # labeled train pictures that have a vector
    right: float  # share of them that the out-of-fold guess agrees with
    largest: float  # share of them that is of the most frequent class: what saying it always would reach
    without_vector: int  # pictures of the manifest that could take part but have no vector
    alone: list[
        str
    ]  # classes whose pictures all hang together: out of fold nobody would know the class, so they have no row

    def lines(self) -> list[str]:
        """The result as a person reads it."""
        others = len(self.rows) - int(self.rows["fold"].notna().sum())
        told = [
            f"{self.taught:,} labeled train pictures predicted out of fold, {100 * self.right:.1f} % as labeled; "
            f"{others:,} others by the mean of all folds"
        ]
        if self.right <= self.largest:
            told.append(f"no better than always saying the largest class ({100 * self.largest:.1f} %): do not go by it")
        if self.alone:
            told.append(f"not predicted out of fold, too few groups of pictures: {', '.join(self.alone)}")
        if self.without_vector:
            told.append(f"{self.without_vector:,} pictures have no vector: run `curate embed` again")
        return told


def probe(
    manifest: pd.DataFrame,
    blocks: Blocks,
    *,
    classes: Sequence[str],
    task: str,
    manifest_id: str,
    embedding_id: str,
    folds: int = FOLDS,
    seed: int = 0,
    step: Callable[[int], object] = lambda _: None,
) -> Probed:
    """Predictions for every picture of the manifest that counts and has a vector; row order never matters.

    Args:
        manifest: MANIFEST rows. Before the first split every labeled picture counts as train.
        blocks: gives all vectors, block by block, each time it is called; the vectors of unlabeled pictures are never held.
        embedding_id: model of the vectors; part of the predictions' model_id.
    Raises UserError when fewer than two classes or fewer than `folds` groups can be learned from.
    """
    if folds < 2:
        raise UserError(f"--folds must be at least 2, got {folds}")
    rows = _rows(manifest)
    teaching = rows[rows["teaches"]]
    ids, vectors = _gather(blocks, teaching["image_id"])
    teaching = teaching.set_index("image_id").loc[ids].reset_index()
    code = pd.Index(classes).get_indexer(pd.Index(teaching["label"]))
    fold = fold_of(teaching, folds, seed)
    _check(code, fold, folds, len(rows), len(teaching))
    middle, axes = _axes(vectors)
    x = (vectors - middle) @ axes
    del vectors
    models, own = [], np.zeros((len(x), len(classes)), np.float32)
    for number in range(folds):
        models.append(_learn(x[fold != number], code[fold != number], len(classes)))
        own[fold == number] = models[-1].probs(x[fold == number])
        step(1)
    alone = _alone(code, fold)
    told = ~np.isin(code, alone)
    others = rows[~rows["teaches"]]
    there, probs = _mean(blocks, others["image_id"], models, middle, axes, len(classes))
    made = _frame(
        pd.concat([teaching[told], others.set_index("image_id").loc[there].reset_index()], ignore_index=True),
        np.concatenate([own[told], probs]),
        np.concatenate([fold[told], np.full(len(there), -1)]),
        classes,
    ).assign(task=task, run="probe", manifest_id=manifest_id, model_id=_model_id(embedding_id, models), temperature=1.0)
    return Probed(
        rows=PREDICTIONS.check(made.sort_values("image_id", ignore_index=True)),
        taught=len(teaching),
        right=float((own.argmax(axis=1) == code)[told].mean()) if told.any() else 0.0,
        largest=float(np.bincount(code[told]).max() / told.sum()) if told.any() else 0.0,
        without_vector=len(rows) - len(teaching) - len(there),
        alone=[classes[number] for number in alone],
    )


def _rows(manifest: pd.DataFrame) -> pd.DataFrame:
    """Pictures that take part, in image_id order, and whether they teach."""
    rows = manifest[manifest["dropped"].isna() & (manifest["split"].fillna("") != "out")]
    rows = rows.sort_values("image_id", ignore_index=True)
    uncut = bool(manifest["split"].isna().all())
    return rows.assign(teaches=rows["label"].notna() & ((rows["split"] == "train") | uncut))


def _gather(blocks: Blocks, wanted: pd.Series) -> tuple[list[str], np.ndarray]:
    """The vectors of these pictures, in image_id order whatever the file's order."""
    place = pd.Index(wanted)
    found: list[str] = []
    kept: list[np.ndarray] = []
    for ids, block in blocks():
        mine = place.get_indexer(pd.Index(ids)) >= 0
        found += [image_id for image_id, yes in zip(ids, mine, strict=True) if yes]
        kept.append(block[mine])
    if not found:
        return [], np.zeros((0, 1), np.float32)
    order = np.argsort(np.array(found, object))
    return [found[i] for i in order], np.concatenate(kept)[order]


def _check(code: np.ndarray, fold: np.ndarray, folds: int, rows: int, taught: int) -> None:
    if taught == 0:
        raise UserError(
            f"none of {rows:,} pictures is a labeled train picture with a vector. "
            "Make labels with `curate aggregate`, a split with `curate split`, vectors with `curate embed`"
        )
    if len(np.unique(code)) < 2:
        raise UserError(f"all {taught:,} labeled train pictures are of one class: there is nothing to tell apart")
    if len(np.unique(fold)) < folds:
        raise UserError(
            f"{taught:,} labeled train pictures make {len(np.unique(fold))} groups, too few for {folds} folds; "
            "label more, or lower --folds"
        )


def _axes(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Middle [d] and axes [d, a] of the vectors: the strongest AXES principal ones, scaled to unit variance on average."""
    middle = vectors.mean(axis=0)
    centered = vectors - middle
    variance, axes = np.linalg.eigh(centered.T @ centered / max(len(vectors) - 1, 1))
    kept = axes[:, ::-1][:, :AXES]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])  # the sign of an axis is free
    scale = np.sqrt(max(float(variance[::-1][:AXES].mean()), 1e-12))
    return middle, (kept / scale).astype(np.float32)


@dataclass(frozen=True)
class _Model:
    """One regression: what it knows of each class; a class it never saw has probability 0."""

    weight: np.ndarray  # [a, K seen]
    bias: np.ndarray  # [K seen]
    seen: np.ndarray  # places of the classes it saw
    classes: int

    def probs(self, x: np.ndarray) -> np.ndarray:
        """Probability of every class, [n, K]."""
        logits = x @ self.weight + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        made = np.zeros((len(x), self.classes), np.float32)
        made[:, self.seen] = odds / odds.sum(axis=1, keepdims=True)
        return made


def _learn(x: np.ndarray, code: np.ndarray, classes: int) -> _Model:
    """A multinomial logistic regression; the same rows in the same order give the same weights."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    seen = np.unique(code)
    if len(seen) == 1:  # a fold without the other class: whoever is left is sure
        return _Model(np.zeros((x.shape[1], 1), np.float32), np.zeros(1, np.float32), seen, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is good enough for an order
        fitted = LogisticRegression(C=STRENGTH / len(x), max_iter=ROUNDS, tol=1e-3).fit(x, code)
    weight, bias = fitted.coef_.T.astype(np.float32), fitted.intercept_.astype(np.float32)
    if len(seen) == 2:  # one row of weights stands for two classes
        weight, bias = np.hstack([np.zeros_like(weight), weight]), np.concatenate([np.zeros_like(bias), bias])
    return _Model(weight, bias, seen, classes)


def _alone(code: np.ndarray, fold: np.ndarray) -> list[int]:
    """Classes that stand in one fold only: the regression that predicts them never saw one."""
    return [int(number) for number in np.unique(code) if len(np.unique(fold[code == number])) < 2]


def _mean(
    blocks: Blocks, wanted: pd.Series, models: Sequence[_Model], middle: np.ndarray, axes: np.ndarray, classes: int
) -> tuple[list[str], np.ndarray]:
    """Mean of all regressions for these pictures, in image_id order, a block at a time."""
    place = pd.Index(wanted)
    found: list[str] = []
    probs = [np.zeros((0, classes), np.float32)]
    for ids, block in blocks() if len(place) else ():
        mine = place.get_indexer(pd.Index(ids)) >= 0
        if mine.any():
            x = (block[mine] - middle) @ axes
            probs.append(np.mean([model.probs(x) for model in models], axis=0, dtype=np.float32))
            found += [image_id for image_id, yes in zip(ids, mine, strict=True) if yes]
    order = np.argsort(np.array(found, object))
    return [found[i] for i in order], np.concatenate(probs)[order]


def _frame(rows: pd.DataFrame, probs: np.ndarray, fold: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    return rows[["image_id", "split", "label"]].assign(
        fold=pd.Series(fold, index=rows.index, dtype="Int32").mask(pd.Series(fold < 0, index=rows.index)),
        predicted=np.array(classes, object)[probs.argmax(axis=1)],
        probs=list(probs),
    )


def _model_id(embedding_id: str, models: Sequence[_Model]) -> str:
    digest = hashlib.sha256(embedding_id.encode())
    for model in models:
        digest.update(model.weight.tobytes() + model.bias.tobytes())
    return f"probe-{digest.hexdigest()[:16]}"
