"""One training run, from a manifest to a run folder.

RUNDIR/
  run.json             what was run: recipe, manifest, versions, seeds, device, weights and their license, times
  metrics.json         test and val: Acc@1, Acc@5, CE, macro, ECE, per class, confusion, chance
  predictions.parquet  a probability per class for val, test and the unlabeled pool
  config.json model.safetensors calibration.json examples/     the bundle: the weights val chose, and all to use them
  curve.json           loss and val accuracy along the way
  stage1.safetensors   semivit: where stage 2 started       checkpoint.pt   only while a run is unfinished
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from schemas import __version__
from schemas.errors import UserError
from schemas.files import write_text
from schemas.manifest import Manifest, picture_root, read_manifest
from schemas.pack import Pack
from train.augment import Views
from train.bundle import Val, write_bundle
from train.data import Chosen, Shuffled, check_source, choose, class_numbers, load_pictures, picture_source
from train.device import choose_device, on_device
from train.estimate import in_words, stage_seconds
from train.fit import Fitted, Held, Stage, fit, predict_probs
from train.metrics import judge
from train.models import ModelFacts, build_model
from train.predict import predictions_frame, write_predictions
from train.recipe import Recipe, SemiSupervised, recipe_for
from train.steps import Labeled, SemiStep, SupervisedStep
from train.teacher import Teacher


@dataclass(frozen=True)
class Request:
    """What a person asked for on the command line."""

    method: str
    manifest: Path
    recipe: str = "default"
    changes: tuple[str, ...] = ()
    label_fraction: float = 1.0
    unlabeled: str | None = None
    out: Path | None = None
    weights: Path | None = None
    seed: int = 0
    stage1: Path | None = None
    pictures: Path | None = None
    max_hours: float = 2.0
    fresh: bool = False

    @property
    def folder(self) -> Path:
        """Where the run goes: <workspace>/runs/<task>-<method>-<label percent>-s<seed> unless said otherwise."""
        if self.out is not None:
            return self.out
        name = f"{self.manifest.stem}-{self.method}-{100 * self.label_fraction:g}-s{self.seed}"
        return picture_root(self.manifest) / "runs" / name


def train(request: Request) -> dict[str, Any]:
    """Train as asked, or go on with, or only report, the same run found in the folder; returns run.json's content."""
    recipe = recipe_for(request.method, request.recipe, request.changes)
    manifest = read_manifest(request.manifest)
    chosen = choose(manifest, request.label_fraction, request.unlabeled)
    _check_pool(recipe, chosen, request)
    source = picture_source(manifest, request.pictures)
    identity = _fingerprint(request, recipe, manifest, source)
    with _folder(request.folder, request.fresh) as folder:
        done = _finished(folder, identity)
        if done is not None:
            _say(f"{folder}: this very run is finished; --fresh trains it again")
            return done
        return _Run(request, recipe, manifest, chosen, source, identity, folder).go()


class _Run:
    """The parts of one run, made in order."""

    def __init__(
        self,
        request: Request,
        recipe: Recipe,
        manifest: Manifest,
        chosen: Chosen,
        source: Path | Pack,
        identity: str,
        folder: Path,
    ) -> None:
        self.request, self.recipe, self.manifest = request, recipe, manifest
        self.identity, self.folder = identity, folder
        self.began = time.monotonic()
        self.device = choose_device()
        start = replace(recipe, pretrained=False) if request.stage1 else recipe  # stage 1 brings the weights
        self.model, self.facts = build_model(start, len(chosen.classes), request.seed, request.weights)
        on_device(self.model, self.device)
        self.given = self._given_stage1()
        self.views = Views(recipe, self.facts.mean, self.facts.std)
        rows = pd.concat([chosen.labeled, chosen.pool, chosen.val, chosen.test])
        side = round(recipe.image_size / recipe.crop_pct)
        self.read_from = check_source(source, manifest, rows["image_id"].tolist(), side)
        _say_head(self.facts, recipe, chosen, manifest, self.device, self.read_from)
        self.pictures, self.failed = load_pictures(rows, source, side)
        self.chosen = chosen.without(self.failed)
        self.positions = {
            name: self.pictures.positions(getattr(self.chosen, name)["image_id"])
            for name in ("labeled", "pool", "val", "test")
        }

    def go(self) -> dict[str, Any]:
        """Say what is coming, train, judge once on test, write everything; returns the run record."""
        stages = self._stages(self.given is not None)
        self._say_time(stages)
        if self.given is not None:
            self.model.load_state_dict(self.given)
        write_text(self.folder / "started.json", json.dumps({"fingerprint": self.identity}))
        fitted = {}
        with _terminate_as_interrupt():
            for stage, make_step in stages:
                fitted[stage.name] = self._fit(stage, make_step())
        return self._write(fitted)

    def _fit(self, stage: Stage, step: SupervisedStep | SemiStep) -> Fitted:
        """One stage; afterwards the model holds the weights that val chose."""
        kept = self.folder / f"{stage.name}.json"
        weights = self.folder / f"{stage.name}.pt"
        if kept.exists() and weights.exists():  # an unfinished semivit run that is past its stage 1
            row = json.loads(kept.read_text())
            self.model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
            return Fitted({}, row["best"], row["curve"], row["seconds"])
        val = Held(self.pictures, self.positions["val"], self._truth("val"), self.views, self.device)
        teacher = step.teacher if isinstance(step, SemiStep) else None
        found = fit(self.model, step, stage, val, self.folder / "checkpoint.pt", self.identity, teacher, _say)
        self.model.load_state_dict(found.best)
        with_best = {"best": found.best_row, "curve": found.curve, "seconds": found.seconds}
        _save_whole(found.best, weights)
        write_text(kept, json.dumps(with_best))
        return found

    def _stages(self, stage1_given: bool) -> list[tuple[Stage, Any]]:
        """The stages of this run, each with a function that makes its step when its turn comes."""
        recipe, seed = self.recipe, self.request.seed
        n = len(self.positions["labeled"])
        batch = min(recipe.batch_size, n)
        common: dict[str, Any] = {"min_lr": recipe.min_lr, "weight_decay": recipe.weight_decay, "beta2": recipe.beta2,
                  "clip_grad": recipe.clip_grad, "eval_every": recipe.eval_every}  # fmt: skip
        first = Stage(
            "stage1" if isinstance(recipe, SemiSupervised) else "train", max(1, round(recipe.epochs * n / batch)),
            round(recipe.warmup_epochs * n / batch), recipe.lr, layer_decay=recipe.layer_decay, images=batch, **common,
        )  # fmt: skip
        stages: list[tuple[Stage, Any]] = []
        if not stage1_given:
            stages.append((first, lambda: SupervisedStep(self.model, self._labeled(recipe.batch_size, seed), seed)))
        if isinstance(recipe, SemiSupervised):
            few = min(recipe.semi_batch, n)
            pool = min(round(recipe.mu * few), len(self._pool()))
            second = Stage(
                "stage2", recipe.semi_steps, round(recipe.semi_warmup * recipe.semi_steps), recipe.semi_lr,
                layer_decay=recipe.semi_layer_decay, images=few + pool, **common,
            )  # fmt: skip
            stages.append((second, self._semi_step))
        return stages

    def _semi_step(self) -> SemiStep:
        recipe, seed = self.recipe, self.request.seed + 1_000_003  # stage 2 repeats no random numbers of stage 1
        assert isinstance(recipe, SemiSupervised)
        labeled = self._labeled(recipe.semi_batch, seed)
        pool = self._pool()
        size = round(recipe.mu * labeled.batches.batch_size)
        teacher = Teacher(self.model, recipe.decay)
        return SemiStep(self.model, teacher, labeled, pool, Shuffled(len(pool), size, seed + 1), recipe, seed)

    def _pool(self) -> np.ndarray:
        joined = getattr(self.recipe, "pool_has_labeled", False)
        return np.concatenate([self.positions["pool"], *([self.positions["labeled"]] if joined else [])])

    def _labeled(self, batch_size: int, seed: int) -> Labeled:
        rows = self.chosen.labeled
        y = class_numbers(rows, self.chosen.classes)
        batches = Shuffled(len(rows), batch_size, seed)
        positions = self.positions["labeled"]
        return Labeled(self.pictures, positions, y, self.views, len(self.chosen.classes), self.device, batches)

    def _truth(self, part: str) -> np.ndarray:
        return class_numbers(getattr(self.chosen, part), self.chosen.classes).numpy()

    def _given_stage1(self) -> dict[str, torch.Tensor] | None:
        """The weights of the vit run that semivit was told to start from, if it fits this one."""
        folder = self.request.stage1
        if folder is None:
            return None
        from safetensors.torch import load_file

        record = read_record(folder)
        same = {
            "manifest": (record["manifest_id"], self.manifest.manifest_id),
            "label fraction": (record["label_fraction"], self.request.label_fraction),
            "classes": (record["classes"], self.manifest.classes),
            "model": (record["model"]["name"], self.facts.name),
            "model_args": (record["recipe"]["model_args"], self.recipe.model_args),
            "picture size": (record["recipe"]["image_size"], self.recipe.image_size),
        }
        for what, (found, wanted) in same.items():
            if found != wanted:
                raise UserError(f"--stage1 {folder}: its {what} is {found}, this run's is {wanted}")
        self.facts = ModelFacts(
            **{**record["model"], "mean": tuple(record["model"]["mean"]), "std": tuple(record["model"]["std"])}
        )
        return load_file(folder / "model.safetensors")

    def _say_time(self, stages: list[tuple[Stage, Any]]) -> None:
        """How long it will take; without a GPU a time beyond --max-hours ends here."""
        n_val = len(self.positions["val"])
        seconds = sum(stage_seconds(make_step(), stage, n_val) for stage, make_step in stages)
        _say(f"time     about {in_words(seconds)}, estimated from a few real steps")
        small = self.request.recipe.startswith("cpu")  # made for this; on a busy machine their estimate may be far off
        if self.device.type == "cpu" and not small and seconds > 3600 * self.request.max_hours:
            raise UserError(
                f"without a GPU this would take about {in_words(seconds)}. `--recipe cpu` takes minutes; "
                f"--max-hours {seconds / 3600 + 1:.0f} trains all the same"
            )

    def _write(self, fitted: dict[str, Fitted]) -> dict[str, Any]:
        """Judge val and, once, test; write the run folder, run.json last."""
        probs = {name: self._probs(name) for name in ("val", "test", "pool")}
        metrics = {name: judge(probs[name], self._truth(name), self.chosen.classes) for name in ("test", "val")}
        model_id = self._bundle(probs["val"])
        record = self._record(fitted, model_id, metrics)
        ids = [image_id for name in probs for image_id in getattr(self.chosen, name)["image_id"]]
        stacked = np.concatenate([part for part in probs.values() if len(part)])
        frame = predictions_frame(self.manifest, ids, stacked, self.folder.name, model_id)
        write_predictions(frame, self.folder / "predictions.parquet", self.chosen.classes, record)
        for name, content in {"metrics": metrics, "curve": _curves(fitted), "run": record}.items():
            write_text(self.folder / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        for stage in ("train", "stage1", "stage2"):
            (self.folder / f"{stage}.pt").unlink(missing_ok=True)
            (self.folder / f"{stage}.json").unlink(missing_ok=True)
        (self.folder / "checkpoint.pt").unlink(missing_ok=True)
        (self.folder / "started.json").unlink(missing_ok=True)
        return record

    def _probs(self, part: str) -> np.ndarray:
        return predict_probs(self.model, self.pictures, self.positions[part], self.views, self.device)

    def _bundle(self, val_probs: np.ndarray) -> str:
        """The files that a model is taken away with; returns its model_id."""
        ids = self.chosen.val["image_id"].tolist()
        val = Val(val_probs, self._truth("val"), ids, self.pictures, self.positions["val"])
        known = {
            "run": self.folder.name, "task": self.manifest.task, "method": self.request.method,
            "manifest_id": self.manifest.manifest_id, "split_versions": self.manifest.info.get("versions", {}),
            "label_fraction": self.request.label_fraction, "seed": self.request.seed, "weights": self.facts.weights,
        }  # fmt: skip
        return write_bundle(self.folder, self.model, self.recipe, self.facts, self.chosen.classes, val, known)

    def _record(self, fitted: dict[str, Fitted], model_id: str, metrics: dict[str, Any]) -> dict[str, Any]:
        request = self.request
        return {
            "run": self.folder.name, "method": request.method, "task": self.manifest.task,
            "manifest": str(request.manifest), "manifest_id": self.manifest.manifest_id, "classes": self.chosen.classes,
            "split_versions": self.manifest.info.get("versions", {}),
            "label_fraction": request.label_fraction, "unlabeled": request.unlabeled, "counts": self.chosen.counts(),
            "recipe_name": request.recipe, "recipe": asdict(self.recipe), "changes": list(request.changes),
            "seed": request.seed, "model": self.facts.as_json(), "model_id": model_id,
            "stage1": str(request.stage1) if request.stage1 else None,
            "best": {name: found.best_row for name, found in fitted.items()},
            "seconds": {name: round(found.seconds, 1) for name, found in fitted.items()},
            "wall_seconds": round(time.monotonic() - self.began, 1), "test_reads": 1, "unreadable": self.failed, "pictures": self.read_from,
            "test": {key: metrics["test"].get(key) for key in ("n", "right", "acc1", "acc5", "ce", "macro")},
            "device": _device_name(self.device), "fingerprint": self.identity, "finished_at": datetime.now(UTC).isoformat(),
            "versions": {"consenso": __version__, "python": platform.python_version(), "torch": torch.__version__,
                         "timm": _timm_version(), "numpy": np.__version__},
        }  # fmt: skip


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a finished run, or one line about why not."""
    path = Path(folder) / "run.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        unfinished = (Path(folder) / "started.json").exists()
        said = "the run is unfinished; start it again with the same command" if unfinished else "no run.json there"
        raise UserError(f"{folder}: {said}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, NotADirectoryError) as error:
        raise UserError(f"{path}: is not the record of a run ({error})") from error


def _check_pool(recipe: Recipe, chosen: Chosen, request: Request) -> None:
    """What must be true before pictures are read."""
    if request.stage1 is not None and not isinstance(recipe, SemiSupervised):
        raise UserError(f"--stage1 is for semivit; `train {request.method}` has one stage")
    if isinstance(recipe, SemiSupervised) and len(chosen.pool) < 2:
        raise UserError(
            f"{request.manifest}: {len(chosen.pool)} unlabeled pictures, semivit needs some; collect more, "
            "or hide labels with --label-fraction 0.5"
        )


def _fingerprint(request: Request, recipe: Recipe, manifest: Manifest, source: Path | Pack) -> str:
    """What makes two runs the same run: pictures from a pack are not those from the originals."""
    parts = [request.method, asdict(recipe), manifest.manifest_id, request.label_fraction, request.unlabeled, request.seed,
             str(request.weights), str(request.stage1), *([source.format.as_json()] if isinstance(source, Pack) else [])]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@contextmanager
def _folder(folder: Path, fresh: bool) -> Iterator[Path]:
    """The run folder, made and held for this process alone."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; a run is a folder")
    held = {entry.name for entry in folder.iterdir()} - {".lock"} if folder.exists() else set()
    strange = held and not held & {"run.json", "started.json"}
    if strange:
        raise UserError(f"--out {folder}: holds other files and no run; name an empty folder or a new one")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{folder}: another process is training this run") from None
        if fresh:
            for entry in folder.iterdir():
                if entry.name != ".lock":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield folder


def _finished(folder: Path, identity: str) -> dict[str, Any] | None:
    """The record of this very run if it is finished; UserError when the folder holds another one."""
    started = folder / "started.json"
    done = json.loads((folder / "run.json").read_text()) if (folder / "run.json").exists() else None
    found = done or (json.loads(started.read_text()) if started.exists() else None)
    if found is not None and found["fingerprint"] != identity:
        raise UserError(
            f"{folder}: holds another run (other recipe, data or seed); choose --out, or --fresh to replace it"
        )
    return done


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu, {torch.get_num_threads()} threads"


def _say_head(
    facts: ModelFacts, recipe: Recipe, chosen: Chosen, manifest: Manifest, device: torch.device, pictures: str
) -> None:
    """The first lines of a run: what a person should know before it starts."""
    counts = ", ".join(f"{number} {name}" for name, number in chosen.counts().items())
    _say(f"model    {facts.name}, {facts.parameters / 1e6:.1f} M parameters, {recipe.image_size} px")
    _say(f"weights  {facts.weights}; license: {facts.license}")
    _say(f"data     {counts}; {len(chosen.classes)} classes; manifest {manifest.manifest_id[:8]}")
    _say(f"pictures {pictures}")
    _say(f"device   {_device_name(device)}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _timm_version() -> str:
    import timm

    return timm.__version__


def _curves(fitted: dict[str, Fitted]) -> dict[str, list[dict[str, Any]]]:
    return {name: found.curve for name, found in fitted.items()}


def _save_whole(state: dict[str, torch.Tensor], path: Path) -> None:
    from schemas.files import whole

    with whole(path) as part:
        torch.save(state, part)


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: with a checkpoint."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
