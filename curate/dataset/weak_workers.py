"""Which workers to look at: those who are surely worse than a bound."""

from __future__ import annotations

import pandas as pd

from schemas.errors import UserError
from schemas.interval import wilson

LEAST_VOTES = 10  # fewer say nothing about a worker


def select_workers(workers: pd.DataFrame, below: float) -> pd.DataFrame:
    """Workers who are surely worse than `below`: the upper end of a 95 % Wilson interval lies under it.

    Gold accuracy is held against `below` itself. Agreement with the others, which also falls where pictures are hard, is held
    against `below` times the median worker's. Fewer than ten votes say nothing. Worst first.

    Args:
        workers: WORKERS rows; those already excluded are left out.
        below: 0 to 1.
    Returns:
        worker_id, task, reason, n_votes, high (the upper end), bound (what it lies under).
    """
    if not 0 < below < 1:
        raise UserError(f"--below must be between 0 and 1, got {below}")
    known = workers[workers["excluded"].isna()]
    usual = known.loc[known["agreement_n"] >= LEAST_VOTES, "agreement"].median()
    rows = []
    for worker in known.to_dict("records"):
        found = []
        if worker["gold_n"] >= LEAST_VOTES:
            found.append(_fault("gold", worker["gold_correct"], worker["gold_n"], below))
        if worker["agreement_n"] >= LEAST_VOTES and usual == usual:
            equal = round(worker["agreement"] * worker["agreement_n"])
            found.append(_fault("agreement with others", equal, worker["agreement_n"], below * usual))
        faults = [fault for fault in found if fault]
        if faults:
            high, bound, _ = min(faults)
            reason = "; ".join(text for _, _, text in faults)
            facts = {name: worker[name] for name in ("worker_id", "task", "n_votes")}
            rows.append({**facts, "reason": reason, "high": high, "bound": bound})
    columns = ["worker_id", "task", "reason", "n_votes", "high", "bound"]
    return pd.DataFrame(rows, columns=columns).sort_values(["high", "worker_id"], ignore_index=True)


def _fault(what: str, right: int, n: int, bound: float) -> tuple[float, float, str] | None:
    """The upper end, the bound, and both in words; None when the upper end is not below the bound."""
    high = wilson(int(right), int(n))[1]
    if high >= bound:
        return None
    return high, bound, f"{what} {int(right)} of {int(n)} right, at most {100 * high:.0f} %, below {100 * bound:.0f} %"
