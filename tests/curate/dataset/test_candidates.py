from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selections import (
    CLASSES,
    RULE,
    hits,
    labels,
    name,
    predictions,
    splits,
    state,
    tables,
    votes,
)

from curate.dataset.candidates import STALE, WAITING, Rule, check_predictions, longest, needed
from curate.label.aggregate import aggregate
from schemas.errors import UserError
from schemas.tables import GOLD, PICTURES

DAY = timedelta(days=1)


def test_a_picture_is_new_disputed_or_labeled() -> None:
    asked = hits((1, "random"), (2, "random"), (3, "random"))
    said = labels((1, "dots dots plain"), (2, "dots plain stars"), (3, ""))
    assert state(tables(4, labels=said, hits=asked)) == ["new", "labeled", "disputed", "disputed"]


def test_gold_dropped_and_out_pictures_say_so() -> None:
    gold = GOLD.frame([{"image_id": name(0), "task": "apron", "label": "dots", "use": "hidden", "source": "me"}])
    pictures = PICTURES.frame({"image_id": name(n), "blob": "b", "bytes": 1, "dropped": [None, "broken", None][n]} for n in range(3))  # fmt: skip
    out = splits(out=[2]).assign(split_reason="in a test group")
    assert state(tables(3, gold=gold, pictures=pictures, splits=out)) == ["gold", "dropped", "out: in a test group"]


def test_a_picture_whose_label_was_withdrawn_can_be_asked_again() -> None:
    out = splits(out=[0]).assign(split_reason="label withdrawn")
    assert state(tables(1, labels=labels((0, "dots plain stars")), splits=out)) == ["disputed"]


def test_what_is_being_asked_is_waited_for_until_it_is_full_or_expired() -> None:
    young, old = hits((0, "random"), age=DAY), hits((0, "random"), age=8 * DAY)
    two = votes((0, "w1", "dots"), (0, "w2", "dots"))
    said = labels((0, "dots dots"))
    assert state(tables(1, hits=young, votes=two)) == [WAITING]
    assert state(tables(1, hits=old, votes=two, labels=labels((0, "dots plain")))) == ["disputed"]
    three = pd.concat([two, votes((0, "w3", "plain"))])
    assert state(tables(1, hits=young, votes=three)) == [STALE], "all answers are there, but nobody aggregated them"
    assert state(tables(1, hits=young, votes=three, labels=said)) == [STALE]
    assert state(tables(1, hits=young, votes=three, labels=labels((0, "dots dots plain")))) == ["labeled"]


def test_what_was_written_down_to_be_asked_is_waited_for() -> None:
    assert state(tables(2), pending=[1]) == ["new", WAITING]


@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(0, 4), min_size=3, max_size=3), agree=st.integers(1, 3), first=st.integers(1, 4))
def test_the_answers_that_are_needed_can_make_a_label_and_one_fewer_cannot(
    counts: list[int], agree: int, first: int
) -> None:
    def label(extra: int) -> bool:
        said = [key for key, n in zip(CLASSES, counts, strict=True) for _ in range(n)]
        said += [CLASSES[counts.index(max(counts))]] * extra
        frame = pd.DataFrame({"image_id": "i", "worker_id": [f"w{n}" for n in range(len(said))], "label": said}).astype(
            "str"
        )
        made, _ = aggregate(frame, classes=CLASSES, agree=agree, min_votes=first, images=["i"])
        return bool(made["label"].notna().all())

    if label(0):
        return
    wanted = needed(sum(counts), max(counts), Rule(CLASSES, agree, first))
    assert label(wanted) or wanted == 9
    assert not any(label(fewer) for fewer in range(wanted))


@given(st.lists(st.integers(1, 5), max_size=30), st.integers(0, 60))
def test_the_longest_beginning_fits_and_one_more_does_not(assignments: list[int], budget: int) -> None:
    rows = pd.DataFrame({"assignments": assignments}, dtype=int)
    count = longest(rows, lambda some: some["assignments"].sum() <= budget)
    assert sum(assignments[:count]) <= budget
    assert count == len(rows) or sum(assignments[: count + 1]) > budget


@pytest.mark.parametrize(
    ("change", "classes", "said"),
    [
        ({}, ["dots", "plain"], "probabilities are of the classes dots, plain; task apron has dots, plain, stars"),
        ({}, ["plain", "dots", "stars"], "Predict again"),
        ({}, None, "are of the classes none"),
        ({"task": "vest"}, CLASSES, "is about task vest, not apron"),
        ({"run": {0: "a", 1: "b"}}, CLASSES, r"several runs \(a, b\)"),
        ({"manifest_id": "m9"}, CLASSES, "made on manifest m9, which is none of task apron here; run `curate probe`"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(
    change: dict[str, object], classes: list[str] | None, said: str
) -> None:
    frame = predictions({0: [1, 0, 0], 1: [0, 1, 0]}, **change)
    with pytest.raises(UserError, match=said):
        check_predictions(
            frame, classes, where="p.parquet", task="apron", classes=list(RULE.classes), manifests=["m0", "m1"]
        )


def test_older_predictions_are_used_with_a_word() -> None:
    def notes(*manifests: str) -> list[str]:
        frame = predictions({0: [1, 0, 0]})
        return check_predictions(frame, CLASSES, where="p", task="apron", classes=CLASSES, manifests=manifests)

    assert notes("m0", "m1") == []
    assert notes("m1", "m2", "m3") == ["predictions are 2 manifests old; labels since then taught the model nothing"]
    with pytest.raises(UserError, match="holds no predictions"):
        check_predictions(predictions({}), CLASSES, where="p", task="apron", classes=CLASSES, manifests=["m1"])


def test_a_picture_that_two_people_cannot_see_is_not_asked_about_again() -> None:
    said = labels((0, "dots"), (1, "dots")).assign(label=None, dropped=["cannot see the picture", "insufficient"])
    assert state(tables(2, labels=said)) == ["cannot see the picture", "disputed"]
