"""Which labels to ask again: those that the votes and a model which never saw the picture together believe least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from curate.dataset.candidates import LABELED, MOST, Fits, Rule, Selected, draw, left_out, longest, selected
from schemas.errors import UserError


def select_to_recheck(
    candidates: pd.DataFrame,
    rule: Rule,
    fits: Fits,
    *,
    task: str,
    ask: int,
    split: str = "train",
    predictions: pd.DataFrame | None = None,
    at_random: bool = False,
    whole: Sequence[str] = (),
    seed: int = 0,
) -> Selected:
    """Labels that should be asked again, in order, as many as the budget takes.

    By default those that are least likely right: the probabilities of a model that never saw the picture times what the votes
    say, each vote being right as often as votes agree with one another. So of two labels that the model disbelieves equally,
    the one that 2 of 3 gave comes before the one that 3 of 3 gave. A class is not swamped by others: up to half of the budget
    is shared out equally, to labels that the model would have given differently.

    Args:
        ask: further answers for each picture.
        split: train (labels without a split count as train), val or test. The doubts of a model never choose among val and
            test: that would flatter the model.
        predictions: image_id, fold, label, predicted, probs in class order.
        at_random: in random order.
        whole: all of these classes; no model, no order.
    Raises UserError when a model would choose among val or test, for predictions that are not out of fold, and when nothing
    is left to ask.
    """
    _check_recheck(split, at_random, whole, rule, predictions, ask)
    where = candidates["split"].where(candidates["split"].isin(["val", "test"]), "train")
    counts = (candidates["state"] == LABELED) & (where == split) & ~candidates["rechecked"]
    mine = candidates[counts & ~candidates["source"].isin(["expert", "duplicate"])]
    mine = mine.assign(
        assignments=ask, chosen_by="recheck", draw=[draw(seed, "recheck", image_id) for image_id in mine["image_id"]]
    )
    notes: list[str] = []
    if whole:
        rows = mine[mine["label"].isin(list(whole))].sort_values("draw")
        rows = rows.assign(score=np.nan, reason="whole class " + rows["label"].astype(str))
    elif at_random:
        rows = mine.sort_values("draw").assign(score=np.nan, reason="at random")
    else:
        assert predictions is not None  # checked above
        rows, notes = _disbelieved(mine, candidates, rule, fits, predictions)
    again = int(((candidates["state"] == LABELED) & (where == split) & candidates["rechecked"]).sum())
    if again:
        notes.append(f"left out: {again:,} labels that have been asked again before")
    if rows.empty:
        raise UserError(f"no label of {split} is left to ask again" + "".join(f"; {note}" for note in notes))
    count = longest(rows, fits)
    if whole and count < len(rows):
        raise UserError(
            f"{' and '.join(whole)}: {len(rows):,} labels of {split}, and the budget takes {count:,}. A part of a class would "
            "say nothing about the class: raise the budget, or name fewer classes"
        )
    if not count:
        raise UserError("the budget is too small for one picture; raise it")
    return selected(rows.iloc[:count], task, "recheck", [*notes, *left_out(candidates)])


def _check_recheck(
    split: str, at_random: bool, whole: Sequence[str], rule: Rule, predictions: pd.DataFrame | None, ask: int
) -> None:
    if split not in ("train", "val", "test"):
        raise UserError(f"--split must be train, val or test, got {split!r}")
    if not 1 <= ask <= MOST:
        raise UserError(f"--ask must be between 1 and {MOST}, got {ask}")
    stray = [key for key in whole if key not in rule.classes]
    if stray:
        raise UserError(f"--class {stray[0]}: no such class; classes are {', '.join(rule.classes)}")
    if at_random or whole:
        return
    if split != "train":
        raise UserError(
            f"labels of {split} are never chosen by a model's doubts: correcting only what a model disbelieves flatters that model. "
            "Say --at-random, or name whole classes with --class KEY"
        )
    if predictions is None:
        raise UserError(
            "there are no predictions: run `curate embed` and `curate probe`, or give --predictions FILE, "
            "or say --at-random or --class KEY"
        )


def _disbelieved(
    mine: pd.DataFrame, candidates: pd.DataFrame, rule: Rule, fits: Fits, predictions: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """The labels by how likely they are wrong, each class with its share of the budget."""
    known = predictions.set_index("image_id")
    there = mine["image_id"].isin(known.index)
    mine = mine[there]
    taught = known.loc[mine["image_id"]]
    in_fold = int((taught["fold"].isna() & taught["label"].notna()).sum())
    if in_fold:
        raise UserError(
            f"{in_fold:,} of {len(mine):,} labels were predicted by a model that was taught them: it believes them whatever "
            "they are. Only out-of-fold predictions can doubt a label: run `curate probe`"
        )
    fresh = taught["fold"].notna().to_numpy()
    notes = []
    if missing := int((~there).sum()) + int((~fresh).sum()):
        notes.append(f"left out: {missing:,} labels without an out-of-fold prediction")
    mine, taught = mine[fresh].reset_index(drop=True), taught[fresh]
    if mine.empty:
        return mine.assign(score=0.0, reason=""), notes
    probs = np.stack(taught["probs"].to_list()).astype(float)
    mine["score"] = disbelief(mine, probs, rule.classes, vote_accuracy(candidates, len(rule.classes)))
    mine["predicted"] = np.array(rule.classes, object)[probs.argmax(axis=1)]
    own = probs[np.arange(len(mine)), pd.Index(rule.classes).get_indexer(pd.Index(mine["label"]))]
    mine["reason"] = [
        f"{_said(n, top)}{label} {p:.2f}, {guess} {best:.2f} by the model"
        for n, top, label, p, guess, best in zip(
            mine["n_votes"], mine["n_agree"], mine["label"], own, mine["predicted"], probs.max(axis=1), strict=True
        )
    ]
    ordered = mine.sort_values(["score", "draw"], ascending=[False, True])
    return _with_every_class(ordered, longest(ordered, fits), len(rule.classes)), notes


def _said(n: float, top: float) -> str:
    return f"{int(top)} of {int(n)} said so; " if n == n and n else ""


def disbelief(labels: pd.DataFrame, probs: np.ndarray, classes: Sequence[str], accuracy: float) -> np.ndarray:
    """How likely each label is wrong, [n]: the model's probabilities [n, K] as what is known before, each vote as a witness.

    Args:
        labels: label, n_votes, label_probs (shares of the votes in class order, missing without votes).
        accuracy: of one vote; a wrong one is any other class.
    """
    k = len(classes)
    for_class = np.zeros((len(labels), k))
    for row, (shares, n) in enumerate(zip(labels["label_probs"], labels["n_votes"], strict=True)):
        if shares is not None and n == n:
            for_class[row] = np.asarray(shares) * float(n)
    odds = np.log(accuracy) - np.log((1 - accuracy) / max(k - 1, 1))  # of a vote for the class against one for another
    logs = np.log(np.maximum(probs, 1e-6)) + for_class * odds
    logs -= logs.max(axis=1, keepdims=True)
    share = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    share[np.arange(len(labels)), pd.Index(classes).get_indexer(pd.Index(labels["label"]))] = 0
    return share.sum(axis=1)  # of the other classes: not 1 - own, which loses what is very small


def vote_accuracy(labels: pd.DataFrame, classes: int) -> float:
    """How often one vote is right, from how often two votes on one picture agree: a^2 + (1 - a)^2 / (K - 1).

    0.8 where there are no two votes on any picture. At most 0.99 and better than chance.
    """
    voted = labels[labels["label_probs"].notna() & (labels["n_votes"] > 1)]
    if not len(voted) or classes < 2:
        return 0.8
    n = voted["n_votes"].to_numpy(float)
    counts = np.stack([np.asarray(shares, float) for shares in voted["label_probs"]]) * n[:, None]
    agree = (counts * (counts - 1)).sum() / (n * (n - 1)).sum()
    q = 1 / (classes - 1)
    root = q**2 - (1 + q) * (q - agree)
    return float(np.clip((q + np.sqrt(max(root, 0))) / (1 + q), 1 / classes + 0.01, 0.99))


def _with_every_class(ordered: pd.DataFrame, count: int, classes: int) -> pd.DataFrame:
    """The `count` rows to take, in their order: up to half of the places are shared out equally among the classes."""
    doubted = ordered[ordered["predicted"] != ordered["label"]]
    sure = doubted[doubted.groupby("label").cumcount() < count // (2 * classes)].index
    rest = ordered.index.difference(sure, sort=False)
    taken = {*sure[:count], *rest[: max(count - len(sure), 0)]}
    mine = ordered.index.isin(taken)
    return pd.concat([ordered[mine], ordered[~mine]])
