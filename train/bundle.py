"""The bundle: what a run leaves to be taken away. The model files of a run folder are one; they need nothing else.

BUNDLE/
  config.json         timm's own format, so `timm.create_model("local-dir:BUNDLE", pretrained=True)` loads it, and a section
                      "consenso": classes, preprocessing, temperature, thresholds, manifest_id, license, the expected outputs
  model.safetensors   the weights that val chose; they hold no code
  calibration.json    val's confidences per class: thresholds for any precision are fitted from them
  examples/           up to ten val pictures at the size that the model reads, for `train verify`
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from schemas.errors import UserError
from schemas.files import write_bytes, write_text
from train.augment import Batch, Views, padded
from train.checkpoint import save_weights
from train.feed.pictures import Pictures
from train.judge.calibrate import PRECISIONS, at_temperature, fit_temperature, points, thresholds
from train.judge.metrics import calibration_error, cross_entropy
from train.models import ModelFacts
from train.recipe import Recipe, Supervised

FORMAT = 1
FILES = ("config.json", "model.safetensors", "calibration.json", "examples")
EXAMPLES = 10
TOLERANCE = 1e-3  # of a probability: other machines, threads and versions of PyTorch stay well below it


@dataclass(frozen=True)
class Val:
    """What val says: probabilities as trained, the truth, and the pictures themselves."""

    probs: np.ndarray  # [n, K]
    truth: np.ndarray  # [n]
    image_ids: Sequence[str]
    pictures: Pictures
    positions: np.ndarray


def write_bundle(
    folder: Path,
    model: nn.Module,
    recipe: Recipe,
    facts: ModelFacts,
    classes: list[str],
    val: Val,
    known: dict[str, Any],
) -> str:
    """Write the bundle's files, config.json last; returns the model_id, a hash of the weights.

    `known` is kept as it is: task, method, run, manifest_id, label_fraction and what else names the model.
    """
    save_weights(folder / "model.safetensors", model.state_dict(), {"format": "pt"})
    model_id = _hash(folder / "model.safetensors")
    temperature = fit_temperature(val.probs, val.truth)
    calm = at_temperature(val.probs, temperature)
    seen = points(calm, val.truth, classes)
    ours = {
        "format": FORMAT,
        "model_id": model_id,
        "license": facts.license,
        "classes": classes,
        **known,
        "preprocessing": _preprocessing(recipe, facts),
        "temperature": temperature,
        "val": {"n": len(val.truth), "as_trained": _measures(val.probs, val.truth), "calibrated": _measures(calm, val.truth)},
        "thresholds": {f"{p:g}": thresholds(seen, p) for p in PRECISIONS},
        "examples": _write_examples(folder, model, recipe, facts, classes, val),
    }  # fmt: skip
    write_text(folder / "calibration.json", json.dumps({"temperature": temperature, "val": seen}) + "\n")
    text = json.dumps(_timm_config(model, recipe, facts, classes) | {"consenso": ours}, indent=1, ensure_ascii=False)
    write_text(folder / "config.json", text + "\n")
    return model_id


def _preprocessing(recipe: Recipe, facts: ModelFacts) -> dict[str, Any]:
    return {
        "image_size": recipe.image_size,
        "resize_short_side": round(recipe.image_size / recipe.crop_pct),
        "crop_pct": recipe.crop_pct,
        "crop": "center",
        "interpolation": "bicubic",
        "mean": list(facts.mean),
        "std": list(facts.std),
    }


def _measures(probs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {"ce": cross_entropy(probs, truth), "ece": calibration_error(probs, truth)} if len(truth) else {}


def _timm_config(model: nn.Module, recipe: Recipe, facts: ModelFacts, classes: list[str]) -> dict[str, Any]:
    """timm's description of the model, saying of the weights only what is true of these."""
    import tempfile

    from timm.models._hub import save_config_for_hf  # timm exports only `push_to_hf_hub`, which also uploads

    size = (3, recipe.image_size, recipe.image_size)
    data = {"mean": facts.mean, "std": facts.std, "input_size": size, "crop_pct": recipe.crop_pct, "crop_mode": "center",
            "interpolation": "bicubic"}  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "config.json"
        save_config_for_hf(model, path, {"label_names": classes}, data_config=data)  # type: ignore[arg-type]
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for name in ("tag", "origin_url", "paper_ids", "paper_name", "notes"):  # of the weights that it started from
        config["pretrained_cfg"].pop(name, None)
    config["pretrained_cfg"]["license"] = facts.license
    return config


def _write_examples(
    folder: Path, model: nn.Module, recipe: Recipe, facts: ModelFacts, classes: list[str], val: Val
) -> list[dict[str, Any]]:
    """Some val pictures, class after class in turn, as lossless files, with what the model says of them on a CPU in float32."""
    chosen = _in_turn(val.truth, val.image_ids)[:EXAMPLES]
    shutil.rmtree(folder / "examples", ignore_errors=True)
    batches = [val.pictures.batch(val.positions[[i]]).to(torch.device("cpu")) for i in chosen]
    still = copy.deepcopy(model).cpu().float().eval()
    probs = _probs(still, Views(recipe, facts.mean, facts.std), batches)
    found = []
    for number, (i, batch, row) in enumerate(zip(chosen, batches, probs, strict=True), start=1):
        name = f"examples/{number:02}.png"
        write_bytes(folder / name, _png(batch))
        expected = [round(float(p), 7) for p in row]
        found.append(
            {"file": name, "image_id": val.image_ids[i], "label": classes[val.truth[i]], "probs": expected}
        )  # fmt: skip
    return found


def _in_turn(truth: np.ndarray, image_ids: Sequence[str]) -> list[int]:
    """Row numbers: the first picture of each class by image_id, then the second, and so on."""
    seen: dict[int, int] = {}
    places = []
    for i in sorted(range(len(truth)), key=lambda i: image_ids[i]):
        turn = seen.get(int(truth[i]), 0)
        seen[int(truth[i])] = turn + 1
        places.append((turn, int(truth[i]), i))
    return [i for _, _, i in sorted(places)]


def _png(batch: Batch) -> bytes:
    """The one picture of a batch as a PNG."""
    import io

    from PIL import Image

    height, width = batch.sizes[0].tolist()
    pixels = batch.pixels[0, :, :height, :width].permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@torch.no_grad()
def _probs(model: nn.Module, views: Views, batches: Sequence[Batch]) -> np.ndarray:
    """Probabilities as trained, one picture at a time: no neighbor changes a digit. [n, K] float32"""
    rows = [model(views.plain(batch)).float().softmax(dim=1)[0].numpy() for batch in batches]
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:32]


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk: what its config.json says, and the model when it is asked for."""

    folder: Path
    config: dict[str, Any]  # the whole config.json

    @property
    def ours(self) -> dict[str, Any]:
        """The section that this program wrote."""
        return self.config["consenso"]

    @property
    def classes(self) -> list[str]:
        """Class keys in the order of every list of probabilities."""
        return self.ours["classes"]

    @property
    def model_id(self) -> str:
        """Hash of the weights."""
        return self.ours["model_id"]

    @property
    def temperature(self) -> float:
        """What logits are divided by, fitted on val."""
        return float(self.ours["temperature"])

    @property
    def side_px(self) -> int:
        """Short side of the pictures that `views` reads."""
        return int(self.ours["preprocessing"]["resize_short_side"])

    @property
    def views(self) -> Views:
        """The preprocessing."""
        asked = self.ours["preprocessing"]
        recipe = Supervised(image_size=asked["image_size"], crop_pct=asked["crop_pct"])
        return Views(recipe, tuple(asked["mean"]), tuple(asked["std"]))

    def thresholds(self, precision: float) -> dict[str, float | None]:
        """Confidence per class for a wished precision; see `train.judge.calibrate.thresholds`."""
        return thresholds(self._calibration["val"], precision)

    def check_calibration(self) -> None:
        """Raise UserError when classes, temperature or thresholds of config.json are not those of calibration.json."""
        kept, said = self._calibration, self.ours
        again = {f"{p:g}": self.thresholds(p) for p in PRECISIONS}
        for what, one, other in (
            ("classes", list(kept["val"]), said["classes"]),
            ("temperature", kept["temperature"], said["temperature"]),
            ("thresholds", again, said["thresholds"]),
        ):
            if one != other:
                raise UserError(
                    f"{self.folder}: {what} in config.json and calibration.json differ; copy both from the run again"
                )

    @cached_property
    def _calibration(self) -> dict[str, Any]:
        path = self.folder / "calibration.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {"temperature": found["temperature"], "val": found["val"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: cannot be read ({error}); copy the bundle again") from error

    def build(self) -> nn.Module:
        """The model with its weights, calm, on the CPU. Raises UserError for weights that are not those of config.json."""
        import timm
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.folder / "model.safetensors"
        if not path.is_file():
            raise UserError(f"{path}: no such file; a bundle is {', '.join(FILES)}")
        if _hash(path) != self.model_id:
            raise UserError(f"{path}: is not the file that config.json describes; copy both from the run again")
        try:
            model = timm.create_model(
                self.config["architecture"], pretrained=False, **self.config.get("model_args", {})
            )
            model.load_state_dict(load_file(path))
        except (RuntimeError, ValueError, TypeError, SafetensorError) as error:
            said = " ".join(str(error).split())[:200]
            raise UserError(f"{self.folder}: the model cannot be made with this timm ({said})") from error
        return model.eval()


def open_bundle(folder: Path) -> Bundle:
    """The bundle in a folder; UserError, in a line, for anything else."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        unfinished = (Path(folder) / "started.json").exists()
        said = (
            "the run is unfinished; start it again with the same command"
            if unfinished
            else "no config.json there; name a run folder, such as runs/apron-vit-100-s0"
        )
        raise UserError(f"{folder}: {said}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not the config of a bundle ({error})") from error
    ours = config.get("consenso") if isinstance(config, dict) else None
    if not isinstance(ours, dict):
        raise UserError(f"{path}: has no section consenso: it was not written by this `train`; train the run again")
    if ours.get("format") != FORMAT:
        raise UserError(f"{path}: has format {ours.get('format')}, this version reads {FORMAT}; update consenso")
    return Bundle(Path(folder), config)


def verify(folder: Path, tolerance: float = TOLERANCE) -> str:
    """Run the bundle on its own pictures; one line about the largest difference. UserError when it is above `tolerance`."""
    from train.feed.decode import decode

    bundle = open_bundle(folder)
    bundle.check_calibration()
    model, views, examples = bundle.build(), bundle.views, bundle.ours["examples"]
    worst, where = 0.0, ""
    for example in examples:
        path = bundle.folder / example["file"]
        pixels = decode(path, bundle.side_px)
        if isinstance(pixels, str):
            raise UserError(f"{path}: cannot be read ({pixels}); copy the bundle again")
        difference = float(
            np.abs(_probs(model, views, [padded([pixels])])[0] - np.array(example["probs"], np.float32)).max()
        )
        if not difference <= worst:  # also what is no number
            worst, where = difference, example["file"]
    if not examples:
        raise UserError(f"{bundle.folder}: holds no example pictures, nothing can be verified; train the run again")
    said = f"{len(examples)} pictures, largest difference of a probability {worst:.1e}"
    if not worst <= tolerance:
        raise UserError(
            f"{bundle.folder}: does not give its expected outputs: {said} in {where}, allowed {tolerance:g}"
        )
    return f"{bundle.folder}: {said}: as expected"
