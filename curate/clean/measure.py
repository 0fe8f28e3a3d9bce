"""What can be said of one picture from its bytes alone: its measures and hashes, or why it does not count.

Kept free of heavy imports: the processes of `curate check` load this file and little else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.clean.hashes import DRAFT_PX, HASH_ALGO, Frequencies, frequencies
from schemas.picture import TooManyPixels, draft, luma, open_picture, upright, upright_size
from schemas.storage import read_place

if TYPE_CHECKING:
    from PIL import Image

BLANK = 2.0  # standard deviation of the gray picture, of 255, below which there is nothing to see


@dataclass(frozen=True)
class Limits:
    """What a picture must be to count."""

    min_side_px: int = 64
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class Decoded:
    """A picture that was decoded once, reduced where its format can: all that its hashes and looks are made of."""

    picture: Image.Image  # upright; L, RGB or YCbCr
    gray: Image.Image
    low: Frequencies


def inspect(data: bytes, limits: Limits) -> dict[str, Any]:
    """What `curate check` writes about one picture's bytes: its columns of PICTURES, `dropped` among them.

    JPEGs are decoded reduced; that is enough for every measure here, and it catches files that are cut off.
    """
    return decode(data, limits, gray=True)[0]


def decode(data: bytes, limits: Limits, gray: bool = False) -> tuple[dict[str, Any], Decoded | None]:
    """What `inspect` says, and the decoded picture for who wants to know more; None where there are no pixels.

    With `gray` the color of a JPEG is not decoded; the columns are the same.
    """
    from PIL import UnidentifiedImageError

    try:
        image = open_picture(data, limits.max_pixels)
    except TooManyPixels as error:
        return {"dropped": f"too many pixels ({error})"}, None
    except UnidentifiedImageError:
        return {"dropped": f"not a picture (begins with {data[:16]!r})" if data else "not a picture (no bytes)"}, None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        return {"dropped": broken(error)}, None
    with image:
        return _measure(image, limits, gray)


def _measure(image: Image.Image, limits: Limits, gray: bool) -> tuple[dict[str, Any], Decoded | None]:
    width, height = upright_size(image)
    found: dict[str, Any] = {
        "format": "JPEG" if image.format == "MPO" else image.format,  # a JPEG with a preview appended, as phones write
        "mode": image.mode,
        "width_px": width,
        "height_px": height,
    }
    try:
        found["frames"] = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
        draft(image, DRAFT_PX, gray)
        picture = upright(image)
        brightness_of = luma(picture)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        return {**found, "dropped": broken(error)}, None
    decoded = Decoded(picture, brightness_of, frequencies(brightness_of))
    pixels = np.asarray(_fit(decoded.gray)).astype(np.int16)
    coarse, fine = decoded.low.hashes()
    brightness, spread = _mean_and_variance(pixels)
    found |= {
        "hash_algo": HASH_ALGO,
        "phash64": coarse,
        "phash256": fine,
        "sharpness": _sharpness(pixels),
        "brightness": brightness,
    }
    if min(width, height) < limits.min_side_px:
        found["dropped"] = f"too small ({width} x {height})"
    elif spread < BLANK**2:
        found["dropped"] = "blank"
    return found, decoded


def broken(error: Exception) -> str:
    """The reason of a picture whose decoding raised this."""
    return f"broken: {str(error).splitlines()[0][:100] if str(error) else type(error).__name__}"


def _fit(gray: Image.Image) -> Image.Image:
    """The gray picture with its longer side at 128 px, so that measures of different pictures compare."""
    from PIL import Image

    scale = DRAFT_PX / max(gray.size)
    size = (max(1, round(gray.width * scale)), max(1, round(gray.height * scale)))
    return gray.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)


def _sharpness(pixels: np.ndarray) -> float:
    """Variance of the Laplacian; 0 where there is no inside."""
    if min(pixels.shape) < 3:
        return 0.0
    around = pixels[:-2, 1:-1] + pixels[2:, 1:-1]
    around += pixels[1:-1, :-2]
    around += pixels[1:-1, 2:]
    around -= 4 * pixels[1:-1, 1:-1]
    return _mean_and_variance(around)[1]


def _mean_and_variance(values: np.ndarray) -> tuple[float, float]:
    """Of whole numbers below 2^11 in int16: their sums are exact in doubles, whatever the order."""
    flat = values.ravel().astype(np.float64)
    mean = float(flat.sum()) / flat.size
    return mean, float(flat @ flat) / flat.size - mean**2


def inspect_file(job: tuple[int, str, Limits]) -> tuple[int, dict[str, Any]]:
    """The job's position with what `inspect` says of the picture at its place; the step of a process pool."""
    position, path, limits = job
    try:
        data = read_place(path)
    except OSError as error:
        return position, {"dropped": f"broken: its file cannot be read ({error.strerror})"}
    return position, inspect(data, limits)
