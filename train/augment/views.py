"""Views of pictures, a whole batch at once with its own random numbers for each picture, on CPU or GPU alike.

The random crop, the mirror and the geometric half of RandAugment become one affine map per picture and one sampling, so a
picture is resampled once however much happens to it.

weak    random crop, mirror, color jitter                     what the teacher sees
strong  random crop, mirror, RandAugment, erased boxes        what the student learns from
plain   the center, nothing random                            what counts in an evaluation
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from train.augment import colors, randaugment
from train.augment.batch import Batch
from train.augment.crop import center_boxes, random_boxes, sample, uniform
from train.augment.erase import erase
from train.recipe import Recipe
from train.transfer import constant, moved

PIECE = 200_000  # pixels of a view that a CPU works on at once: all that is made of them stays in its cache


@dataclass(frozen=True)
class Views:
    """What turns a batch into what a model sees: the recipe's strengths and the weights' own normalization."""

    recipe: Recipe
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def plain(self, batch: Batch) -> Tensor:
        """The center of each picture, short side to image_size / crop_pct first. [B, 3, S, S]"""
        boxes = center_boxes(batch.sizes, self.recipe)
        return self._made(batch, lambda own, rows: sample(own, boxes[rows], None, self.recipe.image_size))

    def weak(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Random crop, mirror, and brightness, contrast and saturation jittered. [B, 3, S, S]"""
        boxes = random_boxes(batch.sizes, self.recipe, rng)
        strength = getattr(self.recipe, "jitter", 0.4)
        jitter = [
            (change, moved(uniform(len(batch), 1 - strength, 1 + strength, rng), boxes.device))
            for change in ((colors.brightness, colors.contrast, colors.saturation) if strength else ())
        ]

        def make(own: Batch, rows: slice) -> Tensor:
            x = sample(own, boxes[rows], None, self.recipe.image_size)
            for change, factor in jitter:
                x = change(x, factor[rows])
            return x

        return self._made(batch, make)

    def strong(self, batch: Batch, rng: torch.Generator) -> Tensor:
        """Random crop, mirror, RandAugment, and a box of noise in some pictures. [B, 3, S, S]"""
        recipe, n = self.recipe, len(batch)
        boxes = random_boxes(batch.sizes, recipe, rng)
        drawn = [randaugment.draw(n, recipe.rand_magnitude, rng) for _ in range(recipe.rand_ops)]
        geometry = moved(randaugment.geometry(n, drawn), boxes.device)
        channels = moved(_channels(n, recipe.recolor, rng), boxes.device) if recipe.recolor else None

        def make(own: Batch, rows: slice) -> Tensor:
            x = sample(own, boxes[rows], geometry[rows], recipe.image_size)
            for operation in drawn:
                x = randaugment.change_colors(x, operation.part(rows))
            return x if channels is None else colors.recolored(x, channels[rows])

        return erase(self._made(batch, make), recipe.erase, rng)

    def _made(self, batch: Batch, make: Callable[[Batch, slice], Tensor]) -> Tensor:
        """What `make` gives for all rows of a batch, normalized: at once on a GPU, in pieces on a CPU."""
        mean, std = (constant(tuple(values), batch.pixels.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        if batch.pixels.device.type != "cpu":
            return torch.addcmul(-mean / std, make(batch, slice(None)), 1 / std)
        size = self.recipe.image_size
        whole, step = torch.empty(len(batch), 3, size, size), max(1, PIECE // size**2)
        for rows in (slice(at, at + step) for at in range(0, len(batch), step)):
            torch.addcmul(-mean / std, make(batch.part(rows), rows), 1 / std, out=whole[rows])
        return whole


def _channels(n: int, share: float, rng: torch.Generator) -> Tensor:
    """The order of red, green and blue, another one in `share` of the pictures. [B, 3]"""
    order = torch.rand(n, 3, generator=rng).argsort(dim=1)
    order[torch.rand(n, generator=rng) >= share] = torch.arange(3)
    return order
