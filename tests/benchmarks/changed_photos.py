"""A million hashes as shops have them: real photos, each changed in 300 ways: 20 of shape, each in 15 of tone.

Shapes are made of the reduced photo; tones, and the hash, of its copy at 32 px, all at once: what the eye calls the same
picture, in half a minute. Kept in a file all the same.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from curate.clean.hashes import DRAFT_PX, _cosines
from curate.clean.shrunk import pixels_of, shrunk

SHAPES, TONES = 20, 15
KINDS = ("crop", "pad", "blur", "turn", "mark", "squeeze", "jpeg")
SIDE = 32


def changed_hashes(paths: Sequence[Path], kept: Path) -> np.ndarray:
    """uint64 [photos * SHAPES * TONES]: the hashes of all changes of the first photo, then of the second; read from `kept` if there."""
    if not kept.exists():
        np.save(kept, np.concatenate([_of_photo(path) for path in paths]))
    return np.load(kept)


def _of_photo(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        image.draft("L", (DRAFT_PX, DRAFT_PX))
        gray = image.convert("L")
    gray.thumbnail((2 * DRAFT_PX, 2 * DRAFT_PX))
    shapes = [reshaped(gray, way) for way in range(SHAPES)]
    return _hashes(toned(np.stack([shrunk(one, pixels_of(one), SIDE) for one in shapes])))


def reshaped(gray: Image.Image, way: int) -> Image.Image:
    """The photo after none to two changes, drawn by the number of the way: the same ones for every photo."""
    rng = np.random.default_rng(way)
    for kind in rng.choice(KINDS, min(way, 1 + way % 2), replace=False):
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
        return gray.resize((max(64, round(width * (0.4 + 0.5 * much))), max(64, round(height * (0.4 + 0.5 * much)))))
    packed = io.BytesIO()
    gray.save(packed, "JPEG", quality=round(20 + 70 * much))
    return Image.open(packed).convert("L")


def toned(pixels: np.ndarray) -> np.ndarray:
    """float64 [shapes * TONES, 32, 32]: every shape lighter, darker, flatter, stronger, with noise, rounded and clipped to bytes."""
    rng = np.random.default_rng(0)
    contrast, light = rng.uniform(0.6, 1.4, TONES), rng.uniform(-40, 40, TONES)
    contrast[0], light[0] = 1, 0
    noise = rng.normal(0, 1, (TONES, SIDE, SIDE)) * rng.uniform(0, 4, TONES)[:, None, None]
    noise[0] = 0
    every = (pixels[:, None] - 128) * contrast[:, None, None] + 128 + light[:, None, None] + noise
    return np.clip(np.rint(every), 0, 255).reshape(-1, SIDE, SIDE)


def _hashes(pixels: np.ndarray) -> np.ndarray:
    """phash64 of each [n, 32, 32]."""
    basis = _cosines(8, SIDE)
    low = np.round(basis @ pixels @ basis.T, 3).reshape(len(pixels), 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64).ravel()
