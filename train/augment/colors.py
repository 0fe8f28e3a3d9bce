"""Changes of color, each of a batch [B, 3, H, W] with values 0 to 1 and a strength for each picture; the result is new."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from train.transfer import constant

_GRAY = (0.299, 0.587, 0.114)  # ITU-R 601


def brightness(x: Tensor, factor: Tensor) -> Tensor:
    """0 is black, 1 the picture."""
    return (x * _by(factor)).clamp_(0, 1)


def contrast(x: Tensor, factor: Tensor) -> Tensor:
    """0 is its mean gray, 1 the picture."""
    return _blend((x.mean(dim=(2, 3)) * constant(_GRAY, x.device)).sum(dim=1).view(-1, 1, 1, 1), x, factor)


def saturation(x: Tensor, factor: Tensor) -> Tensor:
    """0 is the picture in gray, 1 the picture."""
    red, green, blue = (x[:, channel : channel + 1] for channel in range(3))
    gray = (red * _GRAY[0]).add_(green, alpha=_GRAY[1]).add_(blue, alpha=_GRAY[2])
    return _blend(gray, x, factor)


def sharpness(x: Tensor, factor: Tensor) -> Tensor:
    """0 is the picture softened, 1 the picture."""
    kernel = constant((1.0, 1, 1, 1, 5, 1, 1, 1, 1), x.device) / 13
    soft = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel.view(3, 3).expand(3, 1, 3, 3), groups=3)
    return _blend(soft, x, factor)


def auto_contrast(x: Tensor) -> Tensor:
    """Each channel spread from 0 to 1."""
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    wide = high > low
    return (x - low * wide) / torch.where(wide, high - low, 1)


def equalize(x: Tensor) -> Tensor:
    """Each channel's values spread evenly: a value becomes the share of pixels that are not brighter."""
    n, c, h, w = x.shape
    bins = (x * 255).round().long().view(n * c, h * w)
    counts = torch.zeros(n * c, 256, device=x.device).scatter_add_(1, bins, torch.ones_like(bins, dtype=x.dtype))
    table = (counts.cumsum(dim=1) - counts[:, :1]) / (h * w - counts[:, :1]).clamp(min=1)
    return table.gather(1, bins).clamp_(0, 1).view(n, c, h, w)


def posterize(x: Tensor, level: Tensor) -> Tensor:
    """Few values a channel: 16 at level 0, and one at level 1."""
    steps = _by(2.0 ** (4 - (level * 4).floor()).clamp(min=1))
    return (x * (255 / 256) * steps).floor_() / steps


def solarize(x: Tensor, level: Tensor) -> Tensor:
    """Values above 1 - level inverted."""
    return torch.where(x < 1 - _by(level), x, 1 - x)


def solarize_add(x: Tensor, level: Tensor) -> Tensor:
    """Dark values made brighter, by up to 110 of 255."""
    return torch.where(x < 0.5, (x + _by(level) * (110 / 255)).clamp_(max=1), x)


def recolored(x: Tensor, order: Tensor) -> Tensor:
    """Red, green and blue in an order of each picture's own [B, 3]: the same print on another cloth."""
    return x.gather(1, order[:, :, None, None].expand_as(x))


def _by(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _blend(base: Tensor, x: Tensor, factor: Tensor) -> Tensor:
    return torch.lerp(base, x, _by(factor)).clamp_(0, 1)
