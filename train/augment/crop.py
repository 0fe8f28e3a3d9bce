"""Which part of each picture is seen, and its pixels. A box is a center, half a width and half a height in pixels; a negative
half width mirrors. [B, 4] as x, y, w, h
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from train.augment.batch import Batch
from train.recipe import Recipe
from train.transfer import moved


def uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Random numbers, on the CPU. [n]"""
    return low + (high - low) * torch.rand(n, generator=rng)


def random_boxes(sizes: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Boxes of a random share of the area and a side ratio between 3/4 and 4/3; one that sticks out is cut to the picture."""
    n = len(sizes)
    share = uniform(n, recipe.crop_scale, 1, rng)
    ratio = uniform(n, math.log(3 / 4), math.log(4 / 3), rng).exp()
    place = torch.rand(n, 2, generator=rng)
    mirror = torch.where(torch.rand(n, generator=rng) < recipe.flip, -1.0, 1.0)
    share, ratio, place, mirror = (moved(part, sizes.device) for part in (share, ratio, place, mirror))
    height, width = sizes[:, 0].float(), sizes[:, 1].float()
    area = share * height * width
    w = torch.minimum((area * ratio).sqrt(), width)
    h = torch.minimum((area / ratio).sqrt(), height)
    x = w / 2 + place[:, 0] * (width - w)
    y = h / 2 + place[:, 1] * (height - h)
    return torch.stack([x, y, mirror * w / 2, h / 2], dim=1)


def center_boxes(sizes: Tensor, recipe: Recipe) -> Tensor:
    """The middle square: crop_pct of the short side."""
    half = sizes.min(dim=1).values.float() * recipe.crop_pct / 2
    return torch.stack([sizes[:, 1] / 2, sizes[:, 0] / 2, half, half], dim=1)


def sample(batch: Batch, boxes: Tensor, geometry: Tensor | None, size: int) -> Tensor:
    """Each picture's box (turned and sheared by `geometry` [B, 2, 3]) at size x size, values 0 to 1. [B, 3, S, S]

    Beyond the picture its edge goes on: no gray corners that tell a turned picture from a straight one.
    """
    n, _, height, width = batch.pixels.shape
    device = batch.pixels.device
    if geometry is None:
        geometry = torch.eye(2, 3, device=device).expand(n, 2, 3)
    inside = (torch.arange(size, device=device) + 0.5) * (2 / size) - 1  # pixel centers, -1 to 1 in the box
    where = torch.empty(n, 2, size, size, device=device)  # x and y, -1 to 1 in the block
    for axis, whole in enumerate((width, height)):
        center, half = (boxes[:, part, None] * (2 / whole) for part in (axis, axis + 2))
        along, down = (half * geometry[:, axis, part, None] * inside for part in (0, 1))
        down += center - 1 + half * geometry[:, axis, 2, None]
        edge = (batch.sizes[:, 1 - axis, None, None] - 0.5) * (2 / whole) - 1
        points = torch.add(down[:, :, None], along[:, None, :], out=where[:, axis])
        torch.minimum(points.clamp_(min=1 / whole - 1), edge, out=points)
    seen = F.grid_sample(batch.pixels.float(), where.permute(0, 2, 3, 1), mode="bilinear", align_corners=False)
    return seen.mul_(1 / 255)
