from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selections import CLASSES, RULE, candidates, hits, labels, predictions, splits, tables

from curate.dataset.candidates import Fits, Selected
from curate.dataset.recheck import disbelief, select_to_recheck, vote_accuracy
from schemas.errors import UserError


def everything(rows: pd.DataFrame) -> bool:
    return True


def images(most: int) -> Fits:
    return lambda rows: len(rows) <= most


def again(made: dict[str, pd.DataFrame], fits: Fits = everything, **facts: Any) -> Selected:
    return select_to_recheck(candidates(made), RULE, fits, task="apron", **{"ask": 3, **facts})


def ids(found: Selected) -> list[int]:
    return [int(image_id, 16) for image_id in found.rows["image_id"]]


def told(probs: dict[int, list[float]], **columns: Any) -> pd.DataFrame:
    """Out-of-fold predictions of labeled pictures."""
    return predictions(probs, **{"fold": 0, "label": "dots", **columns})


def test_the_label_that_the_model_believes_least_comes_first() -> None:
    made = tables(3, labels=labels(*((n, "dots dots dots") for n in range(3))))
    found = again(made, predictions=told({0: [0.9, 0.05, 0.05], 1: [0.01, 0.98, 0.01], 2: [0.4, 0.6, 0]}))
    assert ids(found) == [1, 2, 0]
    first = found.rows.iloc[0]
    assert (first["label"], first["predicted"], first["assignments"]) == ("dots", "plain", 3)
    assert first["reason"] == "3 of 3 said so; dots 0.01, plain 0.98 by the model"
    assert set(found.rows["chosen_by"]) == {"recheck"}


def test_what_two_of_three_said_comes_before_what_three_of_three_said() -> None:
    made = tables(2, labels=labels((0, "dots dots dots"), (1, "dots dots plain")))
    same = [0.3, 0.5, 0.2]
    assert ids(again(made, predictions=told({0: same, 1: same}))) == [1, 0]


def test_a_vote_for_what_the_model_thinks_weighs_more_than_one_for_something_else() -> None:
    made = tables(2, labels=labels((0, "dots dots stars"), (1, "dots dots plain")))
    plain = [0.3, 0.65, 0.05]
    assert ids(again(made, predictions=told({0: plain, 1: plain}))) == [1, 0]


@given(
    agree=st.integers(2, 5),
    more=st.integers(0, 2),
    probs=st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    accuracy=st.floats(0.4, 0.99),
)
def test_disbelief_is_a_probability_that_falls_with_every_vote_for_the_label(
    agree: int, more: int, probs: list[float], accuracy: float
) -> None:
    p = np.array([probs, probs]) / sum(probs)
    said = [" ".join(["dots"] * n + ["plain"] * min(more, agree - 1)) for n in (agree, agree + 1)]
    frame = labels((0, said[0]), (1, said[1]))
    found = disbelief(frame, p, CLASSES, accuracy)
    assert ((found >= 0) & (found <= 1)).all()
    assert found[1] <= found[0]


def test_disbelief_by_hand() -> None:
    frame = labels((0, "dots dots plain"))
    found = disbelief(frame, np.array([[0.2, 0.7, 0.1]]), CLASSES, accuracy=0.8)
    dots, plain, stars = 0.2 * 0.8 * 0.8 * 0.1, 0.7 * 0.1 * 0.1 * 0.8, 0.1 * 0.1**3
    assert found[0] == pytest.approx((plain + stars) / (dots + plain + stars))


@pytest.mark.parametrize("right", [0.6, 0.8, 0.95])
def test_the_accuracy_of_a_vote_is_found_from_how_often_votes_agree(right: float) -> None:
    rng = np.random.default_rng(0)
    said = []
    for number in range(4000):
        truth = rng.integers(3)
        votes = [truth if rng.random() < right else (truth + rng.integers(1, 3)) % 3 for _ in range(3)]
        said.append((number, " ".join(CLASSES[vote] for vote in votes)))
    assert vote_accuracy(labels(*said), 3) == pytest.approx(right, abs=0.02)


def test_without_two_votes_on_a_picture_a_vote_is_taken_to_be_right_four_times_of_five() -> None:
    assert vote_accuracy(labels((0, "dots")), 3) == 0.8


def test_a_rare_class_is_not_swamped() -> None:
    """Ninety labels of dots are doubted more than any of stars; stars has its share of the budget all the same."""
    said = labels(*((n, "dots dots dots") for n in range(90)), *((n, "stars stars stars") for n in range(90, 100)))
    made = tables(100, labels=said)
    probs = {n: [0.01, 0.98, 0.01] for n in range(90)} | {n: [0.0, 0.6, 0.4] for n in range(90, 100)}
    found = again(made, images(24), predictions=told(probs))
    assert Counter(found.rows["label"]) == {"dots": 20, "stars": 4}, "24 / 2 / 3 classes = 4 places are its own"
    sure = {n: [0.01, 0.98, 0.01] for n in range(90)} | {n: [0, 0.1, 0.9] for n in range(90, 100)}
    found = again(made, images(24), predictions=told(sure))
    assert Counter(found.rows["label"]) == {"dots": 24}, "labels that the model shares need no place"


def test_predictions_of_a_model_that_was_taught_the_label_are_refused() -> None:
    made = tables(2, labels=labels((0, "dots dots dots"), (1, "dots dots dots")))
    probs = {0: [0.9, 0.1, 0], 1: [0.8, 0.1, 0.1]}
    with pytest.raises(
        UserError, match=r"1 of 2 labels were predicted by a model that was taught them.*`curate probe`"
    ):
        again(made, predictions=told(probs, fold={0: 0, 1: None}))
    with pytest.raises(UserError, match="there are no predictions: run `curate embed` and `curate probe`"):
        again(made)


def test_labels_younger_than_the_predictions_are_left_out_with_a_word() -> None:
    made = tables(3, labels=labels(*((n, "dots dots dots") for n in range(3))))
    known = told({0: [0.9, 0.1, 0], 1: [0.8, 0.1, 0.1]}, fold={0: 0, 1: None}, label={0: "dots", 1: None})
    found = again(made, predictions=known)
    assert ids(found) == [0]
    assert "left out: 2 labels without an out-of-fold prediction" in found.notes


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_model_never_chooses_among_val_and_test(split: str) -> None:
    made = tables(4, labels=labels(*((n, "dots dots dots") for n in range(4))), splits=splits(**{split: [0, 1, 2]}))
    known = told({n: [0.5, 0.5, 0] for n in range(4)})
    with pytest.raises(UserError, match=f"labels of {split} are never chosen by a model's doubts.*Say --at-random"):
        again(made, split=split, predictions=known)
    assert ids(again(made, predictions=known)) == [3], "only train"
    assert sorted(ids(again(made, split=split, at_random=True))) == [0, 1, 2]
    assert sorted(ids(again(made, split=split, whole=["dots"]))) == [0, 1, 2]


def test_a_class_is_asked_whole_or_not_at_all() -> None:
    made = tables(4, labels=labels(*((n, "dots dots dots") for n in range(4))), splits=splits(test=[0, 1, 2, 3]))
    with pytest.raises(UserError, match="dots: 4 labels of test, and the budget takes 3"):
        again(made, images(3), split="test", whole=["dots"])
    with pytest.raises(UserError, match="--class stripes: no such class; classes are dots, plain, stars"):
        again(made, split="test", whole=["stripes"])
    with pytest.raises(UserError, match="no label of test is left to ask again"):
        again(made, split="test", whole=["stars"])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10), st.integers(0, 3))
def test_a_random_order_depends_on_ids_and_seed_alone(small: int, more: int, seed: int) -> None:
    made = tables(40, labels=labels(*((n, "dots dots dots") for n in range(40))))
    mixed = {key: frame.sample(frac=1, random_state=seed) for key, frame in made.items()}
    one = again(made, images(small), at_random=True, seed=seed)
    two = again(mixed, images(small + more), at_random=True, seed=seed)
    assert ids(two)[:small] == ids(one)


def test_expert_labels_copies_and_what_was_asked_again_before_are_left_alone() -> None:
    said = labels(*((n, "dots dots dots") for n in range(4)))
    said["source"] = pd.Series(["expert", "duplicate", "crowd", "crowd"], dtype="str")
    made = tables(4, labels=said, hits=hits((3, "recheck"), round_=2))
    found = again(made, at_random=True)
    assert ids(found) == [2]
    assert found.notes == ["left out: 1 labels that have been asked again before"]


@pytest.mark.parametrize(("facts", "said"), [({"ask": 0}, "--ask must be between 1 and 9"), ({"split": "out"}, "got 'out'")])  # fmt: skip
def test_what_makes_no_sense_is_refused(facts: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        again(tables(1, labels=labels((0, "dots dots dots"))), at_random=True, **facts)
