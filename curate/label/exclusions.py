"""A person's decision that a worker's votes do not count, kept in EXCLUSIONS; `curate aggregate` applies it."""

from __future__ import annotations

import difflib
from datetime import datetime

import numpy as np
import pandas as pd

from curate.label.ballots import Ballots
from schemas.errors import UserError
from schemas.tables import EXCLUSIONS

_LONGEST = 500  # characters of a reason


def exclude(there: pd.DataFrame, worker: str, *, task: str, reason: str, by: str, at: datetime) -> pd.DataFrame:
    """The EXCLUSIONS with this worker added; deciding again replaces the reason."""
    reason = " ".join(reason.split())
    if not reason or len(reason) > _LONGEST:
        raise UserError(f"--reason must say why in 1 to {_LONGEST} characters, got {len(reason)}")
    row = {"worker_id": worker, "task": task, "reason": reason, "decided_by": by, "decided_at": at}
    kept = there[~_same(there, worker, task)]
    return EXCLUSIONS.check(
        pd.concat([kept, EXCLUSIONS.frame([row])]).sort_values(["task", "worker_id"], ignore_index=True)
    )


def restore(there: pd.DataFrame, worker: str, *, task: str) -> pd.DataFrame:
    """The EXCLUSIONS without this worker; raises UserError when the worker is not excluded."""
    mine = _same(there, worker, task)
    if not mine.any():
        names = there.loc[there["task"] == task, "worker_id"].tolist()
        raise UserError(f"worker {worker} is not excluded from task {task}; excluded: {', '.join(names) or 'nobody'}")
    return there[~mine].reset_index(drop=True)


def _same(there: pd.DataFrame, worker: str, task: str) -> pd.Series:
    return (there["worker_id"] == worker) & (there["task"] == task)


def check_known(worker: str, votes: pd.DataFrame) -> None:
    """Raise UserError for a worker who never voted, with the nearest name there is."""
    known = votes["worker_id"].unique().tolist()
    if not known:
        raise UserError("there are no votes yet; `curate hits collect` brings them in once people have answered")
    if worker not in known:
        near = difflib.get_close_matches(worker, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"the {len(known)} who did are listed by `curate workers`"
        raise UserError(f"worker {worker!r} never voted in this task; {hint}")


def effect(votes: Ballots, worker: str, *, agree: int, min_votes: int, back: bool = False) -> str:
    """What leaving out this worker's votes (or, with `back`, counting them again) will do to labels, in words.

    Counted by the rule on votes alone: at least `min_votes`, at least `agree` equal, more than half of all. Without one vote
    a majority can be lost or won, but never turn into another.
    """
    own = (votes.worker == votes.workers.get_indexer(pd.Index([worker]))[0]) & ~votes.gold
    with_, without = votes.counts | own, votes.counts & ~own
    before = _winners(votes, with_, agree, min_votes)
    after = _winners(votes, without, agree, min_votes)
    if back:
        before, after = after, before
    lost = int(((before >= 0) & (after < 0)).sum())
    won = int(((before < 0) & (after >= 0)).sum())
    verb = "count again" if back else "stop counting"
    return f"{int(own.sum()):,} votes {verb}; pictures that lose their label: {lost:,}, that get one: {won:,}"


def _winners(votes: Ballots, counts: np.ndarray, agree: int, min_votes: int) -> np.ndarray:
    """The class of each picture by the rule, -1 where there is none, [pictures]."""
    k, pictures = max(len(votes.classes), 1), len(votes.images)
    cells, n = np.unique(votes.image[counts] * k + votes.label[counts], return_counts=True)
    image, label = cells // k, cells % k
    total = np.bincount(image, n, pictures)[image]
    wins = (total >= min_votes) & (n >= agree) & (2 * n > total)
    found = np.full(pictures, -1)
    found[image[wins]] = label[wins]
    return found
