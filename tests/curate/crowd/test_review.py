from __future__ import annotations

import pandas as pd
import pytest

from curate.crowd.review import Limits, Verdict, judge, plan_lines, table_lines
from schemas.errors import UserError
from schemas.tables import VOTES, WORKERS


def records(**facts: dict[str, float]) -> pd.DataFrame:
    """WORKERS rows: what is not said is nothing."""
    nothing = {"n_votes": 0, "gold_n": 0, "gold_correct": 0, "agreement_n": 0}
    return WORKERS.frame({**nothing, "worker_id": worker, "task": "apron", **own} for worker, own in facts.items())


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


def reasons(found: list[Verdict]) -> dict[str, str | None]:
    return {verdict.worker_id: verdict.reason for verdict in found}


def test_everything_that_was_submitted_is_approved_by_default() -> None:
    bad = records(
        BAD={"gold_n": 5, "gold_correct": 0, "agreement_n": 90, "agreement": 0.0, "n_votes": 90, "median_seconds": 0}
    )
    verdicts = judge(votes(GOOD="+++++", BAD="-----", OLD="++/Approved"), bad, Limits())
    assert len(verdicts) == 10
    assert {v.reason for v in verdicts} == {None}


@pytest.mark.parametrize(
    ("record", "limits", "reason"),
    [
        ({"gold_n": 5, "gold_correct": 1}, Limits(gold=0.5), "1 of 5 pictures with a known answer were right; 50% are needed"),
        ({"gold_n": 4, "gold_correct": 0}, Limits(gold=0.5), None),  # too few to say
        ({"gold_n": 6, "gold_correct": 3}, Limits(gold=0.5), None),
        ({"agreement_n": 20, "agreement": 0.4}, Limits(agreement=0.6), "40% of 20 answers were those of most others; 60% are needed"),
        ({"agreement_n": 19, "agreement": 0.0}, Limits(agreement=0.6), None),
        ({"n_votes": 40, "median_seconds": 0.42}, Limits(seconds=1), "0.4 seconds for a picture (the middle of 40); 1 are needed to look at one"),
        ({"n_votes": 40}, Limits(seconds=1), None),  # times are not known
        ({"n_votes": 19, "median_seconds": 0.1}, Limits(seconds=1), None),
    ],
)  # fmt: skip
def test_a_worker_is_rejected_below_a_limit_on_enough_answers_with_the_figures(
    record: dict[str, float], limits: Limits, reason: str | None
) -> None:
    found = judge(votes(GOOD="+", THEY="-"), records(THEY=record), limits)
    assert reasons(found) == {"GOOD": None, "THEY": reason}


def test_several_faults_and_the_requesters_own_words_stand_in_one_reason() -> None:
    record = {"gold_n": 5, "gold_correct": 1, "n_votes": 40, "median_seconds": 0.4}
    found = judge(votes(BAD="--"), records(BAD=record), Limits(0.5, 0, 1), "Please read the guide.")
    assert reasons(found)["BAD"] == (
        "1 of 5 pictures with a known answer were right; 50% are needed. "
        "0.4 seconds for a picture (the middle of 40); 1 are needed to look at one. Please read the guide."
    )
    assert plan_lines(found)[0] == "0 assignments to approve, 2 to reject"
    assert table_lines(found, records(BAD=record))[1].split() == ["BAD", "2", "1", "of", "5", "-", "0.4", "reject"]
    with pytest.raises(UserError, match="a worker's message holds 1024 characters"):
        judge(votes(BAD="--"), records(BAD=record), Limits(0.5), "x" * 1024)


def test_nothing_to_judge_says_what_to_do() -> None:
    assert "curate hits collect" in plan_lines(judge(VOTES.empty(), WORKERS.empty(), Limits()))[0]


@pytest.mark.parametrize(
    ("limits", "said"), [((40,), "between 0 and 1, got 40"), ((0, -1), "got -1"), ((0, 0, -2), "got -2")]
)
def test_a_limit_that_is_none_is_refused(limits: tuple[float, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Limits(*limits)
