from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import UserError
from schemas.interval import wilson
from train.judge.metrics import calibration_error, cross_entropy, judge, judge_groups, paired_test

THREE = ["a", "b", "c"]


def test_accuracy_counts_and_cross_entropy_by_hand() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
    found = judge(probs, np.array([0, 1, 1, 2]), THREE)
    assert (found["n"], found["right"], found["acc1"]) == (4, 3, 0.75)
    assert found["ce"] == pytest.approx(-np.log([0.7, 0.5, 0.3, 0.8]).mean())
    assert found["macro"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["confusion"] == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert found["per_class"][1]["right"] == 1


def test_acc5_is_said_only_where_it_says_something() -> None:
    probs = np.eye(6) * 0.5 + 0.5 / 6
    assert judge(probs[:3, :3], np.array([0, 1, 2]), THREE)["acc5"] is None
    assert judge(probs, np.arange(6), list("abcdef"))["acc5"] == 1.0
    assert judge(np.linspace(1, 0, 6)[None], np.array([5]), list("abcdef"))["acc5"] == 0.0


def test_a_class_without_pictures_has_no_accuracy_and_no_part_in_the_macro() -> None:
    found = judge(np.array([[0.9, 0.1, 0.0]]), np.array([0]), THREE)
    assert found["per_class"][2]["acc1"] is None
    assert found["macro"] == 1.0


def test_no_pictures_is_no_crash() -> None:
    assert judge(np.zeros((0, 3)), np.zeros(0, dtype=int), THREE) == {"n": 0}


def test_a_certain_mistake_costs_a_finite_amount() -> None:
    assert np.isfinite(judge(np.array([[1.0, 0.0, 0.0]]), np.array([1]), THREE)["ce"])


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (40, 60, 0.5406, 0.7727), (0, 0, 0, 1)]
)
def test_wilson_intervals_match_the_published_formula(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=2e-4)


def test_a_model_that_is_as_right_as_it_is_sure_is_calibrated() -> None:
    probs = np.tile([0.75, 0.25], (4, 1))
    assert calibration_error(probs, np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert calibration_error(probs, np.array([1, 1, 1, 1])) == pytest.approx(0.75)


def test_the_paired_test_looks_only_at_where_two_models_differ() -> None:
    a = np.array([True] * 10 + [True] * 8 + [False] * 2)
    b = np.array([True] * 10 + [False] * 8 + [True] * 2)
    found = paired_test(a, b)
    assert (found["only_a"], found["only_b"]) == (8, 2)
    assert found["p"] == pytest.approx(2 * (1 + 10 + 45) / 1024)  # the binomial tail, by hand
    assert paired_test(a, a)["p"] == 1.0


def test_a_picture_counts_in_each_of_its_groups() -> None:
    probs, truth = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]), np.array([0, 1, 1])
    found = judge_groups(probs, truth, [["m", "n"], ["n"], None], ["m", "n", "o"])
    assert [(row["label"], row["right"], row["n"]) for row in found] == [("m", 1, 1), ("n", 1, 2), ("o", 1, 1)]
    assert (found[1]["low"], found[1]["high"]) == wilson(1, 2)


def test_probabilities_that_are_no_numbers_are_a_line() -> None:
    with pytest.raises(UserError, match="weights have exploded"):
        cross_entropy(np.array([[np.nan, np.nan]]), np.array([0]))
