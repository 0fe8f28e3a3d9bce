"""The bytes of one picture as they go out: the original ones, or a JPEG of what a person sees."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.picture import as_seen, open_picture
from schemas.storage import read_place

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 92  # of a JPEG we write; 4:2:0, as cameras do
JPEG = frozenset({".jpg", ".jpeg"})
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, MemoryError)  # what Pillow raises for broken files


@dataclass(frozen=True)
class Encoding:
    """How pictures go out. Hashable and small: it travels to the worker processes."""

    side: int | None = None  # pixels of the shorter side; a smaller picture is not enlarged. None: original bytes
    kept: frozenset[str] | None = None  # endings that the format's readers know; others become JPEG. None: all

    def keeps(self, path: str) -> bool:
        """Whether the original bytes of this picture go out."""
        return self.side is None and (self.kept is None or ending(path) in self.kept)

    def name(self, image_id: str, path: str) -> str:
        """File name of the picture in the export."""
        return image_id + (ending(path) if self.keeps(path) else ".jpg")


def ending(path: str) -> str:
    """The ending of a file name, lower case, with its dot."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - a Path costs more than reading a small picture


def reencode(data: bytes, side: int | None = None) -> tuple[bytes, int, int]:
    """A JPEG of the picture as a person sees it, with its width and height.

    Upright, transparent parts white, the first frame of an animation. Raises one of UNREADABLE for what is no picture.
    """
    with open_picture(data) as image:
        if side is not None:
            image.draft(None, (2 * side, 2 * side))  # JPEG decodes at 1/2, 1/4 or 1/8; others in full
        seen = _fit(as_seen(image), side)
    sink = io.BytesIO()
    seen.save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue(), seen.width, seen.height


def read_or_why(place: str) -> bytes | Exception:
    """The bytes of a picture, or why they cannot be had."""
    try:
        return read_place(place)
    except UNREADABLE as error:
        return error


def _fit(image: Image.Image, side: int | None) -> Image.Image:
    from PIL import Image

    scale = 1.0 if side is None else side / min(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS)
