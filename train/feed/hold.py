"""Where a run keeps its pictures: decoded on the GPU, decoded in memory, or encoded and decoded again for every batch."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from train import ranks

TRAINING_BYTES = 48 * 10**9  # room that a large set leaves on a GPU: ViT-B at the default batch takes 20 to 40 GB
FEW = 10  # a set below a tenth of what is free is in nobody's way
SAYS = {
    "device": "decoded once, kept on the GPU",
    "memory": "decoded once, kept in memory",
    "stream": "decoded anew for every batch",
}


def choose_hold(asked: str, n: int, side_px: int, device: torch.device) -> str:
    """The way that was asked for; for `auto` the first of device, memory, stream where the decoded pictures fit."""
    return ranks.led(lambda: _first_that_fits(decoded_bytes(n, side_px), device)) if asked == "auto" else asked


def _first_that_fits(size: int, device: torch.device) -> str:
    if device.type == "cuda":
        free = torch.cuda.mem_get_info()[0]
        if size <= max(free - TRAINING_BYTES, free / FEW):
            return "device"
    return "memory" if size <= free_memory() / 2 else "stream"  # the processes of a machine share what is in memory


def decoded_bytes(n: int, side_px: int) -> int:
    """About how many bytes pictures take decoded, as 4 to 3 on average."""
    return n * side_px * (side_px * 4 // 3) * 3


def describe_hold(hold: str, n: int, side_px: int) -> str:
    """What it is, for a person."""
    return f"{SAYS[hold]} (about {decoded_bytes(n, side_px) / 1e9:.1f} GB decoded)"


def free_memory() -> int:
    """Bytes of memory that this process could still take: the machine's, or its container's where that is less."""
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    free = found[0] if found else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit, used = (Path(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    if limit.exists() and used.exists() and (most := limit.read_text().strip()).isdigit():
        free = min(free, max(0, int(most) - int(used.read_text())))
    return free
