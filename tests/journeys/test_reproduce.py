"""`make reproduce-quick`: the paper's study from a drawn marketplace to its report, killed by force on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.demo.study import SIZES, alone, same_as_before, study_file, tasks_of
from schemas.errors import UserError
from schemas.manifest import read_manifest


def command(out: Path) -> list[str]:
    return [sys.executable, "-P", "-m", "curate.cli", "demo", "--study", "--quick", "--out", str(out)]


def killed_when(out: Path, reached: Callable[[], bool]) -> None:
    """Start it and kill it with -9, and only it, once a point is reached."""
    with (out.parent / "log").open("ab") as log:
        process = subprocess.Popen(command(out), stdout=log, stderr=log, env=environment())
    deadline = time.monotonic() + 900
    while not reached():
        assert process.poll() is None, (out.parent / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_quick_study_killed_twice_comes_to_its_report_and_repeats_nothing(tmp_path: Path) -> None:
    out = tmp_path / "reproduce"
    shop, runs = out / "apron" / "shop", out / "runs"
    killed_when(out, lambda: (shop / "clusters.parquet").exists() and not (shop / "apron" / "votes.parquet").exists())
    killed_when(out, lambda: (runs / "apron-semivit-50-u100pct-s0" / "started.json").exists())
    made = {path: path.stat().st_mtime_ns for path in [out / "apron" / "data.json", *runs.glob("*/run.json")]}
    assert len(made) >= 3  # the data set, and runs that were finished
    ended = subprocess.run(command(out), capture_output=True, text=True, env=environment())
    assert ended.returncode == 0, ended.stderr
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert "[apron] the data set is there" in ended.stdout
    assert f"open {runs / 'apron.html'}" in ended.stdout
    assert "Does Semi-ViT with 50% of the labels match ViT with all of them?" in ended.stdout
    found = json.loads((runs / "apron.json").read_text())
    asked = [(row["method"], row["label_fraction"]) for row in found["rows"]]
    assert asked == [(m, f) for m in ("resnet18", "vit") for f in (0.5, 1)] + [("semivit", f) for f in (0.5, 1, 1)]
    assert [row["times"] for row in found["table3"]] == [1, 2]
    assert found["claims"][0]["n"] == (read_manifest(shop / "apron.parquet").rows["split"] == "test").sum()
    assert {row["test_reads"] for row in found["rows"]} == {1}
    assert (runs / "apron.html").read_text().count("<svg") == 3


def test_the_whole_study_is_27_runs_and_3_on_the_three_tasks_of_the_paper(tmp_path: Path) -> None:
    from train.study.file import read_study

    path = study_file(tmp_path, quick=False)
    study = read_study(path)
    assert len(study.runs) == 27 + 3
    assert tasks_of(path, quick=False) == list(SIZES) == ["vestneck", "phone", "apron"]
    assert study.runs[0].manifest.parent == tmp_path.resolve() / "vestneck" / "shop"
    assert {0.5, 1.0} <= {run.label_fraction for run in study.runs if run.method == "vit"}
    assert [run.unlabeled for run in study.runs][-3:] == ["200%", "300%", "400%"]
    path.write_text(path.read_text().replace("seeds = [0]", "seeds = [0, 1]"))
    assert study_file(tmp_path, quick=False).read_text().count("seeds = [0, 1]") == 1  # what a person changed stays


def test_a_study_of_what_is_not_drawn_and_another_studys_folder_are_one_line(tmp_path: Path) -> None:
    same_as_before(tmp_path, {"quick": True, "seed": 0})
    same_as_before(tmp_path, {"quick": True, "seed": 0})
    with pytest.raises(UserError, match="holds the quick study with seed 0; go on with that, or name another --out"):
        same_as_before(tmp_path, {"quick": False, "seed": 0})
    path = tmp_path / "study.toml"
    path.write_text('manifests = ["mugs.parquet"]')
    with pytest.raises(UserError, match=r"manifest mugs.parquet: only .*apron/shop/apron.parquet are drawn here"):
        tasks_of(path, quick=False)
    path.write_text("manifests = [")
    with pytest.raises(UserError, match="is no study"):
        tasks_of(path, quick=False)
    with alone(tmp_path), pytest.raises(UserError, match="another process works there"), alone(tmp_path):
        pass
