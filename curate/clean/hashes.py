"""Perceptual hashes: near-equal pictures get near-equal bits. Equal to imagehash.phash, from one small decode.

The low frequencies of the picture's cosine transform, each bit saying whether one lies above their median. A matrix product
of just those frequencies gives the same bits as imagehash's full transform at a fraction of the time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

DRAFT_PX = (
    128  # JPEGs are decoded at the smallest size above this: 0.28 of 64 bits differ from a full decode, at most 2
)
HASH_ALGO = "phash/1/draft128"  # hashes of different names never compare


def phash64(gray: Image.Image) -> int:
    """The 64-bit hash of a gray picture, as an unsigned whole number (imagehash's hex digits, read as one number)."""
    return int.from_bytes(np.packbits(_bits(gray, 8)).tobytes(), "big")


def phash256(gray: Image.Image) -> bytes:
    """The 256-bit hash of a gray picture, 32 bytes: four times as fine, for verifying what the 64 bits found."""
    return np.packbits(_bits(gray, 16)).tobytes()


def _bits(gray: Image.Image, size: int) -> np.ndarray:
    """Which of the `size` x `size` lowest frequencies lie above their median."""
    from PIL import Image

    side = size * 4
    pixels = np.asarray(gray.resize((side, side), Image.Resampling.LANCZOS), dtype=np.float64)
    basis = _cosines(size, side)
    # Rounding makes the zeros of flat and mirrored pictures exact; otherwise their bits would be noise.
    low = np.round(basis @ pixels @ basis.T, 3)
    return (low > np.median(low)).ravel()


@cache
def _cosines(count: int, side: int) -> np.ndarray:
    """The first `count` rows of the DCT-II matrix, scaled as scipy's default."""
    k = np.arange(count)[:, None]
    n = np.arange(side)[None, :]
    return 2 * np.cos(np.pi * k * (2 * n + 1) / (2 * side))
