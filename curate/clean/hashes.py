"""Perceptual hashes: near-equal pictures get near-equal bits. Equal to imagehash.phash, from one small decode.

The low frequencies of the picture's cosine transform, each bit saying whether one lies above their median. A matrix product
of just those frequencies gives the same bits as imagehash's full transform at a fraction of the time.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curate.clean.shrunk import pixels_of, shrunk

if TYPE_CHECKING:
    from PIL import Image

# JPEGs are decoded at the smallest size above this, and their own brightness is hashed: of 64 bits 0.36 differ from those of a
# full decode, mostly none, and 6 in one of 569 photos
DRAFT_PX = 128
HASH_ALGO = "phash/2/draft128"  # hashes of different names never compare


class Frequencies(NamedTuple):
    """The 8 x 8 and 16 x 16 lowest frequencies of a gray picture, float64: downwards by rows, sideways by columns."""

    coarse: np.ndarray
    fine: np.ndarray

    def hashes(self) -> tuple[int, bytes]:
        """Both hashes, as `phash64` and `phash256` give them."""
        return _number(self.coarse), _bits(self.fine)

    def mirrored(self) -> Frequencies:
        """Of the mirror image: every other one has its sign turned."""
        return Frequencies(self.coarse * _signs(8), self.fine * _signs(16))


def frequencies(gray: Image.Image) -> Frequencies:
    """What both hashes of a gray picture, and of its mirror image, are made of."""
    pixels = pixels_of(gray)
    return Frequencies(_lowest(gray, pixels, 8), _lowest(gray, pixels, 16))


def phash64(gray: Image.Image) -> int:
    """The 64-bit hash of a gray picture, as an unsigned whole number (imagehash's hex digits, read as one number)."""
    return _number(_lowest(gray, pixels_of(gray), 8))


def phash256(gray: Image.Image) -> bytes:
    """The 256-bit hash of a gray picture, 32 bytes: four times as fine, for verifying what the 64 bits found."""
    return _bits(_lowest(gray, pixels_of(gray), 16))


def _lowest(gray: Image.Image, pixels: np.ndarray | None, size: int) -> np.ndarray:
    """The `size` x `size` lowest frequencies."""
    side = size * 4
    basis = _cosines(size, side)
    # Rounding makes the zeros of flat and mirrored pictures exact; otherwise their bits would be noise.
    return np.round(basis @ shrunk(gray, pixels, side) @ basis.T, 3)


def _bits(low: np.ndarray) -> bytes:
    """Which frequencies lie above their median, packed by rows."""
    flat = low.ravel()
    middle = np.partition(flat, (flat.size // 2 - 1, flat.size // 2))
    return np.packbits(flat > (middle[flat.size // 2 - 1] + middle[flat.size // 2]) / 2).tobytes()


def _number(low: np.ndarray) -> int:
    return int.from_bytes(_bits(low), "big")


@cache
def _cosines(count: int, side: int) -> np.ndarray:
    """The first `count` rows of the DCT-II matrix, scaled as scipy's default."""
    k = np.arange(count)[:, None]
    n = np.arange(side)[None, :]
    return 2 * np.cos(np.pi * k * (2 * n + 1) / (2 * side))


@cache
def _signs(count: int) -> np.ndarray:
    """1 and -1 by turns."""
    return np.where(np.arange(count) % 2, -1.0, 1.0)
