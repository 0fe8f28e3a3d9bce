"""What every drawn product photo needs: a canvas of coordinates, soft-edged shapes, light, shadow and a camera.

Everything is arrays of one size, [height, width] for a mask or a distance and [3, height, width] for colors from 0 to 1
(planes first: numpy multiplies a plane by a mask five times as fast as pixels of three).
A shape is a distance to its edge, positive inside; `cover` turns it into an antialiased mask.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Array = NDArray[Any]  # float32, so that 900 photos take seconds
Color = tuple[float, ...]  # red, green, blue from 0 to 1


def cover(distance: Array, px: float) -> Array:
    """How much of each pixel a shape covers, 0 to 1; `px` is the width of a pixel in the units of `distance`."""
    return np.clip(distance / np.float32(px) + np.float32(0.5), 0, 1)


def disc(x: Array, y: Array, rx: float, ry: float) -> Array:
    """Distance to the edge of an ellipse, positive inside, good near the edge."""
    return ((1 - np.hypot(x / rx, y / ry)) * min(rx, ry)).astype(np.float32)


def box(x: Array, y: Array, w: float, h: float, r: float = 0.0) -> Array:
    """Distance to the edge of a rounded rectangle with half sides w and h, positive inside."""
    dx, dy = np.abs(x) - (w - r), np.abs(y) - (h - r)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return (r - outside - np.minimum(np.maximum(dx, dy), 0)).astype(np.float32)


def rod(x: Array, y: Array, a: tuple[float, float], b: tuple[float, float], r: float) -> Array:
    """Distance to the edge of a thick line from a to b with round ends, positive inside."""
    bx, by = b[0] - a[0], b[1] - a[1]
    t = np.clip(((x - a[0]) * bx + (y - a[1]) * by) / (bx * bx + by * by + 1e-9), 0, 1)
    return (r - np.hypot(x - a[0] - t * bx, y - a[1] - t * by)).astype(np.float32)


def mix(below: Array | Color, above: Array | Color, alpha: Array) -> Array:
    """`above` laid over `below` where alpha is 1."""
    low, high = planes(below), planes(above)
    return low + (high - low) * alpha


def planes(paint: Array | Color) -> Array:
    """Paint as planes: an array as it is, one color as [3, 1, 1]."""
    return np.asarray(paint, np.float32).reshape(3, 1, 1) if isinstance(paint, tuple) else paint


def hsv(hue: float, saturation: float, value: float) -> Color:
    """A color from hue (any number, turns), saturation and value."""
    return colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))


def luma(color: Color) -> float:
    """How bright a color looks, 0 to 1."""
    return 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]


@dataclass
class Canvas:
    """A picture being drawn. `x`, `y` are the product's own coordinates: origin at its middle, 1 unit = `unit` pixels."""

    color: Array
    x: Array
    y: Array
    unit: float
    rng: np.random.Generator
    noise: float = 0.012

    @property
    def px(self) -> float:
        """Width of a pixel in product units."""
        return 1 / self.unit

    def lay(self, paint: Array | Color, distance: Array, alpha: float = 1.0) -> Array:
        """Lay paint over the picture inside a shape; returns the mask."""
        mask = cover(distance, self.px) * np.float32(alpha)
        self.color = mix(self.color, paint, mask)
        return mask

    def shadow(self, distance: Array, strength: float = 0.35, blur: float = 6, dx: float = 3, dy: float = 5) -> None:
        """Darken the picture where a shape's soft shadow falls."""
        mask = Image.fromarray((cover(distance, self.px) * 255).astype(np.uint8))
        moved = ImageChops.offset(mask, round(dx), round(dy))
        moved.paste(0, (0, 0, mask.width, round(dy)))  # offset wraps around
        soft = np.asarray(moved.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255
        self.color = self.color * (1 - np.float32(strength) * soft)

    def shade(self, factor: Array, mask: Array) -> None:
        """Multiply the light inside a mask."""
        self.color = self.color * (1 + (factor - 1) * mask)

    def picture(self) -> Image.Image:
        """The finished photo, with the grain of a small camera."""
        grain = self.rng.standard_normal(self.x.shape, np.float32) * np.float32(self.noise)
        pixels = (np.clip(self.color + grain, 0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def canvas(
    rng: np.random.Generator, size: tuple[int, int], unit: float, turn: float = 0.0, at: tuple[float, float] = (0, 0)
) -> Canvas:
    """An empty photo: a background, and product coordinates turned by `turn` degrees, shifted, in slight perspective."""
    width, height = size
    gx, gy = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    gx, gy = (gx - width / 2) / unit - at[0], (gy - height / 2) / unit - at[1]
    c, s = np.float32(np.cos(np.radians(turn))), np.float32(np.sin(np.radians(turn)))
    x, y = gx * c + gy * s, gy * c - gx * s
    lean, tilt = rng.uniform(-0.12, 0.12, 2).astype(np.float32)
    depth = 1 + lean * x + tilt * y
    made = Canvas(background(rng, size), (x / depth).astype(np.float32), (y / depth).astype(np.float32), unit, rng)
    return replace(made, noise=float(rng.uniform(0.006, 0.02)))


def background(rng: np.random.Generator, size: tuple[int, int]) -> Array:
    """White paper, light gray, a tinted wall, or a wooden table, softly lit from one side."""
    width, height = size
    kind = rng.choice(["white", "gray", "tint", "wood"], p=[0.5, 0.2, 0.2, 0.1])
    gx, gy = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    light = 1 - rng.uniform(0.0, 0.06) * gy - rng.uniform(-0.04, 0.04) * gx - rng.uniform(0.0, 0.04) * (gx**2 + gy**2)
    if kind == "white":
        base: Color = (0.985, 0.985, 0.98)
        light = 1 - (1 - light) * 0.4
    elif kind == "gray":
        base = hsv(rng.uniform(), 0.02, rng.uniform(0.82, 0.93))
    elif kind == "tint":
        base = hsv(rng.uniform(), rng.uniform(0.06, 0.2), rng.uniform(0.82, 0.95))
    else:
        base = hsv(rng.uniform(0.06, 0.1), rng.uniform(0.3, 0.45), rng.uniform(0.65, 0.85))
        rows = gy * rng.uniform(8, 14) + 0.3 * np.sin(gx * rng.uniform(2, 4))
        light = light * (1 + 0.05 * np.sin(rows * 3.1) * np.sin(rows * 7.7 + gx * 2))
        light = light * (1 - 0.18 * np.exp(-(((gy * 2.5) % 1 - 0.5) ** 2) * 4000))
    return (planes(base) * light).astype(np.float32)
