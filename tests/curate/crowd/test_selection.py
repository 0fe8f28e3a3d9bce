"""A selection becomes the next round: exactly its pictures, once, and nobody answers a picture twice."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.crowd import budget, journal
from curate.crowd.requester import Requester
from curate.crowd.rounds import Plan, cost, grouped, plan_selection, selected_batches, selection_id
from curate.database import transaction
from curate.tasks import make_task
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import CLUSTERS, GOLD, HITS, LABELS, PICTURES, SELECTION, VOTES

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop

IDS = [f"{number:064x}" for number in range(120)]
HERE = "http://127.0.0.1:8055"
NOBODY: frozenset[str] = frozenset()


def selection(*asked: tuple[int, str, int], task: str = "apron") -> pd.DataFrame:
    """(picture, chosen_by, assignments) in order."""
    return SELECTION.frame(
        {"image_id": IDS[n], "task": task, "purpose": "label", "chosen_by": why, "assignments": k, "rank": rank}
        for rank, (n, why, k) in enumerate(asked)
    )


def pictures(dropped: dict[int, str] | None = None) -> pd.DataFrame:
    rows = ({"image_id": IDS[n], "blob": "b", "bytes": 1, "dropped": (dropped or {}).get(n)} for n in range(100))
    return PICTURES.frame(rows)[["image_id", "dropped"]]


def clusters(twins: dict[int, int] | None = None) -> pd.DataFrame:
    of = {n: (twins or {}).get(n, n) for n in range(100)}
    return CLUSTERS.frame(
        {"image_id": IDS[n], "cluster_id": IDS[r], "representative": n == r, "kind": "single", "distance": 0}
        for n, r in of.items()
    )


def planned(workspace: Workspace, chosen: pd.DataFrame, **facts: Any) -> Plan:
    given_: dict[str, Any] = {
        "name": "shop", "endpoint": HERE, "where": "selection.parquet", "seed": 0, "pictures": pictures(),
        "clusters": clusters(), "gold": GOLD.empty(), "answered": {}, "crowd": 10, **facts,
    }  # fmt: skip
    with closing(workspace.project()) as project:
        return plan_selection(project, make_task("apron"), selection=chosen, **given_)


def write_down(workspace: Workspace, made: Plan) -> None:
    with closing(workspace.project()) as project, transaction(project):
        budget.reserve(project, make_task("apron"), [(e.token, e.max_assignments * made.price.total) for e in made.new])
        journal.write_down(project, made.new)


def asked(made: Plan) -> list[tuple[str, str, int]]:
    return [(a.image_id, a.chosen_by, e.max_assignments) for e in made.new for a in e.images if a.chosen_by != "gold"]


# -- the plan ---------------------------------------------------------------------------------------------------------

earlier = st.dictionaries(
    st.sampled_from(IDS[:60]), st.frozensets(st.sampled_from([f"A{n}" for n in range(12)]), max_size=4)
)
chosen_rows = st.lists(
    st.tuples(st.integers(0, 59), st.sampled_from(["random", "recheck"]), st.integers(1, 4)),
    unique_by=lambda row: row[0],
    min_size=1,
    max_size=60,
)


@given(rows=chosen_rows, answered=earlier, crowd=st.integers(0, 12), first=st.integers(0, 9))
def test_hits_hold_each_selected_picture_once_and_keep_out_who_answered_it(
    rows: list[tuple[int, str, int]], answered: dict[str, frozenset[str]], crowd: int, first: int
) -> None:
    chosen, task = selection(*rows), make_task("apron")
    made = selected_batches(chosen, task, IDS[100:110], answered, crowd, 0, first)
    mine = [
        (a.image_id, a.chosen_by, group.assignments) for group, batch in made for a in batch if a.chosen_by != "gold"
    ]
    assert sorted(mine) == sorted((IDS[n], why, k) for n, why, k in rows)
    for group, batch in made:
        assert 1 <= len(batch) <= task.crowd.pictures_per_hit
        for a in batch:
            assert answered.get(a.image_id, NOBODY) <= group.kept_out or a.chosen_by == "gold"
        own = [answered.get(a.image_id, NOBODY) for a in batch if a.chosen_by != "gold"]
        possible = all(crowd - len(who) >= group.assignments for who in own)
        assert not possible or crowd - len(group.kept_out) >= group.assignments, "enough others are left"


@given(rows=chosen_rows, answered=earlier, crowd=st.integers(0, 12), fewer=st.integers(0, 59))
def test_a_beginning_of_a_selection_never_costs_more_than_all_of_it(
    rows: list[tuple[int, str, int]], answered: dict[str, frozenset[str]], crowd: int, fewer: int
) -> None:
    chosen, task = selection(*rows), make_task("apron")
    some = chosen.iloc[: max(1, len(chosen) - fewer)]
    price = [cost(part, task, 3, answered, crowd, 2) for part in (some, chosen)]
    assert 0 < price[0] <= price[1]


def test_pictures_that_the_same_workers_answered_share_a_hit_where_the_crowd_is_small() -> None:
    one, two = frozenset({"A1", "A2", "A3"}), frozenset({"A4", "A5", "A6"})
    answered = {IDS[0]: one, IDS[1]: two, IDS[2]: one, IDS[3]: two}
    rows = [(IDS[n], 3) for n in range(4)]
    assert [group.image_ids for group in grouped(rows, answered, crowd=6)] == [[IDS[0], IDS[2]], [IDS[1], IDS[3]]]
    assert len(grouped(rows, answered, crowd=9)) == 1, "three others are left for all of them"


def test_the_next_round_asks_exactly_the_selection_in_order_and_says_its_price(workspace: Workspace) -> None:
    gold = GOLD.frame([{"image_id": IDS[90], "task": "apron", "label": "dots", "use": "hidden", "source": "me"}])
    chosen = selection(*((n, "uncertain", 3) for n in range(12)), (20, "random", 3), (21, "disputed", 1))
    made = planned(workspace, chosen, gold=gold)
    assert sorted(asked(made)) == sorted(
        [(IDS[n], "uncertain", 3) for n in range(12)] + [(IDS[20], "random", 3), (IDS[21], "disputed", 1)]
    )
    assert {a for a, _, _ in asked(made)[:9]} == set(IDS[:9]), "the first HIT holds the first pictures"
    assert [e.max_assignments for e in made.new] == [3, 3, 1]
    assert {e.round for e in made.new} == {1}
    assert made.lines() == [
        "14 pictures (12 uncertain, 1 disputed, 1 random) and 3 hidden gold in 3 HITs",
        "1 to 3 workers each: 7 assignments, 47 answers",
        "$0.70 at most ($0.10 reward and $0.00 fee each); the budget has $100.00 left",
    ]


def test_a_selection_is_asked_once_and_the_next_is_a_new_round(workspace: Workspace) -> None:
    chosen = selection(*((n, "uncertain", 3) for n in range(12)))
    write_down(workspace, planned(workspace, chosen))
    again = planned(workspace, chosen.sample(frac=1, random_state=1))
    assert (again.new, again.asked) == ([], 12)
    assert again.done("apron") == "the 12 pictures of this selection have been asked about"
    assert {e.round for e in planned(workspace, selection((50, "random", 3))).new} == {2}


def test_the_name_of_a_selection_knows_its_order_but_not_the_order_of_rows() -> None:
    chosen = selection((1, "random", 3), (2, "random", 3))
    assert selection_id(chosen) == selection_id(chosen[::-1])
    assert selection_id(chosen) != selection_id(selection((2, "random", 3), (1, "random", 3)))
    assert selection_id(chosen) != selection_id(selection((1, "random", 3), (2, "random", 2)))


@pytest.mark.parametrize(
    ("chosen", "facts", "said"),
    [
        (selection(), {}, "selection.parquet: is empty; make it with `curate select`"),
        (selection((1, "random", 3), task="vest"), {}, "is a selection of task vest, not apron"),
        (selection((1, "random", 12)), {}, "assignments must be 1 to 9, got 12"),
        (selection((1, "random", 3)), {"pictures": pictures({1: "too small"})}, r"1 of 1 pictures cannot be asked about: .* is dropped \(too small\). Run `curate select` again"),
        (selection((110, "random", 3)), {}, "is no picture of this workspace"),
        (selection((1, "gold", 3)), {}, "is gold"),
    ],
)  # fmt: skip
def test_a_selection_that_cannot_be_asked_is_refused_whole(
    workspace: Workspace, chosen: pd.DataFrame, facts: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        planned(workspace, chosen, **facts)


def test_what_was_asked_since_the_selection_was_made_is_not_asked_again(workspace: Workspace) -> None:
    write_down(workspace, planned(workspace, selection((1, "uncertain", 3))))
    with pytest.raises(UserError, match="or a twin of it, has been asked about since"):
        planned(workspace, selection((2, "uncertain", 3)), clusters=clusters({2: 1}))
    again = selection((1, "recheck", 3))
    assert planned(workspace, again, last_round=1).new
    with pytest.raises(UserError, match="has been asked again since"):
        planned(workspace, again, last_round=0)


# -- with a real crowd ------------------------------------------------------------------------------------------------


def first_round(shop: Shop, images: int = 27, workers: int = 7) -> None:
    """A random round, answered by simulated workers and aggregated."""
    shop.curate("hits", "create", "--images", str(images), "--yes")
    shop.curate("crowd", "simulate", "--workers", str(workers), "--seed", "1")
    shop.curate("hits", "collect")
    shop.curate("aggregate")


def there(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    return [hit["RequesterAnnotation"] for hit in Requester(shop.url).hits()]


def votes_of(shop: Shop) -> pd.DataFrame:
    return VOTES.read(shop.workspace.of_task("apron", "votes"))


def test_a_second_round_is_selected_asked_answered_and_counted(open_shop: Shop) -> None:
    shop = open_shop
    first_round(shop)
    before = LABELS.read(shop.workspace.of_task("apron", "labels"))
    told = shop.curate("select", "--for", "label", "--images", "12").stdout
    assert "next: curate hits create --selection" in told
    assert "$0.60 at most" in told or "$0.70 at most" in told
    chosen = SELECTION.read(shop.workspace.of_task("apron", "selection"))

    refused = shop.curate("hits", "create", "--selection", check=False)
    assert "say --yes" in refused.stderr
    shop.curate("hits", "create", "--selection", "--yes")
    assert "nothing to make: the 12 pictures of this selection" in shop.curate("hits", "create", "--selection").stdout
    hits = HITS.read(shop.workspace.of_task("apron", "hits"))
    second = hits[(hits["round"] == 2) & (hits["chosen_by"] != "gold")]
    assert sorted(second["image_id"]) == sorted(chosen["image_id"])
    assert dict(zip(second["image_id"], second["chosen_by"], strict=True)) == dict(
        zip(chosen["image_id"], chosen["chosen_by"], strict=True)
    )
    waiting = shop.curate("select", "--for", "label", "--images", "50", "--out", "other.parquet")
    assert "left out: 12 pictures, its answers are still to come" in waiting.stdout
    assert "round 2: 12 pictures" in shop.curate("hits", "status").stdout

    shop.curate("crowd", "simulate", "--workers", "7", "--seed", "1")
    shop.curate("hits", "collect")
    assert "answered since the last `curate aggregate`" in shop.curate(
        "select", "--for", "label", "--images", "50", "--out", "other.parquet"
    ).stdout  # fmt: skip
    shop.curate("aggregate")
    votes = votes_of(shop)
    after = LABELS.read(shop.workspace.of_task("apron", "labels"))
    assert votes.loc[votes["round"] == 2, "image_id"].nunique() >= 12
    assert after["label"].notna().sum() > before["label"].notna().sum()
    real = votes[votes["dropped"] != "gold"]
    assert not real.duplicated(["image_id", "worker_id"]).any()


def test_a_recheck_is_answered_by_workers_who_have_not_seen_the_picture(open_shop: Shop) -> None:
    shop = open_shop
    first_round(shop, workers=10)
    shop.curate("select", "--for", "recheck", "--at-random", "--images", "10", "--ask", "2")
    told = shop.curate("hits", "create", "--selection", "--yes").stdout
    assert "answered some of these pictures before; they do not see those HITs" in told
    shop.curate("crowd", "simulate", "--workers", "10", "--seed", "1")
    shop.curate("hits", "collect")
    votes = votes_of(shop)
    chosen = set(SELECTION.read(shop.workspace.of_task("apron", "selection"))["image_id"])
    asked_again = votes[votes["image_id"].isin(chosen)]
    assert set(asked_again.groupby("image_id")["worker_id"].nunique()) == {5}
    assert Counter(asked_again["round"]) == {1: 30, 2: 20}
    shop.curate("aggregate")
    labels = LABELS.read(shop.workspace.of_task("apron", "labels")).set_index("image_id")
    assert set(labels.loc[sorted(chosen), "n_votes"]) == {5}
    assert set(labels.loc[sorted(chosen), "chosen_by"]) == {"random"}, "asked again, it is still a random picture"


@pytest.mark.parametrize(
    "point", ["before-journal", "after-journal", "before-call:2", "after-call", "before-made", "after-made"]
)
def test_a_selection_killed_at_any_point_and_run_again_makes_each_hit_once(
    open_shop: Shop, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = open_shop
    first_round(shop, 18, 10)
    shop.curate("select", "--for", "recheck", "--at-random", "--images", "15")
    made = len(there(shop, monkeypatch))
    words = ("hits", "create", "--selection", "--yes")
    assert shop.start(*words, crash_at=point).wait(60) == 137
    shop.curate(*words)
    with closing(shop.workspace.project()) as project:
        written = journal.entries(project, "apron")
        spent = budget.spent(project, "apron")
    second = [entry for entry in written if entry.round == 2]
    assert len(journal.asked(second)) == 15
    assert sorted(there(shop, monkeypatch)) == sorted(entry.token for entry in written)
    assert len(written) == made + len(second)
    assert {entry.state for entry in written} == {"created"}
    assert spent == sum(e.max_assignments for e in written) * 10 * budget.CENT
    shop.curate("crowd", "simulate", "--workers", "10", "--seed", "1")
    shop.curate("hits", "collect")
    votes = votes_of(shop)
    assert not votes[votes["dropped"] != "gold"].duplicated(["image_id", "worker_id"]).any()


def test_hits_create_without_a_word_about_what_says_the_two_ways(open_shop: Shop) -> None:
    shop = open_shop
    assert "Say --images N" in shop.curate("hits", "create", check=False).stderr
    both = shop.curate("hits", "create", "--images", "3", "--selection", check=False)
    assert "not both" in both.stderr
    assert "Make it with `curate select`" in shop.curate("hits", "create", "--selection", check=False).stderr


def test_a_selection_beyond_the_budget_is_refused_and_leaves_nothing(open_shop: Shop) -> None:
    shop = open_shop
    path = shop.workspace.root / "tasks" / "apron.yaml"
    path.write_text(path.read_text().replace("budget_usd: 100.0", "budget_usd: 0.5"))
    told = shop.curate("select", "--for", "label", "--images", "20").stdout
    assert "the budget has $0.50 left" in told
    refused = shop.curate("hits", "create", "--selection", "--yes", check=False)
    assert "the budget has $0.50 left of $0.50" in refused.stderr
    with closing(shop.workspace.project()) as project:
        assert journal.entries(project, "apron") == []
    within = shop.curate("select", "--for", "label", "--usd", "0.5").stdout
    assert "$0.30 at most" in within, "one HIT of three; two would be 60 cents"
    shop.curate("hits", "create", "--selection", "--yes")
