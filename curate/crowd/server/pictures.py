"""Display copies of pictures: turned upright, stripped of everything but pixels, small enough for a phone's connection."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

from curate.display import JPEG, upright
from schemas.errors import UserError
from schemas.files import whole
from schemas.storage import Bucket

_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger("curate.crowd")


@dataclass(frozen=True)
class Originals:
    """Where the original pictures are, and the folder on this machine that keeps the copies which are shown.

    Whoever knows an image_id is shown its picture; the ending of its name is found by looking, in a bucket by one request.
    """

    places: tuple[
        Path | str, ...
    ]  # folders like a workspace's `blobs/`, and s3:// places like them; looked at in this order
    display: Path
    _there: set[str] = field(
        default_factory=set, compare=False
    )  # found before: originals stay, and a look is a request

    def copy(self, image_id: str) -> Path | None:
        """The file to show for a picture, made on first use; None where there is none or it cannot be had."""
        if not _IMAGE_ID.fullmatch(image_id):
            return None
        copy = self._copy(image_id)
        if copy.exists():
            return copy
        try:
            original = self._original(image_id)
            copied = upright(original) if original is not None else None
        except UserError as error:  # S3 refuses, or does not answer
            _log.warning("picture %s: %s", image_id, error)
            return None
        except (OSError, SyntaxError, ValueError):
            return None  # the page then offers 'cannot see the picture'
        if copied is None:
            return None
        with whole(copy) as part:
            copied.save(part, "JPEG", **JPEG)
        return copy

    def has(self, image_id: str) -> bool:
        """Whether there is such a picture."""
        if not _IMAGE_ID.fullmatch(image_id):
            return False
        if image_id not in self._there:
            try:
                if not self._copy(image_id).exists() and self._original(image_id) is None:
                    return False
            except UserError as error:
                _log.warning("picture %s: %s", image_id, error)
                return False
            self._there.add(image_id)
        return True

    def _copy(self, image_id: str) -> Path:
        return self.display / image_id[:2] / f"{image_id}.jpg"

    def _original(self, image_id: str) -> Path | str | None:
        for place in self.places:
            if found := _look(place, image_id):
                return found
        return None


def _look(place: Path | str, image_id: str) -> Path | str | None:
    """The picture below one place."""
    if isinstance(place, Path):
        found = sorted((place / image_id[:2]).glob(f"{image_id}.*"))
        return next((path for path in found if path.suffix != ".part"), None)
    bucket = Bucket(place)
    return next((bucket.said(name) for name, _ in bucket.listed(f"{image_id[:2]}/{image_id}.")), None)
