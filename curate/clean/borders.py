"""The plain border around a picture: what was padded on, and what a cut-out stands in.

A padded copy is near its original in no hash of whole pictures; without the border of both it is. The border of each side is
found alone: a banner below and white left and right are three borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom

WORK_PX = 512  # longer side of the copy on which borders are looked for: what a reduced JPEG has at most, mostly
LEVELS = 14  # a border's pixels differ from its color by less; JPEG ripples around an edge by more
STRAY = 0.02  # share of a line's pixels that may be something else: dust, ripples
LEAST = 0.015  # of a side: less is no border but a blurred edge
REMAINS = 0.05  # of the area at least: else the picture is all border, and there is nothing to hash
_TO_RGB = np.array([[1, 1, 1], [0, -0.344136, 1.772], [1.402, -0.714136, 0]], np.float32)  # of Y, Cb, Cr
_SHIFT = np.array([-1.402, 0.344136 + 0.714136, -1.772], np.float32) * 128


def without_border(seen: Image.Image) -> Image.Image | None:
    """The picture without its plain border; None where it has none, or nothing else."""
    box = border_box(seen)
    return None if box is None else seen.crop(box)


def border_box(seen: Image.Image) -> Box | None:
    """Left, top, right, bottom in pixels of what the border surrounds; None where there is no border, or nothing else.

    The picture may be L, RGB or YCbCr; borders are looked for in RGB.
    """
    from PIL import Image

    scale = min(1.0, WORK_PX / max(seen.size))
    size = (max(1, round(seen.width * scale)), max(1, round(seen.height * scale)))
    small = seen if scale == 1.0 else seen.resize(size, Image.Resampling.BOX)
    pixels = np.asarray(small).reshape(small.height, small.width, -1)
    change = _TO_RGB if seen.mode == "YCbCr" else None
    top, bottom, left, right = 0, pixels.shape[0], 0, pixels.shape[1]
    for _ in range(2):  # a banner below hides a border beside it until it is gone, and the other way round
        above, below = _edges(pixels[top:bottom, left:right], change)
        top, bottom = top + above, bottom - below
        before, behind = _edges(pixels[top:bottom, left:right].transpose(1, 0, 2), change)
        left, right = left + before, right - behind
        if top >= bottom or left >= right:
            return None
        if not (above or below or before or behind):  # so it would be the second time
            break
    height, width = pixels.shape[:2]
    cut = max(top / height, 1 - bottom / height, left / width, 1 - right / width)
    if (bottom - top) * (right - left) < REMAINS * height * width or cut < LEAST:
        return None
    x, y = seen.width / width, seen.height / height
    return round(left * x), round(top * y), round(right * x), round(bottom * y)


def _edges(pixels: np.ndarray, change: np.ndarray | None) -> tuple[int, int]:
    """How many rows of [h, w, channels] are border at the start, and at the end."""
    return (_depth(pixels, change), _depth(pixels[::-1], change)) if pixels.size else (0, 0)


def _depth(pixels: np.ndarray, change: np.ndarray | None) -> int:
    """How many of the first rows have the color of the very first. Looks at no row more than it must: most have no border."""
    color: np.ndarray | None = None
    for depth, line in enumerate(pixels):
        row = line.astype(np.float32) if change is None else np.clip(line @ change + _SHIFT, 0, 255)
        color = _median(row) if color is None else color
        if np.count_nonzero(np.abs(row - color).max(axis=1) > LEVELS) > STRAY * len(row):
            return depth
    return len(pixels)


def _median(row: np.ndarray) -> np.ndarray:
    """Of each column; numpy's own takes five times as long for so few values."""
    ranked = np.sort(row, axis=0)
    return (ranked[(len(row) - 1) // 2] + ranked[len(row) // 2]) / 2
