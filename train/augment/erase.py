"""Random erasing (arXiv 1708.04896): a box of noise, 2 to 33 % of the area, sides between 0.3 and 3.3."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from train.augment.crop import uniform


def erase(x: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """A box of normal noise in `share` of the pictures [B, 3, H, W]. Changes `x` itself.

    Boxes are drawn on the CPU and the noise on the device: nobody waits for the other.
    """
    if not share:
        return x
    n, _, height, width = x.shape
    use = torch.rand(n, generator=rng) < share
    area = uniform(n, 0.02, 1 / 3, rng) * height * width
    ratio = uniform(n, math.log(0.3), math.log(3.3), rng).exp()
    place = torch.rand(n, 2, generator=rng)
    seed = int(torch.randint(2**62, (), generator=rng).item())
    h, w = (area * ratio).sqrt().clamp(max=height - 1), (area / ratio).sqrt().clamp(max=width - 1)
    top, left = place[:, 0] * (height - h), place[:, 1] * (width - w)
    boxes = torch.stack([top, top + h, left, left + w], dim=1).ceil().long()
    noise = torch.Generator(x.device).manual_seed(seed)
    for row in use.nonzero().flatten().tolist():
        above, below, before, after = boxes[row].tolist()
        x[row, :, above:below, before:after].normal_(generator=noise)
    return x
