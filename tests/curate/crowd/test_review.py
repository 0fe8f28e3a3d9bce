from __future__ import annotations

import pandas as pd
import pytest

from curate.crowd.review import judge, plan_lines, with_statuses
from schemas.errors import UserError
from schemas.tables import GOLD, VOTES


def gold() -> pd.DataFrame:
    return GOLD.frame(
        {"image_id": f"g{n}", "task": "apron", "label": "dots", "use": "hidden", "source": "me"} for n in range(20)
    )


def votes(**workers: str) -> pd.DataFrame:
    """For each worker a word like `++-` or `+-/Approved`: one assignment per sign, its gold right or wrong."""
    rows = []
    for worker, word in workers.items():
        signs, _, status = word.partition("/")
        for n, sign in enumerate(signs):
            label = "dots" if sign == "+" else "plain"
            rows.append(
                {
                    "assignment_id": f"{worker}{n}", "image_id": f"g{n}", "task": "apron", "hit_id": f"H{n}", "worker_id": worker,
                    "round": 1, "endpoint": "http://here", "assignment_status": status or "Submitted", "source": "crowd",
                    "answer": label, "label": label, "submitted_at": "2026-11-01T00:00:00Z", "dropped": "gold",
                }
            )  # fmt: skip
    return VOTES.frame(rows)


def test_everything_that_was_submitted_is_approved_by_default() -> None:
    verdicts = judge(votes(GOOD="+++++", BAD="-----", OLD="++/Approved"), gold())
    assert len(verdicts) == 10
    assert {v.reason for v in verdicts} == {None}


def test_a_worker_below_the_mark_on_enough_gold_is_rejected_with_the_numbers() -> None:
    verdicts = judge(votes(GOOD="++++-", BAD="+----", FEW="----"), gold(), reject_below=0.5)
    reasons = {v.worker_id: v.reason for v in verdicts}
    assert reasons == {
        "GOOD": None,
        "FEW": None,
        "BAD": "1 of 5 pictures with a known answer were right; 50% are needed",
    }
    assert plan_lines(verdicts)[0] == "9 assignments to approve, 5 to reject"


def test_nothing_to_judge_says_what_to_do() -> None:
    assert "curate hits collect" in plan_lines(judge(VOTES.empty(), gold()))[0]


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(UserError, match=r"between 0 and 1, got 40"):
        judge(VOTES.empty(), gold(), 40)


def test_new_statuses_reach_all_votes_of_the_assignment() -> None:
    there = votes(GOOD="++")
    assert list(with_statuses(there, {"GOOD0": "Approved"})["assignment_status"]) == ["Approved", "Submitted"]
