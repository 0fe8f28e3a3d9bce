"""Pictures of nothing but words: 'no image available', a size chart, a notice of the shop.

Words are thin strokes of one tone on a plain ground, in lines: seen along a line they begin and end many times. A garment is
a thick thing of many tones. No words are read; any script looks so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

WORK_PX = 192  # longer side of the copy that is looked at
GROUND = 0.55  # share of the pixels that must be of one tone
TONES = 12  # levels around it that still are
INK = (0.004, 0.40)  # share of the pixels that words cover
STROKES = 4.0  # times that a line of words begins and ends again, on average
IN_LINES = 0.70  # share of the ink that must stand in such lines, or in one flat tone beside them
FLAT = 0.72  # share of the ink beside the lines (a drawn camera, a frame) that is of one tone


def is_text_only(seen: Image.Image) -> bool:
    """True for a picture of words on a plain ground, with no more than a flat symbol beside them."""
    from PIL import Image

    scale = min(1.0, WORK_PX / max(seen.size))
    size = (max(1, round(seen.width * scale)), max(1, round(seen.height * scale)))
    small = seen.resize(size, Image.Resampling.BOX)
    pixels, gray = np.asarray(small, np.int16), np.asarray(small.convert("L"), np.int16)
    main = int(np.bincount(gray.ravel(), minlength=256).argmax())
    ground = np.median(pixels[np.abs(gray - main) <= TONES // 2], axis=0)
    away = np.abs(pixels - ground).max(axis=2)  # in color: a red garment on dark gray is no brighter than it
    ink = away > 2 * TONES
    if (away <= TONES).mean() < GROUND or not INK[0] < ink.mean() < INK[1]:
        return False
    ink = _unframed(ink)
    words = _lines(ink)
    if not words.any():
        return False
    share = ink[words].sum() / ink.sum()
    return bool(share >= IN_LINES or _flat(gray[~words][ink[~words]]))


def _unframed(ink: np.ndarray) -> np.ndarray:
    """The ink without thin things that go around most of the picture."""
    from scipy import ndimage

    parts, _ = ndimage.label(ink, np.ones((3, 3)))
    for number, place in enumerate(ndimage.find_objects(parts), 1):
        part = parts[place] == number
        if min(part.shape[0] / ink.shape[0], part.shape[1] / ink.shape[1]) > 0.6 and part.mean() < 0.15:
            ink = ink & (parts != number)
    return ink


def _lines(ink: np.ndarray) -> np.ndarray:
    """True for each row that belongs to a line of words: a band of rows with ink, low, whose ink begins again and again."""
    rows = ink.any(axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], rows.astype(np.int8), [0]])))
    begins = (np.diff(ink.astype(np.int8), axis=1, prepend=0) == 1).sum(axis=1)
    found = np.zeros(len(ink), bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start <= 0.3 * len(ink) and begins[start:end].mean() >= STROKES:
            found[start:end] = True
    return found


def _flat(tones: np.ndarray) -> bool:
    """Whether nearly all of these gray levels are about one of them."""
    main = np.bincount(tones, minlength=256).argmax() if len(tones) else 0
    return bool((np.abs(tones - main) <= TONES).mean() >= FLAT) if len(tones) else True
