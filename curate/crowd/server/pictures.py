"""Display copies of pictures: turned upright, stripped of everything but pixels, small enough for a phone's connection."""

from __future__ import annotations

import re
from pathlib import Path

from curate.display import JPEG, upright
from schemas.files import whole

_IMAGE_ID = re.compile(r"[0-9a-f]{64}")


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
        copied = upright(original)
    except (OSError, SyntaxError, ValueError):
        return None  # the page then offers 'cannot see the picture'
    with whole(copy) as part:
        copied.save(part, "JPEG", **JPEG)
    return copy


def has_picture(pictures: Path | None, image_id: str) -> bool:
    """Whether the folder of originals holds a picture."""
    return (
        pictures is not None and _IMAGE_ID.fullmatch(image_id) is not None and _original(pictures, image_id) is not None
    )


def _original(pictures: Path, image_id: str) -> Path | None:
    found = sorted((pictures / image_id[:2]).glob(f"{image_id}.*"))
    return next((path for path in found if path.suffix != ".part"), None)
