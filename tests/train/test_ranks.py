"""Several processes, started by torchrun as a person starts them, with gloo on the CPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from schemas.errors import UserError
from train.ranks import part_of
from train.run import Request, train

COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210)}

Make = Callable[..., Path]
Ask = Callable[..., Request]
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def together(asked: Request, out: Path, *more: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """The run with `torchrun --nproc-per-node 2`."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--standalone"]
    changes = [f"--set={change}" for change in (*asked.changes, *more)]
    line = [*launch, "-m", "train.cli", asked.method, "-m", str(asked.manifest), "--out", str(out), *changes]
    return subprocess.run(line, capture_output=True, text=True, env=ALONE)


def same(one: Path, other: Path, tolerance: float) -> None:
    """Two runs with the same weights, curves and predictions, but for the order of sums."""
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    for name in a:
        apart = (a[name].float() - b[name].float()).abs()
        if name.endswith("qkv.bias"):  # a key's bias changes nothing, so its gradient is rounding, which AdamW enlarges
            query, _, value = apart.chunk(3)
            apart = torch.cat([query, value])
        assert apart.max() < tolerance, name
    curves = [json.loads((folder / "curve.json").read_text()) for folder in (one, other)]
    for stage in curves[0]:
        for left, right in zip(curves[0][stage], curves[1][stage], strict=True):
            assert left == pytest.approx(right, abs=20 * tolerance), stage


def flat(path: Path) -> None:
    """Every picture in one shade of its own: then all crops of it are the same, and a step is the same however it is cut."""
    for number, file in enumerate(sorted(path.parent.glob("*.jpg"))):
        color = COLORS[("red", "green", "blue")[number % 3]]
        Image.new("RGB", (30, 36), tuple(min(255, c + number) for c in color)).save(file, quality=95)


@pytest.mark.slow
def test_two_processes_train_what_one_does_on_the_same_global_batch(
    make_manifest: Make, ask: Ask, tmp_path: Path
) -> None:
    path = make_manifest(train=9)  # 27 labeled: a step of 15 is cut into 8 and 7; val of 15 likewise
    flat(path)
    asked = ask(path, "vit", "epochs=4", "batch_size=15", "eval_every=2", "base_lr=0.006")
    done = together(asked, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    from dataclasses import replace

    one = train(replace(asked, out=tmp_path / "one"))
    same(tmp_path / "one", tmp_path / "two", 2e-5)
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert (record["test_reads"], record["test"]["n"]) == (1, one["test"]["n"])
    assert record["device"].startswith("2 processes, each cpu")
    assert done.stdout.count("Acc@1") == 1  # one process speaks
    assert done.stderr.count("manifest ") == 1
    assert record["usage"]["devices"] == 1  # of machines; there is no GPU
    if find_spec("tensorboard"):
        assert len(list((tmp_path / "two" / "tensorboard").iterdir())) == 1  # and one process writes


@pytest.mark.slow
def test_two_processes_are_one_that_accumulates_two_parts_with_everything_random(
    make_manifest: Make, ask: Ask, tmp_path: Path
) -> None:
    from dataclasses import replace

    path = make_manifest(train=9)
    asked = ask(path, "semivit", "epochs=2", "semi_steps=6", "batch_size=15", "semi_batch=7", "mu=1.5", "drop_path=0.1",
                "rand_ops=2", "erase=0.3", "mixup=0.8", "threshold=0.3", "eval_every=3", out=tmp_path / "one")  # fmt: skip
    done = together(asked, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    train(replace(asked, changes=(*asked.changes, "accumulate=2")))
    same(tmp_path / "one", tmp_path / "two", 2e-5)


@pytest.mark.slow
def test_batch_norm_under_two_processes_ends_with_one_model_in_both(
    make_manifest: Make, ask: Ask, tmp_path: Path
) -> None:
    path = make_manifest()
    asked = ask(path, "semivit", "model=test_resnet", "model_args=", "epochs=3", "semi_steps=4", "eval_every=2")
    done = together(asked, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    state = load_file(tmp_path / "two" / "model.safetensors")
    assert all(torch.isfinite(value).all() for value in state.values())
    assert json.loads((tmp_path / "two" / "run.json").read_text())["test"]["n"] == 18


@pytest.mark.slow
def test_two_processes_that_were_killed_go_on_together(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    import time

    asked = ask(make_manifest(), "vit", "epochs=30", "eval_every=5")
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
        "-m",
        "train.cli",
    ]
    line = [*launch, "vit", "-m", str(asked.manifest), "--out", str(tmp_path / "run"), "--checkpoint-minutes", "0.003"]
    line += [f"--set={change}" for change in asked.changes]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=ALONE)
    deadline = time.monotonic() + 200
    while not (tmp_path / "run" / "checkpoint.pt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)  # torchrun passes it on
    process.wait()
    assert not (tmp_path / "run" / "run.json").exists()
    done = together(asked, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("goes on at step") == 1
    whole = together(asked, tmp_path / "whole")
    assert whole.returncode == 0
    same(tmp_path / "whole", tmp_path / "run", 2e-5)


def test_parts_of_a_step_are_nearly_equal_and_together_the_step() -> None:
    rows = np.arange(7)
    assert [part_of(rows, part, 3).tolist() for part in range(3)] == [[0, 1, 2], [3, 4], [5, 6]]
    assert part_of(rows, 0, 1) is rows


def test_a_step_cut_into_more_parts_than_pictures_is_refused(make_manifest: Make, ask: Ask) -> None:
    with pytest.raises(
        UserError, match=r"a step of 16 pictures cannot be taken in 40 parts \(1 processes x accumulate=40\)"
    ):
        train(ask(make_manifest(), "vit", "accumulate=40"))


def test_accumulation_sees_what_one_round_sees_and_learns_the_same(
    make_manifest: Make, ask: Ask, tmp_path: Path
) -> None:
    """Parts of unequal size, and more of them than fit into an epoch of whole batches: nothing is left over at the end."""
    asked = ask(make_manifest(train=9), "vit", "epochs=3", "batch_size=16", "eval_every=2", "base_lr=0.006")
    flat(asked.manifest)
    from dataclasses import replace

    train(replace(asked, out=tmp_path / "one"))
    train(replace(asked, out=tmp_path / "parts", changes=(*asked.changes, "accumulate=5")))
    same(tmp_path / "one", tmp_path / "parts", 2e-5)


def test_a_second_ctrl_c_stops_at_once_but_a_signal_that_comes_twice_under_torchrun_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from train.ranks import stop_requests

    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)  # a scheduler says it twice
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with stop_requests() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)  # the terminal's, and torchrun's
        assert stop.asked


def test_a_study_and_a_search_are_not_for_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    from train.ranks import alone

    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="`train study` is not for torchrun; start it once for each GPU"):
        alone("study")
