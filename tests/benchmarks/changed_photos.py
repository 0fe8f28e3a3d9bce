"""A million hashes as shops have them: real photos, each changed in 300 ways. Kept in a file, for it takes minutes to make."""

from __future__ import annotations

import io
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from curate.clean.hashes import DRAFT_PX, phash64

WAYS = 300  # changes of each photo
KINDS = ("crop", "pad", "brightness", "contrast", "blur", "turn", "mark", "squeeze", "jpeg", "noise")


def changed_hashes(paths: Sequence[Path], kept: Path, cores: int = 1) -> np.ndarray:
    """uint64 [photos * WAYS]: the hashes of all changes of the first photo, then of the second; read from `kept` if there."""
    if kept.exists():
        return np.load(kept)
    with get_context("forkserver").Pool(cores) as pool:
        hashes = np.concatenate(pool.map(_of_photo, paths, chunksize=16))
    np.save(kept, hashes)
    return hashes


def _of_photo(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.draft("L", (DRAFT_PX, DRAFT_PX))
        gray = image.convert("L")
    gray.thumbnail((2 * DRAFT_PX, 2 * DRAFT_PX))
    return np.array([phash64(changed(gray, way)) for way in range(WAYS)], np.uint64)


def changed(gray: Image.Image, way: int) -> Image.Image:
    """The photo after one to three changes, drawn by the number of the way: the same ones for every photo."""
    rng = np.random.default_rng(way)
    for kind in rng.choice(KINDS, rng.integers(1, 4), replace=False):
        gray = _change(gray, str(kind), float(rng.random()), rng)
    return gray


def _change(gray: Image.Image, kind: str, much: float, rng: np.random.Generator) -> Image.Image:
    """One change; `much` in [0, 1) says how strong."""
    width, height = gray.size
    if kind == "crop":
        left, top, right, bottom = (rng.random(4) * 0.08 * much * [width, height, width, height]).round().astype(int)
        return gray.crop((left, top, width - right, height - bottom))
    if kind == "pad":
        return ImageOps.expand(gray, max(1, round(0.1 * much * width)), fill=255)
    if kind == "brightness":
        return ImageEnhance.Brightness(gray).enhance(0.6 + 0.8 * much)
    if kind == "contrast":
        return ImageEnhance.Contrast(gray).enhance(0.6 + 0.8 * much)
    if kind == "blur":
        return gray.filter(ImageFilter.BoxBlur(2 * much))
    if kind == "turn":
        return gray.rotate(4 * much - 2, Image.Resampling.BILINEAR, fillcolor=255)
    if kind == "mark":
        marked = gray.copy()
        x, y = rng.random(2) * 0.7 * np.array([width, height])
        ImageDraw.Draw(marked).text((float(x), float(y)), "shop.example", fill=255)
        return marked
    if kind == "squeeze":
        return gray.resize((max(16, round(width * (0.4 + 0.5 * much))), max(16, round(height * (0.4 + 0.5 * much)))))
    if kind == "jpeg":
        packed = io.BytesIO()
        gray.save(packed, "JPEG", quality=round(20 + 70 * much))
        return Image.open(packed).convert("L")
    noise = rng.normal(0, 12 * much, (height, width))
    return Image.fromarray((np.asarray(gray) + noise).clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    import os
    import sys

    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    changed_hashes(sorted((base / "clothing").rglob("*.jpg")), Path(sys.argv[1]))
