from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dataset.weak_workers import select_workers
from schemas.errors import UserError
from schemas.interval import wilson
from schemas.tables import WORKERS


def worker(number: int, gold: tuple[int, int] = (0, 0), agree: tuple[int, int] = (0, 0), **more: Any) -> dict[str, Any]:
    (right, gold_n), (equal, n) = gold, agree
    share = equal / n if n else None
    row = {"worker_id": f"A{number}", "task": "apron", "n_votes": 100, "gold_n": gold_n, "gold_correct": right}
    return row | {"agreement_n": n, "agreement": share} | more


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    return WORKERS.frame(rows)


def test_a_worker_whose_whole_interval_lies_below_the_bound_is_named_with_the_reason() -> None:
    found = select_workers(table(worker(1, gold=(12, 30)), worker(2, gold=(27, 30)), worker(3, gold=(18, 30))), 0.7)
    assert found["worker_id"].tolist() == ["A1"], "18 of 30 may still be 70 %"
    assert found["reason"][0] == "gold 12 of 30 right, at most 58 %, below 70 %"


def test_agreement_is_held_against_what_is_usual() -> None:
    """Where pictures are hard everybody agrees little, and nobody is to blame."""
    hard = [worker(n, agree=(55, 100)) for n in range(5)]
    assert select_workers(table(*hard), 0.7).empty
    found = select_workers(table(*hard, worker(9, agree=(20, 100))), 0.7)
    assert found["worker_id"].tolist() == ["A9"]
    assert "agreement with others 20 of 100" in found["reason"][0]


def test_few_votes_say_nothing_and_who_is_excluded_is_not_named_again() -> None:
    few, out = worker(1, gold=(0, 9)), worker(2, gold=(0, 50), excluded="spam")
    assert select_workers(table(few, out), 0.7).empty


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), max_size=12), st.floats(0.05, 0.95))
def test_nobody_is_named_whose_interval_reaches_the_bound(records: list[tuple[int, int]], below: float) -> None:
    rows = [worker(number, gold=(min(right, n), n)) for number, (right, n) in enumerate(records)]
    named = set(select_workers(table(*rows), below)["worker_id"])
    for row in rows:
        surely = row["gold_n"] >= 10 and wilson(row["gold_correct"], row["gold_n"])[1] < below
        assert (row["worker_id"] in named) == surely


def test_a_bound_that_is_no_share_is_refused() -> None:
    with pytest.raises(UserError, match="--below must be between 0 and 1, got 70"):
        select_workers(table(), 70)
