"""Views of pictures, a whole batch at once with its own random numbers for each picture, on CPU or GPU alike.

A batch comes as uint8 pictures of different sizes in one padded block. The random crop, the mirror and the geometric half of
RandAugment become one affine map per picture and one sampling, so a picture is resampled once however much happens to it.

weak    random crop, mirror, color jitter                     what the teacher sees
strong  random crop, mirror, RandAugment, erased boxes        what the student learns from
plain   the center, nothing random                            what counts in an evaluation
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from train.recipe import Recipe
from train.transfer import Blocks, constant, host_block, moved


@dataclass(frozen=True)
class Batch:
    """Pictures of different sizes in one block: the upper left of each plane is the picture, the rest is padding."""

    pixels: Tensor  # [B, 3, H, W] uint8
    sizes: Tensor  # [B, 2] height and width of each picture

    def to(self, device: torch.device) -> Batch:
        """The same pictures on a device."""
        return Batch(moved(self.pixels, device), moved(self.sizes, device))

    def __len__(self) -> int:
        return len(self.pixels)


def padded(pixels: Sequence[np.ndarray], blocks: Blocks | None = None) -> Batch:
    """Decoded pictures [h, w, 3] of any sizes as one batch, zero beyond each; in one of `blocks`, else in memory of its own."""
    sizes = np.array([one.shape[:2] for one in pixels], dtype=np.int64)
    height, width = sizes.max(axis=0).tolist()
    block = (blocks.take if blocks else host_block)((len(pixels), height, width, 3))
    for row, one in zip(block.numpy(), pixels, strict=True):
        h, w = one.shape[:2]
        row[:h, :w], row[:h, w:], row[h:] = one, 0, 0
    return Batch(block.permute(0, 3, 1, 2), torch.from_numpy(sizes))


@dataclass(frozen=True)
class Views:
    """What turns a batch into what a model sees: the recipe's strengths and the weights' own normalization."""

    recipe: Recipe
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def plain(self, batch: Batch) -> Tensor:
        """The center of each picture, short side to image_size / crop_pct first. [B, 3, S, S]"""
        return self._normalize(_sample(batch, _center_boxes(batch.sizes, self.recipe), None, self.recipe.image_size))

    def weak(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Random crop, mirror, and brightness, contrast and color jittered. [B, 3, S, S]"""
        boxes = _random_boxes(batch.sizes, self.recipe, rng)
        x = _sample(batch, boxes, None, self.recipe.image_size)
        strength = getattr(self.recipe, "jitter", 0.4)
        for change in (_brightness, _contrast, _color) if strength else ():
            x = change(x, moved(_uniform(len(x), 1 - strength, 1 + strength, rng), x.device))
        return self._normalize(x)

    def strong(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Random crop, mirror, RandAugment, and a box of noise in some pictures. [B, 3, S, S]"""
        recipe = self.recipe
        boxes = _random_boxes(batch.sizes, recipe, rng)
        drawn = [_draw_operation(len(batch), recipe.rand_magnitude, rng) for _ in range(recipe.rand_ops)]
        geometry = moved(_geometry(len(batch), drawn), batch.pixels.device)
        x = _sample(batch, boxes, geometry, recipe.image_size)
        for operation in drawn:
            x = _photometric(x, operation)
        x = _recolor(x, recipe.recolor, rng)
        return _erase(self._normalize(x), recipe.erase, rng)

    def _normalize(self, x: Tensor) -> Tensor:
        mean, std = (constant(tuple(values), x.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std


def _uniform(n: int, low: float, high: float, rng: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(n, generator=rng)


# Crops: a box is its center, its half width and half height in pixels; a negative half width mirrors. [B, 4] as x, y, w, h


def _random_boxes(sizes: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Boxes of a random share of the area and a side ratio between 3/4 and 4/3; one that sticks out is cut to the picture."""
    n = len(sizes)
    share = _uniform(n, recipe.crop_scale, 1, rng)
    ratio = _uniform(n, math.log(3 / 4), math.log(4 / 3), rng).exp()
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


def _center_boxes(sizes: Tensor, recipe: Recipe) -> Tensor:
    """The middle square: crop_pct of the short side."""
    half = sizes.min(dim=1).values.float() * recipe.crop_pct / 2
    return torch.stack([sizes[:, 1] / 2, sizes[:, 0] / 2, half, half], dim=1)


def _sample(batch: Batch, boxes: Tensor, geometry: Tensor | None, size: int) -> Tensor:
    """Each picture's box (turned and sheared by `geometry` [B, 2, 3]) at size x size, values 0 to 1. [B, 3, S, S]

    Beyond the picture its edge goes on: no gray corners that tell a turned picture from a straight one.
    """
    n, _, height, width = batch.pixels.shape
    device = batch.pixels.device
    if geometry is None:
        geometry = torch.eye(2, 3, device=device).expand(n, 2, 3)
    grid = F.affine_grid(geometry, [n, 3, size, size], align_corners=False)  # [B, S, S, 2], -1 to 1 inside the box
    where = boxes[:, None, None, :2] + grid * boxes[:, None, None, 2:]  # pixels, x and y
    edge = batch.sizes.flip(1)[:, None, None, :].to(where.dtype)
    where = torch.minimum(where.clamp(min=0.5), edge - 0.5)
    where = where * 2 / constant((width, height), device) - 1
    return F.grid_sample(batch.pixels.float().div_(255), where, mode="bilinear", align_corners=False)


# RandAugment (arXiv 1909.13719) with the ranges that timm calls rand-m9-mstd0.5-inc1: 15 operations, each used half the time.

_GEOMETRIC = ("rotate", "shear_x", "shear_y", "shift_x", "shift_y")


@dataclass(frozen=True)
class _Operation:
    """One RandAugment step: for each picture which operation, how strong (0 to 1), and in which direction."""

    kind: Tensor  # [B], index into _KINDS, -1 = none
    level: Tensor  # [B]
    sign: Tensor  # [B], -1 or 1


def _draw_operation(n: int, magnitude: float, rng: torch.Generator) -> _Operation:
    kind = torch.randint(len(_KINDS), (n,), generator=rng)
    kind[torch.rand(n, generator=rng) < 0.5] = -1
    level = (magnitude + 0.5 * torch.randn(n, generator=rng)).clamp(0, 10) / 10
    sign = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    return _Operation(kind, level, sign)


def _geometry(n: int, operations: list[_Operation]) -> Tensor:
    """The geometric operations as one affine map per picture, in coordinates from -1 to 1. [B, 2, 3]"""
    whole = torch.eye(3).repeat(n, 1, 1)
    for operation in operations:
        amount = operation.level * operation.sign
        one = torch.eye(3).repeat(n, 1, 1)
        drawn = {name: operation.kind == index for index, name in enumerate(_GEOMETRIC)}
        angle = torch.where(drawn["rotate"], amount * math.radians(30), 0)
        one[:, 0, 0] = one[:, 1, 1] = angle.cos()
        one[:, 0, 1] = torch.where(drawn["shear_x"], amount * 0.3, -angle.sin())
        one[:, 1, 0] = torch.where(drawn["shear_y"], amount * 0.3, angle.sin())
        one[:, 0, 2] = torch.where(drawn["shift_x"], amount * 0.9, 0)  # 0.45 of the side; the side is 2 long
        one[:, 1, 2] = torch.where(drawn["shift_y"], amount * 0.9, 0)
        whole = whole @ one
    return whole[:, :2]


def _photometric(x: Tensor, operation: _Operation) -> Tensor:
    """The operations that change colors, each on the pictures that drew it. Changes `x` itself."""
    order = operation.kind.argsort(stable=True)  # the pictures of one operation stand together
    ends = torch.searchsorted(operation.kind[order], torch.arange(len(_KINDS) + 1)).tolist()
    rows, level, sign = (moved(part, x.device) for part in (order, operation.level[order], operation.sign[order]))
    for index, change in _PHOTOMETRIC.items():
        own = slice(ends[index], ends[index + 1])
        if own.start < own.stop:
            x.index_copy_(0, rows[own], change(x[rows[own]], level[own], sign[own]))
    return x


def _recolor(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Red, green and blue in a random order in `share` of the pictures: the same print on another cloth."""
    if not share:
        return x
    n = len(x)
    order = torch.rand(n, 3, generator=rng).argsort(dim=1)
    order[torch.rand(n, generator=rng) >= share] = torch.arange(3)
    return x.gather(1, moved(order, x.device)[:, :, None, None].expand_as(x))


def _by(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _gray(x: Tensor) -> Tensor:
    weights = constant((0.299, 0.587, 0.114), x.device).view(1, 3, 1, 1)  # ITU-R 601
    return (x * weights).sum(dim=1, keepdim=True)


def _blend(base: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    return (base + (x - base) * _by(factor)).clamp(0, 1)


def _brightness(x: Tensor, factor: Tensor) -> Tensor:
    return (x * _by(factor)).clamp(0, 1)


def _contrast(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(_gray(x).mean(dim=(2, 3), keepdim=True), x, factor)


def _color(x: Tensor, factor: Tensor) -> Tensor:
    return _blend(_gray(x), x, factor)


def _sharpness(x: Tensor, factor: Tensor) -> Tensor:
    kernel = constant((1.0, 1, 1, 1, 5, 1, 1, 1, 1), x.device) / 13
    soft = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel.view(3, 3).expand(3, 1, 3, 3), groups=3)
    return _blend(soft, x, factor)


def _auto_contrast(x: Tensor) -> Tensor:
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    return torch.where(high > low, (x - low) / (high - low).clamp(min=1e-6), x)


def _equalize(x: Tensor) -> Tensor:
    """Each channel's values spread evenly: a value becomes the share of pixels that are not brighter."""
    n, c, h, w = x.shape
    bins = (x * 255).round().long().view(n * c, h * w)
    counts = torch.zeros(n * c, 256, device=x.device).scatter_add_(1, bins, torch.ones_like(bins, dtype=x.dtype))
    table = (counts.cumsum(dim=1) - counts[:, :1]) / (h * w - counts[:, :1]).clamp(min=1)
    return table.gather(1, bins).clamp(0, 1).view(n, c, h, w)


def _posterize(x: Tensor, level: Tensor) -> Tensor:
    steps = _by(2.0 ** (4 - (level * 4).floor()).clamp(min=1))
    return (x * 255 / 256 * steps).floor() / steps


def _solarize(x: Tensor, level: Tensor) -> Tensor:
    return torch.where(x < 1 - _by(level), x, 1 - x)


def _solarize_add(x: Tensor, level: Tensor) -> Tensor:
    return torch.where(x < 0.5, (x + _by(level) * 110 / 255).clamp(max=1), x)


def _enhance(level: Tensor, sign: Tensor) -> Tensor:
    return (1 + 0.9 * level * sign).clamp(min=0.1)


_Change = Callable[[Tensor, Tensor, Tensor], Tensor]
_COLOR_CHANGES: tuple[_Change, ...] = (
    lambda x, level, sign: _brightness(x, _enhance(level, sign)),
    lambda x, level, sign: _contrast(x, _enhance(level, sign)),
    lambda x, level, sign: _color(x, _enhance(level, sign)),
    lambda x, level, sign: _sharpness(x, _enhance(level, sign)),
    lambda x, level, sign: _auto_contrast(x),
    lambda x, level, sign: _equalize(x),
    lambda x, level, sign: 1 - x,
    lambda x, level, sign: _posterize(x, level),
    lambda x, level, sign: _solarize(x, level),
    lambda x, level, sign: _solarize_add(x, level),
)
_PHOTOMETRIC = dict(enumerate(_COLOR_CHANGES, start=len(_GEOMETRIC)))
_KINDS = (*_GEOMETRIC, *range(len(_COLOR_CHANGES)))


def _erase(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """A box of noise in `share` of the pictures: 2 to 33 % of the area, sides between 0.3 and 3.3 (arXiv 1708.04896)."""
    if not share:
        return x
    box, seed = _boxes_to_erase(x, share, rng)
    noise = torch.randn(x.shape, generator=torch.Generator(x.device).manual_seed(seed), device=x.device)
    return torch.where(box[:, None], noise, x)


def _boxes_to_erase(x: Tensor, share: float, rng: torch.Generator) -> tuple[Tensor, int]:
    """True inside the boxes [B, H, W], and the seed of the noise in them."""
    n, _, height, width = x.shape
    use = torch.rand(n, generator=rng) < share
    area = _uniform(n, 0.02, 1 / 3, rng) * height * width
    ratio = _uniform(n, math.log(0.3), math.log(3.3), rng).exp()
    place = torch.rand(n, 2, generator=rng)
    seed = int(torch.randint(2**62, (), generator=rng).item())
    h, w = (area * ratio).sqrt().clamp(max=height - 1), (area / ratio).sqrt().clamp(max=width - 1)
    top, left = place[:, 0] * (height - h), place[:, 1] * (width - w)
    use, top, left, bottom, right = (moved(part, x.device) for part in (use, top, left, top + h, left + w))
    rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
    inside_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < right[:, None])
    return use[:, None, None] & inside_rows[:, :, None] & inside_columns[:, None, :], seed
