"""How a picture looks beyond its hash: in a mirror, without its border, in color. What finds and refuses twins.

Goes into the table LOOKS, once for each picture, by `curate check`; `curate dedup` compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curate.clean.borders import Box, border_box
from curate.clean.hashes import HASH_ALGO, Frequencies, frequencies
from curate.clean.measure import Decoded, broken, decode
from curate.clean.reasons import Rules, blurred, reason
from schemas.picture import draft, luma, open_picture, upright
from schemas.storage import read_place

if TYPE_CHECKING:
    from PIL import Image

LOOK_ALGO = f"look/1+{HASH_ALGO}"  # looks of different names never compare
GRID = 8  # color is compared in so many fields each way
INNER = 0.06  # share that the inner form leaves out on each side: near what was cropped by 3 to 9 %
DARKER = 0.6  # a copy may be so much darker, and its colors so much weaker


def look(decoded: Decoded) -> dict[str, Any]:
    """The columns of LOOKS of a picture; those without a border have no trimmed hash."""
    picture, gray = decoded.picture, decoded.gray
    border = border_box(picture)
    x, y = round(gray.width * INNER), round(gray.height * INNER)
    inner = (x, y, max(x + 1, gray.width - x), max(y + 1, gray.height - y))
    found: dict[str, Any] = {"look_algo": LOOK_ALGO, "colors": colors(picture, border)}
    found |= _hashes("mirror", decoded.low.mirrored()) | _hashes("inner", frequencies(gray.crop(inner)))
    found["inner_colors"] = colors(picture, inner)
    if border is not None:
        low = frequencies(gray.crop(border))
        found |= _hashes("trimmed", low) | _hashes("trimmed_mirror", low.mirrored())
    return found


def colors(picture: Image.Image, box: Box | None = None) -> bytes:
    """Mean Cb and Cr of 8 x 8 fields of the picture, or of a part of it: 64 bytes of the one, 64 of the other, by rows."""
    from PIL import Image

    if picture.mode == "L":
        return bytes([128]) * (2 * GRID * GRID)
    small = picture.resize((GRID, GRID), Image.Resampling.BOX, box)
    small = small if small.mode == "YCbCr" else small.convert("YCbCr")
    return np.asarray(small)[:, :, 1:].transpose(2, 0, 1).tobytes()


def color_distance(a: np.ndarray, b: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Mean difference of chroma, in levels of 255, of rows of two uint8 arrays [n, 128]; `mirrored` turns rows of a round.

    The stronger colors are first weakened to the others, to DARKER at most: a darker copy has weaker ones, not other ones.
    """
    fields = a.reshape(-1, 2, GRID, GRID).astype(np.float64) - 128
    fields = np.where(mirrored[:, None, None, None], fields[..., ::-1], fields)
    others = b.reshape(-1, 2, GRID, GRID).astype(np.float64) - 128
    swap = ((fields**2).sum(axis=(1, 2, 3)) < (others**2).sum(axis=(1, 2, 3)))[:, None, None, None]
    strong, weak = np.where(swap, others, fields), np.where(swap, fields, others)
    share = (strong * weak).sum(axis=(1, 2, 3)) / np.maximum((strong**2).sum(axis=(1, 2, 3)), 1e-9)
    return np.abs(strong * np.clip(share, DARKER, 1)[:, None, None, None] - weak).mean(axis=(1, 2, 3))


def is_gray(a: np.ndarray) -> np.ndarray:
    """True for each row of a uint8 array [n, 128] that holds no color at all."""
    return np.abs(a.astype(np.int16) - 128).max(axis=1) <= 3


def see(data: bytes, rules: Rules) -> dict[str, Any]:
    """Everything that `curate check` writes of one picture's bytes, from one decode, reduced where the format can.

    The columns of LOOKS stand under `look`, where the picture has pixels. With `rules.blur` a JPEG is decoded in full, too;
    all else is the same.
    """
    found, decoded = decode(data, rules)
    if decoded is None:
        return found
    if rules.blur:
        try:
            found["blur"] = blurred(_all_pixels(data, decoded.gray))
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:  # what a reduced decode did not meet
            return {"dropped": broken(error)}
    found["look"] = look(decoded)
    return found | reason(decoded, found, rules)


def see_file(job: tuple[int, str, Rules]) -> tuple[int, dict[str, Any]]:
    """The job's position with what `see` says of the picture at its place; the step of a process pool."""
    position, path, rules = job
    try:
        data = read_place(path)
    except OSError as error:
        return position, {"dropped": f"broken: its file cannot be read ({error.strerror})"}
    return position, see(data, rules)


def _all_pixels(data: bytes, gray: Image.Image) -> Image.Image:
    """The gray picture, decoded again where it was reduced."""
    with open_picture(data) as image:
        if sorted(image.size) == sorted(gray.size):
            return gray
        draft(image, max(image.size), gray=True)
        return luma(upright(image))


def _hashes(name: str, low: Frequencies) -> dict[str, Any]:
    coarse, fine = low.hashes()
    return {f"{name}64": coarse, f"{name}256": fine}
