"""One apron as a camera sees it: lying flat, worn, from close by, folded. All views show the same cloth and cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from curate.demo.draw import Array, Canvas, Color, box, canvas, cover, disc, hsv, luma, rod
from curate.demo.draw_fabric import Print, choose_print, paint

CLOTH = 220.0  # cloth units in an apron's height
VIEWS = ("front", "worn", "detail", "folded")


@dataclass(frozen=True)
class Apron:
    """One product: its cloth and how it is cut."""

    cloth: Print
    bib: float  # half width at the top, in apron heights; 0 = a waist apron without bib
    skirt: float  # half width at the hem
    round: float  # how round the lower corners are
    pocket: str  # none, same, other (in the trim's color), two
    trim: Color  # straps, and the border when it has one
    border: float  # width of the border, 0 = none
    folds: float  # how much the skirt falls in folds

    @property
    def hard(self) -> bool:
        """Tiny or faint print: people and models will err here."""
        return self.cloth.hard


def choose_apron(rng: np.random.Generator, pattern: str, hard: bool = False) -> Apron:
    """A new apron with a print of that class."""
    cloth = choose_print(rng, pattern, hard)
    trims = [cloth.ink, cloth.ink2, hsv(rng.uniform(), 0.15, 0.25), hsv(0.09, 0.35, 0.55)]
    return Apron(
        cloth=cloth,
        bib=float(rng.uniform(0.17, 0.25)) if rng.random() < 0.85 else 0.0,
        skirt=float(rng.uniform(0.34, 0.46)),
        round=float(rng.uniform(0.01, 0.14)),
        pocket=str(rng.choice(["none", "same", "other", "two"], p=[0.3, 0.4, 0.2, 0.1])),
        trim=trims[int(rng.integers(len(trims)))],
        border=float(rng.uniform(0.012, 0.02)) if rng.random() < 0.35 else 0.0,
        folds=float(rng.uniform(0.3, 1.0)),
    )


def draw_apron(apron: Apron, view: str, rng: np.random.Generator) -> Image.Image:
    """A photo of the apron in one of VIEWS."""
    return {"front": _front, "worn": _worn, "detail": _detail, "folded": _folded}[view](apron, rng)


def photo_size(rng: np.random.Generator) -> tuple[int, int]:
    """Width and height of a marketplace's photo."""
    side = int(rng.integers(248, 313))
    return side, int(side * rng.choice([1.0, 1.0, 1.2]))


def outline(apron: Apron, x: Array, y: Array) -> Array:
    """Distance to the apron's edge, positive inside; y runs from -0.5 (top of the bib) to 0.5 (hem)."""
    top = -0.5 if apron.bib else -0.12
    half = np.full_like(y, apron.skirt)
    if apron.bib:
        t = np.clip((y + 0.5) / 0.42, 0, 1)
        half = apron.bib + (apron.skirt - apron.bib) * t**3 * (1.0 - 0.06 * (1 - t))
        half = half.astype(np.float32)
    half = half + np.float32(0.02) * np.clip(y, 0, 1)
    sides = (half - np.abs(x)) * np.float32(0.8)
    ends = np.minimum(y - top, np.float32(0.5) - y)
    r = np.float32(apron.round)
    corner_x, corner_y = np.maximum(r - sides, 0), np.maximum(r - (np.float32(0.5) - y), 0)
    rounded = np.where((corner_x > 0) & (corner_y > 0), r - np.hypot(corner_x, corner_y), np.float32(9))
    return np.minimum(np.minimum(sides, ends), rounded).astype(np.float32)


def _cloth(apron: Apron, to: Canvas, x: Array, y: Array, shift: tuple[float, float] = (0, 0)) -> Array:
    return paint(apron.cloth, x * CLOTH + shift[0], y * CLOTH + shift[1], CLOTH * to.px)


def _folds(apron: Apron, rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """Light and sideways bend of a skirt that falls in folds; none at the bib."""
    fall = np.clip(y + np.float32(0.15), 0, 1) * np.float32(apron.folds)
    wave = np.zeros_like(x)
    bend = np.zeros_like(x)
    for _ in range(3):
        frequency, phase, lean = rng.uniform(9, 24), rng.uniform(0, 6.3), rng.uniform(-1.5, 1.5)
        angle = (x * np.float32(frequency) + phase + y * np.float32(lean)).astype(np.float32)
        wave += np.sin(angle) * np.float32(0.11)
        bend += np.cos(angle) * np.float32(0.12 / frequency)
    wrinkle = np.sin(x * rng.uniform(3, 6) + y * rng.uniform(8, 14) + rng.uniform(0, 6.3)) * np.float32(0.03)
    return (1 + wave * fall * 1.4 + wrinkle).astype(np.float32), bend * fall


def _dress(apron: Apron, to: Canvas, x: Array, y: Array) -> None:
    """Lay the apron on the picture: straps, cloth, folds, border, pocket, seams."""
    rng = to.rng
    light, bend = _folds(apron, rng, x, y)
    edge = outline(apron, x + bend * np.float32(0.4), y)
    mask = to.lay(_cloth(apron, to, x + bend, y), edge)
    if apron.border:
        to.lay(apron.trim, np.minimum(edge, apron.border - edge))
    _pockets(apron, to, x + bend, y)
    seam = np.exp(-(((edge - np.float32(0.02 + apron.border)) / np.float32(0.004)) ** 2))
    rim = 1 - np.float32(0.22) * np.exp(-np.maximum(edge, 0) / np.float32(0.02)) - np.float32(0.1) * seam
    slope = 1 + np.float32(rng.uniform(-0.18, 0.18)) * x + np.float32(rng.uniform(-0.12, 0.05)) * y
    to.shade((light * np.clip(rim, 0.6, 1) * slope).astype(np.float32), mask)


def _pockets(apron: Apron, to: Canvas, x: Array, y: Array) -> None:
    if apron.pocket == "none":
        return
    low = 0.08 if apron.bib else 0.15
    wide = apron.skirt * 0.45
    places = (
        [(0.0, wide)]
        if apron.pocket != "two"
        else [(-apron.skirt * 0.5, wide * 0.65), (apron.skirt * 0.5, wide * 0.65)]
    )
    for middle, half in places:
        edge = box(x - np.float32(middle), y - np.float32(low), half, 0.09, 0.02)
        flat: Array | Color = apron.trim if apron.pocket == "other" else _cloth(apron, to, x, y, (9, 13))
        to.shade(1 - np.float32(0.25) * cover(edge + np.float32(0.012), to.px * 4), np.ones_like(x))
        to.lay(flat, edge)
        hem = np.exp(-(((edge - np.float32(0.012)) / np.float32(0.004)) ** 2))
        to.shade(1 - np.float32(0.25) * hem.astype(np.float32), cover(edge, to.px))
        to.lay(apron.trim, np.minimum(edge, np.float32(low - 0.07) - y), 0.8)


def _straps(apron: Apron, to: Canvas, x: Array, y: Array, loop: bool = True) -> Array:
    """Lay neck loop and ties; returns the distance to all of them."""
    rng = to.rng
    width = np.float32(rng.uniform(0.012, 0.018))
    side = np.abs(x)
    waist = np.float32(-0.09 if apron.bib else -0.1)
    drop, sway = np.float32(rng.uniform(0.1, 0.35)), np.float32(rng.uniform(20, 34))
    along = side - np.float32(apron.skirt * 0.93)
    line = y - waist - drop * along - np.float32(0.012) * np.sin(along * sway)
    ties = np.minimum(width - np.abs(line), np.minimum(along, np.float32(rng.uniform(0.1, 0.24)) - along))
    if apron.bib and loop:
        tall = np.float32(rng.uniform(0.1, 0.17))
        ring = np.abs(np.hypot(x / np.float32(apron.bib * 0.86), (y + np.float32(0.49)) / tall) - 1) * np.float32(
            apron.bib * 0.8
        )
        ties = np.maximum(ties, np.minimum(width - ring, np.float32(-0.485) - y))
    to.shadow(ties, 0.25, 3, 2, 3)
    mask = to.lay(apron.trim, ties)
    to.shade(1 - np.float32(0.2) * np.abs(np.sin(x * 40)), mask)
    return ties


def _front(apron: Apron, rng: np.random.Generator) -> Image.Image:
    size = photo_size(rng)
    high = size[1] * rng.uniform(0.74, 0.84) * (1.0 if apron.bib else 1.25)
    high = min(high, size[0] * 0.95)
    at = (float(rng.uniform(-0.04, 0.04)), float(rng.uniform(0.02, 0.07)) if apron.bib else -0.18)
    to = canvas(rng, size, high, float(rng.normal(0, 5)), at)
    _straps(apron, to, to.x, to.y)
    to.shadow(
        outline(apron, to.x, to.y), float(rng.uniform(0.25, 0.5)), float(rng.uniform(4, 9)), rng.uniform(-4, 5), 5
    )
    _dress(apron, to, to.x, to.y)
    return to.picture()


def _worn(apron: Apron, rng: np.random.Generator) -> Image.Image:
    size = photo_size(rng)
    high = size[1] * rng.uniform(0.78, 0.92)
    to = canvas(rng, size, min(high, size[0]), float(rng.normal(0, 3)), (float(rng.uniform(-0.06, 0.06)), 0.16))
    x, y = to.x, to.y
    skin = hsv(rng.uniform(0.05, 0.09), rng.uniform(0.25, 0.6), rng.uniform(0.4, 0.95))
    if rng.random() < 0.3:
        skin = (0.9, 0.89, 0.87)  # a mannequin
    shirt = hsv(rng.uniform(), rng.uniform(0, 0.5), rng.uniform(0.15, 0.98))
    wide = float(rng.uniform(0.25, 0.3))
    lower = float(rng.uniform(0.36, 0.46))
    elbow = (wide + 0.1, float(rng.uniform(-0.12, 0.02)))
    hand = (wide + float(rng.uniform(-0.16, 0.12)), float(rng.uniform(0.1, 0.28)))
    arms = np.full_like(x, -9)
    hands = np.full_like(x, -9)
    mirrored = np.abs(x)
    arms = np.maximum(arms, rod(mirrored, y, (wide - 0.02, -0.5), elbow, 0.07))
    hands = np.maximum(hands, rod(mirrored, y, elbow, hand, 0.045))
    trunk = np.maximum(
        box(x, y + np.float32(0.2), wide, 0.38, 0.12), box(x, y - np.float32(0.4), lower - 0.08, 0.6, 0.1)
    )
    everything = np.maximum(np.maximum(trunk, arms), hands)
    to.shadow(everything, 0.3, 9, 6, 4)
    skin_mask = to.lay(skin, np.maximum(hands, rod(x, y, (0, -0.5), (0, -0.72), 0.085)))
    head = disc(x, y + np.float32(0.86), 0.13, 0.17)
    skin_mask = np.maximum(skin_mask, to.lay(skin, head))
    to.shade((1 - 0.5 * x * x * 9).astype(np.float32).clip(0.75, 1), skin_mask)
    shirt_mask = to.lay(shirt, np.maximum(trunk, arms))
    to.lay(skin, disc(x, y + np.float32(0.6), 0.09, 0.1))
    crease = 1 + np.float32(0.08) * np.sin(x * 25 + y * 9) - np.float32(0.9) * np.clip(np.abs(x) - wide + 0.07, 0, 0.3)
    to.shade(crease.astype(np.float32), shirt_mask)
    scale = 1.0 + 0.12 * (x / np.float32(0.4)) ** 2  # cloth wraps around a body, so it is seen narrower at the sides
    ax, ay = (x * scale).astype(np.float32), y
    if apron.bib:  # straps go up to the shoulders
        strap = rod(mirrored, y, (apron.bib * 0.85, -0.48), (wide * 0.55, -0.64), 0.018)
        to.lay(apron.trim, strap)
    to.shadow(outline(apron, ax, ay), 0.25, 4, 2, 3)
    _dress(apron, to, ax, ay)
    band = np.minimum(np.float32(0.02) - np.abs(y + np.float32(0.08)), np.float32(wide + 0.03) - np.abs(x))
    to.lay(apron.trim, np.minimum(band, np.abs(x) - np.float32(apron.skirt * 0.7)))
    body = (1.03 - 1.1 * x * x).astype(np.float32)
    to.shade(body, cover(outline(apron, ax, ay), to.px))
    return to.picture()


def _detail(apron: Apron, rng: np.random.Generator) -> Image.Image:
    """The cloth from close by, with a pocket, a hem or a strap in the corner of the eye."""
    size = photo_size(rng)
    zoom = rng.uniform(1.25, 2.0) * (1.5 if apron.cloth.hard else 1.0)
    at = (float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.2, 0.05)))
    to = canvas(rng, size, size[1] * zoom, float(rng.normal(0, 14)), at)
    to.shadow(outline(apron, to.x, to.y), 0.4, 10, 4, 6)
    _dress(apron, to, to.x, to.y)
    return to.picture()


def _folded(apron: Apron, rng: np.random.Generator) -> Image.Image:
    """Folded to a parcel: two or three layers, the straps tied around it or tucked in."""
    size = photo_size(rng)
    to = canvas(
        rng, size, size[0] * rng.uniform(0.95, 1.1), float(rng.normal(0, 12)), tuple(rng.uniform(-0.04, 0.04, 2))
    )
    x, y = to.x, to.y
    wide, tall = float(rng.uniform(0.3, 0.4)), float(rng.uniform(0.24, 0.36))
    parcel = box(x, y, wide, tall, 0.035)
    to.shadow(box(x, y - np.float32(0.03), wide, tall + 0.03, 0.04), 0.45, 7, 3, 7)
    back = tuple(0.75 * c + 0.1 * luma(apron.cloth.base) for c in apron.cloth.base)
    for layer in range(int(rng.integers(1, 4)), 0, -1):
        lower = to.lay(back, box(x, y - np.float32(0.018 * layer), wide - 0.004 * layer, tall, 0.035))
        to.shade(np.full_like(x, 0.85 - 0.08 * (layer % 2)), lower)
    zoom = np.float32(rng.uniform(0.8, 1.1))
    mask = to.lay(_cloth(apron, to, x * zoom, y * zoom, tuple(rng.uniform(0, 90, 2))), parcel)
    flap = y - np.float32(rng.uniform(-0.12, 0.12)) - np.float32(rng.uniform(-0.15, 0.15)) * x
    crease = 1 - np.float32(0.35) * np.exp(-np.maximum(flap, 0) / np.float32(0.02)) * (flap > 0)
    soft = 1 + np.float32(0.05) * np.sin(x * rng.uniform(6, 12) + y * 5 + rng.uniform(0, 6))
    rim = 1 - np.float32(0.25) * np.exp(-np.maximum(parcel, 0) / np.float32(0.02))
    to.shade((crease * soft * rim).astype(np.float32), mask)
    if rng.random() < 0.5:
        cord = np.minimum(np.float32(0.016) - np.abs(x - np.float32(rng.uniform(-0.1, 0.1))), parcel + np.float32(0.02))
        to.lay(apron.trim, cord)
    return to.picture()
