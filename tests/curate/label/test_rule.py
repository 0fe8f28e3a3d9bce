"""The options of the rule, and what decides whether a vote may count at all."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.aggregate import apply
from curate.label.count import Filters
from curate.label.rule import REASONS, Rule
from schemas.errors import UserError

CLASSES = ("dots", "plain", "other")


def votes_of(**answers: str) -> pd.DataFrame:
    """Votes in time from `picture="dots plain"`, one worker a word."""
    rows = [
        (image_id, f"w{i}", label, f"2026-01-05T10:00:{i:02d}Z")
        for image_id, said in answers.items()
        for i, label in enumerate(said.split())
    ]
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label", "submitted_at"])


def label_of(answers: str, **rule: object) -> object:
    labels, _ = apply(votes_of(a=answers), Rule(CLASSES, **rule), Filters())  # type: ignore[arg-type]
    return labels.label[0] if pd.notna(labels.label[0]) else labels.dropped[0]


@pytest.mark.parametrize(
    ("answers", "label"),
    [
        ("dots", "insufficient"),
        ("dots dots", "dots"),
        ("dots plain", "no_agreement"),
        ("dots dots plain other", "dots"),
        ("dots dots plain plain", "no_agreement"),
        ("dots dots plain plain other", "no_agreement"),
    ],
)
def test_plurality_takes_the_most_frequent_class_where_it_is_only_one(answers: str, label: str) -> None:
    assert label_of(answers, kind="plurality") == label


@pytest.mark.parametrize(("k", "label"), [(3, "plain"), (None, "no_agreement")])
def test_only_the_first_answers_count_when_asked_so(k: int | None, label: str) -> None:
    assert label_of("plain plain dots dots", first_k=k) == label


def test_first_is_by_time_and_not_by_row_and_the_others_say_so() -> None:
    votes = votes_of(a="dots plain plain dots").sample(frac=1, random_state=1)
    _, audit = apply(votes, Rule(CLASSES, first_k=3), Filters())
    late = audit[audit.dropped.notna()]
    assert (late.worker_id.tolist(), late.dropped.tolist()) == (["w3"], ["beyond the first answers"])


def test_a_vote_that_does_not_count_is_none_of_the_first() -> None:
    votes = votes_of(a="zebra dots dots dots")
    labels, _ = apply(votes, Rule(CLASSES, first_k=3), Filters())
    assert (labels.label[0], labels.n_votes[0]) == ("dots", 3)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"first_k": 2}, r"first-k \(2\) is below the votes that a label needs \(3\)"),
        ({"kind": "loudest"}, "must be majority or plurality"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(rule: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        label_of("dots", **rule)


def test_first_answers_without_times_are_refused() -> None:
    with pytest.raises(UserError, match="--first-k needs the column submitted_at"):
        apply(votes_of(a="dots").drop(columns="submitted_at"), Rule(CLASSES, first_k=3), Filters())


@pytest.mark.parametrize(
    ("column", "value", "filters", "why"),
    [
        ("endpoint", "https://mturk-requester-sandbox.example", Filters(), "wrong endpoint"),
        ("endpoint", "https://other.example", Filters(endpoint="https://ours.example"), "wrong endpoint"),
        ("endpoint", "https://other.example", Filters(), None),
        ("assignment_status", "Rejected", Filters(), "rejected"),
        ("assignment_status", "Rejected", Filters(keep_rejected=True), None),
        ("qualified", False, Filters(), "unqualified"),
        ("dropped", "unqualified", Filters(), "unqualified"),
        ("dropped", "worker excluded", Filters(), None),  # the workspace's EXCLUSIONS decide, and may have been lifted
        ("dropped", "worker excluded", Filters(honored=("worker excluded",)), "worker excluded"),
        ("worker_id", "spammer", Filters(excluded={"spammer"}), "worker excluded"),
        ("class_changed", True, Filters(), "class changed"),
        ("label", None, Filters(), "invalid label"),
    ],
)
def test_a_vote_says_why_it_may_not_count(column: str, value: object, filters: Filters, why: str | None) -> None:
    usual = {
        "endpoint": "https://ours.example",
        "assignment_status": "Approved",
        "qualified": True,
        "class_changed": False,
    }
    votes = votes_of(a="dots dots dots")
    if column not in votes:
        votes[column] = pd.Series([usual.get(column)] * 3)
    votes[column] = votes[column].astype(object)
    votes.loc[1, column] = value
    labels, audit = apply(votes, Rule(CLASSES), filters)
    assert (None if pd.isna(audit.dropped[1]) else audit.dropped[1]) == why
    assert audit.dropped[[0, 2]].isna().all()
    assert labels.n_votes[0] == (3 if why is None else 2)


def test_a_sandbox_alone_counts() -> None:
    votes = votes_of(a="dots dots dots").assign(endpoint="https://mturk-requester-sandbox.example")
    assert apply(votes, Rule(CLASSES), Filters())[0].label[0] == "dots"


def test_an_endpoint_that_never_answered_is_refused() -> None:
    votes = votes_of(a="dots").assign(endpoint="https://ours.example")
    with pytest.raises(UserError, match=r"no votes of endpoint 'https://x.example'; found https://ours.example"):
        apply(votes, Rule(CLASSES), Filters(endpoint="https://x.example"))


def test_pictures_of_a_split_class_are_asked_again() -> None:
    votes = votes_of(a="dots dots dots", b="dots dots dots").assign(class_changed=[True] * 3 + [False] * 3)
    labels, _ = apply(votes, Rule(CLASSES), Filters())
    assert labels.dropped.tolist()[0] == "insufficient (class changed)"
    assert labels.label.tolist()[1] == "dots"


@pytest.mark.parametrize(
    ("times", "first"),
    [
        (["Mon Jan 05 10:20:30 PST 2026", "Mon Jan 05 10:20:30 UTC 2026", "Mon Jan 05 18:20:29 UTC 2026"], "w1"),
        (["2026-01-05T10:00:00-03:00", "2026-01-05T12:59:00Z", "2026-01-05 13:00:01"], "w1"),
        (["1767608430", "1767608429000", "2026-01-05T10:20:31Z"], "w1"),
    ],
)
def test_times_in_any_form_are_put_in_one_order(times: list[str], first: str) -> None:
    """Two equal votes of one worker in a picture: the earlier one counts."""
    votes = pd.DataFrame(
        {"image_id": "a", "worker_id": "w", "label": "dots", "submitted_at": times, "who": ["w0", "w1", "w2"]}
    )
    _, audit = apply(votes, Rule(CLASSES, agree=1, min_votes=1), Filters())
    assert audit.loc[audit.dropped.isna(), "who"].tolist() == [first]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from("uvwx"),
            st.sampled_from(["dots", "plain", "zebra"]),
            st.integers(0, 9),
        ),
        max_size=24,
    ),
    k=st.sampled_from([None, 3, 4]),
    kind=st.sampled_from(["majority", "plurality"]),
    seed=st.integers(0, 5),
)
def test_every_vote_counts_or_has_one_reason_whatever_the_order(
    rows: list[tuple[str, str, str, int]], k: int | None, kind: str, seed: int
) -> None:
    votes = pd.DataFrame(rows, columns=["image_id", "worker_id", "label", "submitted_at"])
    votes = votes.assign(assignment_id=[f"{i:03}" for i in range(len(votes))])
    rule = Rule(CLASSES, first_k=k, kind=kind)  # type: ignore[arg-type]
    labels, audit = apply(votes, rule, Filters())
    shuffled = votes.sample(frac=1, random_state=seed)
    labels_too, audit_too = apply(shuffled, rule, Filters())
    pd.testing.assert_frame_equal(labels, labels_too)
    pd.testing.assert_frame_equal(audit, audit_too.sort_index())
    assert set(audit.dropped.dropna()) <= set(REASONS)
    for row in labels.itertuples():
        mine = audit[audit.image_id == row.image_id]
        counted = Counter(mine.label[mine.dropped.isna()])
        assert sum(counted.values()) == row.n_votes <= (k or 99)
        assert pd.isna(row.label) != pd.isna(row.dropped)
        if pd.notna(row.label):
            assert counted[row.label] == row.n_agree >= 2
            assert all(n < row.n_agree for key, n in counted.items() if key != row.label)
            assert kind == "plurality" or 2 * row.n_agree > row.n_votes
        if row.n_votes:
            assert np.isclose(sum(row.label_probs), 1)
