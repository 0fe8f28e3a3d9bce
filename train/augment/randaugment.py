"""RandAugment (arXiv 1909.13719) with the ranges that timm calls rand-m9-mstd0.5-inc1: 15 operations, each used half the time.

The five geometric ones become one affine map per picture and are done with the crop; the ten of color follow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from train.augment import colors
from train.transfer import moved

_Change = Callable[[Tensor, Tensor, Tensor], Tensor]
GEOMETRIC = ("rotate", "shear_x", "shear_y", "shift_x", "shift_y")
COLOR_CHANGES: tuple[_Change, ...] = (
    lambda x, level, sign: colors.brightness(x, _enhance(level, sign)),
    lambda x, level, sign: colors.contrast(x, _enhance(level, sign)),
    lambda x, level, sign: colors.saturation(x, _enhance(level, sign)),
    lambda x, level, sign: colors.sharpness(x, _enhance(level, sign)),
    lambda x, level, sign: colors.auto_contrast(x),
    lambda x, level, sign: colors.equalize(x),
    lambda x, level, sign: 1 - x,
    lambda x, level, sign: colors.posterize(x, level),
    lambda x, level, sign: colors.solarize(x, level),
    lambda x, level, sign: colors.solarize_add(x, level),
)
KINDS = len(GEOMETRIC) + len(COLOR_CHANGES)


@dataclass(frozen=True)
class Operation:
    """One step: for each picture which operation, how strong (0 to 1), and in which direction. On the CPU."""

    kind: Tensor  # [B], the geometric ones first, -1 = none
    level: Tensor  # [B]
    sign: Tensor  # [B], -1 or 1

    def part(self, rows: slice) -> Operation:
        """Some of the pictures."""
        return Operation(self.kind[rows], self.level[rows], self.sign[rows])


def draw(n: int, magnitude: float, rng: torch.Generator) -> Operation:
    """One operation for each of `n` pictures, of about that magnitude of 10."""
    kind = torch.randint(KINDS, (n,), generator=rng)
    kind[torch.rand(n, generator=rng) < 0.5] = -1
    level = (magnitude + 0.5 * torch.randn(n, generator=rng)).clamp(0, 10) / 10
    sign = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    return Operation(kind, level, sign)


def geometry(n: int, operations: Sequence[Operation]) -> Tensor:
    """The geometric operations as one affine map per picture, in coordinates from -1 to 1. [B, 2, 3]"""
    whole = torch.eye(3).repeat(n, 1, 1)
    for operation in operations:
        amount = operation.level * operation.sign
        one = torch.eye(3).repeat(n, 1, 1)
        drawn = {name: operation.kind == index for index, name in enumerate(GEOMETRIC)}
        angle = torch.where(drawn["rotate"], amount * math.radians(30), 0)
        one[:, 0, 0] = one[:, 1, 1] = angle.cos()
        one[:, 0, 1] = torch.where(drawn["shear_x"], amount * 0.3, -angle.sin())
        one[:, 1, 0] = torch.where(drawn["shear_y"], amount * 0.3, angle.sin())
        one[:, 0, 2] = torch.where(drawn["shift_x"], amount * 0.9, 0)  # 0.45 of the side; the side is 2 long
        one[:, 1, 2] = torch.where(drawn["shift_y"], amount * 0.9, 0)
        whole = whole @ one
    return whole[:, :2]


def change_colors(x: Tensor, operation: Operation) -> Tensor:
    """The operations that change colors, each on the pictures that drew it. Changes `x` [B, 3, H, W] itself."""
    order = operation.kind.argsort(stable=True)  # the pictures of one operation stand together
    ends = torch.searchsorted(operation.kind[order], torch.arange(KINDS + 1)).tolist()
    rows, level, sign = (moved(part, x.device) for part in (order, operation.level[order], operation.sign[order]))
    for index, change in enumerate(COLOR_CHANGES, start=len(GEOMETRIC)):
        own = slice(ends[index], ends[index + 1])
        if own.start < own.stop:
            x.index_copy_(0, rows[own], change(x[rows[own]], level[own], sign[own]))
    return x


def _enhance(level: Tensor, sign: Tensor) -> Tensor:
    return (1 + 0.9 * level * sign).clamp(min=0.1)
