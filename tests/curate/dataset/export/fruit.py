"""A small data set of fruit, outside of any workspace: rows and pictures in a few lines."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from schemas.manifest import Manifest, read_manifest, write_manifest
from schemas.tables import MANIFEST

CLASSES = ["zebra", "apple", "mango"]  # not the alphabet's order


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def noise(n: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(n).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def save(folder: Path, rows: list[dict[str, Any]], classes: list[str] = CLASSES, **info: Any) -> Manifest:
    """A manifest of these rows in a folder that is no workspace; each row has `bytes`, the picture's, and may have `path`."""
    made = []
    for n, row in enumerate(rows):
        data = row["bytes"]
        path = folder / row.get("path", f"pictures/{n}.jpg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        rest = {key: value for key, value in row.items() if key not in ("bytes", "path")}
        made.append({"image_id": hashlib.sha256(data).hexdigest(), "path": path.relative_to(folder).as_posix(), **rest})
    target = folder / "fruit.parquet"
    write_manifest(MANIFEST.frame(made), [target], task="fruit", classes=classes, info=info)
    return read_manifest(target)
