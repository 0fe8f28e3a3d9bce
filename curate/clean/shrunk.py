"""A gray picture at a few pixels: byte for byte what Pillow's Lanczos resize makes of it, as a product of matrices.

Pillow's weights are whole multiples of 2^-22 and its sums are rounded to bytes after each direction; both are exact in
float64, so the result is the same on every machine, at a third of the time for pictures of a few hundred pixels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

_LOBES = 3  # of the Lanczos filter
_ONE = 1 << 22  # Pillow's unit of weight
_PARTS = 4  # the weights are zero but for a band: so many products of parts of it beat one of everything
_LEAST_SIDE = 64  # below, Pillow does it: enlarging goes by other rules
_MOST_PIXELS = 400_000  # and above: the float64 copy costs more than it saves

Weights = tuple[tuple[int, int, np.ndarray], ...]  # from pixel, to pixel, float64 [pixels, outputs]


def pixels_of(gray: Image.Image) -> np.ndarray | None:
    """The picture as float64 [height, width], for `shrunk`; None where Pillow has to do it."""
    fits = min(gray.size) >= _LEAST_SIDE and gray.width * gray.height <= _MOST_PIXELS
    return np.asarray(gray, dtype=np.float64) if fits else None


def shrunk(gray: Image.Image, pixels: np.ndarray | None, side: int) -> np.ndarray:
    """float64 [side, side] of whole numbers 0 to 255: `gray.resize((side, side), LANCZOS)`."""
    if pixels is None:
        from PIL import Image

        return np.asarray(gray.resize((side, side), Image.Resampling.LANCZOS), dtype=np.float64)
    height, width = pixels.shape
    if height + side > 2 * width:  # Pillow 13 begins with the direction that is cheaper for it
        return _across(_down(pixels, _weights(height, side)), _weights(width, side))
    return _down(_across(pixels, _weights(width, side)), _weights(height, side))


def _across(pixels: np.ndarray, weights: Weights) -> np.ndarray:
    """[n, pixels] -> [n, outputs]."""
    return _bytes(np.concatenate([pixels[:, begin:end] @ part for begin, end, part in weights], axis=1))


def _down(pixels: np.ndarray, weights: Weights) -> np.ndarray:
    """[pixels, n] -> [outputs, n]."""
    return _bytes(np.concatenate([part.T @ pixels[begin:end] for begin, end, part in weights]))


def _bytes(sums: np.ndarray) -> np.ndarray:
    """Rounded and clipped as Pillow does, in place."""
    sums += 0.5
    np.floor(sums, out=sums)
    np.maximum(sums, 0, out=sums)
    return np.minimum(sums, 255, out=sums)


@lru_cache(maxsize=512)
def _weights(size: int, side: int) -> Weights:
    """What each of `side` outputs takes from `size` pixels."""
    scale = size / side
    wide = max(scale, 1.0)
    center = (np.arange(side) + 0.5) * scale
    begin = np.maximum((center - _LOBES * wide + 0.5).astype(int), 0)
    end = np.minimum((center + _LOBES * wide + 0.5).astype(int), size)
    at = np.arange(size)[:, None]
    x = (at - center + 0.5) / wide
    raw = np.where((x >= -_LOBES) & (x < _LOBES), np.sinc(x) * np.sinc(x / _LOBES), 0.0)
    raw = np.where((at >= begin) & (at < end), raw, 0.0)
    raw = raw / raw.sum(axis=0) * _ONE
    whole = np.trunc(raw + np.copysign(0.5, raw)) / _ONE
    return tuple(_band(whole, part) for part in np.array_split(np.arange(side), _PARTS))


def _band(weights: np.ndarray, outputs: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Those outputs' weights without the pixels that give nothing to them."""
    used = np.flatnonzero(weights[:, outputs].any(axis=1))
    return int(used[0]), int(used[-1]) + 1, np.ascontiguousarray(weights[used[0] : used[-1] + 1, outputs])
