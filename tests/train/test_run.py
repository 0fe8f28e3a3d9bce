from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from schemas.errors import Interrupted, UserError
from schemas.manifest import read_manifest
from schemas.tables import PREDICTIONS
from train import fit as fit_module
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]
Tiny = dict[str, list[str]]


@pytest.mark.parametrize(
    ("method", "changes"),
    [("resnet18", ["epochs=12"]), ("vit", ["epochs=12"]), ("semivit", ["epochs=8", "semi_steps=20"])],
)
def test_every_method_learns_three_colors_in_seconds(
    make_manifest: Make, ask: Ask, method: str, changes: list[str]
) -> None:
    record = train(ask(make_manifest(), method, *changes))
    assert record["test"]["acc1"] > 0.8  # chance is a third
    assert record["test_reads"] == 1


def test_a_run_folder_says_everything(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest()
    train(ask(path, "semivit", "epochs=2", "semi_steps=4", label_fraction=0.5))
    folder = path.parent / "runs" / "apron-semivit-50-s0"
    names = {entry.name for entry in folder.iterdir()} - {".lock"}
    assert names == {
        "run.json",
        "metrics.json",
        "predictions.parquet",
        "model.safetensors",
        "config.json",
        "calibration.json",
        "examples",
        "curve.json",
        "recipe.toml",
        *(["tensorboard"] if find_spec("tensorboard") else []),
    }
    record = json.loads((folder / "run.json").read_text())
    manifest = read_manifest(path)
    assert record["manifest_id"] == manifest.manifest_id
    assert record["recipe"]["semi_steps"] == 4
    assert record["model"]["license"].startswith("none")
    assert record["counts"]["labeled"] + record["counts"]["unlabeled"] == 36 + 24
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["test"]["n"], metrics["val"]["n"]) == (18, 15)
    assert metrics["test"]["acc5"] is None  # three classes
    predictions = PREDICTIONS.read(folder / "predictions.parquet")
    assert predictions["split"].value_counts().to_dict()["test"] == 18
    assert set(predictions["split"]) == {"val", "test", "unlabeled", "train"}  # train: labels that the fraction hid
    assert predictions["probs"].map(sum).between(0.999, 1.001).all()
    meta = PREDICTIONS.metadata(folder / "predictions.parquet")
    assert json.loads(meta["consenso.classes"]) == manifest.classes
    assert json.loads(meta["consenso.run"])["method"] == "semivit"
    test = predictions[predictions["split"] == "test"]
    assert (test["label"] == test["predicted"]).sum() == metrics["test"]["right"]


def test_the_saved_weights_give_the_saved_predictions(make_manifest: Make, ask: Ask, tiny: Tiny) -> None:
    from safetensors.torch import load_file

    from train.augment import Views
    from train.feed.load import load_pictures
    from train.fit import predict_probs
    from train.models import build_model
    from train.recipe import recipe_for

    path = make_manifest()
    train(ask(path, "vit", "epochs=2"))
    folder = path.parent / "runs" / "apron-vit-100-s0"
    recipe = recipe_for("vit", "default", tiny["vit"])
    model, facts = build_model(recipe, 3, seed=9)
    model.load_state_dict(load_file(folder / "model.safetensors"))
    rows = PREDICTIONS.read(folder / "predictions.parquet")
    rows["path"] = rows["image_id"] + ".jpg"
    pictures, _ = load_pictures(rows, path.parent, round(24 / 0.875))
    views = Views(recipe, facts.mean, facts.std)
    probs = predict_probs(model, pictures, pictures.positions(rows["image_id"]), views, torch.device("cpu"))
    assert torch.allclose(torch.from_numpy(probs), torch.from_numpy(np.stack(rows["probs"])), atol=1e-5)


def test_the_same_seed_gives_the_same_run_and_a_finished_run_is_not_repeated(
    make_manifest: Make, ask: Ask, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_manifest()
    first = train(ask(path, "vit", "epochs=2"))
    assert train(ask(path, "vit", "epochs=2"))["finished_at"] == first["finished_at"]
    assert "is finished; --fresh trains it again" in capsys.readouterr().err
    again = train(ask(path, "vit", "epochs=2", fresh=True))
    assert again["finished_at"] != first["finished_at"]
    assert again["model_id"] == first["model_id"]
    other = train(ask(path, "vit", "epochs=2", seed=1))
    assert other["model_id"] != first["model_id"]


def test_a_folder_with_another_run_is_not_overwritten(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    path = make_manifest()
    train(ask(path, "vit", "epochs=1"))
    with pytest.raises(UserError, match="holds another run"):
        train(ask(path, "vit", "epochs=2"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("keep me")
    with pytest.raises(UserError, match="holds other files and no run"):
        train(ask(path, "vit", "epochs=1", out=tmp_path / "mine", fresh=True))
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_semivit_starts_from_a_vit_run(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest()
    vit = train(ask(path, "vit", "epochs=8"))
    stage1 = path.parent / "runs" / "apron-vit-100-s0"
    semi = train(ask(path, "semivit", "epochs=8", "semi_steps=10", stage1=stage1))
    assert set(semi["seconds"]) == {"stage2"}
    curve = json.loads((path.parent / "runs/apron-semivit-100-s0/curve.json").read_text())["stage2"]
    assert curve[0]["step"] == 0
    assert curve[0]["student_acc1"] == curve[0]["teacher_acc1"] == vit["best"]["train"]["val_acc1"]


def test_a_stage_1_that_knows_other_labels_is_refused(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest()
    train(ask(path, "vit", "epochs=1"))
    stage1 = path.parent / "runs" / "apron-vit-100-s0"
    with pytest.raises(UserError, match=r"its label fraction is 1.0, this run's is 0.5"):
        train(ask(path, "semivit", "semi_steps=2", label_fraction=0.5, stage1=stage1))
    with pytest.raises(UserError, match="its picture size is 24, this run's is 32"):
        train(ask(path, "semivit", "semi_steps=2", "image_size=32", stage1=stage1))
    with pytest.raises(UserError, match=r"no run.json"):
        train(ask(path, "semivit", "semi_steps=2", stage1=path.parent))


@pytest.mark.parametrize("method", ["vit", "semivit"])
def test_an_interrupted_run_goes_on_to_the_very_same_weights(
    make_manifest: Make, ask: Ask, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    path = make_manifest()
    asked = ask(path, method, "epochs=6", "semi_steps=14", "drop_path=0.1") if method == "semivit" else ask(
        path, method, "epochs=6", "drop_path=0.1")  # fmt: skip
    whole = train(asked)
    curve = (path.parent / "runs" / f"apron-{method}-100-s0" / "curve.json").read_text()

    real, calls = fit_module.update, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == (26 if method == "semivit" else 9):
            signal.raise_signal(signal.SIGINT)  # in the middle of a step: it is finished first
        return real(*args, **kwargs)

    from dataclasses import replace

    elsewhere = replace(asked, out=path.parent / "runs" / "again")
    monkeypatch.setattr(fit_module, "update", interrupted)
    with pytest.raises(Interrupted, match="the same command goes on from there"):
        train(elsewhere)
    assert (path.parent / "runs" / "again" / "checkpoint.pt").exists()
    noted = json.loads((path.parent / "runs" / "again" / "usage.json").read_text())
    resumed = train(elsewhere)
    assert resumed["model_id"] == whole["model_id"]
    assert (noted["starts"], resumed["usage"]["starts"], whole["usage"]["starts"]) == (1, 2, 1)
    assert resumed["usage"]["cpu_seconds"] > noted["cpu_seconds"] > 0
    assert resumed["wall_seconds"] > noted["wall_seconds"] > 0
    assert (path.parent / "runs" / "again" / "curve.json").read_text() == curve


def command(asked: Request, out: Path, *more: str) -> list[str]:
    """The command line of a tiny run, for a process of its own."""
    changes = [f"--set={change}" for change in asked.changes]
    head = [sys.executable, "-m", "train.cli", asked.method, "-m", str(asked.manifest), "--out", str(out)]
    return [*head, "--checkpoint-minutes", "0.003", *changes, *more]


ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("method", ["vit", "semivit"])
def test_a_run_killed_by_force_goes_on_bit_for_bit(make_manifest: Make, ask: Ask, tmp_path: Path, method: str) -> None:
    """kill -9 while it trains: the same command ends at the loss curve and the weights of an undisturbed run."""
    more = ["epochs=4", "semi_steps=30"] if method == "semivit" else ["epochs=30"]
    asked = ask(make_manifest(), method, "eval_every=5", "drop_path=0.1", *more)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(command(asked, whole), check=True, capture_output=True, env=ALONE)
    process = subprocess.Popen(command(asked, killed), stderr=subprocess.DEVNULL, env=ALONE)
    deadline = time.monotonic() + 120
    last = killed / ("stage1.json" if method == "semivit" else "checkpoint.pt")
    while not last.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "run.json").exists()
    done = subprocess.run(command(asked, killed, "--resume"), capture_output=True, text=True, env=ALONE)
    assert done.returncode == 0, done.stderr
    assert "goes on at step" in done.stderr or method == "semivit"
    assert (killed / "curve.json").read_text() == (whole / "curve.json").read_text()
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_a_full_disk_is_said_and_training_goes_on(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: writes fail in the middle, by the system."""
    asked = ask(make_manifest(), "vit", "epochs=8")
    limited = ["bash", "-c", 'ulimit -f 400; exec "$@"', "-", *command(asked, tmp_path / "run")]  # 400 KiB
    done = subprocess.run(limited, capture_output=True, text=True, env=ALONE)
    run = tmp_path / "run"
    assert "warning: the checkpoint cannot be written (File too large); is the disk of" in done.stderr
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"error: {run}: cannot be written (File too large")
    assert "Traceback" not in done.stderr
    assert not list(run.glob("*.part"))
    assert not (run / "run.json").exists()
    again = subprocess.run(command(asked, run), capture_output=True, text=True, env=ALONE)
    assert again.returncode == 0, again.stderr
    assert (run / "run.json").exists()


def test_resume_goes_on_or_says_that_there_is_nothing(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    asked = ask(make_manifest(), "vit", "epochs=1", resume=True)
    with pytest.raises(UserError, match="the folder holds no run; leave --resume out"):
        train(asked)
    from dataclasses import replace

    train(replace(asked, resume=False))
    assert train(asked)["test_reads"] == 1
    with pytest.raises(UserError, match="--fresh would forget it"):
        train(replace(asked, fresh=True))


def test_sigterm_writes_a_checkpoint_and_exits_as_interrupted(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    asked = ask(make_manifest(), "vit", "epochs=4000")
    process = subprocess.Popen(command(asked, tmp_path / "run"), stderr=subprocess.PIPE, text=True, env=ALONE)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoint.pt").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    before = (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns
    process.terminate()
    assert process.stderr is not None
    rest = process.stderr.read()
    assert process.wait(60) == 130
    assert "the same command goes on from there" in rest
    assert (tmp_path / "run" / "checkpoint.pt").stat().st_mtime_ns > before


def test_two_trainings_of_one_folder_are_kept_apart(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    import fcntl

    path = make_manifest()
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("a") as lock:
        (tmp_path / "run" / "started.json").write_text('{"fingerprint": "x"}')
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another process is training"):
            train(ask(path, "vit", out=tmp_path / "run"))


def test_semivit_without_unlabeled_pictures_says_what_to_do(make_manifest: Make, ask: Ask) -> None:
    with pytest.raises(UserError, match=r"--label-fraction 0\.5"):
        train(ask(make_manifest(unlabeled=0), "semivit"))


def test_a_long_run_without_a_gpu_names_the_cpu_recipe(make_manifest: Make, ask: Ask) -> None:
    with pytest.raises(UserError, match="--recipe cpu"):
        train(ask(make_manifest(), "vit", "epochs=100000000"))


def test_a_learning_rate_that_explodes_is_named(make_manifest: Make, ask: Ask) -> None:
    with pytest.raises(UserError, match="is no longer a number"):
        train(ask(make_manifest(), "vit", "base_lr=1e30", "epochs=30", "warmup_epochs=0"))


def test_unreadable_pictures_are_in_the_record(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest()
    rows = read_manifest(path).rows
    victim = rows[rows.split == "test"].iloc[0]
    (path.parent / victim.path).write_bytes(b"broken")
    record = train(ask(path, "vit", "epochs=1"))
    assert list(record["unreadable"]) == [victim.image_id]
    assert record["test"]["n"] == 17


def test_pictures_may_lie_elsewhere(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    path = make_manifest()
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for file in path.parent.glob("*.jpg"):
        file.rename(moved / file.name)
    assert train(ask(path, "vit", "epochs=1", pictures=moved))["test"]["n"] == 18


def test_fewer_pictures_than_a_batch_train_all_the_same(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest(train=2, unlabeled=1)
    assert train(ask(path, "semivit", "epochs=2", "semi_steps=2"))["counts"]["labeled"] == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("model=test_resnet", "batch_size=1"), "has BatchNorm, which needs two pictures or more"),
        (("model=test_resnet", "semi_batch=4", "accumulate=4"), "has BatchNorm, which needs two pictures or more"),
        (("mu=0.01",), "mu=0.01 times 8 labeled pictures is no unlabeled picture a step"),
    ],
)
def test_too_few_pictures_for_a_step_are_a_line(
    make_manifest: Make, ask: Ask, changes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        train(ask(make_manifest(), "semivit", "epochs=1", "semi_steps=2", "model_args=", "image_size=16", *changes))


def test_curves_hold_the_share_of_pairs_that_counted(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest()
    train(ask(path, "semivit", "epochs=2", "semi_steps=12", "threshold=0.99"))
    curve = pd.DataFrame(json.loads((path.parent / "runs/apron-semivit-100-s0/curve.json").read_text())["stage2"])
    assert curve["sure"].dropna().between(0, 1).all()
    assert curve["guess_entropy"].dropna().between(0, 1).all()


def test_bf16_trains_as_fp32_does(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    asked = ask(make_manifest(), "vit", "epochs=8")
    from dataclasses import replace

    full = train(replace(asked, out=tmp_path / "full"))
    half = train(replace(asked, out=tmp_path / "half", changes=(*asked.changes, "precision=bf16")))
    assert half["model_id"] != full["model_id"]
    assert half["test"]["ce"] == pytest.approx(full["test"]["ce"], abs=0.15)


def test_a_compiled_model_is_kept_and_judged_as_a_plain_one(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    """With the compiler held back, which takes a minute of CPU: that it changes no result is torch's affair."""
    from dataclasses import replace

    asked = ask(make_manifest(), "semivit", "epochs=2", "semi_steps=4", "eval_every=2")
    plain = train(replace(asked, out=tmp_path / "plain"))
    compiled: list[Any] = []
    with pytest.MonkeyPatch.context() as patched, torch.compiler.set_stance("force_eager"):
        real = torch.nn.Module.compile
        patched.setattr(torch.nn.Module, "compile", lambda module: (compiled.append(module), real(module)))
        record = train(replace(asked, out=tmp_path / "compiled", changes=(*asked.changes, "compile=true")))
    assert len(compiled) == 3  # the student in each stage, the teacher
    assert record["model_id"] == plain["model_id"]
