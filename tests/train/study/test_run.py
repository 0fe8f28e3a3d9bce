from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import Partial, UserError
from schemas.manifest import read_manifest, write_manifest
from train.folder import state_of
from train.study.file import example, read_study
from train.study.run import plan, run_study, study_lines

Make = Callable[..., Path]
Tiny = dict[str, list[str]]


def write(path: Path, tiny: list[str], body: str) -> Path:
    """A study file of tiny runs beside its manifests."""
    changes = json.dumps([*tiny, "epochs=2", "semi_steps=3"])
    path.write_text(f"out = 'runs'\nset = {changes}\n{body}", encoding="utf-8")
    return path


def test_the_papers_study_is_27_runs_and_3(make_manifest: Make) -> None:
    home = make_manifest().parent
    (home / "paper.toml").write_text(example(), encoding="utf-8")
    study = read_study(home / "paper.toml")
    assert len(study.runs) == 27 + 3
    larger = [run for run in study.runs if run.unlabeled not in (None, "100%")]
    assert [(run.method, run.manifest.stem, run.unlabeled) for run in larger] == [
        ("semivit", "apron", share) for share in ("200%", "300%", "400%")
    ]
    assert {run.unlabeled_base for run in larger} == {284_000}
    assert {0.5, 1.0} <= {run.label_fraction for run in study.runs}  # what is claimed: half of the labels against all
    assert all(run.stage1 is not None for run in study.runs if run.method == "semivit")


def test_semivit_runs_of_all_pool_sizes_share_the_stage_1_that_vit_trains(make_manifest: Make, tiny: Tiny) -> None:
    home = make_manifest().parent
    body = 'manifests = ["apron.parquet"]\nmethods = ["semivit"]\nlabel_fractions = [0.5]\nunlabeled = ["50%", "all"]\n'
    study = read_study(write(home / "s.toml", tiny["semivit"], body))
    assert [run.name for run in study.runs] == ["apron-vit-50-s0", "apron-semivit-50-u50pct-s0", "apron-semivit-50-s0"]
    lines = list(study_lines(study, False, {"log": ("none",), "price_per_hour": 3.0}))
    assert lines[-1] == f"3 runs finished -> {home / 'runs'}"
    assert lines[:-1] == [f"report -> {home / 'runs' / 'apron.html'}"]  # no ViT with all labels: nothing is claimed
    records = [json.loads((run.folder / "run.json").read_text()) for run in study.runs]
    assert [set(record["seconds"]) for record in records] == [{"train"}, {"stage2"}, {"stage2"}]
    assert [record["counts"]["unlabeled"] for record in records][1:] == [12 + 18, 24 + 18]
    assert {record["test_reads"] for record in records} == {1}
    assert {record["usage"]["price_per_hour_usd"] for record in records} == {3.0}
    assert not list(home.glob("runs/*/tensorboard"))
    table = json.loads((home / "runs" / "apron.json").read_text())
    assert [row["method"] for row in table["rows"]] == ["vit", "semivit", "semivit"]


def test_a_study_ends_with_the_answer_to_its_question(make_manifest: Make, tiny: Tiny) -> None:
    home = make_manifest().parent
    body = 'manifests = ["apron.parquet"]\nmethods = ["vit", "semivit"]\nlabel_fractions = [0.5, 1.0]\n'
    *_, claim, answer, done = study_lines(read_study(write(home / "s.toml", tiny["semivit"], body)), False)
    assert claim.startswith("apron, seed 0: Semi-ViT with 50% of the labels (18 + 42 unlabeled)")
    assert answer.startswith("Does Semi-ViT with 50% of the labels match ViT with all of them? ")
    assert done.startswith("4 runs finished")


def test_a_study_of_two_tasks_has_a_page_for_each_and_one_for_both(make_manifest: Make, tiny: Tiny) -> None:
    apron = make_manifest()
    home, made = apron.parent, read_manifest(apron)
    write_manifest(made.rows, [home / "vest.parquet"], task="vest", classes=made.classes)
    body = 'manifests = ["apron.parquet", "vest.parquet"]\nmethods = ["vit", "semivit"]\nlabel_fractions = [0.5, 1.0]\n'
    lines = list(study_lines(read_study(write(home / "s.toml", tiny["semivit"], body)), False))
    pages = [f"report -> {home / 'runs' / name}.html" for name in ("apron", "vest", "all-tasks")]
    assert lines[:3] == pages
    assert [line.partition(",")[0] for line in lines[3:5]] == ["apron", "vest"]  # each claim once
    assert "Of 2 comparisons: " in lines[5]
    both = json.loads((home / "runs" / "all-tasks.json").read_text())
    assert len(both["rows"]) == 8


def test_another_stage_1_than_vits_is_not_shared(make_manifest: Make, tiny: Tiny) -> None:
    home = make_manifest().parent
    body = 'manifests = ["apron.parquet"]\nmethods = ["vit", "semivit"]\n[semivit]\nset = ["smoothing=0.2"]\n'
    study = read_study(write(home / "s.toml", tiny["semivit"], body))
    assert [(run.method, run.stage1) for run in study.runs] == [("vit", None), ("semivit", None)]


def test_a_run_that_two_grids_ask_for_is_made_once(make_manifest: Make, tiny: Tiny) -> None:
    home = make_manifest().parent
    grids = '[[grid]]\nmethods = ["vit"]\nseeds = [0, 1]\n[[grid]]\nmethods = ["vit"]\nlabel_fractions = [1.0, 0.5]\n'
    study = read_study(write(home / "s.toml", tiny["vit"], f'manifests = ["apron.parquet"]\n{grids}'))
    assert [run.name for run in study.runs] == ["apron-vit-100-s0", "apron-vit-100-s1", "apron-vit-50-s0"]


def test_a_plan_says_the_runs_and_their_time_and_trains_nothing(make_manifest: Make, tiny: Tiny) -> None:
    home = make_manifest().parent
    study = read_study(
        write(home / "s.toml", tiny["semivit"], 'manifests = ["apron.parquet"]\nmethods = ["vit", "semivit"]\n')
    )
    lines = plan(study).splitlines()
    time = r"about \d+ (seconds?|minutes)"
    assert re.fullmatch(rf"new         apron-vit-100-s0: 36 labeled, {time}", lines[0])
    assert re.fullmatch(rf"new         apron-semivit-100-s0: 36 labeled, 24 unlabeled, {time}", lines[1])
    assert re.match(rf"2 runs: 0 done, 0 unfinished, 2 new; {time} on this machine", lines[2])
    assert not (home / "runs").exists()


def test_a_failed_run_is_said_and_the_others_go_on(
    make_manifest: Make, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    home = make_manifest().parent
    body = 'manifests = ["apron.parquet"]\nmethods = ["semivit"]\nunlabeled = [9999, 8]\n'
    study = read_study(write(home / "s.toml", tiny["semivit"], body))
    with pytest.raises(Partial, match="2 of 3 runs are finished, 1 failed; the first is apron-semivit-100-u9999-s0"):
        run_study(study)
    assert [state_of(run.folder) for run in study.runs] == ["done", "new", "done"]
    assert "[3 of 3] apron-semivit-100-u8-s0: 1 runs to go" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("manifest = ['a.parquet']", "manifest: no such key; did you mean manifests"),
        ("manifests = 'a.parquet'", "manifests must be a list of texts"),
        ("methods = ['vit']", "manifests must be a list of texts, got None"),
        ("manifests = ['a.parquet']\nmethods = ['vat']", "no method vat"),
        ("manifests = ['a.parquet']\nseeds = ['one']", "seeds must be a list of numbers"),
        ("manifests = ['a.parquet']\n[vit]\nset = ['epoch=3']", "did you mean epochs"),
        ("manifests = ['a.parquet']\n[[grid]]\nfraction = [1]", r"\[\[grid\]\] fraction: no such key"),
        ("manifests = [", "is not TOML"),
    ],
)
def test_a_wrong_study_file_is_one_line(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "s.toml").write_text(body)
    with pytest.raises(UserError, match=said):
        read_study(tmp_path / "s.toml")


def test_a_study_killed_by_force_goes_on_and_repeats_nothing(make_manifest: Make, tiny: Tiny) -> None:
    home = make_manifest().parent
    body = 'manifests = ["apron.parquet"]\nmethods = ["vit"]\nseeds = [0, 1, 2]\n'
    path = write(home / "s.toml", [c for c in tiny["vit"] if not c.startswith("batch_size")], body)
    command = [sys.executable, "-m", "train.cli", "study", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    first, second = (home / "runs" / f"apron-vit-100-s{n}" for n in (0, 1))
    deadline = time.monotonic() + 120
    while state_of(second) == "new":
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = (first / "run.json").stat().st_mtime_ns
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"3 runs finished -> {home / 'runs'}"
    assert "[1 of 3]" not in done.stderr
    assert (first / "run.json").stat().st_mtime_ns == before
