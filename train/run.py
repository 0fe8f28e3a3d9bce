"""One training run, from a manifest to a run folder.

RUNDIR/
  run.json             what was run: recipe, manifest, versions, seeds, device, weights and their license, times
  metrics.json         test and val: Acc@1, Acc@5, CE, macro, ECE, per class, confusion, chance
  predictions.parquet  a probability per class for val, test and the unlabeled pool
  config.json model.safetensors calibration.json examples/     the bundle: the weights val chose, and all to use them
  recipe.toml          every number of the run with its source; --recipe recipe.toml repeats it
  curve.json           loss and val accuracy along the way
  tensorboard/         the same as event files             usage.json      what it cost so far, only while it is unfinished
  stage1.safetensors   semivit: where stage 2 started       checkpoint.pt   only while a run is unfinished
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from schemas import __version__
from schemas.errors import UserError
from schemas.files import write_text
from schemas.manifest import Manifest, read_manifest
from schemas.pack import Pack
from train import ranks
from train.account import Account, in_money, lines, used
from train.augment import Views
from train.bundle import Val, write_bundle
from train.checkpoint import save_tensors
from train.data import Chosen, Shuffled, check_source, choose, class_numbers, picture_source
from train.device import choose_device, on_device
from train.estimate import in_words, stage_seconds
from train.feed.hold import choose_hold, describe_hold
from train.feed.load import load_pictures
from train.fit import Fitted, Held, Stage, Watch, fit, tell
from train.folder import finished, run_folder, says_full_disk
from train.folder import read_record as read_record
from train.judge.metrics import judge
from train.models import ModelFacts, build_model
from train.predict.predict import predictions_frame, write_predictions
from train.ranks import device_name
from train.recipe import Recipe, SemiSupervised, recipe_for, with_budget
from train.recipe_file import write_recipe
from train.request import Request as Request
from train.stages import stages_of
from train.steps import Labeled, SemiStep, SupervisedStep
from train.teacher import Teacher
from train.trackers.open import tell_end, trackers_of
from train.trackers.told import Trackers, asked_for


def train(request: Request, watch: Watch | None = None) -> dict[str, Any]:
    """Train as asked, or go on with, or only report, the same run found in the folder; returns run.json's content."""
    asked_for(request.log)  # one that is not installed is said before anything else
    recipe, manifest, chosen, source = checked(request)
    identity = _fingerprint(request, recipe, manifest, source)
    ranks.join()
    with ranks.terminate_as_interrupt(), run_folder(request.folder, request.fresh, request.resume) as folder:
        done = ranks.led(lambda: finished(folder, identity))
        if done is not None:
            _say(f"{folder}: this very run is finished; --fresh trains it again")
            return done
        with says_full_disk(folder):
            return _Run(request, recipe, manifest, chosen, source, identity, folder, watch).go()


def checked(request: Request) -> tuple[Recipe, Manifest, Chosen, Path | Pack]:
    """What a run stands on: its recipe, manifest, rows, and where its pictures are. Nothing is written, no picture read.

    Raises UserError for what cannot be trained.
    """
    recipe = recipe_for(request.method, request.recipe, request.changes)
    manifest = read_manifest(request.manifest)
    chosen = choose(manifest, request.label_fraction, request.unlabeled, request.unlabeled_base)
    chosen = replace(chosen, test=chosen.test.head(0)) if request.blind else chosen
    recipe = with_budget(recipe, len(chosen.labeled), len(chosen.pool))
    _check_pool(recipe, chosen, request)
    return recipe, manifest, chosen, picture_source(manifest, request.pictures)


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
        watch: Watch | None = None,
    ) -> None:
        self.watch = watch
        self.request, self.recipe, self.manifest = request, recipe, manifest
        self.identity, self.folder = identity, folder
        self.device = choose_device()
        self.account = Account(folder, self.device, request.price_per_hour)
        start = replace(recipe, pretrained=False) if request.stage1 else recipe  # stage 1 brings the weights
        self.model, self.facts = build_model(start, len(chosen.classes), request.seed, request.weights)
        on_device(self.model, self.device)
        self.given = self._given_stage1()
        self.views = Views(recipe, self.facts.mean, self.facts.std)
        rows = pd.concat([chosen.labeled, chosen.pool, chosen.val, chosen.test])
        side = round(recipe.image_size / recipe.crop_pct)
        self.read_from = check_source(source, manifest, rows["image_id"].tolist(), side)
        hold = choose_hold(request.hold, len(rows), side, self.device)
        said = f"{self.read_from}; {describe_hold(hold, len(rows), side)}"
        _say_head(self.facts, recipe, chosen, manifest, self.device, said)
        self.pictures, self.failed = load_pictures(rows, source, side, hold, self.device)
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
        if ranks.leads():
            self._count_test_reads(0)
            write_recipe(self.recipe, self.request.method, self.folder / "recipe.toml")
        self.account.note()
        with self._trackers() as trackers:
            fitted = {stage.name: self._fit(stage, make_step(), trackers) for stage, make_step in stages}
            record = self._write(fitted, sum(stage.steps * stage.images for stage, _ in stages))
            if ranks.leads():
                tell_end(trackers, record, self.folder)
        return record

    def _trackers(self) -> Trackers:
        known = {**self.chosen.counts(), "weights": self.facts.weights, "parameters": self.facts.parameters}
        return trackers_of(self.request, asdict(self.recipe), known, self.facts.license, device_name(self.device))

    def _fit(self, stage: Stage, step: SupervisedStep | SemiStep, trackers: Trackers) -> Fitted:
        """One stage; afterwards the model holds the weights that val chose."""
        kept = self.folder / f"{stage.name}.json"
        weights = self.folder / f"{stage.name}.pt"
        if ranks.led(lambda: kept.exists() and weights.exists()):  # an unfinished semivit run that is past its stage 1
            row = json.loads(kept.read_text())
            self.model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
            tell(trackers, stage, row["curve"])
            return Fitted({}, row["best"], row["curve"], row["seconds"])
        val = Held(self.pictures, self.positions["val"], self._truth("val"), self.views, self.device)
        teacher = step.teacher if isinstance(step, SemiStep) else None
        found = fit(self.model, step, stage, val, self.folder / "checkpoint.pt", self.identity, teacher, _say,
                    60 * self.request.checkpoint_minutes, self.watch, trackers, self.account)  # fmt: skip
        self.model.load_state_dict(found.best)
        with_best = {"best": found.best_row, "curve": found.curve, "seconds": found.seconds}
        if ranks.leads():
            save_tensors(weights, found.best)
            write_text(kept, json.dumps(with_best))
        return found

    def _stages(self, stage1_given: bool) -> list[tuple[Stage, Any]]:
        """The stages of this run, each with a function that makes its step when its turn comes."""
        recipe, seed = self.recipe, self.request.seed
        stages = stages_of(recipe, len(self.positions["labeled"]), len(self.positions["pool"]), stage1_given)
        makers = {"stage2": self._semi_step}
        plain = lambda: SupervisedStep(self.model, self._labeled(recipe.batch_size, seed), seed)  # noqa: E731
        return [(stage, makers.get(stage.name, plain)) for stage in stages]

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

        record = stage1_record(folder, self.request, self.recipe, self.manifest)
        self.facts = ModelFacts(
            **{**record["model"], "mean": tuple(record["model"]["mean"]), "std": tuple(record["model"]["std"])}
        )
        return load_file(folder / "model.safetensors")

    def _say_time(self, stages: list[tuple[Stage, Any]]) -> None:
        """How long it will take; without a GPU a time beyond --max-hours ends here."""
        n_val = len(self.positions["val"])
        seconds = (
            ranks.led(lambda: sum(stage_seconds(make_step(), stage, n_val) for stage, make_step in stages))
            / ranks.size()
        )
        money = in_money(seconds, self.device, self.request.price_per_hour)
        _say(f"time     about {in_words(seconds)}{money}, estimated from a few real steps")
        small = self.request.recipe.startswith("cpu")  # made for this; on a busy machine their estimate may be far off
        if self.device.type == "cpu" and not small and seconds > 3600 * self.request.max_hours:
            raise UserError(
                f"without a GPU this would take about {in_words(seconds)}. `--recipe cpu` takes minutes; "
                f"--max-hours {seconds / 3600 + 1:.0f} trains all the same"
            )

    def _write(self, fitted: dict[str, Fitted], seen: int) -> dict[str, Any]:
        """Judge val and, once, test; write the run folder, run.json last."""
        test_reads = (
            self._count_test_reads(int(not self.request.blind)) if ranks.leads() else 1
        )  # noted before it happens: a run killed while it judges says so later
        probs = {name: self._probs(name) for name in ("val", "test", *([] if self.request.blind else ["pool"]))}
        usage = self.account.note()
        if not ranks.leads():
            return ranks.share({})
        metrics = {name: judge(probs[name], self._truth(name), self.chosen.classes) for name in ("test", "val")}
        model_id = self._bundle(probs["val"])
        rate = seen / max(1e-9, sum(found.seconds for found in fitted.values()))
        record = self._record(fitted, model_id, metrics) | {"test_reads": test_reads} | used(usage, rate)
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
        self.account.close()
        for line in lines(usage, rate):
            _say(line)
        return ranks.share(record)

    def _count_test_reads(self, more: int) -> int:
        """How often this run has looked at test, `more` included; kept in the folder, so no kill makes it forget."""
        path = self.folder / "started.json"
        before = json.loads(path.read_text()).get("test_reads", 0) if path.exists() else 0
        write_text(path, json.dumps({"fingerprint": self.identity, "test_reads": before + more}))
        return before + more

    def _probs(self, part: str) -> np.ndarray:
        return Held(self.pictures, self.positions[part], np.empty(0), self.views, self.device).probs(self.model)

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
            "label_fraction": request.label_fraction, "unlabeled": request.unlabeled, "unlabeled_base": request.unlabeled_base, "counts": self.chosen.counts(),
            "recipe_name": request.recipe, "recipe": asdict(self.recipe), "changes": list(request.changes),
            "seed": request.seed, "model": self.facts.as_json(), "model_id": model_id,
            "stage1": str(request.stage1) if request.stage1 else None,
            "best": {name: found.best_row for name, found in fitted.items()},
            "seconds": {name: round(found.seconds, 1) for name, found in fitted.items()},
            "unreadable": self.failed, "pictures": self.read_from,
            "test": {key: metrics["test"].get(key) for key in ("n", "right", "acc1", "acc5", "ce", "macro")},
            "device": device_name(self.device), "fingerprint": self.identity, "finished_at": datetime.now(UTC).isoformat(),
            "versions": {"consenso": __version__, "python": platform.python_version(), "torch": torch.__version__,
                         "timm": _timm_version(), "numpy": np.__version__},
        }  # fmt: skip


def stage1_record(folder: Path, request: Request, recipe: Recipe, manifest: Manifest) -> dict[str, Any]:
    """The record of the vit run that semivit is told to start from; UserError when it does not fit this one."""
    record = read_record(folder)
    same = {
        "manifest": (record["manifest_id"], manifest.manifest_id),
        "label fraction": (record["label_fraction"], request.label_fraction),
        "classes": (record["classes"], manifest.classes),
        "model": (record["model"]["name"], recipe.model),
        "model_args": (record["recipe"]["model_args"], recipe.model_args),
        "picture size": (record["recipe"]["image_size"], recipe.image_size),
    }
    for what, (found, wanted) in same.items():
        if found != wanted:
            raise UserError(f"--stage1 {folder}: its {what} is {found}, this run's is {wanted}")
    return record


def _check_pool(recipe: Recipe, chosen: Chosen, request: Request) -> None:
    """What must be true before pictures are read."""
    if request.stage1 is not None and not isinstance(recipe, SemiSupervised):
        raise UserError(f"--stage1 is for semivit; `train {request.method}` has one stage")
    if isinstance(recipe, SemiSupervised) and len(chosen.pool) < 2 and not recipe.pool_has_labeled:
        raise UserError(
            f"{request.manifest}: {len(chosen.pool)} unlabeled pictures, semivit needs some; collect more, "
            "hide labels with --label-fraction 0.5, or let it learn from the labeled ones with --set pool_has_labeled=true"
        )


def _fingerprint(request: Request, recipe: Recipe, manifest: Manifest, source: Path | Pack) -> str:
    """What makes two runs the same run: pictures from a pack are not those from the originals."""
    parts = [request.method, asdict(recipe), manifest.manifest_id, request.label_fraction, request.unlabeled, request.unlabeled_base, request.seed,
             str(request.weights), read_record(request.stage1)["model_id"] if request.stage1 else "None", *([source.format.as_json()] if isinstance(source, Pack) else []),
             *(["blind"] if request.blind else [])]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _say_head(
    facts: ModelFacts, recipe: Recipe, chosen: Chosen, manifest: Manifest, device: torch.device, pictures: str
) -> None:
    """The first lines of a run: what a person should know before it starts."""
    counts = ", ".join(f"{number} {name}" for name, number in chosen.counts().items())
    _say(f"model    {facts.name}, {facts.parameters / 1e6:.1f} M parameters, {recipe.image_size} px")
    _say(f"weights  {facts.weights}; license: {facts.license}")
    _say(f"data     {counts}; {len(chosen.classes)} classes; manifest {manifest.manifest_id[:8]}")
    _say(f"pictures {pictures}")
    _say(f"device   {device_name(device)}")


_say = ranks.say


def _timm_version() -> str:
    import timm

    return timm.__version__


def _curves(fitted: dict[str, Fitted]) -> dict[str, list[dict[str, Any]]]:
    return {name: found.curve for name, found in fitted.items()}
