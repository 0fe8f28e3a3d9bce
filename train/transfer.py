"""What goes to the device while it computes: nothing here waits for it.

A plain `.to("cuda")` of a tensor in ordinary memory makes the CPU wait until the GPU has done all that it was asked before.
From pinned memory the copy takes its turn among the GPU's work, and the CPU goes on.
"""

from __future__ import annotations

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
    """Uninitialized uint8 on the CPU, pinned where there is a GPU to copy it to."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
