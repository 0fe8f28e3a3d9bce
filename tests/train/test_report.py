from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UserError
from train.report import report, write_report
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]


@pytest.fixture
def two_runs(make_manifest: Make, ask: Ask) -> list[Path]:
    path = make_manifest()
    train(ask(path, "vit", "epochs=1"))
    train(ask(path, "resnet18", "epochs=6", label_fraction=0.5))
    return [path.parent / "runs" / name for name in ("apron-vit-100-s0", "apron-resnet18-50-s0")]


def test_the_table_has_the_papers_columns_with_counts_and_intervals(two_runs: list[Path]) -> None:
    found = report(two_runs)
    assert [row["method"] for row in found.rows] == ["resnet18", "vit"]
    text = found.markdown()
    for word in (
        "Method",
        "Acc@1",
        "Acc@5",
        "CE",
        "ResNet18",
        "/18)",
        "95 % interval",
        "McNemar",
        "chance is 33.3%",
        "random weights",
    ):
        assert word in text
    assert len(found.pairs) == 1
    assert found.pairs[0]["n"] == 18


@pytest.mark.parametrize("ending", ["html", "md", "json"])
def test_it_is_written_in_three_forms(two_runs: list[Path], tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"table.{ending}"
    write_report(report(two_runs), out)
    text = out.read_text()
    assert "ResNet18" in text
    if ending == "json":
        assert len(json.loads(text)["rows"]) == 2
    if ending == "html":
        assert "http" not in text


def test_an_unknown_ending_is_refused(two_runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.html, \.md or \.json"):
        write_report(report(two_runs), tmp_path / "table.pdf")


def test_runs_on_two_manifests_never_share_a_table(make_manifest: Make, ask: Ask) -> None:
    paths = [make_manifest(), make_manifest(train=10, folder="other")]
    for path in paths:
        train(ask(path, "vit", "epochs=1"))
    with pytest.raises(UserError, match="one table compares runs on one manifest"):
        report([path.parent / "runs" / "apron-vit-100-s0" for path in paths])


def test_an_unfinished_run_and_a_folder_without_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run.json"):
        report([tmp_path])
    (tmp_path / "started.json").write_text("{}")
    with pytest.raises(UserError, match="unfinished"):
        report([tmp_path])
