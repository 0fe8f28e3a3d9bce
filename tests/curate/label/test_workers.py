"""A worker's record says what it is counted from, and a flag falls on who stands out, not on who is few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.ballots import ballots
from curate.label.record import others_majority, spammer_score
from curate.label.workers import worker_lines, worker_table

CLASSES = ["dots", "plain", "stars"]
START = pd.Timestamp("2026-11-01", tz="UTC")


def votes(text: str) -> pd.DataFrame:
    """Lines like `p1: ana=dots bo=plain`."""
    rows = [
        (image.strip(), *word.split("="))
        for image, said in (line.split(":") for line in text.strip().splitlines())
        for word in said.split()
    ]
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])


def crowd(pictures: int = 120, seed: int = 0, **odd: Callable[[str, np.random.Generator], str]) -> pd.DataFrame:
    """Four honest workers, right in nine of ten, and the odd ones; each answers about every picture, one after the other."""
    random = np.random.default_rng(seed)
    truth = random.choice(CLASSES, pictures, p=[0.5, 0.3, 0.2])

    def honest(label: str, random: np.random.Generator) -> str:
        return label if random.random() < 0.9 else str(random.choice(CLASSES))

    people = dict.fromkeys(("ana", "bo", "cy", "di"), honest) | odd
    rows = [
        {"image_id": f"p{i:03d}", "worker_id": name, "label": answer(str(label), random), "assignment_id": f"{name}{i:03d}",
         "submitted_at": START + pd.Timedelta(minutes=i), "seconds": 3.0}
        for name, answer in people.items() for i, label in enumerate(truth)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def table(frame: pd.DataFrame, gold: dict[str, str] | None = None, **known: Any) -> pd.DataFrame:
    found = worker_table(ballots(frame, CLASSES, gold), frame, task="apron", gold=gold, **known)
    return found.set_index("worker_id")


def flagged(found: pd.DataFrame) -> dict[str, list[str]]:
    """What each flagged worker is flagged for, without the figures."""
    return {
        name: [flag.split(":")[0].split(" (")[0] for flag in said] for name, said in found["flags"].items() if len(said)
    }


def test_a_worker_is_held_against_more_than_half_of_the_others() -> None:
    frame = votes(
        "p: ana=dots bo=dots cy=plain\nq: ana=dots bo=plain cy=stars\nr: ana=dots\ns: ana=dots bo=dots cy=plain di=plain"
    )
    found = ballots(frame, CLASSES)
    answer = {
        (found.images[i], found.workers[w]): (CLASSES[a] if a >= 0 else None)
        for i, w, a in zip(found.image, found.worker, others_majority(found), strict=True)
    }
    assert [answer["p", who] for who in ("ana", "bo", "cy")] == [None, None, "dots"]
    assert [answer["q", who] for who in ("ana", "bo", "cy")] == [None, None, None]
    assert answer["r", "ana"] is None
    # two against two: without one's own vote the other side has two of three
    assert [answer["s", who] for who in ("ana", "bo", "cy", "di")] == ["plain", "plain", "dots", "dots"]


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(CLASSES), max_size=6), min_size=1, max_size=5))
def test_the_majority_of_the_others_is_counted_right_whatever_they_say(pictures: list[list[str]]) -> None:
    rows = [(f"p{i}", f"w{j}", label) for i, said in enumerate(pictures) for j, label in enumerate(said)]
    if not rows:
        return
    found = ballots(pd.DataFrame(rows, columns=["image_id", "worker_id", "label"]), CLASSES)
    for i, w, answer in zip(found.image, found.worker, others_majority(found), strict=True):
        said = pictures[int(found.images[i][1:])]
        others = [label for j, label in enumerate(said) if j != int(found.workers[w][1:])]
        more_than_half = [label for label in CLASSES if 2 * others.count(label) > len(others)]
        assert ([CLASSES[answer]] if answer >= 0 else []) == more_than_half


def test_the_record_by_hand() -> None:
    frame = votes("p: ana=dots bo=dots cy=plain\nq: ana=dots bo=plain cy=plain\ng: ana=stars\nh: ana=dots").assign(
        seconds=[1, 9, 9, 2, 9, 9, 6, np.nan]
    )
    ana = table(frame, gold={"g": "stars", "h": "plain"}).loc["ana"]
    assert (ana.n_votes, ana.gold_n, ana.gold_correct) == (2, 2, 1)
    assert (ana.gold_low, ana.gold_high) == pytest.approx((0.0945, 0.9055), abs=1e-4)
    assert (ana.agreement_n, ana.agreement) == (1, 0)  # of p the others say two things
    assert (ana.median_seconds, ana.top_share) == (2, 1)
    assert pd.isna(ana.longest_run)
    # rows: the picture's answer, columns: what ana said; dots never was the answer
    np.testing.assert_equal(np.array(ana.confusion).reshape(3, 3), [[np.nan] * 3, [1, 0, 0], [0, 0, 1]])


def test_an_excluded_worker_stays_measured_and_is_nobodys_other() -> None:
    frame = votes("p: ana=dots bo=dots cy=plain\nq: ana=dots bo=dots cy=plain").assign(
        dropped=[None, None, "worker excluded"] * 2
    )
    found = table(frame, excluded={"cy": "clicks"})
    assert found["agreement"].to_dict() == {"ana": 1, "bo": 1, "cy": 0}
    assert found.loc["cy", ["n_votes", "excluded"]].tolist() == [2, "clicks"]


def test_honest_workers_have_no_flag() -> None:
    assert flagged(table(crowd())) == {}


@pytest.mark.parametrize("seed", range(3))
def test_who_never_looks_is_no_better_than_chance_and_comes_first(seed: int) -> None:
    found = table(crowd(seed=seed, zed=lambda _, random: str(random.choice(CLASSES))))
    assert flagged(found) == {"zed": ["no better than chance", "low agreement"]}
    assert found.index[0] == "zed"
    assert found.loc["zed", "spammer_score"] < 0.1
    assert found.loc["ana", "spammer_score"] > 0.6


def test_who_says_one_thing_is_straight_lining_by_share_and_by_run() -> None:
    found = table(crowd(zed=lambda _label, _random: "stars"))
    assert flagged(found)["zed"][-2:] == ["straight-lining", "straight-lining"]
    said = " ".join(found.loc["zed", "flags"])
    assert "100 % stars; the others 2" in said
    assert "120 times stars in a row (chance below 1 in a million in this crowd)" in said
    assert found.loc["zed", "longest_run"] == 120


def test_a_run_is_no_fault_where_the_pictures_make_it_likely() -> None:
    frame = crowd(pictures=60)
    frame = frame[frame["worker_id"] != "di"].assign(label="dots")
    assert flagged(table(frame)) == {}


def test_the_order_of_pictures_in_a_hit_comes_from_hits() -> None:
    frame = votes("a: ana=dots\nb: ana=plain\nc: ana=dots\nd: ana=plain").assign(
        hit_id="H", assignment_id="S", submitted_at=START
    )
    assert table(frame).loc["ana", "longest_run"] == 1
    hits = pd.DataFrame({"hit_id": "H", "image_id": list("acbd"), "position": range(4)})
    assert table(frame, hits=hits).loc["ana", "longest_run"] == 2


def test_who_takes_less_than_a_third_of_the_usual_time_is_too_fast() -> None:
    frame = crowd()
    frame.loc[frame["worker_id"] == "bo", "seconds"] = 0.9
    found = table(frame)
    assert flagged(found) == {"bo": ["too fast"]}
    assert found.loc["bo", "flags"][0] == "too fast: 0.9 s a picture; the median worker takes 3.0 s"


def test_low_gold_needs_enough_gold_to_be_sure() -> None:
    frame = votes("\n".join(f"g{i}: ana=plain bo={'plain' if i < 2 else 'dots'}" for i in range(6)))
    gold = {f"g{i}": "dots" for i in range(6)}
    assert flagged(table(frame, gold)) == {"ana": ["low gold"]}
    assert table(frame, gold).loc["ana", "flags"][0] == "low gold: 0 of 6 right (0–39); the task asks for 70 %"
    assert flagged(table(frame, gold, pass_mark=0.3)) == {}


def test_nine_bad_answers_are_listed_but_never_flagged() -> None:
    frame = crowd(zed=lambda _label, _random: "stars")
    few = frame[(frame["worker_id"] != "zed") | (frame["image_id"] < "p009")]
    assert flagged(table(few)) == {}


@pytest.mark.parametrize(
    ("matrix", "score"),
    [
        ([[50, 0], [0, 50]], 1),  # always right
        ([[0, 50], [50, 0]], 1),  # always wrong, and as telling
        ([[50, 0], [50, 0]], 0),  # always the same
        ([[30, 20], [30, 20]], 0),  # the same mixture, whatever the picture
        ([[9, 1], [0, 0]], np.nan),  # one class only
        ([[9, 1], [0, 1]], np.nan),  # a class that came once says nothing
        ([[40, 10], [10, 40]], 0.36 - 2 * 0.32 / 49 / 2),  # |(.8, .2) - (.2, .8)|^2 / 2 without what chance adds
    ],
)
def test_the_spammer_score_is_the_distance_from_answers_that_do_not_depend(matrix: list, score: float) -> None:
    found = spammer_score(np.array([matrix], float))[0]
    assert found == pytest.approx(score, abs=1e-12, nan_ok=True)


def test_chance_adds_nothing_to_the_spammer_score_on_average() -> None:
    random = np.random.default_rng(0)
    counts = np.stack([random.multinomial(10, [0.25] * 4, 4) for _ in range(4000)]).astype(float)
    shares = counts / 10
    plain = np.mean([((shares[:, i] - shares[:, j]) ** 2).sum(1) / 2 for i in range(4) for j in range(i)])
    assert plain > 0.07  # what the published formula gives for people who never look, with ten answers a class
    assert np.median(spammer_score(counts)) < 0.01


def test_what_chance_gives_is_the_mean_and_spread_over_all_deals() -> None:
    from itertools import permutations

    from curate.label.record import _by_chance

    frame = votes("a: ana=dots\nb: ana=dots\nc: ana=plain\nd: ana=stars\ne: ana=dots")
    found = ballots(frame, CLASSES)
    answer = np.array([0, 1, 1, 2, 2])
    fit = [(np.array(deal) == answer).sum() for deal in permutations(found.label)]
    mean, spread = _by_chance(found, answer)
    assert (mean[0], spread[0]) == pytest.approx((np.mean(fit), np.std(fit)))


def test_row_order_and_names_change_nothing() -> None:
    frame = crowd(pictures=30, zed=lambda _, random: str(random.choice(CLASSES)))
    before = table(frame)
    pd.testing.assert_frame_equal(table(frame.sample(frac=1, random_state=3)), before)
    names = {"ana": "v", "bo": "w", "cy": "x", "di": "y", "zed": "z"}
    renamed = table(frame.assign(worker_id=frame["worker_id"].map(names)))
    pd.testing.assert_frame_equal(renamed.rename(index={new: old for old, new in names.items()}), before)


def test_printed_worst_first_with_the_reasons_beneath() -> None:
    frame = crowd(zed=lambda _label, _random: "stars")
    lines = worker_lines(table(frame, excluded={"bo": "asked to leave"}).reset_index(), most=2)
    assert lines[1].startswith("zed")
    assert lines[2].startswith("  ! no better than chance")
    assert "… 3 more; --most 0 prints all" in lines
    assert lines[-1].startswith("5 workers, 1 with something to look at, 1 excluded. A flag excludes nobody")


def test_spammers_of_a_real_crowd_are_found_without_its_truth(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("votes") / "sentiment_polarity_mturk"
    frame = pd.read_parquet(folder / "votes.parquet").rename(columns={"task_id": "image_id"})
    truth = pd.read_parquet(folder / "truth.parquet").set_index("task_id")["label"]
    found = worker_table(ballots(frame, sorted(truth.unique())), frame, task="sentiment").set_index("worker_id")
    right = (frame["label"] == frame["image_id"].map(truth)).groupby(frame["worker_id"]).mean()
    spam = [
        name for name, said in flagged(found).items() if "no better than chance" in said and found.n_votes[name] > 90
    ]
    assert len(spam) == 8
    assert right[spam].between(0.4, 0.58).all(), "two classes: a coin is right half the time"
    assert right[found.index[found["n_votes"] > 90].difference(spam)].min() > 0.54
