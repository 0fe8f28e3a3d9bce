"""The table of workers: what each record shows, the worst first, and how a person reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from curate.label.ballots import Ballots
from curate.label.flags import flags, span, wilsons
from curate.label.record import measure
from schemas.interval import wilson
from schemas.tables import WORKERS


def worker_table(
    votes: Ballots,
    frame: pd.DataFrame,
    *,
    task: str,
    gold: Mapping[str, str] | None = None,
    pass_mark: float = 0.7,
    hits: pd.DataFrame | None = None,
    excluded: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """The WORKERS table, the worst first: those with most flags, then those who agree least.

    Args:
        votes: as `ballots` makes them from `frame`.
        frame: the votes themselves; used when there: seconds, submitted_at, assignment_id, hit_id.
        gold: class key of the pictures whose answer is known.
        pass_mark: share of right answers on gold that the task asks for.
        hits: HITS of the task; says in which order the pictures of a HIT stood. Where votes have no times, there is no order
            and `longest_run` is missing. The order within a HIT that HITS do not know is taken by image_id.
        excluded: worker_id to the reason why a person excluded them.
    """
    order = _order(votes, frame, hits)
    seconds = frame["seconds"].to_numpy(float, na_value=np.nan) if "seconds" in frame.columns else None
    found = measure(votes, dict(gold or {}), None if seconds is None else seconds[votes.row], order)
    lines = flags(found, votes.classes, pass_mark)
    reasons = dict(excluded or {})
    rows = []
    for w, worker in enumerate(votes.workers):
        if not found.n[w] and not found.gold_n[w]:
            continue
        low, high = wilson(int(found.gold_right[w]), int(found.gold_n[w]))
        rows.append(
            {
                "worker_id": worker,
                "task": task,
                "n_votes": int(found.n[w]),
                "gold_n": int(found.gold_n[w]),
                "gold_correct": int(found.gold_right[w]),
                "gold_low": low if found.gold_n[w] else None,
                "gold_high": high if found.gold_n[w] else None,
                "agreement_n": int(found.agreement_n[w]),
                "agreement": float(found.agree[w] / found.agreement_n[w]) if found.agreement_n[w] else None,
                "median_seconds": _or_none(found.seconds[w]),
                "spammer_score": _or_none(found.score[w]),
                "top_share": float(found.top_n[w] / found.n[w]) if found.n[w] else None,
                "longest_run": int(found.run[w]) if found.run[w] else None,
                "flags": lines[w],
                "confusion": None if (matrix := found.confusion[w]) is None else matrix.ravel().tolist(),
                "excluded": reasons.get(str(worker)),
            }
        )
    return _worst_first(WORKERS.frame(rows))


def _worst_first(table: pd.DataFrame) -> pd.DataFrame:
    """Sorted by number of flags, then by the agreement that a worker has at most, then by name."""
    if table.empty:
        return table
    n = table["agreement_n"].to_numpy(int)
    _, at_most = wilsons(np.rint(table["agreement"].fillna(0).to_numpy(float) * n), n)
    keys = pd.DataFrame({"flags": -table["flags"].map(len), "most": at_most, "id": table["worker_id"]})
    return table.loc[keys.sort_values(["flags", "most", "id"]).index].reset_index(drop=True)


def _order(votes: Ballots, frame: pd.DataFrame, hits: pd.DataFrame | None) -> np.ndarray | None:
    """Rank of each vote in time, [V]; None where no times are known."""
    if "submitted_at" not in frame.columns or frame["submitted_at"].isna().all():
        return None
    own = frame.iloc[votes.row]
    when = pd.factorize(own["submitted_at"], sort=True)[0]
    keys = [when]
    if "assignment_id" in frame.columns:
        keys.append(pd.factorize(own["assignment_id"], sort=True)[0])
    if hits is not None and len(hits) and "hit_id" in frame.columns:
        place = hits.set_index(["hit_id", "image_id"])["position"]
        where = pd.MultiIndex.from_arrays([own["hit_id"], own["image_id"]])
        keys.append(np.append(place.to_numpy(np.int64), -1)[place.index.get_indexer(where)])
    ranks = np.empty(len(own), np.int64)
    ranks[np.lexsort((votes.image, *reversed(keys)))] = np.arange(len(own))
    return ranks


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def worker_lines(table: pd.DataFrame, most: int = 20) -> list[str]:
    """The table as a person reads it, worst first: one line a worker, what looks wrong beneath it."""
    shown = table.head(most) if most else table
    width = max([len("worker"), *(len(str(name)) for name in shown["worker_id"])])
    lines = [f"{'worker':<{width}} {'votes':>7}  {'agrees':>14}  {'gold':>15}  {'score':>5} {'seconds':>7}"]
    for row in shown.to_dict("records"):
        lines.append(
            f"{row['worker_id']:<{width}} {row['n_votes']:>7,}  {_share(row['agreement'], row['agreement_n']):>14}  "
            f"{_gold(row):>15}  {_number(row['spammer_score'], 2):>5} {_number(row['median_seconds'], 1):>7}"
        )
        if isinstance(row["excluded"], str):
            lines.append(f"  - excluded: {row['excluded']}")
        lines += [f"  ! {flag}" for flag in row["flags"]]
    if len(table) > len(shown):
        lines.append(f"… {len(table) - len(shown):,} more; --most 0 prints all")
    flagged, out = int((table["flags"].map(len) > 0).sum()), int(table["excluded"].notna().sum())
    lines.append(
        f"{len(table):,} workers, {flagged:,} with something to look at, {out:,} excluded. A flag excludes nobody: "
        "`curate workers exclude WORKER --reason …` does"
    )
    return lines


def _share(share: float, n: int) -> str:
    return f"{100 * share:.0f} % of {n:,}" if n else "–"


def _gold(row: Mapping[Any, Any]) -> str:
    if not row["gold_n"]:
        return "–"
    return f"{row['gold_correct']} of {row['gold_n']} ({span(row['gold_low'], row['gold_high'])})"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def as_json_lines(table: pd.DataFrame) -> list[str]:
    """One JSON object a worker, missing values as null, the confusion as a list by rows."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False) for row in rows]


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, np.ndarray | list):
        return [_plain(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value
