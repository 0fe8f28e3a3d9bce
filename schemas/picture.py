"""A picture as a person sees it: turned upright, transparency on white, 8 bits a channel.

What is hashed, shown to workers and trained on must be the same picture, so every part opens pictures through this file.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.storage import is_remote, read_place

if TYPE_CHECKING:
    from PIL import Image

# Only formats that product photos come in. Pillow opens many more, some through outside programs (EPS runs Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "JPEG2000")


class TooManyPixels(ValueError):
    """The header promises more pixels than anyone wants to decode."""


def reuse_memory() -> None:
    """Let Pillow keep a few freed blocks (8, of 16 MB at most) for the next picture, instead of giving them back each time.

    Fresh pages from the system cost more than decoding into them: a 400 px JPEG decodes in 60 % of the time.
    """
    from PIL import Image

    Image.core.set_blocks_max(8)  # type: ignore[attr-defined]


def open_picture(source: Path | str | bytes, max_pixels: int = 178_000_000) -> Image.Image:
    """The picture at a path, at an `s3://` place or in bytes, its header read and its pixels not yet.

    Raises TooManyPixels above `max_pixels`, and UnidentifiedImageError or OSError for what is no picture.
    """
    from PIL import Image

    if not isinstance(source, bytes) and is_remote(source):
        source = read_place(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # our own limit below is lower than the size that Pillow warns of
        try:
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
        except Image.DecompressionBombError as error:
            raise TooManyPixels("more than 178 megapixels") from error
    if image.width * image.height > max_pixels:
        image.close()
        raise TooManyPixels(f"{image.width} x {image.height}")
    return image


def draft(image: Image.Image, side_px: int, gray: bool = False) -> None:
    """Let a JPEG decode at its smallest fraction that is no smaller than `side_px` each way; other formats decode in full.

    Its own brightness and color stay apart (YCbCr), so that `luma` is the same with `gray`, which skips the color.
    """
    # Only what is surely stored as YCbCr: libjpeg refuses to make it of an RGB JPEG
    plain = [layer[0] for layer in getattr(image, "layer", ())] == [1, 2, 3]
    stored = image.mode == "RGB" and plain and image.info.get("adobe_transform", 1) == 1
    image.draft(("L" if gray else "YCbCr") if stored else None, (side_px, side_px))


def upright(image: Image.Image) -> Image.Image:
    """The picture upright, 8 bits a channel, transparent parts white, in L, RGB or, after `draft`, YCbCr.

    Loads all pixels; raises OSError when they are cut off.
    """
    from PIL import Image, ImageOps

    image.load()  # Pillow's verify() passes files that are cut in half
    with contextlib.suppress(SyntaxError, ValueError, TypeError, KeyError, OverflowError):  # a damaged EXIF block
        if image.getexif().get(0x0112, 1) != 1:  # upright already: exif_transpose would copy it
            image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode in ("L", "RGB", "YCbCr") else image.convert("RGB")


def as_seen(image: Image.Image) -> Image.Image:
    """The picture upright, in 8-bit RGB, transparent parts white. Loads all pixels; raises OSError when they are cut off."""
    image = upright(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def luma(image: Image.Image) -> Image.Image:
    """The brightness of a picture that is upright, in 8 bits."""
    if image.mode == "L":
        return image
    return image.getchannel(0) if image.mode == "YCbCr" else image.convert("L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A picture of 16, 32 or float bits in 8: Pillow's own convert() clips, which turns nearly everything white."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16"):
        return Image.fromarray((values / 257).round().astype(np.uint8))
    values = np.nan_to_num(values)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / ((high - low) or 1))).round().astype(np.uint8))


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as a person sees them, from the header alone."""
    from PIL import Image

    try:
        # Not the PNG's own getexif: it loads the pixels, and after a load that failed Pillow's next one finds no fault
        turned = Image.Image.getexif(image).get(0x0112, 1) in (5, 6, 7, 8)
    except (SyntaxError, ValueError, TypeError, KeyError, OSError):
        turned = False
    return (image.height, image.width) if turned else (image.width, image.height)
