"""What a search also brings: kitchen things, phone cases, banners. Some carry the same prints as the product."""

from __future__ import annotations

import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from curate.demo.draw import Array, Canvas, Color, box, canvas, disc, hsv, rod
from curate.demo.draw_apron import choose_apron, draw_apron, photo_size
from curate.demo.draw_fabric import PRINTS, Print, choose_print, paint

THINGS = ("mug", "pot", "phone case", "towel", "plate", "oven mitt", "board", "banner")
BANNERS = {
    "es": ("ENVÍO GRATIS", "OFERTA", "GUÍA DE TALLAS", "3 CUOTAS SIN INTERÉS", "NUEVO"),
    "pt": ("FRETE GRÁTIS", "OFERTA", "TABELA DE MEDIDAS", "10X SEM JUROS", "NOVO"),
}


def draw_thing(thing: str, rng: np.random.Generator, language: str = "es") -> Image.Image:
    """A photo of one of THINGS, or of an apron; a banner is written in the marketplace's language."""
    if thing == "banner":
        return _banner(rng, language)
    if thing == "apron":  # for markets that sell something else
        return draw_apron(choose_apron(rng, str(rng.choice(PRINTS))), "front" if rng.random() < 0.5 else "worn", rng)
    size = photo_size(rng)
    to = canvas(
        rng, size, size[0] * rng.uniform(0.75, 1.0), float(rng.normal(0, 8)), tuple(rng.uniform(-0.06, 0.06, 2))
    )
    _DRAW[thing](to, rng)
    return to.picture()


def _skin(to: Canvas, rng: np.random.Generator, printed: float) -> Array | Color:
    """The thing's surface: one color, or a print in `printed` of the cases."""
    if rng.random() >= printed:
        return hsv(rng.uniform(), rng.uniform(0.05, 0.8), rng.uniform(0.3, 0.97))
    cloth: Print = choose_print(rng, str(rng.choice(PRINTS[1:])))
    return paint(cloth, to.x * 200, to.y * 200, 200 * to.px)


def _round(x: Array, half: float) -> Array:
    """Light on something round: bright left of the middle, dark at the sides."""
    t = x / np.float32(half)
    return (1.05 - 0.4 * np.clip(t + 0.25, -1, 1) ** 2).astype(np.float32)


def _mug(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    wide, tall = float(rng.uniform(0.2, 0.26)), float(rng.uniform(0.22, 0.3))
    surface = _skin(to, rng, 0.3)
    side = 1.0 if rng.random() < 0.5 else -1.0
    ring = np.float32(0.03) - np.abs(np.hypot((x - side * wide) * 0.95, y * 0.8) - np.float32(0.12))
    body = np.maximum(box(x, y, wide, tall, 0.04), disc(x, y + np.float32(tall), wide, 0.05))
    to.shadow(np.maximum(body, ring), 0.4, 8, 6, 6)
    solid = surface if isinstance(surface, tuple) else hsv(0, 0, 0.95)
    to.lay(solid, ring)
    to.shade(_round(x, wide), to.lay(surface, body))
    to.lay(tuple(c * 0.55 for c in solid), disc(x, y + np.float32(tall), wide * 0.92, 0.036))


def _pot(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    wide, tall = float(rng.uniform(0.28, 0.36)), float(rng.uniform(0.14, 0.22))
    metal = hsv(rng.uniform(), rng.choice([0.03, 0.6]), rng.uniform(0.35, 0.8))
    grips = np.maximum(rod(np.abs(x), y, (wide, -tall * 0.4), (wide + 0.09, -tall * 0.4), 0.03), np.float32(-9))
    body = np.maximum(box(x, y, wide, tall, 0.06), disc(x, y - np.float32(tall * 0.8), wide, 0.08))
    to.shadow(np.maximum(body, grips), 0.45, 8, 4, 8)
    to.lay((0.15, 0.15, 0.16), grips)
    to.shade(_round(x, wide), to.lay(metal, body))
    lid = np.minimum(disc(x, y + np.float32(tall), wide * 1.03, 0.12), -y - np.float32(tall * 0.9))
    to.shade(_round(x, wide) * np.float32(1.05), to.lay(metal, lid))
    to.lay((0.12, 0.12, 0.13), disc(x, y + np.float32(tall + 0.13), 0.045, 0.035))


def _phone_case(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    wide = float(rng.uniform(0.17, 0.21))
    tall = wide * 2.05
    body = box(x, y, wide, tall, 0.06)
    to.shadow(body, 0.45, 6, 5, 6)
    mask = to.lay(_skin(to, rng, 0.55), body)
    to.shade(1 - np.float32(0.35) * np.exp(-np.maximum(body, 0) / np.float32(0.012)), mask)
    island = box(x + np.float32(wide * 0.45), y + np.float32(tall * 0.72), wide * 0.4, wide * 0.42, 0.03)
    to.lay((0.1, 0.1, 0.11), island)
    for dx, dy in ((-0.18, -0.18), (0.18, 0.18), (-0.18, 0.18)):
        eye = disc(x + np.float32(wide * (0.45 + dx)), y + np.float32(tall * 0.72 + wide * dy), 0.026, 0.026)
        to.lay((0.3, 0.32, 0.36), eye)


def _towel(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    wide, tall = float(rng.uniform(0.18, 0.26)), float(rng.uniform(0.34, 0.42))
    bar = rod(x, y, (-0.42, -tall), (0.42, -tall), 0.016)
    body = box(x + np.float32(0.012) * np.sin(y * 9), y, wide, tall, 0.008)
    to.shadow(np.maximum(body, bar), 0.4, 7, 5, 5)
    to.lay((0.6, 0.6, 0.62), bar)
    mask = to.lay(_skin(to, rng, 0.45), body)
    waves = 1 + np.float32(0.14) * np.sin(x * rng.uniform(18, 30) + rng.uniform(0, 6) + y)
    to.shade(waves.astype(np.float32), mask)
    fringe = np.minimum(body, np.float32(0.03) - np.abs(y - np.float32(tall - 0.07)))
    to.lay((0.97, 0.96, 0.93), fringe, 0.8)


def _plate(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    flat, r = float(rng.uniform(0.55, 1.0)), float(rng.uniform(0.3, 0.38))
    body = disc(x, y, r, r * flat)
    to.shadow(body, 0.4, 8, 4, 8)
    mask = to.lay(_skin(to, rng, 0.3), body)
    reach = np.hypot(x / r, y / (r * flat))
    to.shade((1 - 0.25 * np.exp(-(((reach - 0.68) / 0.04) ** 2)) + 0.08 * (x - y)).astype(np.float32), mask)
    to.lay(hsv(rng.uniform(), 0.5, 0.6), np.minimum(body, np.float32(0.03) - body))


def _oven_mitt(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    hand = np.maximum(box(x, y + np.float32(0.08), 0.16, 0.26, 0.15), rod(x, y, (0.12, 0.06), (0.26, -0.1), 0.075))
    cuff = box(x, y - np.float32(0.24), 0.17, 0.12, 0.02)
    to.shadow(np.maximum(hand, cuff), 0.45, 7, 5, 6)
    body = np.maximum(hand, cuff)
    mask = to.lay(_skin(to, rng, 0.35), body)
    quilt = np.minimum(np.abs(np.sin((x + y) * 26)), np.abs(np.sin((x - y) * 26)))
    to.shade(
        (0.82 + 0.22 * np.minimum(quilt * 2, 1) - 0.2 * np.exp(-np.maximum(body, 0) / 0.02)).astype(np.float32), mask
    )
    to.lay(hsv(rng.uniform(), 0.4, 0.4), np.minimum(cuff, np.float32(-0.3) + y))


def _board(to: Canvas, rng: np.random.Generator) -> None:
    x, y = to.x, to.y
    body = np.maximum(box(x, y - np.float32(0.06), 0.22, 0.3, 0.05), rod(x, y, (0, -0.24), (0, -0.4), 0.05))
    body = np.minimum(body, -disc(x, y + np.float32(0.38), 0.022, 0.022))
    to.shadow(body, 0.45, 7, 5, 6)
    mask = to.lay(hsv(rng.uniform(0.05, 0.1), 0.5, rng.uniform(0.5, 0.85)), body)
    grain = 1 + 0.07 * np.sin(x * 60 + 2 * np.sin(y * 5)) + 0.04 * np.sin(x * 140 + y * 3)
    to.shade((grain - 0.3 * np.exp(-np.maximum(body, 0) / 0.01)).astype(np.float32), mask)


def _banner(rng: np.random.Generator, language: str) -> Image.Image:
    """A picture that sells: words on a color, or a table of sizes."""
    width, height = photo_size(rng)
    ground, ink = hsv(rng.uniform(), rng.uniform(0.3, 0.9), rng.uniform(0.5, 0.9)), (255, 255, 255)
    image = Image.new("RGB", (width, height), tuple(round(c * 255) for c in ground))
    pen = ImageDraw.Draw(image)
    words = [
        plain_letters(str(word)) for word in rng.permutation(np.asarray(BANNERS[language]))[: int(rng.integers(1, 4))]
    ]
    for _ in range(int(rng.integers(2, 6))):  # blots of color behind the words, no two banners alike
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(25, 120)
        blot = tuple(round(c * 255) for c in hsv(rng.uniform(), rng.uniform(0.3, 0.9), rng.uniform(0.2, 0.95)))
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=blot)
    if rng.random() < 0.4:
        left, top = rng.uniform(8, 60), height * rng.uniform(0.3, 0.45)
        step, rows = rng.uniform(0.08, 0.12) * height, int(rng.integers(3, 6))
        pen.rectangle((left, top, width - 14, top + rows * step + 6), fill=(250, 250, 248))
        for row in range(rows):
            y = top + row * step
            pen.line((left, y, width - 14, y), fill=(120, 120, 120), width=2)
            for column in range(3):
                pen.text(
                    (left + 10 + column * width * 0.27, y + 4), str(int(rng.integers(40, 110))), (40, 40, 40), _font(14)
                )
        words = words[:1]
    start = rng.uniform(0.12, 0.24)
    for row, word in enumerate(words):
        points = min(40, 1.55 * width / len(word))
        pen.text((width / 2, height * (start + 0.26 * row)), word, ink, _font(points), anchor="mm")
    return image


def plain_letters(text: str) -> str:
    """The text without accents: the font that comes with Pillow has none."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()


def _font(points: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(points)


_DRAW = {
    "mug": _mug,
    "pot": _pot,
    "phone case": _phone_case,
    "towel": _towel,
    "plate": _plate,
    "oven mitt": _oven_mitt,
    "board": _board,
}
