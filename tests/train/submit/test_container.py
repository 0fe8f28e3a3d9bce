"""What runs inside a SageMaker job, really run: the folders of SageMaker below a folder of the test."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from train.submit.asked import check, parse
from train.submit.container import Machines, launch, read_words
from train.submit.job import curve_lines
from train.submit.sagemaker import INPUT, METRICS, OBJECTIVE, plan
from train.submit.settings import SageMaker

Make = Callable[..., Path]
Tiny = dict[str, list[str]]
TO = SageMaker(role="arn:aws:iam::123456789012:role/x", bucket="shop", image="image:1", instance_type="ml.g5.2xlarge")
START = (
    "import sys; from pathlib import Path; from train.submit.container import main; sys.exit(main(Path(sys.argv[1])))"
)


def fill(root: Path, words: list[str], **trial: str) -> dict[str, Any]:
    """Lay out `root` as SageMaker would for what `train submit` asks: channels fetched from S3, hyper-parameters written."""
    planned = plan(check(parse(words)), TO)
    job = planned.calls[0].request
    job = job.get("TrainingJobDefinition", job)
    for channel in job["InputDataConfig"]:
        place = channel["DataSource"]["S3DataSource"]["S3Uri"]
        for file in planned.files:
            if file.to.startswith(place):
                to = root / "input/data" / channel["ChannelName"] / file.to.removeprefix(place)
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(file.path.read_bytes() if file.path else file.text.encode())
    numbers = job.get("HyperParameters") or {
        **job["StaticHyperParameters"],
        **trial,
        "_tuning_objective_metric": OBJECTIVE,
    }
    (root / "input/config").mkdir(parents=True, exist_ok=True)
    (root / "input/config/hyperparameters.json").write_text(json.dumps(numbers))
    return job


def start(root: Path, **environment: str) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SM_NUM_GPUS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", START, str(root)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def train_in(root: Path, **environment: str) -> tuple[int, str, str]:
    process = start(root, **environment)
    out, error = process.communicate()
    return process.returncode, out, error


def words(path: Path, tiny: Tiny, method: str, *changes: str) -> list[str]:
    return [method, "-m", str(path), *(f"--set={change}" for change in (*tiny[method], "eval_every=2", *changes))]


def measured(name: str, said: str) -> list[float]:
    """What SageMaker would read of the lines, by the metric definition of a name."""
    return [float(match[1]) for line in said.splitlines() if (match := re.search(METRICS[name], line))]


def test_a_job_trains_and_its_model_is_the_run_folder(make_manifest: Make, tiny: Tiny, tmp_path: Path) -> None:
    path = make_manifest()
    job = fill(tmp_path / "ml", [*words(path, tiny, "semivit", "epochs=2", "semi_steps=4"), "--label-fraction", "0.5"])
    shutil.rmtree(path.parent)  # nothing of this machine is needed there
    code, out, error = train_in(tmp_path / "ml")
    assert code == 0, error
    model = tmp_path / "ml/model"
    record = json.loads((model / "run.json").read_text())
    assert record["label_fraction"] == 0.5
    assert (model / "model.safetensors").exists()
    assert not {".lock", "checkpoint.pt"} & {file.name for file in model.iterdir()}
    names = [metric["Name"] for metric in job["AlgorithmSpecification"]["MetricDefinitions"]]
    assert all(measured(name, out) for name in names)
    best = record["best"]["stage2"]["val_acc1"]
    assert measured(OBJECTIVE, out)[-1] == pytest.approx(best, abs=1e-6)
    curve = json.loads((model / "curve.json").read_text())
    looks = [row["val_acc1"] for stage in curve.values() for row in stage if row["step"]]
    assert measured("val:acc1", out) == pytest.approx(looks, abs=1e-6)
    assert measured("test:acc1", out) == pytest.approx([record["test"]["acc1"]], abs=1e-6)


def test_a_trial_has_its_own_numbers_and_folder_and_never_reads_test(
    make_manifest: Make, tiny: Tiny, tmp_path: Path
) -> None:
    changes = [f"--set={change}" for change in (*tiny["vit"], "epochs=1", "eval_every=2")]
    asked = ["search", "--method", "vit", "-m", str(make_manifest()), *changes]
    axes = ["--space", "base_lr=1e-3..1e-1:log", "--space", "smoothing=0..0.3"]
    fill(tmp_path / "ml", [*asked, *axes], base_lr="0.023", smoothing="0.125")
    code, out, error = train_in(tmp_path / "ml", SM_NUM_GPUS="8")  # a trial is one process however many GPUs there are
    assert code == 0, error
    record = json.loads((tmp_path / "ml/model/run.json").read_text())
    assert (record["recipe"]["base_lr"], record["recipe"]["smoothing"]) == (0.023, 0.125)
    assert (record["test_reads"], record["counts"]["test"]) == (0, 0)
    assert measured(OBJECTIVE, out)
    assert not measured("test:acc1", out)
    assert [folder.name[:6] for folder in (tmp_path / "ml/checkpoints").iterdir()] == ["trial-"]


def test_an_interrupted_job_goes_on_where_its_checkpoints_are_brought_back(
    make_manifest: Make, tiny: Tiny, tmp_path: Path
) -> None:
    root = tmp_path / "ml"
    fill(root, [*words(make_manifest(), tiny, "vit", "epochs=40", "eval_every=10"), "--checkpoint-minutes", "0.003"])
    process = start(root)
    deadline = time.monotonic() + 300
    while not (root / "checkpoints/run/checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode == 130
    assert "stopped at step" in error
    assert "stopped at step" in (root / "output/failure").read_text()
    assert not (root / "model").exists()
    fresh = tmp_path / "next/ml"  # another machine: inputs fetched anew, checkpoints from S3
    shutil.copytree(root, fresh, ignore=shutil.ignore_patterns("output"))
    config = fresh / "input/config/hyperparameters.json"
    config.write_text(config.read_text().replace(str(root), str(fresh)))
    code, _, error = train_in(fresh)
    assert code == 0, error
    assert "goes on at step" in error
    assert (fresh / "model/run.json").exists()


@pytest.mark.slow
def test_two_machines_train_one_model_without_a_disk_that_they_share(
    make_manifest: Make, tiny: Tiny, tmp_path: Path
) -> None:
    asked = words(make_manifest(), tiny, "vit", "epochs=2")
    hosts = ["127.0.0.1", "localhost"]
    running = []
    for host in hosts:
        fill(tmp_path / host, asked)
        said = {"current_host": host, "hosts": hosts, "network_interface_name": "lo"}
        (tmp_path / host / "input/config/resourceconfig.json").write_text(json.dumps(said))
        running.append(start(tmp_path / host))
    said_by = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], said_by
    record = json.loads((tmp_path / "127.0.0.1/model/run.json").read_text())
    assert record["device"].startswith("2 processes, each cpu")
    assert not (tmp_path / "localhost/model").exists()  # the first machine alone brings the model
    assert [len(measured("test:acc1", out)) for out, _ in said_by] == [1, 0]


def test_why_a_job_failed_is_where_sagemaker_looks_for_it(make_manifest: Make, tiny: Tiny, tmp_path: Path) -> None:
    fill(tmp_path / "ml", words(make_manifest(), tiny, "vit", "epochs=1"))
    shutil.rmtree(tmp_path / "ml/input/data/pictures")
    code, _, error = train_in(tmp_path / "ml")
    assert code == 1
    assert "Traceback" not in error
    assert "--pictures" in (tmp_path / "ml/output/failure").read_text()


def test_a_container_without_our_hyper_parameters_says_so(tmp_path: Path) -> None:
    code, _, error = train_in(tmp_path / "ml")
    assert code == 1
    assert "was not written by `train submit`" in error
    assert "was not written by `train submit`" in (tmp_path / "ml/output/failure").read_text()


def test_several_processes_are_started_by_torchrun_and_one_is_not() -> None:
    assert launch(["vit"], Machines(), 1)[1:] == ["-m", "train.submit.job", "vit"]
    eight = " ".join(launch(["vit"], Machines(), 8))
    assert "torch.distributed.run --nnodes 1 --node-rank 0 --nproc-per-node 8 --standalone" in eight
    second = " ".join(launch(["vit"], Machines(("algo-1", "algo-2"), "algo-2"), 8))
    assert "--nnodes 2 --node-rank 1 --nproc-per-node 8 --master-addr algo-1 --master-port" in second


def test_trials_with_other_numbers_have_other_folders(make_manifest: Make, tmp_path: Path) -> None:
    asked = ["search", "--method", "vit", "-m", str(make_manifest()), "--recipe", "cpu", "--space", "smoothing=0..0.3"]
    folders = set()
    for smoothing in ("0.1", "0.2", "0.1"):
        fill(tmp_path, asked, smoothing=smoothing)
        folders.add(read_words(tmp_path)[-1])
    assert len(folders) == 2
    assert all(INPUT not in word for word in read_words(tmp_path))


def test_the_objective_is_the_best_of_the_last_stage_so_far() -> None:
    said: list[str] = []
    watch = curve_lines("stage2", said.append)
    watch("stage1", {"step": 2, "loss": 1.5, "val_acc1": 0.9})
    for step, found in enumerate((0.5, 0.75, 0.25)):
        watch("stage2", {"step": step, "val_acc1": found})
    text = "\n".join(said)
    assert measured("val:acc1", text) == [0.9, 0.5, 0.75, 0.25]
    assert measured(OBJECTIVE, text) == [0.5, 0.75, 0.75]
    assert measured("train:loss", text) == [1.5]
