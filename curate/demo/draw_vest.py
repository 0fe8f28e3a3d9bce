"""One sleeveless top as a camera sees it: lying flat, worn, its neck from close by, on a hanger. The cut of the neck is its class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from curate.demo.draw import Array, Canvas, Color, box, canvas, disc, hsv, rod
from curate.demo.draw_apron import photo_size
from curate.demo.draw_fabric import PRINTS, Print, choose_print, paint

VIEWS = ("flat", "worn", "detail", "hanger")
CLOTH = 240.0  # cloth units in a top's height
TOP = np.float32(-0.5)  # where the shoulders are; the hem is at 0.5

# half width and depth of the cut, in heights of the top
CUTS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "round": ((0.11, 0.14), (0.09, 0.14)), "v": ((0.1, 0.14), (0.17, 0.27)), "square": ((0.11, 0.15), (0.11, 0.17)),
    "boat": ((0.16, 0.19), (0.035, 0.055)), "high": ((0.075, 0.09), (0.05, 0.09)), "halter": ((0.06, 0.08), (0.05, 0.09)),
    "sweetheart": ((0.14, 0.17), (0.17, 0.23)), "band": ((0.085, 0.1), (0.1, 0.16)),
}  # fmt: skip


@dataclass(frozen=True)
class Vest:
    """One product: its neck, its cloth and how it is cut."""

    style: str
    cloth: Print
    neck: float  # half width of the cut
    deep: float
    wide: float  # half width below the arms
    shoulder: float  # half width at the top
    trim: Color
    rim: float  # width of the binding, 0 = none
    hard: bool  # bound in its own color and less deep: people and models will err here


def choose_vest(rng: np.random.Generator, style: str, hard: bool = False) -> Vest:
    """A new top with a neck of that class, of any cloth."""
    cloth = choose_print(rng, "plain" if rng.random() < 0.6 else str(rng.choice(PRINTS[1:])))
    (narrow, broad), (shallow, deep) = CUTS[style]
    neck = float(rng.uniform(narrow, broad))
    trims = [cloth.base, cloth.base, cloth.ink, hsv(rng.uniform(), 0.2, 0.25)]
    trim = cloth.base if hard else trims[int(rng.integers(len(trims)))]
    return Vest(
        style=style,
        cloth=cloth,
        neck=neck,
        deep=float(rng.uniform(shallow, deep)) * (0.72 if hard else 1.0),
        wide=float(rng.uniform(0.25, 0.33)),
        shoulder=neck + float(rng.uniform(0.035, 0.05) if style == "sweetheart" else rng.uniform(0.05, 0.1)),
        trim=trim,
        rim=0.0 if hard else float(rng.choice([0.0, rng.uniform(0.008, 0.014)], p=[0.3, 0.7])),
        hard=hard,
    )


def draw_vest(vest: Vest, view: str, rng: np.random.Generator) -> Image.Image:
    """A photo of the top in one of VIEWS."""
    return {"flat": _flat, "worn": _worn, "detail": _detail, "hanger": _hanger}[view](vest, rng)


def panel(vest: Vest, x: Array, y: Array) -> Array:
    """Distance to the edge of the cloth before the neck is cut, positive inside."""
    side = np.abs(x)
    t = np.clip((y - TOP) / np.float32(0.34), 0, 1)  # 0 at the shoulder, 1 under the arm
    if vest.style == "halter":
        half = (vest.neck + 0.02) + (vest.wide - vest.neck - 0.02) * t**1.6
    else:
        half = vest.shoulder + (vest.wide - vest.shoulder) * t**5 - 0.03 * np.sin(np.pi * t)
    half = half - 0.02 * np.sin(np.pi * np.clip((y + np.float32(0.16)) / np.float32(0.66), 0, 1))
    slope = TOP + np.float32(0.2) * np.maximum(side - np.float32(vest.neck), 0)
    return np.minimum(np.minimum((half - side) * np.float32(0.85), y - slope), np.float32(0.5) - y).astype(np.float32)


def cut(vest: Vest, x: Array, y: Array) -> Array:
    """Distance to the edge of the neck's opening, positive inside the opening."""
    n, d, side, down = np.float32(vest.neck), np.float32(vest.deep), np.abs(x), y - TOP
    if vest.style in ("round", "boat", "halter"):
        return disc(x, down, vest.neck, vest.deep)
    if vest.style == "v":
        return ((d * (1 - side / n) - down) * (n / np.hypot(n, d))).astype(np.float32)
    if vest.style == "square":
        return np.minimum(n - side, d - down)
    if vest.style == "sweetheart":  # two bows that meet in a point
        bow = d * (1 - np.float32(0.5) * np.sin(np.pi * np.clip(side / n, 0, 1)))
        return np.minimum(n - side, (bow - down) * np.float32(0.6))
    if vest.style == "band":  # a slit below a standing band
        return ((d * (1 - side / np.float32(0.022)) - down) * np.float32(0.15)).astype(np.float32)
    return np.full_like(x, -9)


def _collar(vest: Vest, to: Canvas, x: Array, y: Array) -> None:
    """What stands above the shoulders: a high neck, a band, the loop of a halter."""
    n, rng = vest.neck, to.rng
    if vest.style == "high":
        edge = box(x, y - TOP + np.float32(0.03), n, vest.deep, 0.012)
        mask = to.lay(_cloth(vest, to, x, y), edge)
        ribs = (
            1 - np.float32(0.12) * np.abs(np.sin(x * 160)) - np.float32(0.25) * np.exp(-((y - TOP - 0.04) ** 2) * 4000)
        )
        to.shade(ribs.astype(np.float32), mask)
    if vest.style == "band":
        edge = np.minimum(box(x, y - TOP + np.float32(0.008), n, 0.032, 0.012), np.abs(x) - np.float32(0.008))
        mask = to.lay(vest.trim if vest.rim else _cloth(vest, to, x, y), edge)
        to.shade((1 - 0.3 * np.exp(-((y - TOP - 0.026) ** 2) * 9000)).astype(np.float32), mask)
        for i in range(3):  # buttons below the slit
            to.lay(hsv(0.1, 0.1, 0.9), disc(x, y - TOP - np.float32(vest.deep + 0.035 + 0.06 * i), 0.009, 0.009))
    if vest.style == "halter":
        tall = float(rng.uniform(0.1, 0.14))
        ring = np.abs(np.hypot(x / np.float32(n + 0.01), (y - TOP) / np.float32(tall)) - 1) * np.float32(n)
        to.lay(vest.trim, np.minimum(np.float32(0.013) - ring, TOP + np.float32(0.01) - y))


def _cloth(vest: Vest, to: Canvas, x: Array, y: Array) -> Array:
    return paint(vest.cloth, x * np.float32(CLOTH), y * np.float32(CLOTH), CLOTH * to.px)


def _dress(vest: Vest, to: Canvas, x: Array, y: Array) -> None:
    """Lay the front on the picture: cloth, wrinkles, bindings, what stands above."""
    rng = to.rng
    whole, opening = panel(vest, x, y), cut(vest, x, y)
    edge = np.minimum(whole, -opening)
    to.shadow(edge, 0.25, 4, 2, 3)
    mask = to.lay(_cloth(vest, to, x, y), edge)
    fold = np.sin(x * rng.uniform(8, 16) + y * rng.uniform(-5, 5) + rng.uniform(0, 6.3)) * np.clip(y + 0.2, 0, 1)
    wrinkle = np.sin(x * rng.uniform(2, 5) + y * rng.uniform(6, 12) + rng.uniform(0, 6.3)) * np.float32(0.03)
    seam = np.exp(-(((edge - np.float32(0.018)) / np.float32(0.004)) ** 2))
    dim = 1 + 0.09 * fold + wrinkle - np.float32(0.2) * np.exp(-np.maximum(edge, 0) / np.float32(0.015)) - 0.1 * seam
    to.shade(dim.astype(np.float32), mask)
    if vest.rim:
        sides = np.minimum(edge, np.float32(vest.rim) - edge)
        to.lay(vest.trim, np.minimum(sides, np.float32(0.47) - y))
    _collar(vest, to, x, y)


def _back(vest: Vest, to: Canvas) -> None:
    """The inside of the back, seen through the neck."""
    if vest.style == "halter":
        return
    low = disc(to.x, to.y - TOP, vest.neck, 0.025)
    edge = np.minimum(panel(vest, to.x, to.y), -low)
    inside = tuple(0.62 * c for c in vest.cloth.base)
    to.lay(inside, edge)


def _flat(vest: Vest, rng: np.random.Generator) -> Image.Image:
    size = photo_size(rng)
    high = min(size[1] * float(rng.uniform(0.74, 0.84)), size[0] * 1.15)
    at = (float(rng.uniform(-0.04, 0.04)), float(rng.uniform(0.0, 0.06)))
    to = canvas(rng, size, high, float(rng.normal(0, 5)), at)
    to.shadow(panel(vest, to.x, to.y), float(rng.uniform(0.25, 0.5)), float(rng.uniform(4, 9)), rng.uniform(-4, 5), 5)
    _back(vest, to)
    _dress(vest, to, to.x, to.y)
    return to.picture()


def _hanger(vest: Vest, rng: np.random.Generator) -> Image.Image:
    size = photo_size(rng)
    to = canvas(rng, size, size[1] * float(rng.uniform(0.7, 0.78)), float(rng.normal(0, 3)), (0.0, 0.08))
    wood: Color = hsv(rng.uniform(0.06, 0.1), 0.5, rng.uniform(0.4, 0.75))
    x, y = to.x, to.y
    ring = np.abs(np.hypot(x, y - TOP + np.float32(0.13)) - np.float32(0.035))
    to.lay((0.55, 0.55, 0.57), np.maximum(np.float32(0.006) - ring, rod(x, y, (0, -0.6), (0, -0.5), 0.006)))
    to.shadow(panel(vest, x, y), 0.35, 9, 6, 6)
    _back(vest, to)
    to.lay(wood, rod(np.abs(x), y, (0, -0.525), (vest.shoulder + 0.03, -0.465), 0.014))
    _dress(vest, to, x, y)
    return to.picture()


def _person(vest: Vest, to: Canvas) -> None:
    """Who wears it: head, neck, arms, chest, trousers."""
    x, y, rng = to.x, to.y, to.rng
    skin: Color = hsv(rng.uniform(0.05, 0.09), rng.uniform(0.25, 0.6), rng.uniform(0.4, 0.95))
    if rng.random() < 0.3:
        skin = (0.9, 0.89, 0.87)  # a mannequin
    mirrored, reach = np.abs(x), vest.wide + float(rng.uniform(0.0, 0.07))
    arms = rod(mirrored, y, (vest.wide - 0.02, -0.4), (reach + 0.06, 0.0), 0.06)
    arms = np.maximum(arms, rod(mirrored, y, (reach + 0.06, 0.0), (reach + float(rng.uniform(-0.1, 0.08)), 0.36), 0.05))
    chest = np.maximum(
        box(x, y + np.float32(0.2), vest.wide - 0.03, 0.27, 0.12), rod(x, y, (0, -0.45), (0, -0.62), 0.07)
    )
    head = disc(x, y + np.float32(0.78), 0.11, 0.15)
    to.shadow(np.maximum(np.maximum(arms, chest), head), 0.3, 9, 6, 4)
    hair = hsv(rng.uniform(0.03, 0.1), rng.uniform(0.2, 0.6), rng.uniform(0.08, 0.5))
    if rng.random() < 0.4:
        to.lay(hair, box(x, y + np.float32(0.68), 0.135, 0.2, 0.1))
    body = to.lay(skin, np.maximum(np.maximum(arms, chest), head))
    to.shade((1.02 - 1.2 * x * x).astype(np.float32).clip(0.75, 1.02), body)
    to.shade((1 - 0.18 * np.exp(-((y + 0.63) ** 2) * 900)).astype(np.float32), body)  # the chin's shadow
    trousers = hsv(rng.uniform(), rng.uniform(0.0, 0.5), rng.uniform(0.1, 0.8))
    to.lay(trousers, box(x, y - np.float32(0.6), vest.wide - 0.01, 0.22, 0.03))


def _worn(vest: Vest, rng: np.random.Generator) -> Image.Image:
    size = photo_size(rng)
    to = canvas(
        rng,
        size,
        size[1] * float(rng.uniform(0.62, 0.76)),
        float(rng.normal(0, 3)),
        (float(rng.uniform(-0.06, 0.06)), 0.14),
    )
    _person(vest, to)
    around = (to.x * (1.0 + 0.3 * to.x * to.x)).astype(np.float32)  # cloth wraps around a body
    _dress(vest, to, around, to.y)
    return to.picture()


def _detail(vest: Vest, rng: np.random.Generator) -> Image.Image:
    """The neck from close by, lying or worn."""
    size = photo_size(rng)
    at = (float(rng.uniform(-0.05, 0.05)), float(rng.uniform(0.28, 0.38)))
    to = canvas(rng, size, size[1] * float(rng.uniform(1.25, 1.6)), float(rng.normal(0, 9)), at)
    if rng.random() < 0.4:
        _person(vest, to)
    else:
        to.shadow(panel(vest, to.x, to.y), 0.4, 10, 4, 6)
        _back(vest, to)
    _dress(vest, to, to.x, to.y)
    return to.picture()
