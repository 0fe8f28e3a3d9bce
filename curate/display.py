"""What workers see of a picture: turned upright, stripped of everything but pixels, small enough for a phone's connection."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from schemas.picture import as_seen, open_picture

LONGEST_SIDE = 1600  # px
JPEG: dict[str, Any] = {"quality": 88, "optimize": True}


def upright(original: Path | str) -> Image.Image:
    """The first frame as a person sees it, at most LONGEST_SIDE px, without metadata."""
    with open_picture(original) as opened:
        opened.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG decodes at a fraction of its size, much faster
        seen = as_seen(opened)
    seen.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", seen.size)
    clean.paste(seen)  # a new image: no EXIF, no comment, no color profile comes along
    return clean


def display_bytes(original: Path | str) -> bytes:
    """The display copy as a JPEG file; raises OSError, SyntaxError or ValueError where the picture does not open."""
    buffer = io.BytesIO()
    upright(original).save(buffer, "JPEG", **JPEG)
    return buffer.getvalue()
