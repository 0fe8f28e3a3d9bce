"""Display copies of pictures: turned upright, stripped of everything but pixels, small enough for a phone's connection."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.files import whole

LONGEST_SIDE = 1600  # px
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
# A picture that would decode to more is not shown: a few kilobytes can unpack to gigabytes.
_MOST_PIXELS = 178_000_000


def display_copy(pictures: Path | None, image_id: str) -> Path | None:
    """The file to show for a picture, made on first use in `display/` beside the folder of originals; None if there is none."""
    if pictures is None or not _IMAGE_ID.fullmatch(image_id):
        return None
    copy = pictures.parent / "display" / image_id[:2] / f"{image_id}.jpg"
    if copy.exists():
        return copy
    original = _original(pictures, image_id)
    if original is None:
        return None
    try:
        upright = _upright(original)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # the page then offers 'cannot see the picture'
    with whole(copy) as part:
        upright.save(part, "JPEG", quality=88, optimize=True)
    return copy


def has_picture(pictures: Path | None, image_id: str) -> bool:
    """Whether the folder of originals holds a picture."""
    return (
        pictures is not None and _IMAGE_ID.fullmatch(image_id) is not None and _original(pictures, image_id) is not None
    )


def _original(pictures: Path, image_id: str) -> Path | None:
    found = sorted((pictures / image_id[:2]).glob(f"{image_id}.*"))
    return next((path for path in found if path.suffix != ".part"), None)


def _upright(original: Path) -> Image.Image:
    """The first frame, upright, on white, at most LONGEST_SIDE px, RGB, without metadata."""
    with Image.open(original) as opened:
        if opened.width * opened.height > _MOST_PIXELS:
            raise ValueError("too large")
        opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG decodes at a fraction of its size, much faster
        turned = ImageOps.exif_transpose(opened)
        turned.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
            layer = turned.convert("RGBA")
            white = Image.new("RGBA", layer.size, "white")
            turned = Image.alpha_composite(white, layer)
        clean = Image.new("RGB", turned.size)
        clean.paste(turned.convert("RGB"))  # a new image: no EXIF, no comment, no color profile comes along
        return clean
