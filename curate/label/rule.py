"""The rule of the paper, made complete: two of three must agree, everything else stays unlabeled and says why.

A picture with n votes, the most frequent class having m of them, gets that class when n >= min_votes, m >= agree and
2 m > n. More than half is one class only, so there is never a tie to break, and the order of rows never matters.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import numpy as np

from schemas.errors import UserError

# Why a vote does not count, in the order in which the reasons are looked for: a vote carries the first that is true.
OTHER_SOURCE = "other source"  # --source asked for others
WRONG_ENDPOINT = "wrong endpoint"  # --endpoint asked for another; a sandbox never counts beside the real thing
REJECTED = "rejected"
UNQUALIFIED = "unqualified"  # the worker had not passed the test, or lost the qualification later
EXCLUDED = "worker excluded"  # a person decided so: `curate workers exclude`
UNSEEN = "cannot see the picture"
CHANGED = "class changed"  # the class was split after the vote: nobody knows which part was meant
INVALID = "invalid label"
GOLD = "gold"  # measures the worker, never labels; before duplicates, since one worker may meet a gold picture twice
PILOT = "pilot"  # asked to try the task out; `curate hits pilot --keep` lets them count
SELF_CONFLICT = "self-conflict"  # one worker gave one picture different labels: none counts
DUPLICATE = "duplicate"  # one worker gave one picture the same label again: the first counts
LATE = "beyond the first answers"  # --first-k
REASONS = (
    OTHER_SOURCE, WRONG_ENDPOINT, REJECTED, UNQUALIFIED, EXCLUDED, UNSEEN, CHANGED, INVALID, GOLD, PILOT,
    SELF_CONFLICT, DUPLICATE, LATE,
)  # fmt: skip

# Why a picture has no label.
NO_VOTES, INSUFFICIENT, NO_AGREEMENT = "no_votes", "insufficient", "no_agreement"
INSUFFICIENT_CHANGED = "insufficient (class changed)"
UNSEEN_BY = 2  # people who cannot see a picture after which it is not asked about again
NO_LABEL = (None, NO_VOTES, INSUFFICIENT, NO_AGREEMENT, INSUFFICIENT_CHANGED, UNSEEN, GOLD)


@dataclass(frozen=True)
class Rule:
    """What makes a label, and the class order of every list of probabilities."""

    classes: tuple[str, ...]
    agree: int = 2  # the paper: two or more of three are the same
    min_votes: int | None = None  # default: 3, three different people as in the paper; plurality: as many as must agree
    first_k: int | None = None  # count only the first k answers of a picture; None = all
    kind: Literal["majority", "plurality"] = "majority"  # plurality: the most frequent class, where it is only one

    def __post_init__(self) -> None:
        if self.kind not in ("majority", "plurality"):
            raise UserError(f"--rule must be majority or plurality, got {self.kind!r}")
        if self.min_votes is None:
            object.__setattr__(self, "min_votes", 3 if self.kind == "majority" else self.agree)
        for name, value in (("agree", self.agree), ("min_votes", self.min_votes), ("first-k", self.first_k)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, got {value}")
        if self.first_k is not None and self.first_k < max(self.agree, self.least):
            raise UserError(
                f"first-k ({self.first_k}) is below the votes that a label needs ({max(self.agree, self.least)})"
            )

    @property
    def least(self) -> int:
        """min_votes, its default filled in."""
        assert self.min_votes is not None
        return self.min_votes

    def metadata(self) -> dict[str, str]:
        """What LABELS keep in their file: the class order of label_probs, and the rule."""
        rule = {"kind": self.kind, "agree": self.agree, "min_votes": self.least, "first_k": self.first_k}
        return {"consenso.classes": json.dumps(list(self.classes)), "consenso.rule": json.dumps(rule)}


def decide(counts: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The rule itself.

    Args:
        counts: [n, K] votes that count, by picture and class.
    Returns:
        winner [n]: place in the class list, K where there is no label; n_votes [n]; n_agree [n], votes of the most frequent
        class; reason [n]: place in NO_LABEL, 0 where there is a label.
    """
    k = len(rule.classes)
    votes = counts.sum(axis=1)
    top = counts.max(axis=1, initial=0)
    if rule.kind == "majority":
        alone = 2 * top > votes
        enough = max(rule.least, 2 * rule.agree - 1)  # with fewer, another answer may still make a label
    else:
        alone = (counts == top[:, None]).sum(axis=1) == 1
        enough = max(rule.least, rule.agree)
    agreed = (votes >= rule.least) & (top >= rule.agree) & alone
    reason = np.select([agreed, votes == 0, votes < enough], [0, 1, 2], 3).astype(np.int8)
    winner = np.where(agreed, counts.argmax(axis=1) if k else 0, k)
    return winner, votes, top, reason


def mark_repeats(picture: np.ndarray, worker: np.ndarray, label: np.ndarray, why: np.ndarray) -> None:
    """Where one worker answered one picture several times: equal answers count once, different ones not at all.

    All arguments are [n], sorted by picture, then worker, then time; `why` is changed in place.
    """
    rows = np.flatnonzero(why == 0)
    picture, worker, label = picture[rows], worker[rows], label[rows]
    again = (picture[1:] == picture[:-1]) & (worker[1:] == worker[:-1])
    if not again.any():
        return
    first = np.r_[True, ~again]
    starts = np.flatnonzero(first)
    conflict = (np.minimum.reduceat(label, starts) != np.maximum.reduceat(label, starts))[np.cumsum(first) - 1]
    why[rows[~first]] = REASONS.index(DUPLICATE) + 1
    why[rows[conflict]] = REASONS.index(SELF_CONFLICT) + 1


def mark_late(picture: np.ndarray, when: np.ndarray, why: np.ndarray, first_k: int) -> None:
    """Of each picture's votes that count, all after the first `first_k` in time no longer count; `why` changes in place."""
    rows = np.flatnonzero(why == 0)
    rows = rows[np.lexsort((when[rows], picture[rows]))]
    place = np.arange(len(rows))
    new = np.r_[True, picture[rows][1:] != picture[rows][:-1]] if len(rows) else np.empty(0, bool)
    place -= np.maximum.accumulate(np.where(new, place, 0))
    why[rows[place >= first_k]] = REASONS.index(LATE) + 1
