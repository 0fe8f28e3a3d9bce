from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from train.account import Account, cost, duration, in_money, lines, used

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Memory:
    """What torch.cuda says of memory, on a machine without a GPU."""

    def __init__(self, allocated: int, reserved: int) -> None:
        self.allocated, self.reserved, self.forgotten = allocated, reserved, 0

    def reset_peak_memory_stats(self) -> None:
        self.forgotten += 1

    def max_memory_allocated(self) -> int:
        return self.allocated

    def max_memory_reserved(self) -> int:
        return self.reserved


def test_starts_of_a_run_add_up_and_the_highest_peak_stays(tmp_path: Path) -> None:
    (tmp_path / "usage.json").write_text(
        json.dumps({"starts": 2, "wall_seconds": 7200.0, "cpu_seconds": 50.0, "device_hours": 2.0,
                    "peak_memory_bytes": 10**15, "peak_gpu_memory_bytes": 5, "peak_gpu_reserved_bytes": 90})
    )  # fmt: skip
    memory = Memory(allocated=80, reserved=70)
    account = Account(tmp_path, CUDA, 4.5, memory)
    assert memory.forgotten == 1  # an earlier run of this process has peaks of its own
    noted = account.note()
    assert json.loads((tmp_path / "usage.json").read_text()) == noted
    assert (noted["starts"], noted["peak_memory_bytes"]) == (3, 10**15)
    assert (noted["peak_gpu_memory_bytes"], noted["peak_gpu_reserved_bytes"]) == (80, 90)
    assert noted["wall_seconds"] >= 7200
    assert noted["device_hours"] >= 2
    assert noted["cost_usd"] == noted["device_hours"] * 4.5
    assert account.note()["starts"] == 3  # one start, however often it is noted
    account.close()
    assert not (tmp_path / "usage.json").exists()


def test_without_a_gpu_the_process_is_what_is_measured(tmp_path: Path) -> None:
    account = Account(tmp_path, CPU)
    held = bytearray(300_000_000)  # written: zeros are pages too
    held[::4096] = b"x" * len(held[::4096])
    noted = account.note()
    assert noted["peak_memory_bytes"] > 300_000_000
    assert not [name for name in noted if "gpu" in name]
    assert (noted["device"], noted["devices"], noted["cost_usd"]) == ("machine", 1, None)
    del held


def test_each_run_of_a_process_has_a_peak_of_its_own(tmp_path: Path) -> None:
    held = bytearray(300_000_000)
    held[::4096] = b"x" * len(held[::4096])
    first = Account(tmp_path, CPU).usage()
    del held
    assert Account(tmp_path, CPU).usage()["peak_memory_bytes"] < first["peak_memory_bytes"] - 200_000_000


def test_a_damaged_or_unwritable_account_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "usage.json").write_text("{")
    account = Account(tmp_path / "no such folder", CPU)
    assert account.note()["starts"] == 1
    assert Account(tmp_path, CPU).note()["starts"] == 1


GPU: dict[str, Any] = {
    "starts": 2, "wall_seconds": 3783.0, "cpu_seconds": 900.0, "device": "GPU", "devices": 2, "device_hours": 2.1,
    "peak_memory_bytes": 3_000_000_000, "peak_gpu_memory_bytes": 11_200_000_000, "peak_gpu_reserved_bytes": 12_000_000_000,
    "price_per_hour_usd": 4.5, "cost_usd": 9.45,
}  # fmt: skip


def test_the_last_lines_say_what_a_run_took_used_and_cost() -> None:
    assert lines(GPU, 2640.4) == [
        "took     1 h 3 min in 2 starts; trained 2,640 pictures per second",
        "used     7,560 GPU seconds, peak GPU memory 11.20 GB (12.00 GB reserved), 3.00 GB beside it",
        "cost     9.45 USD: 2.10 GPU hours at 4.50",
    ]
    machine = {**GPU, "starts": 1, "device": "machine", "device_hours": 0.0213, "wall_seconds": 76.7, "cost_usd": None}
    assert lines(machine, 92) == [
        "took     1 min 17 s; trained 92 pictures per second",
        "used     900 CPU seconds, peak memory 3.00 GB",
        "cost     0.0213 machine hours; --price-per-hour makes it dollars",
    ]
    assert used(GPU, 2640.44)["usage"]["pictures_per_second"] == 2640.4
    assert used(GPU, 2640.44)["wall_seconds"] == 3783.0
    assert cost({**GPU, "cost_usd": 0.0, "price_per_hour_usd": 0.0}).startswith("0.00 USD")
    assert (duration(3.21), duration(59.4), duration(60)) == ("3.2 s", "59.4 s", "1 min 0 s")


def test_an_estimate_is_money_too_where_the_hour_has_a_price() -> None:
    assert in_money(7200, CUDA, 4.5) == " and 9.00 USD"
    assert in_money(7200, CPU, None) == ""
