"""One picture from a file, a bucket or bytes to the pixels that a run wants.

Where simplejpeg is installed it decodes the ordinary JPEGs, a pack's all: the same library underneath (libjpeg-turbo), the same
pixels, in half the time of Pillow. Pillow reads the header and everything else, so what can be read does not depend on it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from schemas.picture import as_seen, open_picture
from schemas.storage import read_place


@dataclass(frozen=True)
class Missing:
    """Why a picture is not there."""

    why: str


Given = Path | bytes | str | Missing  # a file, encoded bytes, a place in a bucket, or nothing and why


def decode(given: Given, side_px: int) -> np.ndarray | str:
    """One picture as [height, width, 3] uint8, or why it cannot be read (as given, for a picture that is not there).

    Upright, RGB, short side `side_px`; of a banner the middle.
    """
    if isinstance(given, Missing):
        return given.why
    try:
        data = given if isinstance(given, bytes) else read_place(given)
        with open_picture(data) as opened:
            pixels = _plain_jpeg(data, opened, side_px)
            if pixels is not None and min(pixels.shape[:2]) == side_px:
                return _middle(pixels, side_px)
            return _middle(_resized(opened if pixels is None else Image.fromarray(pixels), side_px), side_px)
    except FileNotFoundError:
        return "no such file"
    except UnidentifiedImageError:  # its own words name an object in memory
        return "no picture of a known format"
    except (OSError, ValueError, SyntaxError) as error:
        return " ".join(str(error).split()) or type(error).__name__


def _resized(opened: Image.Image, side_px: int) -> np.ndarray:
    opened.draft("RGB", (2 * side_px, 2 * side_px))  # JPEG: decode at a fraction where that is enough
    image = as_seen(opened)
    scale = side_px / min(image.size)
    width, height = (max(side_px, round(length * scale)) for length in image.size)
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _middle(pixels: np.ndarray, side_px: int) -> np.ndarray:
    """The picture; a banner's middle, so that one odd picture cannot swell every batch."""
    limit = 2 * side_px
    height, width = pixels.shape[:2]
    top, left = max(0, (height - limit) // 2), max(0, (width - limit) // 2)
    return np.ascontiguousarray(pixels[top : top + limit, left : left + limit])


def _plain_jpeg(data: bytes, opened: Image.Image, side_px: int) -> np.ndarray | None:
    """The pixels of an upright YCbCr JPEG that is decoded in full size; None for all others, and without simplejpeg."""
    if (
        not has_simplejpeg() or opened.format != "JPEG" or min(opened.size) >= 4 * side_px
    ):  # from there on `draft` halves
        return None
    with suppress(ValueError, SyntaxError, TypeError, KeyError, OverflowError):  # damaged: Pillow decides and says why
        import simplejpeg

        if simplejpeg.decode_jpeg_header(data)[2] == "YCbCr" and opened.getexif().get(0x0112, 1) == 1:
            return simplejpeg.decode_jpeg(data, "RGB", fastdct=False, fastupsample=False, strict=True)
    return None


@cache
def has_simplejpeg() -> bool:
    """Whether the faster decoder is installed."""
    return find_spec("simplejpeg") is not None
