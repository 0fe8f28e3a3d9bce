"""Why a picture that opens well does not count all the same: its shape, its movement, nothing in it, or nothing but words.

Judged on the copy that was decoded for the hashes. A task keeps a kind with `pictures: {keep: [animated]}` in its file.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curate.clean.measure import Decoded, Limits
from curate.clean.text_only import is_text_only

if TYPE_CHECKING:
    from PIL import Image

KEEPABLE = ("odd shape", "animated", "text only", "low information", "placeholder")
INFORMATION = 0.025  # packed bytes a pixel below which there is nothing to label: a swatch, a gradient, two flat halves
WORDS = 0.23  # and above which it holds more than words; photos of the clothing train folder begin at 0.26


@dataclass(frozen=True)
class Rules(Limits):
    """What a picture must be to count, beyond its size."""

    max_aspect: float = 4.0  # longer side by the shorter one
    keep: frozenset[str] = frozenset()
    blur: bool = False  # decode all pixels and measure how sharp they are


def reason(decoded: Decoded, found: dict[str, Any], rules: Rules) -> dict[str, Any]:
    """`dropped` where a picture that was measured does not count; empty where it does, or has a reason already.

    Args:
        decoded: the picture.
        found: what `inspect` says of it; its own reason stands.
        rules: of the workspace.
    """
    if found.get("dropped"):
        return {}
    width, height = found["width_px"], found["height_px"]
    if max(width, height) > rules.max_aspect * min(width, height) and "odd shape" not in rules.keep:
        return {"dropped": f"odd shape ({width} x {height})"}
    if found["frames"] > 1 and "animated" not in rules.keep:
        return {"dropped": f"animated ({found['frames']} frames)"}
    held = information(decoded.gray)
    if "text only" not in rules.keep and held < WORDS and is_text_only(decoded.picture.convert("RGB")):
        return {"dropped": "text only"}
    if "low information" not in rules.keep and held < INFORMATION:
        return {"dropped": "low information"}
    return {}


def information(gray: Image.Image) -> float:
    """Packed bytes a pixel of a small copy in 64 levels of gray, 0 where all is one color; noise alone has about 0.5."""
    from PIL import Image

    small = np.asarray(gray.resize((64, 64), Image.Resampling.BOX)) >> 2
    steps = np.diff(small, axis=1, prepend=small[:, :1])  # a gradient packs as well as a flat color
    return len(zlib.compress(steps.tobytes(), 6)) / small.size


def blurred(gray: Image.Image) -> float:
    """Variance of the Laplacian of all pixels of a gray picture, in squared levels: below about 100 it looks blurred."""
    pixels = np.asarray(gray, np.float32)
    if min(pixels.shape) < 3:
        return 0.0
    inside = pixels[1:-1, 1:-1]
    around = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:]
    return float((around - 4 * inside).var())
