from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selections import (
    RULE,
    candidates,
    clusters,
    hits,
    labels,
    name,
    predictions,
    random_probs,
    tables,
)

from curate.dataset.candidates import Fits, Selected
from curate.dataset.select import Vectors, Wish, select_to_label, uncertainty
from schemas.errors import UserError


def images(most: int) -> Fits:
    return lambda rows: len(rows) <= most


def answers(most: int) -> Fits:
    return lambda rows: int(rows["assignments"].sum()) <= most


TWENTY = images(20)


def select(made: dict[str, pd.DataFrame], fits: Fits = TWENTY, wish: Wish | None = None, **facts: Any) -> Selected:
    return select_to_label(candidates(made), made["hits"], RULE, wish or Wish(), fits, task="apron", **facts)


def ids(found: Selected) -> list[int]:
    return [int(image_id, 16) for image_id in found.rows["image_id"]]


def reasons(found: Selected) -> Counter[str]:
    return Counter(found.rows["chosen_by"])


def line(count: int) -> Vectors:
    """Pictures along a quarter of a circle, in the order of their numbers."""

    def read(image_ids: Sequence[str]) -> tuple[list[str], np.ndarray]:
        angle = np.array([int(i, 16) for i in image_ids]) / max(count, 1) * np.pi / 2
        return list(image_ids), np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    return read


def test_without_a_model_the_disputed_come_first_and_the_rest_is_random() -> None:
    said = labels((0, "dots plain stars"), (1, "dots plain"), (2, "dots dots dots"))
    made = tables(60, labels=said, hits=hits((0, "random"), (1, "random"), (2, "random")))
    found = select(made, images(10), Wish(random_share=0.1))
    assert reasons(found) == {"random": 8, "disputed": 2}
    assert set(ids(found)[:3]) >= {0, 1}, "one random, then the disputed ones"
    asked = found.rows.set_index("image_id")["assignments"]
    assert asked[name(1)] == 1, "a third answer can decide between two"
    assert asked[name(0)] == 2, "three different answers need two more"
    assert set(found.rows.loc[found.rows["chosen_by"] == "random", "assignments"]) == {3}
    assert found.rows.set_index("image_id").loc[name(0), "reason"] == "1 of 3 agree"


def test_with_a_model_the_least_certain_are_asked() -> None:
    probs = {n: [0.5, 0.5 - n / 1000, n / 1000] for n in range(200)}  # the smaller the number the less certain
    found = select(tables(200), images(10), predictions=predictions(probs))
    assert reasons(found) == {"uncertain": 9, "random": 1}
    chosen = [n for n, why in zip(ids(found), found.rows["chosen_by"], strict=True) if why == "uncertain"]
    assert chosen == sorted(chosen)
    assert max(chosen) < 20, "but for the kept tenth, they are the first"
    assert found.rows.loc[1, "reason"].startswith("dots 0.50, plain 0.")


def test_a_predicted_rare_class_weighs_more() -> None:
    many = labels(*((n, "dots dots dots") for n in range(100, 200)), (200, "stars stars stars"))
    probs = {n: [0.6, 0.4, 0] if n % 2 else [0, 0.4, 0.6] for n in range(100)}  # all as uncertain
    made = tables(201, labels=many)
    found = select(made, images(30), Wish(random_share=0), predictions=predictions(probs))
    assert set(found.rows["predicted"]) == {"stars"}


def test_a_quota_first_asks_what_rare_classes_lack() -> None:
    some = labels(*((n, "dots dots dots") for n in range(100, 110)), (110, "stars stars stars"))
    probs = {n: [0.5, 0.5, 0] for n in range(90)} | {n: [0, 0.05, 0.95] for n in range(90, 100)}
    made = tables(111, labels=some)
    wish = Wish(random_share=0, min_per_class=4)
    found = select(made, images(12), wish, predictions=predictions(probs))
    rare = found.rows[found.rows["chosen_by"] == "rare"]
    assert Counter(rare["predicted"]) == {"stars": 3}, "it has 1 of 4; nothing is predicted to be plain"
    assert found.rows["chosen_by"].tolist()[:3] == ["rare"] * 3
    assert rare["reason"].tolist() == ["stars has 1 labels; stars 0.95"] * 3


@pytest.mark.parametrize(("probs", "margin"), [([0.5, 0.5, 0], 1.0), ([1, 0, 0], 0.0), ([0.7, 0.2, 0.1], 0.5)])
def test_margin_is_the_lead_of_the_first_class(probs: list[float], margin: float) -> None:
    assert uncertainty(np.array([probs]))[0] == pytest.approx(margin)


def test_entropy_is_one_where_nothing_is_known() -> None:
    found = uncertainty(np.array([[1 / 3] * 3, [1, 0, 0], [0.5, 0.5, 0]]), "entropy")
    assert found == pytest.approx([1, 0, np.log(2) / np.log(3)], abs=1e-6)


# -- what must always be true -----------------------------------------------------------------------------------------

worlds = st.fixed_dictionaries(
    {
        "count": st.integers(1, 60),
        "twins": st.dictionaries(st.integers(0, 59), st.integers(0, 9), max_size=20),
        "said": st.dictionaries(
            st.integers(0, 59), st.sampled_from(["dots dots plain", "dots plain stars", "dots"]), max_size=15
        ),
        "modeled": st.booleans(),
        "diverse": st.sampled_from([0.0, 0.3]),
        "quota": st.sampled_from([None, 0, 3]),
        "share": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        "budget": st.integers(1, 60),
        "seed": st.integers(0, 3),
    }
)


def world(count: int, twins: dict[int, int], said: dict[int, str], **_: Any) -> dict[str, pd.DataFrame]:
    twins = {n: r for n, r in twins.items() if n < count and r < count and r not in twins}
    said = {n: words for n, words in said.items() if n < count}
    return tables(
        count,
        clusters=clusters(count, twins),
        labels=labels(*said.items()),
        hits=hits(*((n, "random") for n in said)),
    )


def chosen(made: dict[str, pd.DataFrame], fits: Fits, facts: dict[str, Any]) -> Selected | None:
    known = predictions(random_probs(facts["count"])) if facts["modeled"] else None
    wish = Wish(
        random_share=facts["share"],
        diverse_share=facts["diverse"],
        per_marketplace=facts["quota"],
        min_per_class=3,
        seed=facts["seed"],
    )
    try:
        return select(made, fits, wish, predictions=known, vectors=line(facts["count"]))
    except UserError as error:
        if "nothing left to ask" not in str(error) and "too small" not in str(error):
            raise
        return None


@settings(max_examples=40, deadline=None)
@given(worlds)
def test_the_budget_is_never_exceeded_and_each_cluster_is_asked_once(facts: dict[str, Any]) -> None:
    made = world(**facts)
    found = chosen(made, answers(facts["budget"]), facts)
    if found is None:
        return
    assert found.rows["assignments"].sum() <= facts["budget"]
    assert found.rows["rank"].tolist() == list(range(len(found.rows)))
    cluster = made["clusters"].set_index("image_id")["cluster_id"]
    mine = found.rows["image_id"].map(cluster)
    assert mine.is_unique
    done = made["labels"].loc[made["labels"]["label"].notna(), "image_id"].map(cluster)
    assert not set(mine) & set(done), "no twin of a labeled picture"
    again = set(made["hits"]["image_id"])
    for image_id, why in zip(found.rows["image_id"], found.rows["chosen_by"], strict=True):
        assert (image_id in again) == (why == "disputed")
    if facts["quota"] is not None:
        steered = found.rows["chosen_by"].isin(["uncertain", "disputed", "rare", "marketplace"])
        assert Counter(found.marketplace[steered]).total() <= 2 * facts["quota"]


@settings(max_examples=15, deadline=None)
@given(worlds, st.integers(0, 99))
def test_row_order_does_not_matter(facts: dict[str, Any], shuffle: int) -> None:
    made = world(**facts)
    mixed = {key: frame.sample(frac=1, random_state=shuffle) for key, frame in made.items()}
    one, two = (chosen(some, images(facts["budget"]), facts) for some in (made, mixed))
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        pd.testing.assert_frame_equal(one.rows, two.rows)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.integers(0, 40), st.integers(0, 3))
def test_a_larger_budget_asks_the_same_and_more(small: int, more: int, seed: int) -> None:
    made, known = tables(100), predictions(random_probs(100))
    wish = Wish(seed=seed, spread=False)
    one = select(made, images(small), wish, predictions=known)
    two = select(made, images(small + more), wish, predictions=known)
    assert ids(two)[: len(one.rows)] == ids(one)


# -- what may be tested on --------------------------------------------------------------------------------------------


def randoms(found: Selected) -> list[str]:
    return found.rows.loc[found.rows["chosen_by"] == "random", "image_id"].tolist()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 5))
def test_the_random_share_knows_nothing_of_the_model(one: int, two: int, seed: int) -> None:
    made = tables(120)
    found = [
        select(made, images(30), Wish(seed=seed), predictions=predictions(random_probs(120, model)))
        for model in (one, two)
    ]
    assert randoms(found[0]) == randoms(found[1])
    assert len(randoms(found[0])) == 3


def test_what_models_took_in_earlier_rounds_does_not_bend_the_random_share() -> None:
    """Over many rounds a model takes all the pictures it can; the random ones still have every kind in proportion."""
    count = 3000
    hard = {n: n % 4 == 0 for n in range(count)}  # a quarter of the pictures, which the model asks first
    probs = {n: [0.5, 0.5, 0] if hard[n] else [0.9, 0.1, 0] for n in range(count)}
    made, known = tables(count), predictions(probs)
    drawn: list[int] = []
    for number in range(1, 11):
        found = select(made, images(150), Wish(seed=number), predictions=known)
        drawn += [int(i, 16) for i in randoms(found)]
        new = [(int(i, 16), why) for i, why in zip(found.rows["image_id"], found.rows["chosen_by"], strict=True)]
        made["hits"] = pd.concat([made["hits"], hits(*new, round_=number)])
        told = labels(*((n, "dots dots dots") for n, _ in new))
        made["labels"] = pd.concat([made["labels"], told], ignore_index=True)
    taken = made["hits"].loc[made["hits"]["chosen_by"] == "uncertain", "image_id"]
    assert np.mean([hard[int(i, 16)] for i in taken]) > 0.45, "the model did take the hard ones"
    assert len(drawn) == 150
    assert np.mean([hard[n] for n in drawn]) == pytest.approx(0.25, abs=0.08)


def test_random_pictures_have_every_marketplace_in_proportion() -> None:
    made = tables(400, market=lambda n: ["big", "big", "big", "small"][n % 4])
    found = select(made, images(100))
    assert reasons(found) == {"random": 100}
    assert Counter(found.marketplace)["small"] in (24, 25, 26)


def test_when_no_kept_picture_is_left_fewer_are_random_and_a_note_says_so() -> None:
    made = tables(40)
    found = select(made, images(30), Wish(random_share=0.5), predictions=predictions(random_probs(40)))
    kept = len(randoms(found))
    assert 0 < kept < 15
    assert f"{15 - kept} fewer random pictures than wanted: no more are kept from the models" in found.lines()[-1]


# -- marketplaces and diversity ---------------------------------------------------------------------------------------


def test_a_marketplace_has_its_quota() -> None:
    made = tables(100, market=lambda n: "tiny" if n < 10 else "huge")
    found = select(made, images(20), Wish(random_share=0, per_marketplace=6))
    assert Counter(found.marketplace[found.rows["chosen_by"] == "marketplace"]) == {"huge": 6, "tiny": 6}


def test_diverse_pictures_are_far_from_what_was_asked_and_from_each_other() -> None:
    said = labels((0, "dots dots dots"), (1, "dots dots dots"))
    made = tables(101, labels=said, hits=hits((0, "random"), (1, "random")))
    found = select(made, images(3), Wish(random_share=0, diverse_share=1), vectors=line(100))
    first, second = ids(found)[:2]
    assert first > 90, "the other end of the line"
    assert 35 < second < 65, "the middle"
    assert reasons(found)["diverse"] >= 2
    with pytest.raises(UserError, match="--diverse-share needs embeddings: run `curate embed`"):
        select(made, images(3), Wish(diverse_share=0.5))


def test_uncertain_pictures_that_look_alike_are_not_all_asked_at_once() -> None:
    probs = {n: [0.5, 0.5, 0] if n < 10 else [0.55, 0.45, 0] for n in range(100)}  # the first ten lie close together
    made, known = tables(100), predictions(probs)
    close = select(made, images(8), Wish(random_share=0, spread=False), predictions=known, vectors=line(100))
    apart = select(made, images(8), Wish(random_share=0), predictions=known, vectors=line(100))
    assert max(ids(close)) < 10
    assert max(ids(apart)) > 20
    assert reasons(apart) == {"uncertain": 8}


# -- what cannot be done ----------------------------------------------------------------------------------------------


def test_nothing_left_to_ask_says_why() -> None:
    made = tables(3, labels=labels(*((n, "dots dots dots") for n in range(3))))
    with pytest.raises(UserError, match="nothing left to ask: 3 labeled"):
        select(made)
    with pytest.raises(UserError, match="there are no pictures; run `curate scrape`"):
        select(tables(0))


def test_a_budget_below_one_picture_is_said() -> None:
    with pytest.raises(UserError, match="the budget is too small for one picture; raise it"):
        select(tables(50), answers(2))


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"by": "hunch"}, "--by must be margin or entropy, got 'hunch'"),
        ({"random_share": 1.5}, "--random-share must be between 0 and 1, got 1.5"),
        ({"diverse_share": -1}, "--diverse-share must be between 0 and 1, got -1"),
        ({"min_per_class": -2}, "--min-per-class must be 0 or more, got -2"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wish: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Wish(**wish)
