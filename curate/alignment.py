"""Whether one picture lies inside another, cut out, padded, scaled or mirrored: what no hash of whole pictures can see.

The smaller picture is slid over the larger one at several sizes (normalized cross-correlation, small gray copies, both ways
round and mirrored). At the best place the two are compared again, finer and without their slow shades: the outline of jeans
on white fits all jeans, their seams and folds fit only the same photo.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from schemas.engine import each
from schemas.picture import as_seen, open_picture
from schemas.storage import threads_for

FINE_PX = 128  # longer side of the gray copy
COARSE_PX = 48  # and of the one for the first search
INSET = 0.06  # of the smaller picture's each side is not compared: both may be cut, a little, in different places
SCALES = tuple(0.94**step for step in range(9))  # the smaller picture's size, from all of the larger one to 61 % of it
FINE_SCALES = tuple(1 + step / 100 for step in range(-4, 5))
SMALL_SET = 500  # below this many pairs, starting processes takes longer than the work
Place = Path | str  # of a picture: a file, or s3://bucket/key
RADIUS = 3  # pixels around a pixel that count as its surroundings
NOISE = 6.0  # gray levels that a flat surface may vary by
PROMISING = 0.75  # correlation of the first search below which the second is not worth its time


@dataclass(frozen=True)
class Fit:
    """How well one picture fits into another."""

    detail: float  # correlation of the fine structure at the best place, 1 = the same; 0 where nothing was promising
    coarse: float  # correlation of the first search
    mirrored: bool


def gray_copy(path: Place) -> Image.Image:
    """A small gray copy, upright, of floats; raises OSError or ValueError where the picture cannot be read."""
    with open_picture(path) as image:
        image.draft(None, (2 * FINE_PX, 2 * FINE_PX))
        seen = as_seen(image).convert("L")
    scale = FINE_PX / max(seen.size)
    size = (max(8, round(seen.width * scale)), max(8, round(seen.height * scale)))
    return seen.resize(size, Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BILINEAR).convert("F")


def fit(a: Image.Image, b: Image.Image) -> Fit:
    """The best fit of two gray copies, whichever lies inside the other; the order of the two does not matter."""
    best = (-1.0, 0.0, False, False)
    small = [_scaled(image, COARSE_PX / FINE_PX) for image in (a, b)]
    for turned in (False, True):
        for mirrored in (False, True):
            inner, outer = small[::-1] if turned else small
            value, scale = _search(_mirror(inner) if mirrored else inner, outer, SCALES)[:2]
            best = max(best, (value, scale, turned, mirrored))
    coarse, scale, turned, mirrored = best
    if coarse < PROMISING:
        return Fit(0.0, coarse, mirrored)
    inner, outer = (b, a) if turned else (a, b)
    inner = _mirror(inner) if mirrored else inner
    _, scale, (top, left) = _search(inner, outer, [scale * near for near in FINE_SCALES if scale * near <= 1.001])
    template = _template(inner, outer, scale)
    height, width = template.shape
    window = np.asarray(outer)[top : top + height, left : left + width]
    return Fit(_correlation(_detail(template), _detail(window)), coarse, mirrored)


def fits(pairs: Sequence[tuple[Place, Place]]) -> Iterator[tuple[int, Fit | None]]:
    """The fit of every pair of files, with its position, as they are done; None where one cannot be read.

    Pairs that share their first picture should stand together: it is opened once. Many pairs go to several processes.
    """
    jobs: list[list[tuple[int, Place, Place]]] = []
    for at, (a, b) in enumerate(pairs):
        if not jobs or jobs[-1][-1][1] != a:
            jobs.append([])
        jobs[-1].append((at, a, b))
    few = len(pairs) < SMALL_SET
    threads = threads_for(place for pair in pairs for place in pair)
    for done in each(_fit_job, jobs, small=len(jobs) + 1 if few else 0, batch=8 * threads, threads=threads):
        yield from done


def _fit_job(job: list[tuple[int, Place, Place]]) -> list[tuple[int, Fit | None]]:
    """The fits of one picture with several others."""
    first = _copy_or_none(job[0][1])
    found: list[tuple[int, Fit | None]] = []
    for at, _, path in job:
        other = None if first is None else _copy_or_none(path)
        found.append((at, None if first is None or other is None else fit(first, other)))
    return found


def _copy_or_none(path: Place) -> Image.Image | None:
    try:
        return gray_copy(path)
    except (OSError, ValueError, SyntaxError, EOFError):
        return None


def same_pixels(a: Place, b: Place) -> bool:
    """True when two files show the same pixels, however they are packed; false where one cannot be read."""
    try:
        with open_picture(a) as one, open_picture(b) as other:
            x, y = as_seen(one), as_seen(other)
    except (OSError, ValueError, SyntaxError, EOFError):
        return False
    return x.size == y.size and x.tobytes() == y.tobytes()


def _mirror(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    size = (max(6, round(image.width * scale)), max(6, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BOX)


def _template(inner: Image.Image, outer: Image.Image, scale: float) -> np.ndarray:
    """The inner picture at `scale` of the largest size that fits into the outer one, without its rim."""
    ratio = min(outer.width / inner.width, outer.height / inner.height) * scale
    size = (
        max(6, min(outer.width, round(inner.width * ratio))),
        max(6, min(outer.height, round(inner.height * ratio))),
    )
    whole = np.asarray(inner.resize(size, Image.Resampling.BILINEAR))
    y, x = round(whole.shape[0] * INSET), round(whole.shape[1] * INSET)
    return whole[y : whole.shape[0] - y, x : whole.shape[1] - x]


def _search(inner: Image.Image, outer: Image.Image, scales: Iterable[float]) -> tuple[float, float, tuple[int, int]]:
    """Best normalized cross-correlation over scales and places: its value, the scale, the top left corner."""
    best = (-1.0, 1.0, (0, 0))
    field = np.asarray(outer, np.float64)
    field = field - field.mean()
    spectrum = np.fft.rfft2(field)
    sums, squares = _integral(field), _integral(field**2)
    for scale in scales:
        template = _template(inner, outer, scale).astype(np.float64)
        template = template - template.mean()
        norm = np.sqrt((template**2).sum())
        if norm < 1e-6:
            continue
        height, width = template.shape
        product = np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(template, field.shape)), field.shape)
        product = product[: field.shape[0] - height + 1, : field.shape[1] - width + 1]
        total = _windows(sums, height, width)
        energy = _windows(squares, height, width) - total**2 / (height * width)
        values = product / (norm * np.sqrt(np.maximum(energy, 1.0)))
        at = int(values.argmax())
        if values.flat[at] > best[0]:
            best = (float(values.flat[at]), scale, (at // values.shape[1], at % values.shape[1]))
    return best


def _integral(values: np.ndarray) -> np.ndarray:
    return np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def _windows(integral: np.ndarray, height: int, width: int) -> np.ndarray:
    """The sum of every window of that size."""
    return (
        integral[height:, width:]
        - integral[:-height, width:]
        - integral[height:, :-width]
        + integral[:-height, :-width]
    )


def _detail(values: np.ndarray) -> np.ndarray:
    """What differs from the mean of its surroundings, as a share of how much they vary: a seam weighs what an outline does."""
    high = values.astype(np.float64)
    high = high - _around(high)
    return high / (np.sqrt(np.maximum(_around(high**2), 0)) + NOISE)


def _around(values: np.ndarray) -> np.ndarray:
    """The mean of every pixel's surroundings."""
    side = 2 * RADIUS + 1
    return _windows(_integral(np.pad(values, RADIUS, mode="edge")), side, side) / side**2


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (np.sqrt((a**2).sum() * (b**2).sum()) + 1e-9))
