"""`train pretrain`: weights to begin with from pictures without labels, for those whom public weights do not suit.

RUNDIR/
  model.safetensors    the encoder under timm's names, with the decoder: `train vit --weights RUNDIR/model.safetensors`
  run.json recipe.toml curve.json      what was run, every number, the loss along the way
  tensorboard/         the same as event files
  checkpoint.pt usage.json      only while it is unfinished
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import torch

from schemas import __version__
from schemas.errors import UserError
from schemas.files import write_text
from schemas.manifest import Manifest, read_manifest
from train import ranks
from train.account import Account, in_money, lines, used
from train.augment import Views
from train.checkpoint import save_weights
from train.data import Shuffled, check_source, picture_source
from train.device import choose_device, on_device
from train.estimate import in_words
from train.feed.hold import choose_hold, describe_hold
from train.feed.load import load_pictures
from train.fit import Fitted, Stage, fit, make_optimizer, update
from train.folder import finished, run_folder, says_full_disk
from train.masked import MaskedAutoencoder, MaskedStep
from train.models import build_model
from train.ranks import device_name
from train.recipe import Masked, pretraining_for
from train.recipe_file import write_recipe
from train.request import Request
from train.stages import check_parts
from train.trackers.open import tell_end, trackers_of
from train.trackers.told import asked_for


def pretrain(request: Request) -> dict[str, Any]:
    """Train as asked, or go on with, or only report, the same run found in the folder; returns run.json's content."""
    asked_for(request.log)  # one that is not installed is said before anything else
    recipe = pretraining_for(request.recipe, request.changes)
    manifest = read_manifest(request.manifest)
    rows = pictures_without_labels(manifest)
    identity = _fingerprint(request, recipe, rows)
    ranks.join()
    with ranks.terminate_as_interrupt(), run_folder(request.folder, request.fresh, request.resume) as folder:
        done = ranks.led(lambda: finished(folder, identity))
        if done is not None:
            _say(f"{folder}: this very run is finished; --fresh trains it again")
            return done
        account = Account(folder, choose_device(), request.price_per_hour)
        model, stage, step, facts = _prepare(request, recipe, manifest, rows)
        _say_time(model, stage, step, request)
        if ranks.leads():
            write_text(folder / "started.json", json.dumps({"fingerprint": identity}))
            write_recipe(recipe, "pretrain", folder / "recipe.toml")
        account.note()
        facts |= {"recipe": asdict(recipe), "manifest_id": manifest.manifest_id, "fingerprint": identity}
        return _train(request, model, stage, step, facts, account)


def _train(
    request: Request, model: MaskedAutoencoder, stage: Stage, step: MaskedStep, facts: dict[str, Any], account: Account
) -> dict[str, Any]:
    """Train, write the run folder, tell the trackers; returns the record."""
    folder = request.folder
    known = {**facts["counts"], "weights": facts["model"]["weights"]}
    opened = trackers_of(request, facts["recipe"], known, facts["model"]["license"], facts["device"])
    with opened as trackers:
        found = fit(model, step, stage, None, folder / "checkpoint.pt", facts["fingerprint"], say=_say,
                    checkpoint_seconds=60 * request.checkpoint_minutes, trackers=trackers, account=account)  # fmt: skip
        model.load_state_dict(found.best)
        usage, rate = account.note(), stage.steps * stage.images / max(1e-9, found.seconds)
        record = facts | used(usage, rate) | {
            "run": folder.name, "seed": request.seed, "test_reads": 0,
            "loss": found.best_row["loss"], "finished_at": datetime.now(UTC).isoformat(),
            "versions": {"consenso": __version__, "torch": torch.__version__},
        }  # fmt: skip
        with says_full_disk(folder):
            record = ranks.led(lambda: _write(request, model, found, record))
        for line in lines(usage, rate):
            _say(line)
        if ranks.leads():
            tell_end(trackers, record, folder)
    return record


def pictures_without_labels(manifest: Manifest) -> pd.DataFrame:
    """What pretraining sees: the unlabeled and the train pictures, their labels not. Never val, never test."""
    rows = manifest.rows[manifest.rows["dropped"].isna()]
    if rows["split"].isna().all():
        raise UserError(f"{manifest.path}: has no splits yet; run `curate split` first")
    rows = rows[rows["split"].isin(["unlabeled", "train"])]
    if rows.empty:
        raise UserError(f"{manifest.path}: no picture is unlabeled or in train; collect some")
    return rows[["image_id", "path"]]


def _prepare(
    request: Request, recipe: Masked, manifest: Manifest, rows: pd.DataFrame
) -> tuple[MaskedAutoencoder, Stage, MaskedStep, dict[str, Any]]:
    """The model, how long it trains, its step, and what a record says of them."""
    device = choose_device()
    encoder, facts = build_model(recipe, 0, request.seed, request.weights)
    torch.manual_seed(request.seed)
    model = MaskedAutoencoder(encoder, recipe)
    on_device(model, device)
    source = picture_source(manifest, request.pictures)
    side = round(recipe.image_size / recipe.crop_pct)
    where = check_source(source, manifest, rows["image_id"].tolist(), side)
    _say(
        f"model    {facts.name}, {facts.parameters / 1e6:.1f} M parameters, {recipe.image_size} px; a decoder beside it"
    )
    _say(f"weights  {facts.weights}; license: {facts.license}")
    _say(f"data     {len(rows)} pictures, unlabeled and train, no labels; manifest {manifest.manifest_id[:8]}")
    hold = choose_hold(request.hold, len(rows), side, device)
    _say(f"pictures {where}; {describe_hold(hold, len(rows), side)}")
    _say(f"device   {device_name(device)}")
    pictures, failed = load_pictures(rows, source, side, hold, device)
    positions = pictures.positions(rows.loc[~rows["image_id"].isin(set(failed)), "image_id"])
    n, batch = len(positions), min(recipe.batch_size, len(positions))
    stage = Stage(
        "pretrain", max(1, round(recipe.epochs * n / batch)), round(recipe.warmup_epochs * n / batch), recipe.lr, recipe.min_lr,
        recipe.weight_decay, recipe.layer_decay, recipe.beta2, recipe.clip_grad, recipe.eval_every, batch,
        recipe.accumulate, recipe.precision, recipe.compile,
    )  # fmt: skip
    check_parts(stage, batch)
    patches = model.places.shape[1]
    enough: Any = recipe  # a weak view needs no more of a recipe than this one has
    views = Views(enough, facts.mean, facts.std)
    step = MaskedStep(
        model, pictures, positions, views, device, Shuffled(n, batch, request.seed), patches, request.seed
    )
    said = {
        "method": "pretrain", "task": manifest.task, "model": facts.as_json(), "counts": {"pictures": n},
        "device": device_name(device), "unreadable": failed, "pictures": where,
    }  # fmt: skip
    return model, stage, step, said


def _say_time(model: MaskedAutoencoder, stage: Stage, step: MaskedStep, request: Request) -> None:
    """How long it will take, from two real steps on a copy; without a GPU a time beyond --max-hours ends here."""
    import copy
    import dataclasses

    student = copy.deepcopy(model)
    trial, optimizer = dataclasses.replace(step, student=student), make_optimizer(student, stage)
    spent = []
    with contextlib.closing(trial):
        for number in range(2 if ranks.leads() else 0):
            began = time.perf_counter()
            update(student, trial, stage, number, optimizer, None).total.item()
            spent.append(time.perf_counter() - began)
    seconds = ranks.share(min(spent, default=0.0)) * stage.steps / ranks.size()
    _say(
        f"time     about {in_words(seconds)}{in_money(seconds, step.device, request.price_per_hour)}, estimated from two real steps"
    )
    if step.device.type == "cpu" and request.recipe != "cpu" and seconds > 3600 * request.max_hours:
        raise UserError(
            f"without a GPU this would take about {in_words(seconds)}. `--recipe cpu` takes minutes; "
            f"--max-hours {seconds / 3600 + 1:.0f} trains all the same"
        )


def _write(request: Request, model: MaskedAutoencoder, found: Fitted, record: dict[str, Any]) -> dict[str, Any]:
    """The run folder, run.json last."""
    folder = request.folder
    save_weights(folder / "model.safetensors", model.weights(), {"consenso": json.dumps({"license": "yours"})})
    record["model_id"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()[:32]
    for name, content in {"curve": {"pretrain": found.curve}, "run": record}.items():
        write_text(folder / f"{name}.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    for name in ("checkpoint.pt", "started.json", "usage.json"):
        (folder / name).unlink(missing_ok=True)
    return record


def _fingerprint(request: Request, recipe: Masked, rows: pd.DataFrame) -> str:
    """What makes two runs the same run: the pictures by themselves, since a new label changes nothing here."""
    parts = [asdict(recipe), sorted(rows["image_id"]), request.seed, str(request.weights)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


_say = ranks.say
