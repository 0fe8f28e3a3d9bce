from __future__ import annotations

import numpy as np
import pytest

from schemas.errors import UserError
from train.judge.calibrate import answered, at_temperature, coverage, fit_temperature, points, thresholds
from train.judge.metrics import calibration_error, cross_entropy

AB = ["a", "b"]


def drawn(sharpness: float, n: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are `sharpness` times surer in their logits than the answers are drawn."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    truth = np.array([rng.choice(3, p=row) for row in true])
    said = np.exp(sharpness * logits)
    return (said / said.sum(axis=1, keepdims=True)).astype(np.float32), truth


def test_the_temperature_undoes_how_much_too_sure_a_model_is() -> None:
    for sharpness in (0.5, 1.0, 3.0):
        probs, truth = drawn(sharpness)
        found = fit_temperature(probs, truth)
        assert found == pytest.approx(sharpness, rel=0.06)
        calm = at_temperature(probs, found)
        assert cross_entropy(calm, truth) <= cross_entropy(probs, truth)
        assert calibration_error(calm, truth) < 0.03
        assert (calm.argmax(axis=1) == probs.argmax(axis=1)).all()


def test_a_temperature_divides_the_logits() -> None:
    found = at_temperature(np.array([[0.8, 0.2]], np.float32), 2.0)[0]
    assert found == pytest.approx([2 / 3, 1 / 3])  # odds 4 to 1 become 2 to 1
    assert at_temperature(np.array([[1.0, 0.0]], np.float32), 0.5)[0] == pytest.approx([1, 0])


def test_without_pictures_or_mistakes_it_stays_sane() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0
    assert 0.24 < fit_temperature(np.array([[0.9, 0.1]] * 50), np.zeros(50, int)) < 1


def called(confidences: list[float], right: list[int]) -> dict[str, list[float]]:
    return {"confidence": confidences, "right": [float(r) for r in right]}


def test_a_threshold_counts_one_more_mistake_than_val_shows() -> None:
    sure = [0.99 - 0.01 * i for i in range(19)]
    val = {"a": called([*sure, 0.5], [1] * 19 + [0]), "b": called([0.9] * 19, [1] * 19)}
    assert thresholds(val, 0.95)["a"] == pytest.approx(sure[-1])  # 19 of 19 and one more; with the mistake 19 of 21
    assert thresholds(val, 0.9)["a"] == 0.5  # 19 of 21
    assert thresholds(val, 0.95)["b"] == 0.9


def test_a_class_with_few_pictures_takes_the_threshold_of_all_and_a_bad_one_always_abstains() -> None:
    val = {
        "many": called([0.9] * 60, [1] * 60),
        "few": called([0.95, 0.4], [1, 0]),
        "bad": called([0.8] * 40, [0] * 40),
        "never": called([], []),
    }
    found = thresholds(val, 0.95)
    assert found == {"many": 0.9, "few": 0.9, "bad": None, "never": 0.9}


def test_equal_confidences_pass_or_stay_together() -> None:
    val = {"a": called([0.9] * 30, [1] * 24 + [0] * 6)}
    assert thresholds(val, 0.9)["a"] is None  # 24 of the first 24 say nothing about a picture of confidence 0.9


@pytest.mark.parametrize("precision", [0.0, 0.3, 1.0, 2.0])
def test_a_precision_that_none_can_promise_is_refused(precision: float) -> None:
    with pytest.raises(UserError, match="--precision must be at least"):
        thresholds({"a": called([], [])}, precision)


def test_coverage_counts_answers_and_right_ones() -> None:
    probs = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.1, 0.9]])
    needed = {"a": 0.7, "b": None}
    assert coverage(probs, np.array([0, 0, 1, 0]), AB, needed) == {"n": 4, "answered": 1, "right": 1}
    assert answered(probs, AB, {"a": 0.6, "b": 0.85}).tolist() == [True, True, False, True]


def test_points_hold_what_was_called_a_class_surest_first() -> None:
    probs = np.array([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7]])
    found = points(probs, np.array([1, 0, 1]), AB)
    assert found == {
        "a": {"confidence": [0.9, 0.6], "right": [1, 0]},
        "b": {"confidence": [0.7], "right": [1]},
    }
