"""The model run over many pictures: read ahead, kept as it goes, taken up again where it was stopped."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from schemas.errors import Interrupted, UserError
from schemas.files import whole, write_text
from schemas.progress import progress
from schemas.tables import PREDICTIONS
from train.augment import padded
from train.bundle import Bundle
from train.device import choose_device, on_device
from train.judge.calibrate import at_temperature
from train.predict.places import Items, read_items

BATCH = 64
PART_SECONDS = 30.0  # work that a kill -9 can lose


@dataclass(frozen=True)
class Predicted:
    """What became of the pictures of a place."""

    rows: pd.DataFrame  # PREDICTIONS, calibrated
    image_id: np.ndarray  # [n] of every item, "" where it could not be read
    probs: np.ndarray  # [n, K] of every item, calibrated
    skipped: list[tuple[str, str]]  # path and reason: unreadable ones, and copies of another


def infer(bundle: Bundle, items: Items, work: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """The bundle run over all items: image_id ("" = could not be read) [n], probabilities as trained [n, K], and reasons.

    Finished pictures are kept under `work` every half minute and at Ctrl-C, so the same call goes on where it was stopped.
    """
    parts = _Parts(work, _identity(bundle, items), len(bundle.classes))
    _predict(bundle, items, [number for number in range(len(items)) if number not in parts.done], parts)
    return parts.whole(len(items))


def predict_items(bundle: Bundle, items: Items, work: Path) -> Predicted:
    """The bundle's calibrated probabilities for all items as a table, see `infer`.

    Equal bytes are one prediction: the first path has the row.
    """
    image_id, probs, reason = infer(bundle, items, work)
    calm = at_temperature(probs, bundle.temperature)
    paths = items.names()
    first: dict[str, int] = {}
    skipped, kept = [], []
    for number, name in enumerate(image_id):
        if not name:
            skipped.append((paths[number], reason[number]))
        elif name in first:
            skipped.append((paths[number], f"same bytes as {paths[first[name]]}"))
        else:
            first[name] = number
            kept.append(number)
    rows = items.rows.iloc[kept].reset_index(drop=True)
    made = pd.DataFrame(
        {
            "image_id": image_id[kept],
            "run": bundle.ours["run"],
            "task": bundle.ours["task"],
            "manifest_id": rows["manifest_id"].fillna(bundle.ours["manifest_id"]),
            "model_id": bundle.model_id,
            "split": rows["split"],
            "label": rows["label"],
            "predicted": np.array(bundle.classes, object)[calm[kept].argmax(axis=1)] if kept else [],
            "probs": list(calm[kept]),
            "temperature": bundle.temperature,
            "path": pd.Series(paths, dtype=object)[kept].reset_index(drop=True).where(rows["manifest_id"].isna(), None),
        }
    )
    return Predicted(PREDICTIONS.check(made), image_id, calm, skipped)


def _identity(bundle: Bundle, items: Items) -> str:
    """What makes two calls the same work."""
    digest = hashlib.sha256(json.dumps([bundle.model_id, bundle.ours["preprocessing"], str(items.root)]).encode())
    for path in items.rows["path"]:
        digest.update(f"{path}\n".encode())
    return digest.hexdigest()[:32]


class _Parts:
    """Finished pictures on disk, in files of some thousand; a file is there whole or not at all."""

    def __init__(self, folder: Path, identity: str, n_classes: int) -> None:
        self._folder, self._n_classes = folder, n_classes
        self._rows: list[dict[str, Any]] = []
        self._saved = time.monotonic()
        mark = folder / "of.json"
        if folder.exists() and (not mark.exists() or json.loads(mark.read_text())["of"] != identity):
            if any(p.name != "of.json" and not p.name.startswith("part-") for p in folder.iterdir()):
                raise UserError(f"{folder}: holds other files; move them, or choose another --out")
            shutil.rmtree(folder)
        write_text(mark, json.dumps({"of": identity}))
        self.done = {int(number) for part in self._files() for number in pd.read_parquet(part, columns=["row"])["row"]}

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("part-*.parquet"))

    def add(self, number: int, image_id: str, probs: np.ndarray | None, reason: str | None) -> None:
        """Keep one picture's result."""
        self._rows.append({"row": number, "image_id": image_id, "probs": probs, "reason": reason})
        if time.monotonic() - self._saved > PART_SECONDS:
            self.save()

    def save(self) -> None:
        """Put what is new on disk."""
        if self._rows:
            frame = pd.DataFrame(self._rows)
            frame["reason"] = frame["reason"].astype("string")
            with whole(self._folder / f"part-{self._rows[0]['row']:09}-{len(self._rows)}.parquet") as part:
                frame.to_parquet(part)
            self._rows = []
        self._saved = time.monotonic()

    def whole(self, n: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """All results in item order: image_id ("" = none) [n], probabilities as trained [n, K], reasons."""
        self.save()
        image_id, reason = np.full(n, "", object), [""] * n
        probs = np.full((n, self._n_classes), 1 / self._n_classes, np.float32)
        for part in self._files():
            for row in pd.read_parquet(part).to_dict("records"):
                number = int(row["row"])
                if row["probs"] is None:
                    reason[number] = str(row["reason"])
                else:
                    image_id[number], probs[number] = row["image_id"], row["probs"]
        return image_id, probs, reason


def _predict(bundle: Bundle, items: Items, todo: Sequence[int], parts: _Parts) -> None:
    """Read and predict the pictures still to do, keeping each result."""
    if not todo:
        return
    device = choose_device()
    model = on_device(bundle.build(), device)
    bar = progress(len(items), "predicting", " pictures", done=len(items) - len(todo))
    done = len(items) - len(todo)
    try:
        for batch in _batches(read_items(items, todo, bundle.side_px), BATCH):
            read = [(number, image_id, pixels) for number, image_id, pixels in batch if not isinstance(pixels, str)]
            for number, image_id, pixels in batch:
                if isinstance(pixels, str):
                    parts.add(number, image_id, None, pixels)
            if read:
                probs = _probs(bundle, model, [pixels for _, _, pixels in read], device)
                for (number, image_id, _), row in zip(read, probs, strict=True):
                    parts.add(number, image_id, row, None)
            done += len(batch)
            bar.update(len(batch))
    except KeyboardInterrupt:
        parts.save()
        raise Interrupted(f"stopped at picture {done} of {len(items)}; the same command goes on from there") from None
    finally:
        bar.close()


def _batches(read: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for one in read:
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _probs(bundle: Bundle, model: nn.Module, pixels: list[np.ndarray], device: torch.device) -> np.ndarray:
    """Probabilities as trained of some decoded pictures. [n, K]"""
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        logits = model(bundle.views.plain(padded(pixels).to(device)))
    return logits.float().softmax(dim=1).cpu().numpy()
