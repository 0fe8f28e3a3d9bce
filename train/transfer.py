"""What goes to the device while it computes: nothing here waits for it.

A plain `.to("cuda")` of a tensor in ordinary memory makes the CPU wait until the GPU has done all that it was asked before.
From pinned memory the copy takes its turn among the GPU's work, and the CPU goes on.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor


def moved(x: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device; on the way to a GPU the CPU does not wait, on the way back it must."""
    pinned = x.pin_memory() if device.type == "cuda" and x.device.type == "cpu" else x
    return pinned.to(device, non_blocking=device.type != "cpu")


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Numbers that never change as a tensor on a device, copied there once. [n]"""
    return torch.tensor(values, device=device)


def host_block(shape: tuple[int, ...]) -> Tensor:
    """Uninitialized uint8 on the CPU, pinned where there is a GPU to copy it to: then torch keeps the memory for the next one."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())


class Blocks:
    """Some blocks of memory used in turn: a new block of 50 MB takes five times as long to fill as one that was used before.

    What `take` gave is overwritten when it has been called as often again as there are blocks.
    """

    def __init__(self, n: int) -> None:
        self._blocks = [host_block((0,))] * n
        self._next = 0

    def take(self, shape: tuple[int, ...]) -> Tensor:
        """Uint8 of that shape that holds anything."""
        size, at = math.prod(shape), self._next % len(self._blocks)
        self._next += 1
        if len(self._blocks[at]) < size:
            self._blocks[at] = host_block((size,))
        return self._blocks[at][:size].view(shape)
