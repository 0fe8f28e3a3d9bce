from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from curate.report import numbers
from curate.report.gather import gather
from curate.workspace import Workspace
from schemas.interval import wilson


@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 100, 0.7222, 0.8749)]
)
def test_wilson_intervals_are_the_published_ones(right: int, n: int, low: float, high: float) -> None:
    assert wilson(right, n) == pytest.approx((low, high), abs=1e-4)


def test_reasons_are_counted_without_their_details() -> None:
    dropped = ["broken: cut", "broken: empty", "too small (9 x 9)", "same pixels as " + "a" * 64, "no_agreement", None]
    found = numbers.reasons(pd.DataFrame({"dropped": dropped}))
    assert found == [("broken", 2), ("too small", 1), ("same pixels", 1), ("no agreement", 1)]


def test_every_step_keeps_what_it_leaves_out(labeled: Workspace) -> None:
    steps = {step.name: step for step in numbers.funnel(gather(labeled, labeled.task()))}
    assert (steps["Pictures"].count, steps["Kept"].count, steps["Kept"].left_out) == (12, 11, [("broken", 1)])
    assert (steps["One of each cluster"].count, steps["One of each cluster"].left_out) == (
        10,
        [("near twins of another", 1)],
    )
    assert steps["Asked about"].count == 8  # gold is not asked about
    assert (steps["Votes that count"].count, steps["Votes that count"].left_out) == (24, [("gold", 3)])
    assert (steps["Labeled"].count, steps["Labeled"].left_out) == (7, [("no agreement", 1)])


def test_labels_are_measured_against_the_truth_where_it_is_known(labeled: Workspace) -> None:
    data = gather(labeled, labeled.task())
    assert numbers.label_accuracy(data) == (6, 7)
    people = numbers.people_confusion(data)
    assert people is not None
    dots = next(row for row in people["matrix"] if row["label"] == "dots")
    assert [cell["n"] for cell in dots["cells"]] == [1, 0, 0, 6, 0, 0, 0, 0, 0]


def test_a_worker_is_measured_by_agreement_and_gold_and_keeps_no_name(labeled: Workspace) -> None:
    lines = numbers.workers(gather(labeled, labeled.task()))
    assert [line["worker"] for line in lines] == ["worker 1", "worker 2", "worker 3"]
    assert [(line["agree"], line["agree_n"]) for line in lines] == [(7, 7), (7, 7), (6, 7)]
    assert {(line["gold"], line["gold_n"], line["seconds"]) for line in lines} == {(1 * 1, 1, 2.5)}


def test_splits_are_counted_by_class(labeled: Workspace) -> None:
    table = numbers.splits(gather(labeled, labeled.task()))
    assert table is not None
    assert table["columns"] == ["train", "test"]
    assert dict(table["rows"])["dots"] == [3, 3]
    assert table["totals"] == [3, 4]


def test_a_picture_on_two_marketplaces_counts_in_each(shop: Workspace) -> None:
    found = {row["name"]: row for row in numbers.markets(gather(shop, shop.task()))}
    assert found["Feira"]["listings"] == found["Tianguis <b>"]["listings"] == 6
    assert found["Feira"]["price"] == "BRL 16"


def test_a_new_version_of_the_test_and_filled_classes_are_said(labeled: Workspace) -> None:
    data = gather(labeled, labeled.task())
    assert data.manifest
    info = {
        "versions": {"val": {"version": 1}, "test": {"version": 2, "added": 0, "relabeled": 3, "left": 1}},
        "counts": {"not_random_in": {"test stars": 4}},
    }
    told = numbers.splits(replace(data, manifest=replace(data.manifest, info=info)))
    assert told
    assert told["notes"] == [
        "test is version 2 (3 relabeled, 1 left since the version before): figures compare within one version only.",
        "Filled with pictures that were not chosen at random, on request: test stars 4. Their figures are not honest estimates.",
    ]
    plain = numbers.splits(data)
    assert plain
    assert plain["notes"] == []
