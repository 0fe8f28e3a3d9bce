"""Plots as SVG that stands in the page itself: colors come from the page, so dark and light both work."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 14, 44


class Axes:
    """A frame with ticks, lines and dots, whose values become places."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], right: int = RIGHT) -> None:
        self._x, self._y, self._right = x, y, right
        self.parts: list[str] = []

    def x(self, value: float) -> float:
        """Where a value lies from the left."""
        low, high = self._x
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - self._right)

    def y(self, value: float) -> float:
        """Where a value lies from the top."""
        low, high = self._y
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def ticks(self, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]], x_name: str, y_name: str) -> None:
        """Grid, labels of the ticks and names of the axes."""
        for value, said in ys:
            y = self.y(value)
            self.parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - self._right}"/>')
            self.text(LEFT - 7, y + 4, said, "end")
        for value, said in xs:
            self.text(self.x(value), HEIGHT - BOTTOM + 17, said, "middle")
        self.text((LEFT + WIDTH - self._right) / 2, HEIGHT - 6, x_name, "middle", "name")
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.parts.append(
            f'<text class="name" text-anchor="middle" transform="translate(13 {middle:.0f}) rotate(-90)">'
            f"{html.escape(y_name)}</text>"
        )

    def text(self, x: float, y: float, said: str, anchor: str = "start", kind: str = "") -> None:
        """A word."""
        self.parts.append(
            f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(said)}</text>'
        )

    def line(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """A line through values."""
        places = "L".join(f"{self.x(a):.1f} {self.y(b):.1f}" for a, b in points)
        self.parts.append(f'<path class="{kind}" d="M{places}"/>')

    def dot(self, x: float, y: float, kind: str, title: str, radius: float = 4) -> None:
        """A point that says what it is."""
        self.parts.append(
            f'<circle class="{kind}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}"><title>{html.escape(title)}</title></circle>'
        )

    def svg(self, title: str) -> str:
        """The plot."""
        return (
            f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}">'
            f"<title>{html.escape(title)}</title>{''.join(self.parts)}</svg>"
        )


def percent_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Shares on an axis, six steps at most."""
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if (high - low) / s <= 6 or s == 0.25)
    first = math.ceil(low / step - 1e-9)
    return [(i * step, f"{i * step:.0%}") for i in range(first, math.floor(high / step + 1e-9) + 1)]


def accuracy_plot(rows: Sequence[dict[str, Any]]) -> str:
    """Acc@1 on test against labels used, a line a method, with 95 % intervals. `rows` are those of Table 2."""
    highest = max(row["labels"] for row in rows)
    low = max(0.0, math.floor(20 * min(row["acc1_low"] for row in rows)) / 20)
    high = min(1.0, math.ceil(20 * max(row["acc1_high"] for row in rows)) / 20)
    axes = Axes((0, highest * 1.06), (low, high), right=88)
    labels = sorted({row["labels"] for row in rows})
    axes.ticks(
        [(n, f"{n:,}") for n in _apart(labels, highest)],
        percent_ticks(low, high),
        "labeled pictures used",
        "Acc@1 on test",
    )
    ends: list[tuple[float, str, str]] = []
    for number, method in enumerate(dict.fromkeys(row["method"] for row in rows)):
        own: dict[int, dict[str, Any]] = {}
        for row in sorted((r for r in rows if r["method"] == method), key=lambda r: (r["labels"], r["unlabeled"])):
            own.setdefault(row["labels"], row)  # of several pools the smallest; Table 3 has the others
        shift = highest * 0.012 * (number - 1)  # bars beside each other, not on each other
        points = [(row["labels"] + shift, row["acc1"]) for row in own.values()]
        axes.line(points, f"line m-{method}")
        for row, (x, y) in zip(own.values(), points, strict=True):
            axes.line([(x, row["acc1_low"]), (x, row["acc1_high"])], f"bar m-{method}")
            axes.dot(
                x,
                y,
                f"dot m-{method}",
                f"{row['name']}, {row['labels']:,} labels: {y:.1%} ({row['acc1_low']:.1%} to {row['acc1_high']:.1%})",
            )
        ends.append((axes.y(points[-1][1]), next(iter(own.values()))["name"], method))
    last = -math.inf
    for y, name, method in sorted(ends):  # names beside the ends of their lines, pushed apart where they meet
        last = max(y, last + 15)
        axes.text(WIDTH - 84, last + 4, name, "start", f"key m-{method}")
    return axes.svg("Accuracy on test against labeled pictures used")


def _apart(values: Sequence[int], highest: int) -> list[int]:
    """Values that are far enough from each other to be written."""
    kept: list[int] = []
    for value in values:
        if not kept or value - kept[-1] > 0.09 * highest:
            kept.append(value)
    return kept


def reliability_plot(bins: dict[str, list[dict[str, float]]]) -> str:
    """How often a model is right against how sure it is, as trained and calibrated; the area of a dot is its pictures."""
    axes = Axes((0, 1), (0, 1))
    axes.ticks(percent_ticks(0, 1), percent_ticks(0, 1), "confidence", "right")
    axes.line([(0, 0), (1, 1)], "ideal")
    most = max(one["n"] for own in bins.values() for one in own)
    for kind, own in zip(("plain", "calm"), bins.values(), strict=True):
        axes.line([(one["confidence"], one["right"] / one["n"]) for one in own], f"line {kind}")
        for one in own:
            said = (
                f"{one['n']:.0f} pictures, mean confidence {one['confidence']:.1%}, right {one['right'] / one['n']:.1%}"
            )
            axes.dot(
                one["confidence"], one["right"] / one["n"], f"dot {kind}", said, 2 + 7 * math.sqrt(one["n"] / most)
            )
    for number, (kind, name) in enumerate(zip(("plain", "calm"), bins, strict=True)):
        axes.text(LEFT + 12, TOP + 14 + 16 * number, name, "start", f"key {kind}")
    return axes.svg("Reliability: how often the model is right against how sure it is")


def coverage_plot(curve: Sequence[tuple[float, float]], marks: Sequence[dict[str, Any]]) -> str:
    """Precision against the share of test pictures that are answered, surest first; dots: what val's thresholds gave."""
    achieved = [(m["answered"] / m["n"], m["right"] / m["answered"], m["precision"]) for m in marks if m["answered"]]
    low = max(0.0, math.floor(10 * min([p for _, p in curve] + [p for _, p, _ in achieved])) / 10)
    low = min(low, 0.9)
    axes = Axes((0, 1), (low, 1))
    axes.ticks(percent_ticks(0, 1), percent_ticks(low, 1), "pictures answered, surest first", "right of these")
    axes.line(curve, "line calm")
    for share, precision, wished in achieved:
        axes.dot(
            share, precision, "dot mark", f"thresholds for {wished:.0%}: {share:.1%} answered, {precision:.1%} right", 5
        )
        axes.text(axes.x(share) - 8, axes.y(precision) + 16, f"{wished:.0%}", "end", "key mark")
    return axes.svg("Precision against coverage")
