"""Printed cloth: a print is chosen once for a product and then painted wherever that product's cloth shows.

`u`, `v` are positions on the cloth in cloth units; an apron is about 220 units high, so a motif of 40 units is a big one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.demo.draw import Array, Color, cover, hsv, luma, mix

USUAL = 0.7  # share of prints in the colors that shops like for them
PRINTS = ("plain", "stripes", "checks", "dots", "floral", "zigzag", "stars", "hearts")


@dataclass(frozen=True)
class Print:
    """One printed cloth: its class, its colors and its measures."""

    kind: str
    base: Color
    ink: Color
    ink2: Color
    cell: float  # distance between motifs, cloth units
    fill: float  # share of a cell that the motif takes
    turn: float  # degrees
    variant: int
    table: Array  # [64, 4] random numbers, one row a cell of the lattice
    hard: bool  # tiny or faint: people and models will err here


def choose_print(rng: np.random.Generator, kind: str, hard: bool = False) -> Print:
    """A new print of a class. A hard one is tiny or faint."""
    faint = hard and kind != "plain" and rng.random() < 0.5
    base, ink, ink2 = _usual_colors(rng, kind) if rng.random() < USUAL and not faint else _colors(rng, faint)
    low, high = {"stripes": (16, 36), "checks": (26, 44), "zigzag": (26, 42), "dots": (28, 46)}.get(kind, (44, 66))
    cell = rng.uniform(low, high)
    if hard:
        cell = max(7.0, cell * rng.uniform(0.32, 0.55))
    turn = rng.choice([0, 90, 45, -45], p=[0.4, 0.3, 0.15, 0.15]) if kind in ("stripes", "zigzag") else 0.0
    if kind == "checks":
        turn = rng.choice([0, 45], p=[0.75, 0.25])
    turn = float(turn + rng.uniform(-4, 4))
    table = rng.random((64, 4), np.float32)
    return Print(kind, base, ink, ink2, cell, rng.uniform(0.36, 0.6), turn, int(rng.integers(4)), table, hard)


def _colors(rng: np.random.Generator, faint: bool) -> tuple[Color, Color, Color]:
    """Cloth, ink and a second ink; the ink stands out from the cloth unless it is faint."""
    hue = rng.uniform()
    light = rng.random() < 0.5
    base = hsv(hue, rng.uniform(0.02, 0.3), rng.uniform(0.86, 0.98)) if light else _dark(rng, hue)
    if faint:
        step = 0.12 if luma(base) < 0.5 else -0.12
        ink = tuple(float(np.clip(c + step, 0, 1)) for c in base)
        return base, ink, ink
    for _ in range(20):
        other = hue + rng.uniform(0.2, 0.8)
        ink = _dark(rng, other) if light else hsv(other, rng.uniform(0.0, 0.45), rng.uniform(0.85, 1.0))
        if abs(luma(ink) - luma(base)) > 0.28:
            break
    return base, ink, hsv(hue + rng.uniform(0.3, 0.7), 0.6, 0.85 if luma(base) < 0.5 else 0.6)


def _usual_colors(rng: np.random.Generator, kind: str) -> tuple[Color, Color, Color]:
    """Cloth, ink and second ink as such prints are mostly sold: hearts in red and pink, stars in white or gold on dark."""
    white = hsv(rng.uniform(0.08, 0.16), rng.uniform(0, 0.1), rng.uniform(0.93, 1.0))
    if kind == "hearts":
        red, pink = hsv(rng.uniform(-0.06, 0.02), 0.85, rng.uniform(0.7, 0.9)), hsv(rng.uniform(-0.08, 0), 0.3, 0.97)
        return (
            (white, red, pink)
            if rng.random() < 0.6
            else (pink, red, white)
            if rng.random() < 0.5
            else (red, white, pink)
        )
    if kind == "stars":
        night = hsv(rng.uniform(0.58, 0.7), rng.uniform(0.6, 0.9), rng.uniform(0.22, 0.45))
        gold = hsv(rng.uniform(0.12, 0.15), rng.uniform(0.5, 0.8), 0.95)
        return (night, gold, white) if rng.random() < 0.6 else (night, white, gold)
    if kind == "floral":
        warm = hsv(rng.uniform(-0.12, 0.12), rng.uniform(0.5, 0.85), rng.uniform(0.75, 0.95))
        cloth = white if rng.random() < 0.6 else hsv(rng.uniform(0.3, 0.6), 0.15, 0.92)
        return cloth, warm, hsv(0.14, 0.75, 0.95)
    if kind == "dots":
        strong = hsv(rng.uniform(), rng.uniform(0.6, 0.9), rng.uniform(0.4, 0.8))
        return (strong, white, white) if rng.random() < 0.75 else (white, strong, strong)
    if kind == "checks":
        strong = hsv(rng.choice([0.0, 0.6, 0.35, 0.1]) + rng.uniform(-0.03, 0.03), 0.8, rng.uniform(0.45, 0.75))
        return white, strong, hsv(rng.uniform(), 0.6, 0.5)
    return _colors(rng, faint=False)


def _dark(rng: np.random.Generator, hue: float) -> Color:
    return hsv(hue, rng.uniform(0.45, 0.9), rng.uniform(0.25, 0.75))


def paint(cloth: Print, u: Array, v: Array, px: float) -> Array:
    """Colors of the cloth at each (u, v); `px` is the width of a picture's pixel in cloth units."""
    a = np.radians(cloth.turn)
    c, s = np.float32(np.cos(a)), np.float32(np.sin(a))
    p, q = u * c + v * s, v * c - u * s
    return _PAINT[cloth.kind](cloth, p, q, max(px, 0.7))


def _plain(cloth: Print, u: Array, v: Array, px: float) -> Array:
    melange = np.sin(u * 0.9 + np.sin(v * 0.23) * 2) * np.sin(v * 1.1 + np.sin(u * 0.31) * 2)
    return mix(cloth.base, cloth.ink, (0.03 if cloth.hard else 0.012) * (melange + 1).astype(np.float32))


def _band(u: Array, period: float, width: float, px: float) -> Array:
    """Coverage of parallel bands."""
    return cover(width / 2 - np.abs(u % np.float32(period) - period / 2), px)


def _stripes(cloth: Print, u: Array, v: Array, px: float) -> Array:
    wide = _band(u, cloth.cell, cloth.cell * cloth.fill, px)
    color = mix(cloth.base, cloth.ink, wide)
    if cloth.variant == 1:  # a thin companion stripe
        color = mix(color, cloth.ink2, _band(u + cloth.cell / 2, cloth.cell, cloth.cell * 0.14, px))
    if cloth.variant == 2:  # every other stripe in the second ink
        color = mix(color, cloth.ink2, wide * ((u / (2 * cloth.cell)) % 1 < 0.5))
    return color


def _checks(cloth: Print, u: Array, v: Array, px: float) -> Array:
    width = cloth.cell * (0.5 if cloth.variant < 2 else 0.3)
    across, down = _band(u, cloth.cell, width, px), _band(v, cloth.cell, width, px)
    if cloth.variant == 0:  # gingham
        return mix(cloth.base, cloth.ink, (across + down) / 2)
    if cloth.variant == 1:  # chessboard
        return mix(cloth.base, cloth.ink, np.abs(across - down))
    if cloth.variant == 2:  # window panes
        lines = np.maximum(
            _band(u, cloth.cell, cloth.cell * 0.16 + 1, px), _band(v, cloth.cell, cloth.cell * 0.16 + 1, px)
        )
        return mix(cloth.base, cloth.ink, lines)
    color = mix(cloth.base, cloth.ink, across * 0.6)  # tartan
    color = mix(color, cloth.ink, down * 0.6)
    thin = cloth.cell * 0.09 + 0.5
    lines = np.maximum(_band(u + cloth.cell / 2, cloth.cell, thin, px), _band(v + cloth.cell / 2, cloth.cell, thin, px))
    return mix(color, cloth.ink2, lines)


def _zigzag(cloth: Print, u: Array, v: Array, px: float) -> Array:
    period = np.float32(cloth.cell * (1.5 if cloth.variant % 2 else 1.1))
    wave = np.abs((u / period) % 1 - np.float32(0.5)) * period * 1.1
    wide = _band(v + wave, cloth.cell * 0.75, cloth.cell * 0.75 * max(0.4, cloth.fill * 0.9), px * 1.4)
    color = mix(cloth.base, cloth.ink, wide)
    if cloth.variant == 2:
        color = mix(color, cloth.ink2, wide * (((v + wave) / (1.5 * cloth.cell)) % 1 < 0.5))
    return color


def _lattice(cloth: Print, u: Array, v: Array, jitter: float) -> tuple[Array, Array, Array]:
    """Position inside the nearest motif's own frame (unit = half a cell), and the random row of that motif."""
    cell = np.float32(cloth.cell)
    row = np.floor(v / cell)
    shift = (row % 2) * np.float32(0.5 if cloth.variant != 3 else 0.0)
    col = np.floor(u / cell + shift)
    own = cloth.table[((row * 11 + col * 5).astype(np.int32)) % 64]
    x = (u / cell + shift - col - np.float32(0.5)) * 2 - (own[..., 0] - np.float32(0.5)) * np.float32(jitter)
    y = (v / cell - row - np.float32(0.5)) * 2 - (own[..., 1] - np.float32(0.5)) * np.float32(jitter)
    return x, y, own


def _spin(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    c, s = np.cos(angle), np.sin(angle)
    return x * c + y * s, y * c - x * s


def _dots(cloth: Print, u: Array, v: Array, px: float) -> Array:
    x, y, own = _lattice(cloth, u, v, 0.0 if cloth.variant != 2 else 0.5)
    radius: Array | np.float32 = np.float32(0.35 + 0.55 * (cloth.fill - 0.36))
    if cloth.variant == 2:
        radius = radius * (np.float32(0.7) + np.float32(0.4) * own[..., 2])
    alpha = cover(radius - np.hypot(x, y), px * 2 / cloth.cell)
    color = mix(cloth.base, cloth.ink, alpha)
    if cloth.variant == 1:
        color = mix(color, cloth.ink2, alpha * (own[..., 3] < 0.4))
    return color


def _stars(cloth: Print, u: Array, v: Array, px: float) -> Array:
    x, y, own = _lattice(cloth, u, v, 0.2)
    x, y = _spin(x, y, (own[..., 2] - np.float32(0.5)) * np.float32(0.5 if cloth.variant < 2 else 6.0))
    fifth = np.float32(2 * np.pi / 5)
    angle = np.abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)
    r = np.hypot(x, y)
    outer, inner = np.float32(0.78), np.float32(0.33)
    # the edge from the point (outer at angle 0) to the notch (inner at a tenth of a turn)
    ix, iy = inner * np.cos(fifth / 2), inner * np.sin(fifth / 2)
    nx, ny = iy, outer - ix
    length = np.float32(np.hypot(nx, ny))
    distance = (outer * iy - (r * np.cos(angle) * nx + r * np.sin(angle) * ny)) / length
    return mix(cloth.base, cloth.ink, cover(distance, px * 2 / cloth.cell))


def _hearts(cloth: Print, u: Array, v: Array, px: float) -> Array:
    x, y, own = _lattice(cloth, u, v, 0.2)
    x, y = _spin(x, y, (own[..., 2] - np.float32(0.5)) * np.float32(0.5 if cloth.variant < 2 else 1.6))
    size = np.float32(0.78)
    x, y = np.abs(x) / size, y / size + np.float32(0.1)
    lobe = np.float32(0.48) - np.hypot(x - np.float32(0.44), y + np.float32(0.32))
    # below the lobes: the straight flank from the lobe to the tip
    flank = (np.float32(1.02) - y * np.float32(0.95) - x * np.float32(1.13)) / np.float32(1.45)
    body = np.minimum(np.minimum(flank, y + np.float32(0.42)), np.float32(0.9) - x)
    distance = np.maximum(lobe, body) * size
    color = mix(cloth.base, cloth.ink, cover(distance, px * 2 / cloth.cell))
    if cloth.variant == 1:
        return mix(color, cloth.ink2, cover(distance, px * 2 / cloth.cell) * (own[..., 3] < 0.4))
    return color


def _floral(cloth: Print, u: Array, v: Array, px: float) -> Array:
    x, y, own = _lattice(cloth, u, v, 0.35)
    x, y = _spin(x, y, own[..., 2] * np.float32(6.3))
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    soft = px * 2 / cloth.cell
    leaf = hsv(0.3 + 0.1 * float(cloth.table[0, 0]), 0.55, 0.5 if luma(cloth.base) > 0.5 else 0.75)
    color: Array | Color = cloth.base
    for side in (0.55, -0.75):  # two leaves behind each flower
        lx, ly = _spin(x, y, np.full_like(x, side * 3))
        blade = np.float32(0.2) * (1 - ((lx - np.float32(0.62)) / np.float32(0.4)) ** 2) - np.abs(ly)
        color = mix(color, leaf, cover(blade, soft))
    petals = np.float32(5 + cloth.variant % 2)
    reach = np.float32(0.7) * (np.float32(0.62) + np.float32(0.38) * np.abs(np.cos(angle * petals / 2)))
    size = np.float32(0.75) + np.float32(0.3) * own[..., 3]
    color = mix(color, cloth.ink, cover(reach * size - r, soft))
    return mix(color, cloth.ink2, cover(np.float32(0.2) - r, soft))


_PAINT = {
    "plain": _plain,
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "floral": _floral,
    "zigzag": _zigzag,
    "stars": _stars,
    "hearts": _hearts,
}
