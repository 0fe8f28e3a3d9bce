"""How a picture looks beyond its hash: in a mirror, without its border, in color. What finds and refuses twins.

Goes into the table LOOKS, once for each picture, by `curate check`; `curate dedup` compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curate.clean.borders import without_border
from curate.clean.hashes import DRAFT_PX, HASH_ALGO, phash64, phash256
from curate.clean.measure import inspect
from curate.clean.reasons import Rules, reason
from schemas.picture import as_seen, open_picture
from schemas.storage import read_place

if TYPE_CHECKING:
    from PIL import Image

LOOK_ALGO = f"look/1+{HASH_ALGO}"  # looks of different names never compare
GRID = 8  # color is compared in so many fields each way
INNER = 0.06  # share that the inner form leaves out on each side: near what was cropped by 3 to 9 %
DARKER = 0.6  # a copy may be so much darker, and its colors so much weaker


def look(seen: Image.Image) -> dict[str, Any]:
    """The columns of LOOKS of an upright RGB picture, reduced as for all hashes; those without a border have no trimmed hash."""
    trimmed = without_border(seen)
    found: dict[str, Any] = {"look_algo": LOOK_ALGO, "colors": colors(seen if trimmed is None else trimmed)}
    gray = seen.convert("L")
    x, y = round(gray.width * INNER), round(gray.height * INNER)
    inner = (x, y, max(x + 1, gray.width - x), max(y + 1, gray.height - y))
    found |= _hashes("mirror", _mirror(gray)) | _hashes("inner", gray.crop(inner))
    found["inner_colors"] = colors(seen.crop(inner))
    if trimmed is not None:
        gray = trimmed.convert("L")
        found |= _hashes("trimmed", gray) | _hashes("trimmed_mirror", _mirror(gray))
    return found


def colors(seen: Image.Image) -> bytes:
    """Mean Cb and Cr of 8 x 8 fields: 64 bytes of the one, 64 of the other, by rows."""
    from PIL import Image

    small = seen.resize((GRID, GRID), Image.Resampling.BOX).convert("YCbCr")
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


def see_file(job: tuple[int, str, Rules]) -> tuple[int, dict[str, Any]]:
    """The job's position with everything that `curate check` writes of the picture at its place; the step of a process pool.

    The columns of LOOKS stand under `look`, where the picture has pixels.
    """
    position, path, rules = job
    try:
        data = read_place(path)
    except OSError as error:
        return position, {"dropped": f"broken: its file cannot be read ({error.strerror})"}
    found = inspect(data, rules)
    if "phash64" not in found:
        return position, found
    try:
        with open_picture(data, rules.max_pixels) as image:
            if not rules.blur:
                image.draft(None, (DRAFT_PX, DRAFT_PX))  # else all pixels are needed
            seen = as_seen(image)
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:  # what a reduced decode did not meet
        return position, {
            "dropped": f"broken: {str(error).splitlines()[0][:100] if str(error) else type(error).__name__}"
        }
    found["look"] = look(seen)
    return position, found | reason(seen, found, rules)


def _hashes(name: str, gray: Image.Image) -> dict[str, Any]:
    return {f"{name}64": phash64(gray), f"{name}256": phash256(gray)}


def _mirror(gray: Image.Image) -> Image.Image:
    from PIL import ImageOps

    return ImageOps.mirror(gray)
