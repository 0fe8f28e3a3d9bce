"""Predictions as a table: a probability per class for pictures of a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.manifest import Manifest
from schemas.tables import PREDICTIONS


def predictions_frame(
    manifest: Manifest, image_ids: list[str], probs: np.ndarray, run: str, model_id: str, temperature: float = 1.0
) -> pd.DataFrame:
    """One PREDICTIONS row for each picture, with the label and split that the manifest gives it."""
    known = manifest.rows.set_index("image_id").loc[image_ids]
    guess = probs.argmax(axis=1)
    return pd.DataFrame(
        {
            "image_id": image_ids,
            "run": run,
            "task": manifest.task,
            "manifest_id": manifest.manifest_id,
            "model_id": model_id,
            "fold": pd.array([pd.NA] * len(image_ids), dtype="Int32"),
            "split": known["split"].to_numpy(),
            "label": known["label"].to_numpy(),
            "predicted": [manifest.classes[i] for i in guess],
            "probs": list(probs.astype(np.float32)),
            "temperature": temperature,
        }
    )


def write_predictions(frame: pd.DataFrame, path: Path, classes: list[str], record: dict[str, Any]) -> None:
    """Write predictions whole; the file carries the class order of `probs` and what made them."""
    meta = {"consenso.classes": json.dumps(classes), "consenso.run": json.dumps(record, ensure_ascii=False)}
    PREDICTIONS.write(frame, path, meta)
