"""Agreement is the published figure on published tables, and does not depend on names or order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.agreement import agreement, agreement_lines, confused_with, confusions
from curate.label.ballots import ballots


def votes(text: str) -> pd.DataFrame:
    """Lines like `p1: ana=dots bo=plain`; without names the voters are w0, w1, … in each line."""
    rows = []
    for line in text.strip().splitlines():
        image, _, said = line.strip().partition(":")
        for number, word in enumerate(said.split()):
            worker, found, label = word.partition("=")
            rows.append((image, worker, label) if found else (image, f"w{number}", word))
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])


def table(counts: list[list[int]]) -> pd.DataFrame:
    """Votes from how often each class was said: a row a picture, a column a class c0, c1, …"""
    lines = [
        f"p{i:02d}: " + " ".join(f"c{c}" for c, n in enumerate(row) for _ in range(n)) for i, row in enumerate(counts)
    ]
    return votes("\n".join(lines))


# K. Krippendorff, Computing Krippendorff's alpha-reliability (2011), section C: four observers, twelve units.
KRIPPENDORFF = """
u1: a=1 b=1 d=1
u2: a=2 b=2 c=3 d=2
u3: a=3 b=3 c=3 d=3
u4: a=3 b=3 c=3 d=3
u5: a=2 b=2 c=2 d=2
u6: a=1 b=2 c=3 d=4
u7: a=4 b=4 c=4 d=4
u8: a=1 b=1 c=2 d=1
u9: a=2 b=2 c=2 d=2
u10: b=5 c=5 d=5
u11: c=1 d=1
u12: b=3
"""

# The table with 14 raters, ten subjects and five categories that textbooks use for Fleiss' kappa.
FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def rows(frame: pd.DataFrame, classes: list[str] | None = None, shown: pd.DataFrame | None = None) -> pd.DataFrame:
    """AGREEMENT of some votes, by scope and name."""
    found = agreement(ballots(frame, classes or sorted(frame["label"].dropna().unique())), shown)
    return found.set_index(["scope", "name"])


def overall(frame: pd.DataFrame) -> pd.Series:
    return rows(frame).loc[("overall", "all")]


def test_alpha_is_the_published_value_for_unequal_numbers_of_votes() -> None:
    found = overall(votes(KRIPPENDORFF))
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert (found.n_images, found.n_votes) == (11, 40)  # the twelfth has one vote


def test_kappa_is_the_textbook_value_for_equal_numbers_of_votes() -> None:
    assert overall(table(FLEISS)).kappa == pytest.approx(0.210, abs=5e-4)


def test_kappa_of_unequal_numbers_by_hand() -> None:
    # shares of c0: 1, 1/2, 2/3 -> mean 13/18; equal pairs: 1, 0, 1/3 -> mean 4/9; chance (13/18)^2 + (5/18)^2 = 97/162
    found = overall(table([[2, 0], [1, 1], [2, 1]]))
    assert found.kappa == pytest.approx((4 / 9 - 97 / 162) / (1 - 97 / 162))
    assert found.agreement == pytest.approx(2 / 5)  # of 1 + 1 + 3 pairs, 1 + 0 + 1 are equal


def test_alpha_on_a_table_by_hand() -> None:
    # 7 votes, 5 and 2; observed (2*1*1/1 + 2*2*1/2)/7 = 4/7, expected 2*5*2/(7*6) = 10/21
    assert overall(table([[2, 0], [1, 1], [2, 1]])).alpha == pytest.approx(1 - (4 / 7) / (10 / 21))


@pytest.mark.parametrize("text", ["p: dots dots\nq: dots dots dots", "p: dots dots\nq: plain plain"])
def test_unanimous_votes_agree_fully(text: str) -> None:
    found = overall(votes(text))
    assert (found.alpha, found.kappa, found.agreement) == (1, 1, 1)


def test_single_votes_leave_agreement_missing_and_say_so() -> None:
    found = agreement(ballots(votes("p: dots\nq: plain"), ["dots", "plain"]))
    assert found[["alpha", "kappa", "agreement"]].isna().all(axis=None)
    assert found["n_images"].tolist() == [0, 0, 0]
    assert "no picture has two votes" in agreement_lines(found, confusions(ballots(votes("p: a"), ["a"])))[0]


def test_a_class_is_measured_against_all_others() -> None:
    found = rows(table(FLEISS))
    for key in ("c0", "c3"):
        two = table(FLEISS).assign(label=lambda f, key=key: np.where(f["label"] == key, key, "rest"))
        assert found.loc[("class", key), "alpha"] == pytest.approx(overall(two).alpha)
        assert found.loc[("class", key), "kappa"] == pytest.approx(overall(two).kappa)
    assert found.loc[("class", "c0"), ["n_images", "n_votes"]].tolist() == [5, 20]


def test_a_class_nobody_said_has_no_agreement() -> None:
    found = rows(votes("p: dots dots\nq: plain dots"), ["dots", "plain", "stars"])
    assert found.loc[("class", "stars"), "n_images"] == 0
    assert found.loc[("class", "stars"), ["alpha", "kappa", "agreement"]].isna().all()


def test_a_picture_counts_in_every_marketplace_that_shows_it() -> None:
    shown = pd.DataFrame(
        [("p", "mx"), ("p", "br"), ("p", "br"), ("q", "br"), ("gone", "br"), ("r", "pe")],
        columns=["image_id", "marketplace"],
    )
    found = rows(votes("p: dots dots\nq: dots plain\nr: dots"), shown=shown).loc["marketplace"]
    assert found["n_images"].to_dict() == {"br": 2, "mx": 1}  # r has one vote
    assert found["agreement"].to_dict() == {"br": 0.5, "mx": 1}


def test_votes_that_do_not_count_are_left_out() -> None:
    frame = votes("p: dots dots plain\nq: dots plain plain").assign(
        dropped=[None, None, "worker excluded", "gold", None, None], assignment_status=["Approved"] * 5 + ["Rejected"]
    )
    found = overall(frame)
    assert (found.n_images, found.n_votes, found.agreement) == (1, 2, 1)


def test_one_worker_has_one_vote_on_a_picture() -> None:
    once = overall(votes("p: ana=dots bo=dots\nq: ana=dots bo=plain"))
    again = overall(votes("p: ana=dots bo=dots ana=dots\nq: ana=dots bo=plain\nr: bo=dots cy=dots bo=plain"))
    assert (again.alpha, again.n_votes) == (once.alpha, once.n_votes)  # bo differs with himself about r


def test_pairs_of_confused_classes_are_counted_once_a_picture() -> None:
    said = votes("p: dots plain dots\nq: plain dots\nr: dots stars\ns: dots dots\nt: plain plain")
    found = confusions(ballots(said, ["dots", "plain", "stars"]))
    assert found[["class_a", "class_b", "n_images"]].values.tolist() == [["dots", "plain", 2], ["dots", "stars", 1]]
    assert found["share_a"].tolist() == [0.5, 0.25]
    assert found["share_b"].tolist() == pytest.approx([2 / 3, 1])


def test_confused_classes_come_likeliest_first_and_slips_are_left_out() -> None:
    pairs = pd.DataFrame(
        [("a", "b", 9, 0.10, 0.9), ("a", "c", 8, 0.30, 0.2), ("a", "d", 7, 0.20, 0.02), ("a", "e", 6, 0.15, 0.3),
         ("b", "c", 1, 0.5, 0.5)],
        columns=["class_a", "class_b", "n_images", "share_a", "share_b"],
    )  # fmt: skip
    assert confused_with(pairs) == {"a": ["c", "d", "e"], "b": ["a"], "c": ["a"], "e": ["a"]}


TABLES = st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=8)


@settings(deadline=None)
@given(TABLES, st.randoms(use_true_random=False), st.permutations(["x", "y", "z"]))
def test_neither_order_nor_names_change_agreement(counts: list[list[int]], random, names: list[str]) -> None:
    frame = table(counts)
    if frame.empty:
        return
    classes = ["c0", "c1", "c2"]
    before, pairs = agreement(ballots(frame, classes)), confusions(ballots(frame, classes))
    order = list(range(len(frame)))
    random.shuffle(order)
    mixed = ballots(frame.iloc[order], classes)
    pd.testing.assert_frame_equal(agreement(mixed), before)
    pd.testing.assert_frame_equal(confusions(mixed), pairs)
    people = list(frame["worker_id"].unique())
    random.shuffle(people)
    renamed = frame.assign(worker_id=frame["worker_id"].map(dict(zip(sorted(people), people, strict=True))))
    pd.testing.assert_frame_equal(agreement(ballots(renamed, classes)), before)
    mapping = dict(zip(classes, names, strict=True))
    after = agreement(ballots(frame.assign(label=frame["label"].map(mapping)), names))
    pd.testing.assert_frame_equal(after, before.assign(name=before["name"].replace(mapping)), atol=1e-12)


@settings(deadline=None)
@given(TABLES)
def test_alpha_and_kappa_never_exceed_one_and_reach_it_only_without_disagreement(counts: list[list[int]]) -> None:
    if not any(sum(row) > 1 for row in counts):
        return
    found = overall(table(counts))
    several = [row for row in counts if sum(row) > 1]
    unanimous = all(sum(n > 0 for n in row) == 1 for row in several)
    assert (found.alpha == 1) == (found.kappa == 1) == (found.agreement == 1) == unanimous
    assert max(found.alpha, found.kappa) <= 1


@pytest.mark.parametrize(("name", "alpha"), [("cifar10n", 0.6836711221905039), ("votes/labelme", 0.6773569009663831)])
def test_alpha_is_the_library_s_on_real_votes(shared_data: Callable[[str], Path], name: str, alpha: float) -> None:
    """Values of the krippendorff package 0.9.0."""
    frame = pd.read_parquet(shared_data(name) / "votes.parquet").rename(columns={"task_id": "image_id"})
    assert overall(frame).alpha == pytest.approx(alpha, abs=1e-14)
