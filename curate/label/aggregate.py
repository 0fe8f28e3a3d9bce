"""Votes become labels: two of three must agree, everything else stays unlabeled and says why.

The rule of the paper, made complete: a picture with n votes, the most frequent class having m of them, gets that class when
n >= min_votes, m >= agree and 2 m > n. More than half is one class only, so there is never a tie to break, and the order
of rows never matters.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import UserError
from schemas.question import CANNOT_SEE
from schemas.tables import LABELS

# Why a vote does not count, in the order in which the reasons are looked for: a vote carries the first that is true.
OTHER_SOURCE = "other source"  # --source asked for others
REJECTED = "rejected"
UNSEEN = "cannot see the picture"
INVALID = "invalid label"
GOLD = "gold"  # measures the worker, never labels; before duplicates, since one worker may meet a gold picture twice
SELF_CONFLICT = "self-conflict"  # one worker gave one picture different labels: none counts
DUPLICATE = "duplicate"  # one worker gave one picture the same label again: the first counts
REASONS = (OTHER_SOURCE, REJECTED, UNSEEN, INVALID, GOLD, SELF_CONFLICT, DUPLICATE)

# Why a picture has no label.
NO_VOTES, INSUFFICIENT, NO_AGREEMENT = "no_votes", "insufficient", "no_agreement"

_LABEL_SOURCE = {"imported": "import"}  # LABELS says `import` where VOTES say `imported`


@dataclass(frozen=True)
class Rule:
    """What makes a label, and the class order of every list of probabilities."""

    classes: tuple[str, ...]
    agree: int = 2  # the paper: two or more of three are the same
    min_votes: int = 3  # the paper: three different people

    def __post_init__(self) -> None:
        for name, value in (("agree", self.agree), ("min_votes", self.min_votes)):
            if value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")

    def metadata(self) -> dict[str, str]:
        """What LABELS keep in their file: the class order of label_probs, and the rule."""
        rule = {"agree": self.agree, "min_votes": self.min_votes}
        return {"consenso.classes": json.dumps(list(self.classes)), "consenso.rule": json.dumps(rule)}


def aggregate(
    votes: pd.DataFrame,
    *,
    classes: Sequence[str],
    agree: int = 2,
    min_votes: int = 3,
    images: Iterable[str] = (),
    gold: Collection[str] = (),
    source: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give each image the label that at least `agree` workers and more than half of them chose, else none and the reason.

    Args:
        votes: image_id, worker_id, label; used when there: assignment_status, source, answer, dropped (only `gold` in it),
            submitted_at and assignment_id (which of two equal votes is the first).
        classes: class keys; their order is the order of label_probs. Another label makes a vote invalid.
        agree, min_votes: the rule. Fewer votes than min_votes, or than could reach `agree` by majority, are insufficient.
        images: further images that were asked about; without a vote they are `no_votes`.
        gold: images whose label we know; votes on them only measure workers.
        source: count only votes of this source. Without it, votes of several sources are a UserError.
    Returns:
        labels: one row per image in image_id order: image_id, label, source, n_votes, n_agree, label_probs (shares in class
            order, missing without votes), dropped. No votes at all give no rows.
        audit: the votes in their own order, `dropped` filled: missing where the vote counted.
    """
    rule = Rule(tuple(classes), agree, min_votes)
    chosen = _source(votes, source)
    ids = _union(votes["image_id"], images, gold)
    picture = _places(votes["image_id"], ids)
    label = _places(votes["label"], pd.Index(rule.classes, dtype="str"))  # -1: missing or unknown
    known = ids.isin(list(gold))
    why = _reasons(votes, picture, label, known, chosen)
    labels = _count(ids, picture[why == 0], label[why == 0], rule)
    unlabeled_gold = known & labels["label"].isna().to_numpy()
    labels["dropped"] = labels["dropped"].mask(pd.Series(unlabeled_gold), GOLD)
    labels["source"] = pd.Series(None, index=labels.index, dtype="str").mask(
        labels["label"].notna(), _LABEL_SOURCE.get(chosen, chosen)
    )
    audit = votes.assign(dropped=pd.Series(np.array([None, *REASONS], object)[why], index=votes.index, dtype="str"))
    return labels, audit


def aggregate_task(
    votes: pd.DataFrame,
    hits: pd.DataFrame,
    gold: pd.DataFrame,
    *,
    task: str,
    rule: Rule,
    source: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels and audited votes of one task, as `aggregate` makes them, with why each picture was asked about.

    Every picture of HITS gets a row of LABELS. A picture that was asked for several reasons keeps the first one. Raises
    UserError when there are no votes at all.
    """
    if votes.empty:
        raise UserError(
            f"task {task}: there are no votes yet; `curate hits collect` brings them in once people have answered"
        )
    if len(votes) and not votes["label"].isin(rule.classes).any() and (votes["dropped"] != UNSEEN).any():
        raise UserError(
            f"none of the {len(votes)} votes has a class of task {task} ({', '.join(rule.classes)}); "
            f"found {votes['label'].dropna().iloc[0] if votes['label'].notna().any() else 'no label'!r}. "
            "Was the class list changed?"
        )
    is_gold = hits["chosen_by"] == "gold"
    asked = hits[~is_gold].sort_values(["round", "created_at", "hit_id"]).drop_duplicates("image_id")
    labels, audit = aggregate(
        votes,
        classes=rule.classes,
        agree=rule.agree,
        min_votes=rule.min_votes,
        images=asked["image_id"],
        gold=set(gold["image_id"]) | set(hits.loc[is_gold, "image_id"]),
        source=source,
    )
    why_asked = labels["image_id"].map(asked.set_index("image_id")["chosen_by"])
    asked_or_voted = pd.Index(pd.concat([hits["image_id"], votes["image_id"]]).unique())
    labels = labels.assign(task=task, chosen_by=why_asked)[
        asked_or_voted.get_indexer(pd.Index(labels["image_id"])) >= 0
    ]
    return LABELS.check(labels.reset_index(drop=True)), audit


def gold_accuracy(audit: pd.DataFrame, gold: pd.DataFrame) -> tuple[int, int]:
    """How many votes on gold pictures there are, and how many of them are right."""
    votes = audit.loc[audit["dropped"] == GOLD, ["image_id", "label"]]
    known = votes["image_id"].map(gold.set_index("image_id")["label"])
    return int(known.notna().sum()), int((known == votes["label"]).sum())


def summary(labels: pd.DataFrame, audit: pd.DataFrame, gold: pd.DataFrame | None = None) -> list[str]:
    """What a person wants to know after `curate aggregate`, line by line."""
    asked = labels[labels["dropped"].isna() | (labels["dropped"] != GOLD)]
    done = int(asked["label"].notna().sum())
    reasons = _counts(asked["dropped"])
    lines = [f"{done} of {len(asked)} pictures labeled{_share(done, len(asked))}" + (f"; {reasons}" if reasons else "")]
    counted = int(audit["dropped"].isna().sum())
    reasons = _counts(audit["dropped"])
    lines.append(f"{counted} of {len(audit)} votes counted" + (f"; {reasons}" if reasons else ""))
    if gold is not None and len(gold):
        n, right = gold_accuracy(audit, gold)
        lines.append(f"{right} of {n} votes on gold pictures right{_share(right, n)}")
    return lines


def _counts(dropped: pd.Series) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in dropped.value_counts().items())


def _share(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.1f} %)" if whole else ""


def _source(votes: pd.DataFrame, wanted: str | None) -> str:
    """The one source whose votes count; 'crowd' where the votes do not say."""
    if "source" not in votes.columns or not len(votes):
        return wanted or "crowd"
    found = sorted(votes["source"].dropna().unique())
    if wanted is not None and wanted not in found:
        raise UserError(f"no votes of source {wanted!r}; found {', '.join(found) or 'none'}")
    if wanted is None and len(found) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in votes["source"].value_counts().sort_index().items())
        raise UserError(
            f"votes of several sources ({counts}) are never mixed; say which with --source {' or '.join(found)}"
        )
    return wanted or (found[0] if found else "crowd")


def _union(voted: pd.Series, images: Iterable[str], gold: Iterable[str]) -> pd.Index:
    """All image ids, each once, sorted: so the result does not know in which order votes came."""
    more = pd.Series([*images, *gold], dtype="str")
    every = pa.array(pd.concat([voted.astype("str"), more]), from_pandas=True)
    return pd.Index(pc.unique(every).to_pandas(), dtype="str").sort_values()


def _places(values: pd.Series, ids: pd.Index) -> np.ndarray:
    """For each value its place in `ids`, -1 where it is missing or not there."""
    codes, unique = pd.factorize(values)  # much quicker than looking every single value up
    return np.append(ids.get_indexer(pd.Index(unique)), -1)[codes]


def _reasons(votes: pd.DataFrame, picture: np.ndarray, label: np.ndarray, known: np.ndarray, source: str) -> np.ndarray:
    """For each vote 0 (it counts) or 1 + the place of its reason in REASONS."""
    nothing = pd.Series(None, index=votes.index, dtype="str")
    before = votes.get("dropped", nothing)
    found = {
        OTHER_SOURCE: votes.get("source", nothing).fillna(source) != source,
        REJECTED: votes.get("assignment_status", nothing) == "Rejected",
        UNSEEN: (votes.get("answer", nothing) == CANNOT_SEE) | (before == UNSEEN) | (votes["label"] == CANNOT_SEE),
        INVALID: label < 0,
        GOLD: (before == GOLD) | known[picture],
    }
    masks = [np.asarray(mask, dtype=bool) for mask in found.values()]
    why = np.select(masks, [REASONS.index(reason) + 1 for reason in found], 0).astype(np.int8)
    _mark_repeats(votes, picture, label, why)
    return why


def _mark_repeats(votes: pd.DataFrame, picture: np.ndarray, label: np.ndarray, why: np.ndarray) -> None:
    """Where one worker answered one picture several times: equal answers count once, different ones not at all."""
    rows = np.flatnonzero(why == 0)
    worker, people = pd.factorize(votes["worker_id"])
    pair = picture[rows].astype(np.int64) * max(len(people), 1) + worker[rows]
    in_order = np.sort(pair)
    if not (in_order[1:] == in_order[:-1]).any():
        return
    again = np.isin(pair, in_order[1:][in_order[1:] == in_order[:-1]])
    rows, pair = rows[again], pair[again]
    # the first vote is the earliest, then the smallest assignment_id: never the first row of the file
    later = [
        pd.factorize(votes[name].iloc[rows], sort=True)[0]
        for name in ("assignment_id", "submitted_at")
        if name in votes.columns
    ]
    order = np.lexsort((*later, pair))
    rows, pair = rows[order], pair[order]
    first = np.r_[True, pair[1:] != pair[:-1]]
    run = np.cumsum(first) - 1
    starts = np.flatnonzero(first)
    given = label[rows]
    conflict = (np.minimum.reduceat(given, starts) != np.maximum.reduceat(given, starts))[run]
    why[rows[~first]] = REASONS.index(DUPLICATE) + 1
    why[rows[conflict]] = REASONS.index(SELF_CONFLICT) + 1


def _count(ids: pd.Index, picture: np.ndarray, label: np.ndarray, rule: Rule) -> pd.DataFrame:
    """The rule itself, on votes that count: `picture` and `label` are places in `ids` and in the class list."""
    k = len(rule.classes)
    counts = np.bincount(picture * k + label, minlength=len(ids) * k).reshape(len(ids), k)
    n = counts.sum(axis=1)
    top = counts.max(axis=1, initial=0)
    agreed = (n >= rule.min_votes) & (top >= rule.agree) & (2 * top > n)
    enough = max(rule.min_votes, 2 * rule.agree - 1)  # with fewer, another answer may still make a label
    reasons = np.array([None, NO_VOTES, INSUFFICIENT, NO_AGREEMENT], object)
    reason = reasons[np.select([agreed, n == 0, n < enough], [0, 1, 2], 3)]
    winner = np.where(agreed, counts.argmax(axis=1) if k else 0, k)
    shares = counts / np.maximum(n, 1)[:, None]
    probs = np.empty(len(ids), object)
    for i in np.flatnonzero(n):
        probs[i] = shares[i]
    return pd.DataFrame(
        {
            "image_id": ids,
            "label": pd.Series(np.array([*rule.classes, None], object)[winner], dtype="str"),
            "n_votes": n.astype(np.int32),
            "n_agree": top.astype(np.int32),
            "label_probs": probs,
            "dropped": pd.Series(reason, dtype="str"),
        }
    )
