from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.crowd import budget, journal
from curate.crowd.rounds import Plan, batches, candidates, plan, sample, token
from curate.database import transaction
from curate.tasks import make_task
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import CLUSTERS, GOLD, LABELS, PICTURES
from schemas.task import Task

IDS = [f"{number:064x}" for number in range(300)]
HERE = "http://127.0.0.1:8055"


def pictures(count: int, dropped: dict[int, str] | None = None) -> pd.DataFrame:
    rows = ({"image_id": IDS[n], "blob": "b", "bytes": 1, "dropped": (dropped or {}).get(n)} for n in range(count))
    return PICTURES.frame(rows)[["image_id", "dropped"]]


def clusters(count: int, twins: dict[int, int] | None = None) -> pd.DataFrame:
    """Everybody alone, but for twins: {picture: its representative}."""
    of = {n: (twins or {}).get(n, n) for n in range(count)}
    return CLUSTERS.frame(
        {"image_id": IDS[n], "cluster_id": IDS[r], "representative": n == r, "kind": "single", "distance": 0}
        for n, r in of.items()
    )


def apron(**crowd: Any) -> Task:
    task = make_task("apron")
    return task.model_copy(update={"crowd": task.crowd.model_copy(update=crowd)})


def planned(workspace: Workspace, wanted: int, task: Task | None = None, **facts: Any) -> Plan:
    given_: dict[str, Any] = {
        "name": "shop", "endpoint": HERE, "seed": 0, "pictures": pictures(100), "clusters": clusters(100),
        "gold": GOLD.empty(), "labels": LABELS.empty(), **facts,
    }  # fmt: skip
    with closing(workspace.project()) as project:
        return plan(project, task or apron(), wanted=wanted, **given_)


def write_down(workspace: Workspace, made: Plan, task: Task | None = None) -> None:
    with closing(workspace.project()) as project, transaction(project):
        budget.reserve(project, task or apron(), [(e.token, e.max_assignments * made.price.total) for e in made.new])
        journal.write_down(project, made.new)


def asked(made: Plan) -> list[str]:
    return [a.image_id for entry in made.new for a in entry.images if a.chosen_by == "random"]


@given(
    count=st.integers(0, 120), hidden=st.integers(0, 12), per_hit=st.integers(1, 20),
    share=st.floats(0, 0.5, allow_subnormal=False), seed=st.integers(0, 9), first=st.integers(0, 50),
)  # fmt: skip
def test_batches_hold_every_picture_once_and_gold_at_its_share(
    count: int, hidden: int, per_hit: int, share: float, seed: int, first: int
) -> None:
    golds = IDS[200 : 200 + hidden]
    groups = batches(IDS[:count], golds, per_hit, share, seed, first)
    again = batches(IDS[:count], golds, per_hit, share, seed, first)
    assert groups == again
    assert sorted(a.image_id for g in groups for a in g if a.chosen_by == "random") == IDS[:count]
    for group in groups:
        assert 1 <= len(group) <= per_hit
        assert len({a.image_id for a in group}) == len(group)
        assert any(a.chosen_by == "random" for a in group)
        assert {a.image_id for a in group if a.chosen_by == "gold"} <= set(golds)
    shown = Counter(a.image_id for g in groups for a in g if a.chosen_by == "gold")
    if hidden >= per_hit:  # enough gold that no HIT runs short of it
        wanted = len(groups) * min(per_hit * share, per_hit - 1)
        assert abs(sum(shown.values()) - wanted) <= 1 + (per_hit == 1) * len(groups)


def test_gold_that_goes_round_is_shown_equally_often() -> None:
    groups = batches(IDS[:180], IDS[200:205], 10, 0.1, seed=3)
    shown = Counter(a.image_id for g in groups for a in g if a.chosen_by == "gold")
    assert set(shown.values()) == {4}


@given(st.sets(st.sampled_from(IDS)), st.integers(0, 50), st.integers(0, 50), st.integers(0, 5))
def test_a_larger_sample_begins_with_the_smaller_one(ids: set[str], small: int, more: int, seed: int) -> None:
    assert sample(ids, small, seed) == sample(sorted(ids), small + more, seed)[:small]


def test_another_seed_is_another_sample() -> None:
    assert sample(IDS, 20, 0) != sample(IDS, 20, 1)


def test_one_representative_of_each_cluster_that_nobody_was_asked_about() -> None:
    found = candidates(pictures(6, {1: "too small"}), clusters(6, {3: 2, 5: 4}), taken={IDS[5]})
    assert found == [IDS[0], IDS[2]]  # 1 is dropped, 3 is a twin, and of 4 and 5 one was asked already


def test_a_token_knows_project_task_round_pictures_and_question_but_not_their_order() -> None:
    task = apron()
    name = token("shop", task, 1, IDS[:3])
    assert name == token("shop", task, 1, reversed(IDS[:3]))
    assert len(name) == 64
    reworded = task.model_copy(update={"question": {"en": "What now?"}})
    others = [
        token("mall", task, 1, IDS[:3]), token("shop", task, 2, IDS[:3]),
        token("shop", task, 1, IDS[:4]), token("shop", reworded, 1, IDS[:3]),
    ]  # fmt: skip
    assert len({name, *others}) == 5


def test_the_same_number_again_asks_nothing_and_a_larger_one_asks_the_difference(workspace: Workspace) -> None:
    first = planned(workspace, 40)
    write_down(workspace, first)
    assert planned(workspace, 40).new == []
    more = planned(workspace, 55)
    assert len(asked(more)) == 15
    assert not set(asked(more)) & set(asked(first))


def test_gold_labeled_and_twins_of_asked_pictures_are_not_bought(workspace: Workspace) -> None:
    gold = GOLD.frame([{"image_id": IDS[0], "task": "apron", "label": "dots", "use": "test", "source": "me"}])
    labels = LABELS.frame(
        [
            {"image_id": IDS[1], "task": "apron", "label": "dots", "n_votes": 3, "n_agree": 3},
            {"image_id": IDS[2], "task": "vest", "label": "dots", "n_votes": 3, "n_agree": 3},
            {"image_id": IDS[3], "task": "apron", "label": None, "n_votes": 0, "n_agree": 0, "dropped": "no_votes"},
        ]
    )
    found = planned(workspace, 99, pictures=pictures(6), clusters=clusters(6, {5: 0}), gold=gold, labels=labels)
    assert sorted(asked(found)) == [IDS[2], IDS[3], IDS[4]]
    assert "96 fewer than wanted" in found.lines()[-1]


def test_the_plan_says_what_it_costs(workspace: Workspace) -> None:
    gold = GOLD.frame(
        {"image_id": IDS[n], "task": "apron", "label": "dots", "use": "hidden", "source": "me"} for n in (90, 91)
    )
    found = planned(workspace, 18, apron(fee_share=0.2), gold=gold)
    assert found.lines() == [
        "18 pictures (0 of 18 asked before) and 2 hidden gold in 2 HITs",
        "3 workers each: 6 assignments, 60 answers",
        "$0.72 at most ($0.10 reward and $0.02 fee each); the budget has $100.00 left",
    ]


def test_the_budget_is_never_exceeded_and_a_refusal_writes_nothing_down(workspace: Workspace) -> None:
    task = apron(budget_usd=1.0)  # three HITs of three answers at 10 cents, and a dime over
    small = planned(workspace, 20, task)
    write_down(workspace, small, task)
    large = planned(workspace, 60, task)
    with pytest.raises(UserError, match=r"costs \$1.20, the budget has \$0.40 left of \$1.00"):
        write_down(workspace, large, task)
    with closing(workspace.project()) as project:
        assert len(journal.entries(project, "apron")) == 2
        assert budget.left(project, task) == 400_000


def test_zero_pictures_is_a_mistake(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="--images must be at least 1, got 0"):
        planned(workspace, 0)
