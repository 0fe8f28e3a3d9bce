from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.aggregate import REASONS, Rule, aggregate, aggregate_task, gold_accuracy, summary
from curate.label.votes import classes_of, read_votes
from schemas.errors import UserError
from schemas.tables import GOLD, HITS, LABELS, VOTES

CLASSES = ["dots", "plain", "other"]
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def votes_of(**answers: str) -> pd.DataFrame:
    """Votes from `picture="dots plain"`: each word is the vote of the next worker, `w7:dots` names the worker."""
    rows = []
    for image_id, said in answers.items():
        for i, word in enumerate(said.split()):
            worker, _, label = word.rpartition(":")
            rows.append((image_id, worker or f"w{i}", label))
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])


def one(answers: str, **options: int) -> pd.Series:
    """The row of LABELS that one picture gets."""
    labels, _ = aggregate(votes_of(a=answers), classes=CLASSES, **options)
    return labels.iloc[0]


@pytest.mark.parametrize(
    ("answers", "label", "dropped"),
    [
        ("dots", None, "insufficient"),
        ("dots dots", None, "insufficient"),
        ("dots plain", None, "insufficient"),
        ("dots dots dots", "dots", None),
        ("dots plain dots", "dots", None),
        ("dots plain other", None, "no_agreement"),
        ("dots dots dots plain", "dots", None),
        ("dots dots plain plain", None, "no_agreement"),
        ("dots dots plain other", None, "no_agreement"),
        ("dots dots dots plain other", "dots", None),
        ("dots dots plain plain other", None, "no_agreement"),
    ],
)
def test_two_matching_votes_and_more_than_half_make_a_label(
    answers: str, label: str | None, dropped: str | None
) -> None:
    row = one(answers)
    assert (None if pd.isna(row.label) else row.label) == label
    assert (None if pd.isna(row.dropped) else row.dropped) == dropped


@pytest.mark.parametrize(
    ("answers", "label", "dropped"),
    [("dots dots", "dots", None), ("dots plain", None, "insufficient"), ("dots plain other", None, "no_agreement")],
)
def test_with_two_first_answers_two_equal_ones_are_enough(answers: str, label: str | None, dropped: str | None) -> None:
    row = one(answers, min_votes=2)
    assert (None if pd.isna(row.label) else row.label) == label
    assert (None if pd.isna(row.dropped) else row.dropped) == dropped


def test_shares_stand_in_class_order() -> None:
    row = one("other dots other")
    assert list(row.label_probs) == pytest.approx([1 / 3, 0, 2 / 3])
    assert (row.n_votes, row.n_agree) == (3, 2)


def test_a_picture_nobody_voted_on_keeps_its_place() -> None:
    labels, _ = aggregate(votes_of(b="dots dots dots"), classes=CLASSES, images=["a", "b"])
    assert labels.image_id.tolist() == ["a", "b"]
    assert labels.dropped.tolist()[0] == "no_votes"
    assert labels.label_probs[0] is None


def test_no_votes_at_all_give_no_labels() -> None:
    labels, audit = aggregate(votes_of(), classes=CLASSES)
    assert len(labels) == len(audit) == 0


@pytest.mark.parametrize(
    ("answers", "why", "label"),
    [
        ("w1:dots w1:dots w2:dots", [None, "duplicate", None], None),
        ("w1:dots w1:plain w2:dots w3:dots w4:dots", ["self-conflict", "self-conflict", None, None, None], "dots"),
        ("dots cannot_see dots dots", [None, "cannot see the picture", None, None], "dots"),
        ("dots zebra dots dots", [None, "invalid label", None, None], "dots"),
    ],
)
def test_a_vote_that_does_not_count_says_why(answers: str, why: list[str | None], label: str | None) -> None:
    labels, audit = aggregate(votes_of(a=answers), classes=CLASSES)
    assert [None if pd.isna(value) else value for value in audit.dropped] == why
    assert (None if pd.isna(labels.label[0]) else labels.label[0]) == label


@pytest.mark.parametrize(
    ("answers", "label", "dropped"),
    [
        ("cannot_see cannot_see dots", None, "cannot see the picture"),
        ("cannot_see cannot_see", None, "cannot see the picture"),
        ("w1:cannot_see w1:cannot_see w2:dots", None, "insufficient"),  # one person, twice
        ("cannot_see dots plain", None, "insufficient"),
        ("cannot_see cannot_see dots dots dots", "dots", None),  # enough others saw it
        ("cannot_see cannot_see dots plain other", None, "cannot see the picture"),
    ],
)
def test_what_two_people_cannot_see_is_dropped_unless_others_agree(
    answers: str, label: str | None, dropped: str | None
) -> None:
    row = one(answers)
    assert (None if pd.isna(row.label) else row.label) == label
    assert (None if pd.isna(row.dropped) else row.dropped) == dropped


def test_rejected_work_does_not_count() -> None:
    votes = votes_of(a="dots dots dots").assign(assignment_status=["Approved", "Submitted", "Rejected"])
    labels, audit = aggregate(votes, classes=CLASSES)
    assert audit.dropped.tolist()[2] == "rejected"
    assert labels.dropped[0] == "insufficient"


def test_votes_on_gold_measure_workers_and_never_label() -> None:
    votes = votes_of(g="dots dots dots", a="dots dots dots")
    labels, audit = aggregate(votes, classes=CLASSES, gold=["g"])
    assert labels.set_index("image_id").dropped["g"] == "gold"
    assert audit[audit.dropped == "gold"].image_id.tolist() == ["g"] * 3
    known = GOLD.frame([{"image_id": "g", "task": "t", "label": "dots", "use": "hidden", "source": "me"}])
    assert gold_accuracy(audit, known) == (3, 3)


def test_one_worker_may_meet_a_gold_picture_twice() -> None:
    _, audit = aggregate(votes_of(g="w1:dots w1:plain"), classes=CLASSES, gold=["g"])
    assert audit.dropped.tolist() == ["gold", "gold"]


def test_of_two_equal_votes_the_earlier_counts_wherever_it_stands() -> None:
    votes = votes_of(a="w1:dots w1:dots").assign(
        assignment_id=["late", "early"], submitted_at=[NOON + timedelta(hours=1), NOON]
    )
    _, audit = aggregate(votes, classes=CLASSES)
    assert audit.set_index("assignment_id").dropped.to_dict()["late"] == "duplicate"


def test_simulated_and_real_votes_never_mix() -> None:
    votes = votes_of(a="dots dots dots").assign(source=["crowd", "crowd", "simulated"])
    with pytest.raises(UserError, match=r"2 crowd, 1 simulated.*--source"):
        aggregate(votes, classes=CLASSES)
    labels, audit = aggregate(votes, classes=CLASSES, source="crowd")
    assert labels.n_votes[0] == 2
    assert audit.dropped.tolist()[2] == "other source"


def test_a_label_says_where_it_comes_from() -> None:
    votes = votes_of(a="dots dots dots", b="dots").assign(source="simulated")
    labels, _ = aggregate(votes, classes=CLASSES)
    assert labels.source.tolist()[0] == "simulated"
    assert pd.isna(labels.source[1])


@pytest.mark.parametrize("options", [{"agree": 0}, {"min_votes": -1}])
def test_a_rule_without_votes_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(UserError, match="must be 1 or more"):
        one("dots", **options)


many_votes = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["w1", "w2", "w3", "w4"]),
        st.sampled_from(["dots", "plain", "other", "zebra", "cannot_see", None]),
        st.sampled_from(["Approved", "Submitted", "Rejected"]),
    ),
    max_size=30,
)


def frame_of(rows: list[tuple[str, str, str | None, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["image_id", "worker_id", "label", "assignment_status"])
    return frame.assign(assignment_id=[f"{i:03d}" for i in range(len(frame))])


@settings(deadline=None, max_examples=60)
@given(rows=many_votes, order=st.randoms(use_true_random=False))
def test_row_order_never_matters(
    rows: list[tuple[str, str, str | None, str]], order: Callable[[list[int]], None]
) -> None:
    votes = frame_of(rows)
    places = list(range(len(votes)))
    order.shuffle(places)  # type: ignore[attr-defined]
    labels, audit = aggregate(votes, classes=CLASSES, gold=["d"])
    labels_too, audit_too = aggregate(votes.iloc[places], classes=CLASSES, gold=["d"])
    pd.testing.assert_frame_equal(labels, labels_too)
    pd.testing.assert_frame_equal(audit, audit_too.sort_index())


@settings(deadline=None, max_examples=60)
@given(rows=many_votes, agree=st.integers(1, 3), min_votes=st.integers(1, 4))
def test_the_rule_is_the_rule_said_plainly(
    rows: list[tuple[str, str, str | None, str]], agree: int, min_votes: int
) -> None:
    votes = frame_of(rows)
    labels, audit = aggregate(votes, classes=CLASSES, agree=agree, min_votes=min_votes)
    assert set(audit.dropped.dropna()) <= set(REASONS)
    assert labels.image_id.tolist() == sorted({row[0] for row in rows})
    for row in labels.itertuples():
        counted = audit[(audit.image_id == row.image_id) & audit.dropped.isna()]
        assert counted.worker_id.is_unique
        tally = Counter(counted.label)
        winner, top = tally.most_common(1)[0] if tally else (None, 0)
        assert (row.n_votes, row.n_agree) == (len(counted), top)
        agreed = len(counted) >= min_votes and top >= agree and 2 * top > len(counted)
        assert (row.label == winner) if agreed else pd.isna(row.label)
        assert pd.isna(row.dropped) == agreed
        if len(counted):
            assert list(row.label_probs) == pytest.approx([tally[key] / len(counted) for key in CLASSES])


@settings(deadline=None, max_examples=40)
@given(rows=many_votes)
def test_aggregating_the_audit_again_changes_nothing(rows: list[tuple[str, str, str | None, str]]) -> None:
    labels, audit = aggregate(frame_of(rows), classes=CLASSES, gold=["d"])
    labels_too, audit_too = aggregate(audit, classes=CLASSES, gold=["d"])
    pd.testing.assert_frame_equal(labels, labels_too)
    pd.testing.assert_frame_equal(audit, audit_too)


def task_tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    """VOTES and HITS of two pictures and a hidden gold picture; picture a was asked at random first, rechecked later."""
    asked = [("h1", "a", 1, "random"), ("h1", "g", 1, "gold"), ("h2", "b", 1, "random"), ("h3", "a", 2, "recheck")]
    hits = HITS.frame(
        {
            "hit_id": h,
            "image_id": i,
            "task": "t",
            "position": 0,
            "round": r,
            "chosen_by": why,
            "reward_usd": 0.1,
            "max_assignments": 3,
            "endpoint": "e",
            "question_version": 1,
            "taxonomy_version": 1,
            "created_at": NOON,
        }
        for h, i, r, why in asked
    )
    votes = VOTES.frame(
        {
            "assignment_id": f"{h}-{w}",
            "image_id": i,
            "task": "t",
            "hit_id": h,
            "worker_id": f"A{w}",
            "round": 1,
            "endpoint": "e",
            "assignment_status": "Submitted",
            "source": "crowd",
            "answer": "dots",
            "label": "dots",
            "submitted_at": NOON,
        }
        for h, i in [("h1", "a"), ("h1", "g")]
        for w in range(3)
    )
    return votes, hits


def test_a_task_labels_every_picture_that_was_asked_about() -> None:
    votes, hits = task_tables()
    rule = Rule(tuple(CLASSES))
    labels, audit = aggregate_task(votes, hits, GOLD.empty(), task="t", rule=rule)
    found = labels.set_index("image_id")
    assert found.label["a"] == "dots"
    assert found.chosen_by["a"] == "random"
    assert found.dropped.to_dict() | {"a": None} == {"a": None, "b": "no_votes", "g": "gold"}
    assert "1 of 2 pictures labeled" in summary(labels, audit)[0]
    LABELS.check(labels)


def test_votes_of_another_class_list_are_refused() -> None:
    votes, hits = task_tables()
    with pytest.raises(UserError, match="none of the 6 votes has a class of task t"):
        aggregate_task(votes, hits, GOLD.empty(), task="t", rule=Rule(("cat", "dog")))


@pytest.mark.shared_data
def test_real_mturk_votes_give_the_published_coverage_and_accuracy(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("cifar10n")
    votes = read_votes(folder / "votes.parquet")
    labels, audit = aggregate(votes, classes=classes_of(votes, folder))
    truth = pd.read_parquet(folder / "images.parquet", columns=["image_id", "true_label"]).set_index("image_id")
    labeled = labels[labels.label.notna()]
    right = labeled.label == labeled.image_id.map(truth.true_label)
    assert audit.dropped.isna().all()
    assert round(100 * len(labeled) / len(labels), 2) == 93.92
    assert round(100 * right.mean(), 2) == 95.13
    assert round(100 * right[labeled.n_agree == 3].mean(), 1) == 99.1
    assert round(100 * right[labeled.n_agree == 2].mean(), 1) == 88.1
