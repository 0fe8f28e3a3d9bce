"""The pictures of a run, ready to be asked for in batches: decoded in memory, decoded on the GPU, or decoded for each batch.

The three give the same pixels, bit for bit: which one a run uses changes its speed and nothing else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from schemas.errors import UserError
from train.augment import Batch, padded
from train.feed.decode import decode
from train.transfer import Blocks, moved

GATHER_ROWS = 64  # pictures gathered at once on a GPU: bounds what their addresses take there
COPY_BYTES = 2**28  # put on a GPU at once


class Pictures(ABC):
    """Pictures upright, RGB, short side as the run wants, aspect kept; known by their position."""

    makes_ahead = True  # whether a batch is work for the CPU, which can be done while the device computes

    def __init__(self, sizes: np.ndarray, index: Mapping[str, int]) -> None:
        self._sizes, self._index = sizes, index

    def __len__(self) -> int:
        return len(self._sizes)

    def positions(self, image_ids: Iterable[str]) -> np.ndarray:
        """Where pictures stand in here."""
        return np.array([self._index[image_id] for image_id in image_ids], dtype=np.int64)

    @abstractmethod
    def batch(self, positions: np.ndarray, blocks: Blocks | None = None) -> Batch:
        """The pictures at these positions in one padded block: one of `blocks`, or memory of its own."""


class InMemory(Pictures):
    """Decoded once; any batch is a copy away. The bytes may lie in a file that the system pages."""

    def __init__(self, pixels: np.ndarray, starts: np.ndarray, sizes: np.ndarray, index: Mapping[str, int]) -> None:
        super().__init__(sizes, index)
        self._pixels, self._starts = pixels, starts

    def batch(self, positions: np.ndarray, blocks: Blocks | None = None) -> Batch:  # noqa: D102
        where = zip(self._starts[positions].tolist(), self._sizes[positions].tolist(), strict=True)
        return padded([self._pixels[start : start + h * w * 3].reshape(h, w, 3) for start, (h, w) in where], blocks)


class OnDevice(Pictures):
    """Decoded once and kept on the GPU: nothing crosses to it any more but the positions of a batch.

    Raises UserError when there is no room.
    """

    makes_ahead = False

    def __init__(
        self,
        pixels: np.ndarray,
        starts: np.ndarray,
        sizes: np.ndarray,
        index: Mapping[str, int],
        device: torch.device,
    ) -> None:
        super().__init__(sizes, index)
        self._device = device
        try:
            self._pixels = torch.empty(len(pixels) // 3, 3, dtype=torch.uint8, device=device)  # [all pixels, 3]
        except torch.OutOfMemoryError:
            raise UserError(
                f"--hold device: {len(pixels) / 1e9:.1f} GB of pictures do not fit on {device}; use --hold memory"
            ) from None
        flat = self._pixels.view(-1)
        for start in range(0, len(pixels), COPY_BYTES):
            part = np.array(pixels[start : start + COPY_BYTES])
            flat[start : start + len(part)].copy_(torch.from_numpy(part))
        self._first = torch.from_numpy(starts // 3).to(device)  # [n] where each picture's pixels begin
        self._size = torch.from_numpy(sizes).to(device)  # [n, 2]

    def batch(self, positions: np.ndarray, blocks: Blocks | None = None) -> Batch:  # noqa: D102
        height, width = self._sizes[positions].max(axis=0).tolist()  # known here, so that nothing waits for the device
        at = moved(torch.from_numpy(positions), self._device)
        sizes, first = self._size[at], self._first[at]
        block = torch.empty(len(positions), height, width, 3, dtype=torch.uint8, device=self._device)
        for row in range(0, len(positions), GATHER_ROWS):
            rows = slice(row, row + GATHER_ROWS)
            block[rows] = self._gather(first[rows], sizes[rows], height, width)
        return Batch(block.permute(0, 3, 1, 2), sizes)

    def _gather(self, first: Tensor, sizes: Tensor, height: int, width: int) -> Tensor:
        """Some pictures in a block, zero beyond them. [B, H, W, 3]"""
        rows, columns = (torch.arange(length, device=self._device) for length in (height, width))
        inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]  # [B, H, W]
        address = first[:, None, None] + rows[None, :, None] * sizes[:, 1, None, None] + columns
        pixels = self._pixels.index_select(0, torch.where(inside, address, 0).flatten())
        return pixels.view(*inside.shape, 3) * inside[..., None]


class Streamed(Pictures):
    """Decoded anew for every batch, by threads: for sets whose pixels fit nowhere.

    `encoded` gives a picture's JPEG, or its file. Raises UserError when one cannot be read that could be when the run began.
    """

    def __init__(
        self,
        encoded: Callable[[int], bytes | Path],
        sizes: np.ndarray,
        index: Mapping[str, int],
        side_px: int,
        threads: int,
    ) -> None:
        super().__init__(sizes, index)
        self._encoded, self._side_px = encoded, side_px
        self._threads = ThreadPoolExecutor(threads, "decode")

    def batch(self, positions: np.ndarray, blocks: Blocks | None = None) -> Batch:  # noqa: D102
        return padded(list(self._threads.map(self._decode, positions.tolist())), blocks)

    def _decode(self, position: int) -> np.ndarray:
        pixels = decode(self._encoded(position), self._side_px)
        if isinstance(pixels, str) or pixels.shape[:2] != tuple(self._sizes[position]):
            name = next(image_id for image_id, at in self._index.items() if at == position)
            why = pixels if isinstance(pixels, str) else "it has another size"
            raise UserError(
                f"picture {name} changed while the run read it ({why}); put it back and run the command again"
            )
        return pixels


def starts_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each of things that lie one after another begins."""
    ends = np.cumsum(np.asarray(lengths, dtype=np.int64))
    return ends - np.asarray(lengths, dtype=np.int64)
