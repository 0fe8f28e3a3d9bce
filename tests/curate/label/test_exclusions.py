"""Leaving somebody out says what it does to labels, and is counted by the rule itself."""

from __future__ import annotations

import pandas as pd
import pytest

from curate.label.aggregate import aggregate
from curate.label.ballots import ballots
from curate.label.exclusions import effect

CLASSES = ["dots", "plain"]


def votes(**pictures: str) -> pd.DataFrame:
    """Answers of ana, bo, cy, di and ed about each picture, `-` for none."""
    people = ("ana", "bo", "cy", "di", "ed")
    rows = [
        (image, who, label)
        for image, said in pictures.items()
        for who, label in zip(people, said.split(), strict=False)
        if label != "-"
    ]
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])


def test_what_changes_is_said_in_numbers() -> None:
    frame = votes(
        lost="dots dots plain",  # two are left, and they differ
        kept="dots dots dots dots",
        won="dots dots plain plain",  # two against one without ana
        without="- dots dots dots",
    )
    found = ballots(frame, CLASSES)
    said = "3 votes {}; pictures that lose their label: 1, that get one: 1"
    assert effect(found, "ana", agree=2, min_votes=3) == said.format("stop counting")
    assert effect(found, "ana", agree=2, min_votes=3, back=True) == said.format("count again")


@pytest.mark.parametrize("worker", ["ana", "bo", "cy"])
def test_the_numbers_are_those_of_aggregate(worker: str) -> None:
    frame = votes(
        a="dots dots plain plain", b="dots plain plain", c="dots dots dots plain", d="plain plain dots dots dots"
    )

    def labels(rows: pd.DataFrame) -> pd.Series:
        found = aggregate(rows, classes=CLASSES, images=list("abcd"))[0]
        return found.set_index("image_id")["label"].fillna("")

    before, after = labels(frame), labels(frame[frame["worker_id"] != worker])
    lost, won = ((before != "") & (after == "")).sum(), ((before == "") & (after != "")).sum()
    said = effect(ballots(frame, CLASSES), worker, agree=2, min_votes=3)
    assert said.endswith(f"; pictures that lose their label: {lost}, that get one: {won}")
