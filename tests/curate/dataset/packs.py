"""Small manifests of real picture files for tests of packing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from schemas.manifest import write_manifest


def photo(n: int, size: tuple[int, int] = (60, 80), form: str = "JPEG", **save: Any) -> bytes:
    """The n-th picture: soft shapes with a little noise, so that it compresses as photos do."""
    rng = np.random.default_rng(n)
    coarse = Image.fromarray(rng.integers(0, 255, (5, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(float) + rng.normal(0, 4, (size[1], size[0], 3))
    sink = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(sink, form, **save)
    return sink.getvalue()


def shop(
    folder: Path, pictures: Sequence[bytes], splits: Sequence[str | None] = ("train",), task: str = "apron"
) -> Path:
    """A manifest of these pictures in a folder with their files; the splits go round. Returns its path."""
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    rows = []
    for n, data in enumerate(pictures):
        image_id, split = hashlib.sha256(data).hexdigest(), splits[n % len(splits)]
        (folder / "blobs" / f"{image_id}.jpg").write_bytes(data)
        rank = int(image_id[-8:], 16) / 16**8
        rows.append(
            {
                "image_id": image_id, "path": f"blobs/{image_id}.jpg", "split": split,
                "label": ("dots", "plain")[n % 2] if split in ("train", "val", "test") else None,
                "label_rank": rank if split == "train" else None,
                "unlabeled_rank": rank if split == "unlabeled" else None,
            }
        )  # fmt: skip
    write_manifest(pd.DataFrame(rows), [folder / f"{task}.parquet"], task=task, classes=["dots", "plain"])
    return folder / f"{task}.parquet"


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder, hidden ones too, by its sha256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
