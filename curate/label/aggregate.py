"""Votes become labels: `aggregate` for a frame of votes, `aggregate_task` for the tables of a workspace.

Votes that do not fit in memory go the same way, file to file: `curate/label/files.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.label.count import Filters, count, one_source
from curate.label.rule import CHANGED, GOLD, REASONS, UNSEEN, Rule
from curate.label.votes import votes_of
from schemas.errors import UserError
from schemas.tables import LABELS

__all__ = ["REASONS", "Filters", "Rule", "aggregate", "aggregate_task", "gold_accuracy", "summary"]

_USED = (
    "image_id", "worker_id", "label", "assignment_id", "submitted_at", "assignment_status", "source", "endpoint", "answer",
    "dropped", "qualified", "class_changed",
)  # fmt: skip


def aggregate(
    votes: pd.DataFrame,
    *,
    classes: Sequence[str],
    agree: int = 2,
    min_votes: int | None = None,
    images: Iterable[str] = (),
    gold: Collection[str] = (),
    source: str | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give each image the label that at least `agree` workers and more than half of them chose, else none and the reason.

    Args:
        votes: image_id, worker_id, label; used when there: assignment_status, source, endpoint, answer, qualified, dropped
            (only `gold` and `unqualified` in it), submitted_at and assignment_id (which of two equal votes is the first).
        classes: class keys; their order is the order of label_probs. Another label makes a vote invalid.
        agree, min_votes: the rule (default 2 and 3). Fewer votes than min_votes, or than could reach `agree` by majority,
            are insufficient.
        images: further images that were asked about; without a vote they are `no_votes`.
        gold: images whose label we know; votes on them only measure workers.
        source: count only votes of this source. Without it, votes of several sources are a UserError.
    Returns:
        labels: one row per image in image_id order: image_id, label, source, n_votes, n_agree, label_probs (shares in class
            order, missing without votes), method, dropped. No votes at all give no rows.
        audit: the votes in their own order, `dropped` filled: missing where the vote counted.
    """
    filters = Filters(source=source, gold=set(gold), images=set(images))
    return apply(votes, Rule(tuple(classes), agree, min_votes), filters)


def apply(votes: pd.DataFrame, rule: Rule, filters: Filters) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `aggregate`, with every choice of the rule and of the filters."""
    source = votes_of(votes, _USED)
    one_source(source, filters.source)
    blocks = list(count(source, rule, filters, ["row_number"]))
    why = pa.concat_tables(block.audit for block in blocks) if blocks else None
    dropped = np.full(len(votes), None, object)
    if why is not None:
        dropped[why["row_number"].to_numpy()] = why["dropped"].to_pandas().to_numpy(object)
    audit = votes.assign(dropped=pd.Series(dropped, index=votes.index, dtype="str"))
    if not blocks:
        return LABELS.empty().drop(columns=["task", "chosen_by"]), audit
    return pa.concat_tables(block.labels for block in blocks).to_pandas(), audit


def aggregate_task(
    votes: pd.DataFrame,
    hits: pd.DataFrame,
    gold: pd.DataFrame,
    *,
    task: str,
    rule: Rule,
    filters: Filters | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels and audited votes of one task, as `aggregate` makes them, with why each picture was asked about.

    Every picture of HITS gets a row of LABELS. A picture that was asked for several reasons keeps the first one. Raises
    UserError when there are no votes at all.
    """
    if votes.empty:
        raise UserError(
            f"task {task}: there are no votes yet; `curate hits collect` brings them in once people have answered"
        )
    if not votes["label"].isin(rule.classes).any() and (~votes["dropped"].isin([UNSEEN, CHANGED])).any():
        found = votes["label"].dropna().iloc[0] if votes["label"].notna().any() else "no label"
        raise UserError(
            f"none of the {len(votes)} votes has a class of task {task} ({', '.join(rule.classes)}); found {found!r}. "
            "Was the class list changed? `curate task migrate` says what became of a class"
        )
    is_gold = hits["chosen_by"] == "gold"
    asked = hits[~is_gold].sort_values(["round", "created_at", "hit_id"]).drop_duplicates("image_id")
    filters = filters or Filters()
    known = set(gold["image_id"]) | set(hits.loc[is_gold, "image_id"])
    wanted = Filters(**{**vars(filters), "gold": known, "images": set(asked["image_id"])})
    labels, audit = apply(votes, rule, wanted)
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
    lines = told(_counts(asked["dropped"], len(asked)), _counts(audit["dropped"], len(audit)))
    if gold is not None and len(gold):
        n, right = gold_accuracy(audit, gold)
        lines.append(f"{right:,} of {n:,} votes on gold pictures right{_share(right, n)}")
    return lines


def told(pictures: dict[str | None, int], votes: dict[str | None, int]) -> list[str]:
    """Two lines from the counts of pictures and of votes by their reason; None = labeled, counted."""
    lines = []
    for counts, what in ((pictures, "pictures labeled"), (votes, "votes counted")):
        done, total = counts.get(None, 0), sum(counts.values())
        rest = sorted(
            ((n, reason) for reason, n in counts.items() if reason and n), key=lambda pair: (-pair[0], pair[1])
        )
        reasons = ", ".join(f"{n:,} {reason}" for n, reason in rest)
        share = _share(done, total) if what == "pictures labeled" else ""
        lines.append(f"{done:,} of {total:,} {what}{share}" + (f"; {reasons}" if reasons else ""))
    return lines


def _counts(dropped: pd.Series, total: int) -> dict[str | None, int]:
    found: dict[str | None, int] = {str(reason): int(n) for reason, n in dropped.value_counts().items()}
    return {None: total - sum(found.values()), **found}


def _share(part: int, whole: int) -> str:
    return f" ({100 * part / whole:.1f} %)" if whole else ""
