"""Trackers against the real thing: event files read back, MLflow on a real database, W&B offline. And what fails must not matter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from train.request import Request
from train.run import train
from train.trackers.told import About, Trackers, asked_for, made, named, numbers

Make = Callable[..., Path]
Ask = Callable[..., Request]
NOT_THERE = "pip install 'consenso[track]'"


class Fake:
    """A tracker that remembers what it was told, and fails when asked to."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.told = fails, []  # type: ignore[var-annotated]

    def start(self, about: About) -> None:
        self.told = []
        self._note("start", about.name)

    def row(self, stage: str, step: int, values: dict[str, float]) -> None:
        self._note("row", stage, step, values)

    def end(self, metrics: dict[str, float], files: Sequence[Path]) -> None:
        self._note("end", metrics, [path.name for path in files])

    def stop(self) -> None:
        self._note("stop")

    def _note(self, what: str, *said: object) -> None:
        if what == self.fails:
            raise ConnectionError(f"no {what}")
        self.told.append((what, *said))


def about(folder: Path, **more: Any) -> About:
    return About("apron-vit-100-s0", folder, {"epochs": 4.0, "model": "test_vit", **more}, {"method": "vit"})


def test_a_tracker_is_told_the_start_the_rows_and_the_end(tmp_path: Path) -> None:
    fake, said = Fake(), []
    (tmp_path / "run.json").touch()
    with Trackers(about(tmp_path), {"fake": fake}, said.append) as trackers:
        trackers.row("train", {"step": 5, "loss": 1.5, "who": "student", "nan": float("nan"), "flag": True})
        trackers.end({"test/acc1": 0.9, "test/acc5": None}, [tmp_path / "run.json", tmp_path / "nowhere.json"])
    assert fake.told == [
        ("start", "apron-vit-100-s0"),
        ("row", "train", 5, {"loss": 1.5}),
        ("end", {"test/acc1": 0.9}, ["run.json"]),
    ]
    assert said == []


def test_a_run_that_is_stopped_is_said_to_be(tmp_path: Path) -> None:
    fake = Fake()
    with pytest.raises(KeyboardInterrupt), Trackers(about(tmp_path), {"fake": fake}, print):
        raise KeyboardInterrupt
    assert fake.told[-1] == ("stop",)


@pytest.mark.parametrize("fails", ["start", "row", "end", "stop"])
def test_a_tracker_that_fails_is_one_warning_and_the_others_go_on(tmp_path: Path, fails: str) -> None:
    bad, good, said = Fake(fails), Fake(), []
    with Trackers(about(tmp_path), {"bad": bad, "good": good}, said.append) as trackers:
        for step in (5, 10):
            trackers.row("train", {"step": step, "loss": 1.0})
        if fails != "stop":
            trackers.end({}, [])
    assert said[0] == f"warning: bad takes no more of this run (no {fails}); training goes on"
    assert said[1:] == ([] if fails == "stop" else ["warning: bad does not have the whole of this run"])
    assert [one[0] for one in good.told] == ["start", "row", "row", "stop" if fails == "stop" else "end"]


def test_a_tracker_that_answers_again_is_told_what_it_missed(tmp_path: Path) -> None:
    late, patient, said = Fake("row"), Fake("row"), []
    now_and_then = Trackers(about(tmp_path), {"late": late}, said.append, again=0)
    at_the_end = Trackers(about(tmp_path), {"patient": patient}, said.append)
    for trackers in (now_and_then, at_the_end):
        trackers.row("train", {"step": 5, "loss": 2.0})
    late.fails = patient.fails = ""
    for trackers in (now_and_then, at_the_end):
        trackers.row("train", {"step": 10, "loss": 1.0})
    whole = [("start", "apron-vit-100-s0"), ("row", "train", 5, {"loss": 2.0}), ("row", "train", 10, {"loss": 1.0})]
    assert late.told == whole
    at_the_end.end({}, [])
    assert patient.told == [*whole, ("end", {}, [])]
    assert len(said) == 2


def test_log_names_trackers_that_are_there() -> None:
    assert asked_for(("none",)) == ()
    assert named(None) is None
    assert named(["none"]) == ("none",)
    with pytest.raises(UserError, match=r"--log tensorbord: choose tensorboard, mlflow, wandb, or none of them"):
        asked_for(("tensorbord",))
    with pytest.raises(UserError, match="--log none: choose"):
        asked_for(("none", "mlflow"))


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_said_before_torch_is_imported(name: str) -> None:
    code = (
        f"import sys; sys.modules[{name!r}] = None; import importlib.util as u; real = u.find_spec\n"
        f"u.find_spec = lambda n, *a: None if n == {name!r} else real(n, *a)\n"
        f"sys.argv = ['train', 'vit', '-m', 'apron.parquet', '--log', {name!r}]; import train.cli, atexit\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "train.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --log {name} needs ")
    assert done.stderr.strip().endswith(NOT_THERE)
    assert done.stdout.strip() == "False"


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every point in the event files of a folder, in the order of the files, as written: nothing is thinned or purged."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder), {"scalars": 0}, purge_orphaned_data=False).Reload()
    return {tag: [(one.step, one.value) for one in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def of_curve(run: Path, name: str, stage: str = "train") -> list[tuple[int, float]]:
    rows = json.loads((run / "curve.json").read_text())[stage]
    return [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]


ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_killed_run_goes_on_in_its_event_files_without_a_step_twice_or_missing(
    make_manifest: Make, ask: Ask, tmp_path: Path
) -> None:
    """kill -9 after more steps were told than the last checkpoint holds."""
    pytest.importorskip("tensorboard", reason=NOT_THERE)
    asked = ask(make_manifest(), "vit", "eval_every=1", "epochs=200")
    changes = [f"--set={change}" for change in asked.changes]
    line = [
        sys.executable,
        "-m",
        "train.cli",
        "vit",
        "-m",
        str(asked.manifest),
        "--out",
        str(tmp_path / "run"),
        *changes,
    ]
    process = subprocess.Popen([*line, "--checkpoint-minutes", "0.01"], stderr=subprocess.DEVNULL, env=ALONE)
    deadline = time.monotonic() + 300

    def told() -> int:
        found = scalars(tmp_path / "run" / "tensorboard") if (tmp_path / "run" / "tensorboard").exists() else {}
        return len(found.get("train/loss", []))

    while not ((tmp_path / "run" / "checkpoint.pt").exists() and told() > 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = told()
    assert not (tmp_path / "run" / "run.json").exists()
    done = subprocess.run([*line, "--resume"], capture_output=True, text=True, env=ALONE, check=False)
    assert done.returncode == 0, done.stderr
    after = scalars(tmp_path / "run" / "tensorboard")
    assert after["train/loss"] == of_curve(tmp_path / "run", "loss")
    assert after["train/student_acc1"] == of_curve(tmp_path / "run", "student_acc1")
    assert len(after["train/loss"]) > before
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 1
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["usage"]["starts"] == 2
    assert "in 2 starts; trained" in done.stderr
    assert after["test/acc1"] == [(0, pytest.approx(record["test"]["acc1"]))]


def test_both_stages_and_the_result_are_event_files_by_default(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason=NOT_THERE)
    asked = ask(make_manifest(), "semivit", "epochs=2", "semi_steps=4", "eval_every=2", out=tmp_path / "run")
    record = train(asked)
    found = scalars(tmp_path / "run" / "tensorboard")
    for stage in ("stage1", "stage2"):
        assert found[f"{stage}/student_ce"] == of_curve(tmp_path / "run", "student_ce", stage)
        assert [step for step, _ in found[f"{stage}/lr"]] == [step for step, _ in found[f"{stage}/student_ce"]]
    assert found["test/ce"] == [(0, pytest.approx(record["test"]["ce"]))]
    assert found["usage/cpu_seconds"][0][1] > 0
    none = replace(asked, out=tmp_path / "none", log=("none",))
    assert train(none)["model_id"] == record["model_id"]
    assert not (tmp_path / "none" / "tensorboard").exists()


@pytest.fixture
def mlflow_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Any]]:
    """A function that gives all runs of a real MLflow database of this test."""
    pytest.importorskip("mlflow", reason=NOT_THERE)
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)

    def runs() -> list[Any]:
        client = MlflowClient()
        return client.search_runs([client.get_experiment_by_name("consenso").experiment_id])

    return runs


def test_a_run_goes_on_in_the_same_mlflow_run(tmp_path: Path, mlflow_runs: Callable[[], list[Any]]) -> None:
    from mlflow.tracking import MlflowClient

    (tmp_path / "recipe.toml").write_text("epochs = 4")
    said: list[str] = []
    killed = Trackers(about(tmp_path), {"mlflow": made("mlflow")}, said.append)
    for step in (0, 5, 10, 15):
        killed.row("train", {"step": step, "loss": 1 / (1 + step)})
    assert mlflow_runs()[0].info.status == "RUNNING"
    with Trackers(about(tmp_path), {"mlflow": made("mlflow")}, said.append) as resumed:
        for step in (0, 5, 10, 15, 20):  # from the first row on: the checkpoint was at step 7
            resumed.row("train", {"step": step, "loss": 1 / (1 + step)})
        resumed.end({"test/acc1": 0.9}, [tmp_path / "recipe.toml"])
    assert said == []
    [run] = mlflow_runs()
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [point.step for point in history] == [0, 5, 10, 15, 20]
    assert (run.info.status, run.info.run_name) == ("FINISHED", "apron-vit-100-s0")
    assert (run.data.params["epochs"], run.data.tags["method"]) == ("4.0", "vit")
    assert run.data.metrics["test/acc1"] == 0.9
    assert [file.path for file in MlflowClient().list_artifacts(run.info.run_id)] == ["recipe.toml"]


def test_a_stopped_mlflow_run_says_so_and_another_server_gets_a_new_one(
    tmp_path: Path, mlflow_runs: Callable[[], list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt), Trackers(about(tmp_path), {"mlflow": made("mlflow")}, print):
        raise KeyboardInterrupt
    assert mlflow_runs()[0].info.status == "KILLED"
    first = mlflow_runs()[0].info.run_id
    (tmp_path / "trackers.json").write_text(json.dumps({"mlflow": "0" * 32}))  # a run of some other server
    said: list[str] = []
    with Trackers(about(tmp_path), {"mlflow": made("mlflow")}, said.append) as trackers:
        trackers.end({}, [])
    assert said == []
    assert sorted(run.info.status for run in mlflow_runs()) == ["FINISHED", "KILLED"]
    assert first in {run.info.run_id for run in mlflow_runs()}


def test_an_mlflow_server_that_is_gone_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason=NOT_THERE)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens on the discard port
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    said: list[str] = []
    with Trackers(about(tmp_path), {"mlflow": made("mlflow")}, said.append) as trackers:
        trackers.row("train", {"step": 1, "loss": 1.0})
        trackers.end({}, [])
    assert said[0].startswith("warning: MLflow takes no more of this run (")
    assert said[1] == "warning: MLflow does not have the whole of this run"


def test_the_newest_offline_run_of_wandb_holds_the_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb", reason=NOT_THERE)
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_CACHE_DIR": str(tmp_path / "cache"),
        "WANDB_SILENT": "true",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "run.json").write_text("{}")
    said: list[str] = []
    with Trackers(about(tmp_path), {"wandb": made("wandb")}, said.append) as stopped:
        stopped.row("stage1", {"step": 5, "loss": 2.0})
    with Trackers(about(tmp_path), {"wandb": made("wandb")}, said.append) as resumed:
        for stage, step, loss in (("stage1", 5, 2.0), ("stage1", 10, 1.0), ("stage2", 0, 1.0), ("stage2", 5, 0.5)):
            resumed.row(stage, {"step": step, "loss": loss})
        resumed.end({"test/acc1": 0.9}, [tmp_path / "run.json"])
    wandb.teardown()  # its own process writes the file, and is done when it is gone
    assert said == []
    first, last = sorted((tmp_path / "wandb").glob("offline-run-*"), key=lambda folder: folder.stat().st_mtime_ns)
    assert first.name.rpartition("-")[2] == last.name.rpartition("-")[2]  # one run, its id is in both names
    assert points(last, "stage1/loss") == [(5, 2.0), (10, 1.0)]
    assert points(last, "stage2/loss") == [(0, 1.0), (5, 0.5)]
    assert (last / "files" / "run.json").exists()


def points(folder: Path, name: str) -> list[tuple[int, float]]:
    """Steps and values of a metric in an offline run of W&B."""
    from wandb.proto import wandb_internal_pb2

    [path] = folder.glob("run-*.wandb")
    found = []
    for data in log_records(path.read_bytes()[7:]):  # behind the header
        record = wandb_internal_pb2.Record.FromString(data)
        row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        if name in row:
            found.append((row[f"{name.partition('/')[0]}/step"], row[name]))
    return found


def log_records(data: bytes, block: int = 32768, first: int = 7) -> Iterator[bytes]:
    """Records of a file in LevelDB's log format: blocks of pieces, each with checksum, length and kind (whole, first, middle, last)."""
    at, held = 0, b""
    while at + 7 <= len(data):
        if (left := block - (at + first) % block) < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield held
            held = b""


def test_only_numbers_are_told() -> None:
    assert numbers({"a": 1, "b": "x", "c": None, "d": True, "e": float("inf"), "f": 0.5}) == {"a": 1.0, "f": 0.5}
