from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from curate.report.models import mistakes, notes, paper_table, per_class, read_runs
from schemas.errors import UserError
from schemas.tables import VOTES

Predict = Callable[..., Path]


def test_metrics_are_counted_from_the_predictions_themselves(predict: Predict) -> None:
    row = paper_table(read_runs([predict("vit", 9, 12)]))[0]
    assert (row["right"], row["n"], row["acc1"], row["weights"]) == (9, 12, 0.75, "random")
    assert row["acc5"] == 1.0  # the right class is always the second guess at worst
    assert row["ce"] == pytest.approx((9 * 0.1744 + 3 * 3.912) / 12, abs=1e-3)


def test_acc5_is_left_out_with_five_classes(predict: Predict) -> None:
    row = paper_table(read_runs([predict("vit", 9, 12, classes=["plain", "dots", "a", "b", "c"])]))[0]
    assert row["acc5"] is None


def test_runs_stand_in_the_papers_order_whatever_order_they_come_in(predict: Predict) -> None:
    paths = [
        predict("semivit", 5, 12),
        predict("vit", 5, 12),
        predict("vit", 5, 12, fraction=0.5),
        predict("resnet18", 5, 12),
    ]
    assert [run.title for run in read_runs(paths)] == ["ResNet18", "ViT, 50\xa0% of the labels", "ViT", "Semi-ViT"]


def test_a_run_may_be_named_by_its_folder(predict: Predict) -> None:
    assert read_runs([predict("vit", 5, 12).parent])[0].right == 5


def test_no_order_is_claimed_where_intervals_overlap(predict: Predict) -> None:
    said = " ".join(notes(read_runs([predict("resnet18", 8, 12), predict("vit", 10, 12)])))
    assert "does not show which model is better" in said
    assert "is above" not in said
    assert "Chance is 11.1\xa0% (9 classes)" in said
    assert "random weights" in said


def test_an_order_is_claimed_where_intervals_lie_apart(predict: Predict) -> None:
    said = " ".join(notes(read_runs([predict("resnet18", 1, 12), predict("vit", 12, 12), predict("semivit", 11, 12)])))
    assert "ViT is above ResNet18; Semi-ViT is above ResNet18. Other pairs overlap" in said


def test_the_worst_mistakes_are_the_surest_ones(predict: Predict) -> None:
    run = read_runs([predict("vit", 10, 12)])[0]
    assert [(one["label"], one["predicted"], one["sure"]) for one in mistakes(run)] == [
        ("dots", "plain", "84\xa0%")
    ] * 2


def test_a_class_without_test_pictures_counts_nothing(predict: Predict) -> None:
    rows = {row["label"]: row["cells"][0] for row in per_class(read_runs([predict("vit", 9, 12)]))}
    assert (rows["dots"]["right"], rows["dots"]["n"]) == (9, 12)
    assert (rows["hearts"]["right"], rows["hearts"]["n"], rows["hearts"]["share"]) == (0, 0, 0.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"split": "train"}, "no prediction of a labeled test picture"),
        ({"label": None}, "no prediction of a labeled test picture"),
        ({"label": "socks"}, "'socks' is not in the file's class list"),
        ({"probs": [0.5, 0.5]}, "should hold 9 values"),
    ],
)
def test_predictions_that_cannot_be_judged_give_one_line(predict: Predict, changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_runs([predict("vit", 5, 12, **changes)])


def test_runs_on_different_manifests_are_not_compared(predict: Predict) -> None:
    with pytest.raises(UserError, match="compares runs on one manifest"):
        read_runs([predict("vit", 5, 12), predict("resnet18", 5, 12, manifest_id="m2")])


def test_another_table_is_no_predictions_file(tmp_path: Path) -> None:
    VOTES.write(VOTES.empty(), tmp_path / "votes.parquet")
    with pytest.raises(UserError, match="predictions"):
        read_runs([tmp_path / "votes.parquet"])


def test_a_missing_file_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.parquet"):
        read_runs([tmp_path / "nothing.parquet"])
