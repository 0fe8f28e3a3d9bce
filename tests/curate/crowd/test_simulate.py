from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.crowd.simulate import Answerer, draw_workers, read_workers, write_workers
from schemas.errors import UserError

KEYS = ["plain", "stripes", "checks", "dots", "floral", "zigzag", "stars", "hearts", "other"]
IDS = [f"{number:064x}" for number in range(900)]
TRUTH = {image_id: KEYS[n % 9] for n, image_id in enumerate(IDS)}


def share_right(number: int, seed: int = 0) -> float:
    worker = draw_workers(KEYS, 12, seed)[number]
    answerer = Answerer(seed, TRUTH)
    return float(np.mean([answerer.answer(worker, i, KEYS) == TRUTH[i] for i in IDS]))


def test_a_dozen_are_mostly_careful_some_careless_and_one_a_spammer() -> None:
    assert [w.kind for w in draw_workers(KEYS, 12, 0)] == ["careful"] * 8 + ["careless"] * 3 + ["spammer"]
    assert [w.kind for w in draw_workers(KEYS, 3, 0)] == ["careful"] * 3


@pytest.mark.parametrize(
    ("worker", "low", "high"), [(0, 0.91, 0.98), (7, 0.91, 0.98), (8, 0.68, 0.82), (11, 0.05, 0.2)]
)
def test_workers_are_as_good_as_their_kind(worker: int, low: float, high: float) -> None:
    assert low <= share_right(worker) <= high


def test_errors_prefer_classes_that_look_alike() -> None:
    worker = draw_workers(KEYS, 12, 0)[8]
    for truth, row in worker.confusion.items():
        wrong = sorted((p for answer, p in row.items() if answer != truth), reverse=True)
        assert sum(wrong[:3]) > 0.55 * sum(wrong)


def test_the_same_seed_is_the_same_crowd_and_answers_do_not_depend_on_order() -> None:
    assert draw_workers(KEYS, 12, 5) == draw_workers(KEYS, 12, 5) != draw_workers(KEYS, 12, 6)
    worker = draw_workers(KEYS, 12, 5)[9]
    forward = [Answerer(5, TRUTH).answer(worker, i, KEYS) for i in IDS[:50]]
    backward = [Answerer(5, TRUTH).answer(worker, i, KEYS) for i in reversed(IDS[:50])]
    assert forward == backward[::-1]


def test_unknown_truth_is_answered_by_a_guess_that_uses_every_choice() -> None:
    worker = draw_workers(KEYS, 12, 0)[0]
    said = [Answerer(0, {}).answer(worker, i, KEYS) for i in IDS]
    assert set(said) == set(KEYS)


def test_an_answer_is_always_among_the_choices() -> None:
    worker = draw_workers(KEYS, 12, 0)[8]
    assert {Answerer(0, TRUTH).answer(worker, i, ["dots", "plain"]) for i in IDS} == {"dots", "plain"}


def test_the_pace_is_kept_on_average() -> None:
    worker = draw_workers(KEYS, 12, 0)[0]
    seconds = [Answerer(0, TRUTH).seconds(worker, i) for i in IDS]
    assert np.mean(seconds) == pytest.approx(worker.seconds, rel=0.1)


def test_the_error_model_is_written_read_back_and_can_be_changed(tmp_path: Path) -> None:
    crowd = draw_workers(KEYS, 5, 1)
    path = write_workers(crowd, tmp_path / "model.yaml")
    assert read_workers(path) == crowd


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workers: [{name: a, kind: careful, seconds: 1, confusion: {dots: {dots: 0.5}}}]", "confusion.dots must be shares that sum to 1, found 0.5"),
        ("workers: [{name: a, kind: careful, seconds: 0, confusion: {}}]", "seconds: Input should be greater than 0"),
        ("people: []", "is no error model"),
        ("- 1", "is no error model"),
        ("a: [", "is no error model"),
    ],
)  # fmt: skip
def test_a_wrong_error_model_gets_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(UserError) as fault:
        read_workers(tmp_path / "model.yaml")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)
