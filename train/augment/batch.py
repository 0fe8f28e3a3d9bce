"""Pictures of different sizes in one block of memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from train.transfer import Blocks, host_block, moved


@dataclass(frozen=True)
class Batch:
    """Pictures of different sizes in one block: the upper left of each plane is the picture, the rest is padding."""

    pixels: Tensor  # [B, 3, H, W] uint8
    sizes: Tensor  # [B, 2] height and width of each picture

    def to(self, device: torch.device) -> Batch:
        """The same pictures on a device."""
        return Batch(moved(self.pixels, device), moved(self.sizes, device))

    def part(self, rows: slice) -> Batch:
        """Some of the pictures, without the padding that only others need. Reads their sizes: not for a GPU."""
        sizes = self.sizes[rows]
        height, width = sizes.amax(dim=0).tolist()
        return Batch(self.pixels[rows, :, :height, :width], sizes)

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
