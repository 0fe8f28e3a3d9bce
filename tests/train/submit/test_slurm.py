"""The sbatch file is run by a real bash; `srun` and `scontrol` stand in for Slurm, start real processes and pass signals on."""

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

from train.submit.asked import check, parse
from train.submit.settings import Slurm
from train.submit.slurm import script

Make = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
Tiny = dict[str, list[str]]

SRUN = """#!{python}
import os, signal, subprocess, sys
line = sys.argv[1:]
while line[0].startswith("--"):
    line.pop(0)
steps = [subprocess.Popen(line) for _ in range(int(os.environ["SLURM_NNODES"]))]
def on(kind, _):  # as Slurm does: every process of a step is told, torchrun as well as those that it started
    for step in steps:
        children = open(f"/proc/{{step.pid}}/task/{{step.pid}}/children").read().split()
        for pid in [*children, step.pid]:
            os.kill(int(pid), kind)
signal.signal(signal.SIGTERM, on)
sys.exit(max(abs(step.wait()) for step in steps))
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then for _ in $(seq "$SLURM_NNODES"); do echo localhost; done; else echo "$@" >> "$SLURM_SAID"; fi
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """A function that gives the environment of a job of so many nodes, with the stand-ins on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"srun": SRUN.format(python=sys.executable), "scontrol": SCONTROL}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    def environment(nodes: int = 1, **more: str) -> dict[str, str]:
        return {
            **os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{folder}:{os.environ['PATH']}", "SLURM_NNODES": str(nodes),
            "SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "localhost", "SLURM_SAID": str(tmp_path / "said"), **more,
        }  # fmt: skip

    return environment


def text_for(manifest: Path, *more: str, to: Slurm | None = None, command: str = "vit") -> str:
    words = [command, "-m", str(manifest), "--recipe", "cpu", *more]
    return script(check(parse(words)), to or Slurm(), Path.cwd(), words)


def correct(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def options(text: str) -> dict[str, str]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    return dict(line.partition("=")[::2] for line in lines)


def test_the_head_says_what_the_job_wants_and_that_it_comes_back(make_manifest: Make) -> None:
    to = Slurm(
        nodes=2, gpus_per_node=8, cpus_per_node=32, memory="256G", time="2-12", partition="gpu", account="vision"
    )
    text = text_for(make_manifest(), to=to)
    correct(text)
    assert options(text) == {
        "job-name": "apron-vit-100-s0", "nodes": "2", "ntasks-per-node": "1", "gpus-per-node": "8", "cpus-per-task": "32",
        "mem": "256G", "time": "2-12", "partition": "gpu", "account": "vision", "output": "apron-vit-100-s0-%j.log",
        "open-mode": "append", "signal": "B:TERM@300", "requeue": "",
    }  # fmt: skip
    assert "--nnodes 2 --nproc-per-node 8 --rdzv-backend c10d" in text
    assert "srun --kill-on-bad-exit=1 --cpus-per-task=32" in text


def test_seeds_are_an_array_and_each_task_trains_its_own(make_manifest: Make) -> None:
    text = text_for(make_manifest(), "--seeds", "3", "--seed", "4", "--out", "it's here/run")
    correct(text)
    assert options(text)["array"] == "4-6"
    assert options(text)["job-name"] == "apron-vit-100"
    assert text.count("--seeds") == 1  # in the comment that repeats what was asked
    assert """--seed "$SLURM_ARRAY_TASK_ID" --out 'it'"'"'s here/run'-s"$SLURM_ARRAY_TASK_ID" &""" in text


def test_what_is_written_can_be_anything_and_stays_a_word(make_manifest: Make) -> None:
    path = make_manifest(folder="a shop; rm -rf $HOME\n`date`")
    text = text_for(path, to=Slurm(setup=["module load cuda"], python="/opt/my venv/bin/python"))
    correct(text)
    assert "python='/opt/my venv/bin/python'\nmodule load cuda\n" in text
    assert not any(line.startswith("`date`") for line in text.split("\nsrun ")[0].splitlines())


def test_the_file_is_written_once_refreshed_and_never_over_what_a_person_changed(
    make_manifest: Make, train_command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["vit", "-m", make_manifest(), "--recipe", "cpu"]
    assert train_command("submit", "--to", "slurm", "--dry-run", *words)[1].startswith("#!/bin/bash\n#SBATCH ")
    assert not list(tmp_path.glob("*.sbatch"))
    first = train_command("submit", "--to", "slurm", *words)
    assert first[:2] == (0, "apron-vit-100-s0.sbatch: submit it with `sbatch apron-vit-100-s0.sbatch`\n")
    assert " is there already" in train_command("submit", "--to", "slurm", *words)[1]
    assert train_command("submit", "--to", "slurm", "--time", "1:00:00", *words)[0] == 0
    file = Path("apron-vit-100-s0.sbatch")
    assert "--time=1:00:00\n" in file.read_text()
    file.write_text(file.read_text().replace("#SBATCH --requeue", "#SBATCH --requeue --exclusive"))
    code, _, error = train_command("submit", "--to", "slurm", *words)
    assert code == 1
    assert "apron-vit-100-s0.sbatch: was changed since it was written" in error
    assert "--exclusive" in file.read_text()


@pytest.mark.parametrize(
    ("settings", "words", "said"),
    [
        (["--time", "tomorrow"], ["vit"], "--time tomorrow: write it as hours:minutes:seconds"),
        (["--partition", "gpu now"], ["vit"], "partition 'gpu now': is no word that sbatch takes"),
        (["--nodes", "0"], ["vit"], "nodes must be 1 or more, got 0"),
        (["--role", "x"], ["vit"], "--role: has no meaning for --to slurm"),
        (["--gpus-per-node", "8"], ["search", "--method", "vit"], "search makes many runs, each on one GPU"),
    ],
)
def test_what_slurm_would_not_take_is_one_line(
    settings: list[str], words: list[str], said: str, make_manifest: Make, train_command: Run, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    code, _, error = train_command(
        "submit", "--to", "slurm", *settings, *words, "-m", make_manifest(), "--recipe", "cpu"
    )
    assert code == 1
    assert error.startswith("error: ")
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("*.sbatch"))


def tiny_job(path: Path, tiny: Tiny, epochs: int, nodes: int, *more: str) -> str:
    changes = [f"--set={change}" for change in (*tiny["vit"], f"epochs={epochs}", "eval_every=10")]
    return text_for(path, *changes, "--checkpoint-minutes", "0.003", *more, to=Slurm(nodes=nodes, gpus_per_node=0))


@pytest.mark.slow
def test_two_nodes_meet_and_train_one_model(
    make_manifest: Make, tiny: Tiny, cluster: Callable[..., dict[str, str]]
) -> None:
    path = make_manifest()
    text = tiny_job(path, tiny, 2, 2, "--seeds", "2")
    done = subprocess.run(["bash"], input=text, env=cluster(2, SLURM_ARRAY_TASK_ID="1"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((path.parent / "runs" / "apron-vit-100-s1" / "run.json").read_text())
    assert record["device"].startswith("2 processes, each cpu")
    assert record["seed"] == 1


@pytest.mark.slow
def test_a_job_that_is_told_of_its_end_writes_a_checkpoint_queues_again_and_goes_on(
    make_manifest: Make, tiny: Tiny, cluster: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    path = make_manifest()
    folder = path.parent / "runs" / "apron-vit-100-s0"
    (tmp_path / "job").write_text(tiny_job(path, tiny, 40, 1))
    job = subprocess.Popen(["bash", tmp_path / "job"], env=cluster(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not (folder / "checkpoint.pt").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    _, error = job.communicate()
    assert job.returncode != 0
    assert error.count("stopped at step") == 1  # told twice, by Slurm and by torchrun, it stops once, with a checkpoint
    assert not (folder / "run.json").exists()
    assert (tmp_path / "said").read_text() == f"requeue {os.getpid()}\n"
    done = subprocess.run(["bash", tmp_path / "job"], env=cluster(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "goes on at step" in done.stderr
    assert (folder / "run.json").exists()
    assert (tmp_path / "said").read_text().count("requeue") == 1


@pytest.mark.slow
def test_a_job_that_fails_by_itself_does_not_queue_again(
    make_manifest: Make, tiny: Tiny, cluster: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    path = make_manifest()
    text = tiny_job(path, tiny, 2, 1)
    path.unlink()
    done = subprocess.run(["bash"], input=text, env=cluster(), capture_output=True, text=True)
    assert done.returncode != 0
    assert "no such file" in done.stderr
    assert not (tmp_path / "said").exists()
