"""Pictures with as much in them as a photo: smooth shades, fine structure, each seed another scene."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps


def photo(seed: int, size: tuple[int, int] = (260, 220)) -> Image.Image:
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 255, (n, n, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC), float)
        for n in (4, 9, 24)
    ]  # fmt: skip
    return Image.fromarray(np.clip(layers[0] * 0.5 + layers[1] * 0.3 + layers[2] * 0.2, 0, 255).astype(np.uint8))


def save(path: Path, image: Image.Image, quality: int = 88) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **({"quality": quality} if path.suffix == ".jpg" else {}))
    return path


def as_bytes(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _cut(image: Image.Image, share: float) -> Image.Image:
    x, y = int(image.width * share), int(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-encoded": lambda image: image,
    "resized": lambda image: image.resize((image.width // 2, image.height // 2)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: _cut(image, 0.1),
    "mirrored and cropped": lambda image: _cut(ImageOps.mirror(image), 0.06),
    "one side cropped": lambda image: image.crop((50, 0, image.width, image.height)),
    "padded": lambda image: ImageOps.expand(image, 40, "white"),
    "padded to a square": lambda image: ImageOps.pad(image, (260, 260), color="white"),
}
