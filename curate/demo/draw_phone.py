"""One phone case as a camera sees it: lying flat, at an angle, in a hand, from close by. All views show the same print."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from curate.demo.draw import Array, Canvas, Color, box, canvas, disc, hsv, rod
from curate.demo.draw_apron import photo_size
from curate.demo.draw_fabric import Print, choose_print, paint

VIEWS = ("front", "angle", "hand", "detail")
PRINT = 340.0  # cloth units in one unit of the picture: prints on cases are smaller than on aprons


@dataclass(frozen=True)
class Case:
    """One product: its print and how it is cut."""

    cloth: Print
    wide: float  # half width, in picture heights
    tall: float  # half height
    round: float  # of the corners
    camera: str  # corner, bar, disc
    rim: Color
    shine: float  # how glossy it is

    @property
    def hard(self) -> bool:
        """Tiny or faint print: people and models will err here."""
        return self.cloth.hard


def choose_case(rng: np.random.Generator, pattern: str, hard: bool = False) -> Case:
    """A new case with a print of that class."""
    cloth = choose_print(rng, pattern, hard)
    rims = [cloth.base, cloth.ink, hsv(0, 0, 0.08), hsv(0, 0, 0.93)]
    wide = float(rng.uniform(0.17, 0.21))
    return Case(
        cloth=cloth,
        wide=wide,
        tall=wide * float(rng.uniform(1.9, 2.15)),
        round=float(rng.uniform(0.035, 0.07)),
        camera=str(rng.choice(["corner", "bar", "disc"], p=[0.6, 0.2, 0.2])),
        rim=rims[int(rng.integers(len(rims)))],
        shine=float(rng.uniform(0.0, 0.3)),
    )


def draw_case(case: Case, view: str, rng: np.random.Generator) -> Image.Image:
    """A photo of the case in one of VIEWS."""
    return {"front": _front, "angle": _angle, "hand": _hand, "detail": _detail}[view](case, rng)


def _lay_case(case: Case, to: Canvas) -> None:
    """The case itself: print, rim, camera, gloss."""
    x, y = to.x, to.y
    body = box(x, y, case.wide, case.tall, case.round)
    mask = to.lay(paint(case.cloth, x * np.float32(PRINT), y * np.float32(PRINT), PRINT * to.px), body)
    to.lay(case.rim, np.minimum(body, np.float32(0.011) - body))
    to.shade((1 - 0.3 * np.exp(-np.maximum(body, 0) / np.float32(0.012))).astype(np.float32), mask)
    _camera(case, to, x, y)
    band = np.exp(-(((x + 0.55 * y + np.float32(to.rng.uniform(-0.2, 0.2))) / np.float32(0.07)) ** 2))
    to.shade((1 + np.float32(case.shine) * band).astype(np.float32), mask)


def _camera(case: Case, to: Canvas, x: Array, y: Array) -> None:
    w, top = case.wide, case.tall
    places: dict[str, tuple[float, float, float, float, list[tuple[float, float]]]] = {
        "corner": (-0.45 * w, -top + 0.5 * w, 0.4 * w, 0.42 * w, [(-0.18, -0.18), (0.18, 0.18), (-0.18, 0.18)]),
        "bar": (0.0, -top + 0.36 * w, 0.82 * w, 0.2 * w, [(-0.55, 0), (-0.2, 0), (0.15, 0)]),
        "disc": (0.0, -top + 0.6 * w, 0.42 * w, 0.42 * w, [(-0.16, -0.12), (0.16, -0.12), (0, 0.17)]),
    }
    cx, cy, half_w, half_h, eyes = places[case.camera]
    corner = half_h if case.camera == "disc" else 0.03
    to.lay((0.1, 0.1, 0.11), box(x - np.float32(cx), y - np.float32(cy), half_w, half_h, corner))
    for dx, dy in eyes:
        eye = disc(x - np.float32(cx + dx * w), y - np.float32(cy + dy * w), 0.13 * w, 0.13 * w)
        to.lay((0.3, 0.32, 0.36), eye)


def _photo(rng: np.random.Generator, zoom: tuple[float, float], turn: float, at: float = 0.05) -> Canvas:
    size = photo_size(rng)
    place = (float(rng.uniform(-at, at)), float(rng.uniform(-at, at)))
    return canvas(rng, size, min(size) * float(rng.uniform(*zoom)), turn, place)


def _shadow(case: Case, to: Canvas) -> None:
    to.shadow(box(to.x, to.y, case.wide, case.tall, case.round), float(to.rng.uniform(0.3, 0.5)), 6, 5, 6)


def _front(case: Case, rng: np.random.Generator) -> Image.Image:
    to = _photo(rng, (0.98, 1.15), float(rng.normal(0, 4)))
    _shadow(case, to)
    _lay_case(case, to)
    return to.picture()


def _angle(case: Case, rng: np.random.Generator) -> Image.Image:
    """Thrown on a table, in front of a second one of the same print that is seen from its back."""
    to = _photo(rng, (0.85, 1.0), float(rng.choice([-1, 1]) * rng.uniform(18, 55)))
    if rng.random() < 0.4:
        behind = box(to.x - np.float32(case.wide * 1.1), to.y + np.float32(0.06), case.wide, case.tall, case.round)
        to.shadow(behind, 0.35, 6, 4, 5)
        to.lay(tuple(0.8 * c for c in case.rim), behind)
    _shadow(case, to)
    _lay_case(case, to)
    return to.picture()


def _hand(case: Case, rng: np.random.Generator) -> Image.Image:
    """Held: a palm behind the case, a thumb on one side and three fingers on the other."""
    to = _photo(rng, (0.85, 0.98), float(rng.normal(0, 9)))
    x, y = to.x, to.y
    skin = hsv(rng.uniform(0.05, 0.09), rng.uniform(0.25, 0.6), rng.uniform(0.4, 0.95))
    side = np.float32(rng.choice([-1, 1]))
    low = float(rng.uniform(0.02, 0.16))
    arm = rod(x * side, y, (case.wide * 0.3, low + 0.12), (case.wide * 1.7, 0.75), 0.12)
    to.lay(skin, arm)
    _shadow(case, to)
    _lay_case(case, to)
    thumb = rod(x * side, y, (case.wide + 0.09, low + 0.14), (case.wide - 0.03, low - 0.05), 0.034)
    fingers = np.full_like(x, -9)
    for i in range(3):
        start = low - 0.02 + 0.085 * i
        finger = rod(x * side, y, (-case.wide - 0.05, start + 0.03), (-case.wide + 0.03, start), 0.03)
        fingers = np.maximum(fingers, finger)
    to.shadow(np.maximum(thumb, fingers), 0.3, 3, 2, 3)
    to.shade((1.04 - 0.5 * np.abs(y) * 0.2).astype(np.float32), to.lay(skin, np.maximum(thumb, fingers)))
    return to.picture()


def _detail(case: Case, rng: np.random.Generator) -> Image.Image:
    """A corner of it from close by."""
    size = photo_size(rng)
    zoom = rng.uniform(1.7, 2.4) * (1.3 if case.cloth.hard else 1.0)
    at = (float(rng.uniform(-0.08, 0.08)), float(rng.uniform(-0.25, 0.2)))
    to = canvas(rng, size, size[1] * zoom, float(rng.normal(0, 16)), at)
    _shadow(case, to)
    _lay_case(case, to)
    return to.picture()
