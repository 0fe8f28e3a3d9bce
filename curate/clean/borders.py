"""The plain border around a picture: what was padded on, and what a cut-out stands in.

A padded copy is near its original in no hash of whole pictures; without the border of both it is. The border of each side is
found alone: a banner below and white left and right are three borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

WORK_PX = 256  # longer side of the copy on which borders are looked for
LEVELS = 14  # a border's pixels differ from its color by less; JPEG ripples around an edge by more
STRAY = 0.02  # share of a line's pixels that may be something else: dust, ripples
LEAST = 0.015  # of a side: less is no border but a blurred edge
REMAINS = 0.05  # of the area at least: else the picture is all border, and there is nothing to hash


def without_border(seen: Image.Image) -> Image.Image | None:
    """The RGB picture without its plain border; None where it has none, or nothing else."""
    box = border_box(seen)
    return None if box is None else seen.crop(box)


def border_box(seen: Image.Image) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom in pixels of what the border surrounds; None where there is no border, or nothing else."""
    from PIL import Image

    scale = min(1.0, WORK_PX / max(seen.size))
    size = (max(1, round(seen.width * scale)), max(1, round(seen.height * scale)))
    small = seen if scale == 1.0 else seen.resize(size, Image.Resampling.BOX)
    pixels = np.asarray(small, dtype=np.int16)
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]
    for _ in range(2):  # a banner below hides a border beside it until it is gone, and the other way round
        above, below = _edges(pixels[top:bottom, left:right])
        top, bottom = top + above, bottom - below
        before, behind = _edges(pixels[top:bottom, left:right].transpose(1, 0, 2))
        left, right = left + before, right - behind
        if top >= bottom or left >= right:
            return None
    height, width = pixels.shape[:2]
    cut = max(top / height, 1 - bottom / height, left / width, 1 - right / width)
    if (bottom - top) * (right - left) < REMAINS * height * width or cut < LEAST:
        return None
    x, y = seen.width / width, seen.height / height
    return round(left * x), round(top * y), round(right * x), round(bottom * y)


def _edges(pixels: np.ndarray) -> tuple[int, int]:
    """How many rows of [h, w, 3] are border at the start, and at the end."""
    return (_depth(pixels), _depth(pixels[::-1])) if pixels.size else (0, 0)


def _depth(pixels: np.ndarray) -> int:
    """How many of the first rows have the color of the very first. Looks at no row more than it must: most have no border."""
    color = np.median(pixels[0], axis=0)
    for depth, row in enumerate(pixels):
        if (np.abs(row - color).max(axis=1) > LEVELS).mean() > STRAY:
            return depth
    return len(pixels)
