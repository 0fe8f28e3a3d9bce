"""What a run costs, over all its starts: wall time, CPU or GPU time, peak memory, and money where an hour has a price."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any, Protocol

import torch

from schemas.files import write_text
from train import ranks


class Cuda(Protocol):
    """What torch.cuda tells of memory."""

    def reset_peak_memory_stats(self) -> None: ...  # noqa: D102
    def max_memory_allocated(self) -> int: ...  # noqa: D102
    def max_memory_reserved(self) -> int: ...  # noqa: D102


class Account:
    """Counts from now on, added to what earlier starts of the run left in its folder.

    A start that is killed counts as far as its last checkpoint: what came after was paid for too, but nobody noted it.
    """

    def __init__(
        self, folder: Path, device: torch.device, price: float | None = None, cuda: Cuda | Any = torch.cuda
    ) -> None:
        self._path, self._price = folder / "usage.json", price
        self._cuda = cuda if device.type == "cuda" else None
        self._before = ranks.led(self._read)
        self._wall, self._cpu = time.monotonic(), _cpu_seconds()
        _forget_peak()
        if self._cuda is not None:
            self._cuda.reset_peak_memory_stats()

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}

    def note(self) -> dict[str, Any]:
        """The account so far, kept in the folder; all processes must call it. A full disk only makes a later sum too small."""
        usage = self.usage()
        if ranks.leads():
            with contextlib.suppress(OSError):
                write_text(self._path, json.dumps(usage))
        return usage

    def usage(self) -> dict[str, Any]:
        """Seconds, bytes and dollars of all processes together; the peaks are those of the fullest one."""
        cuda = self._cuda
        mine = {"cpu_seconds": _cpu_seconds() - self._cpu, "peak_memory_bytes": _peak_memory()}
        if cuda is not None:
            mine |= {
                "peak_gpu_memory_bytes": cuda.max_memory_allocated(),
                "peak_gpu_reserved_bytes": cuda.max_memory_reserved(),
            }
        every = ranks.gathered(mine)
        before = self._before
        wall = time.monotonic() - self._wall
        devices = _devices(cuda is not None)
        cpu = sum(one["cpu_seconds"] for one in every)
        hours = before.get("device_hours", 0.0) + devices * wall / 3600
        usage: dict[str, Any] = {
            "starts": before.get("starts", 0) + 1,
            "wall_seconds": round(before.get("wall_seconds", 0.0) + wall, 1),
            "cpu_seconds": round(before.get("cpu_seconds", 0.0) + cpu, 1),
            "device": "GPU" if cuda is not None else "machine",
            "devices": devices,
            "device_hours": hours,
        }
        peaks = [name for name in mine if name.startswith("peak")]
        usage |= {name: max(before.get(name, 0), *(one[name] for one in every), 0) for name in peaks}
        return usage | {
            "price_per_hour_usd": self._price,
            "cost_usd": None if self._price is None else hours * self._price,
        }

    def close(self) -> None:
        """The run's record has it now."""
        self._path.unlink(missing_ok=True)


def used(usage: dict[str, Any], pictures_per_second: float) -> dict[str, Any]:
    """The account as it stands in run.json."""
    return {
        "wall_seconds": usage["wall_seconds"],
        "usage": {**usage, "pictures_per_second": round(pictures_per_second, 1)},
    }


def lines(usage: dict[str, Any], pictures_per_second: float) -> list[str]:
    """The last lines of a run: what it took, used and cost."""
    again = f" in {usage['starts']} starts" if usage["starts"] > 1 else ""
    took = f"took     {duration(usage['wall_seconds'])}{again}; trained {pictures_per_second:,.0f} pictures per second"
    used = f"used     {usage['cpu_seconds']:,.0f} CPU seconds, peak memory {_gb(usage['peak_memory_bytes'])}"
    if usage["device"] == "GPU":
        used = (
            f"used     {3600 * usage['device_hours']:,.0f} GPU seconds, peak GPU memory {_gb(usage['peak_gpu_memory_bytes'])} "
            f"({_gb(usage['peak_gpu_reserved_bytes'])} reserved), {_gb(usage['peak_memory_bytes'])} beside it"
        )
    return [took, used, f"cost     {cost(usage)}"]


def in_money(seconds: float, device: torch.device, price: float | None) -> str:
    """What an estimated time costs, as words behind it; nothing where the hour has no price."""
    return "" if price is None else f" and {seconds / 3600 * _devices(device.type == 'cuda') * price:.2f} USD"


def _devices(gpu: bool) -> int:
    """What is paid by the hour: each process's GPU, without one each machine."""
    return ranks.size() if gpu else ranks.machines()


def cost(usage: dict[str, Any]) -> str:
    """What a run cost: dollars where the hour had a price, else hours."""
    hours = f"{usage['device_hours']:.{2 if usage['device_hours'] >= 1 else 4}f} {usage['device']} hours"
    if usage["cost_usd"] is None:
        return f"{hours}; --price-per-hour makes it dollars"
    return f"{usage['cost_usd']:.2f} USD: {hours} at {usage['price_per_hour_usd']:.2f}"


def duration(seconds: float) -> str:
    """A time to the second, as 2 h 3 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def _cpu_seconds() -> float:
    """Of this process and its children that ended."""
    return sum(os.times()[:4])


_STATUS = Path("/proc/self/status")


def _forget_peak() -> None:
    """Linux forgets the peak so far, so that each of several runs in one process has its own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """Most bytes of memory that this process has held since then; elsewhere than on Linux, since it began."""
    if _STATUS.exists():
        line = next((line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")), "")
        if line:
            return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
