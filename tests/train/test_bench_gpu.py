"""The GPU benchmark runs to its end: nobody should find out on a rented machine that it does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_gpu.py"


def bench(*asked: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(BENCH.parents[2])}
    return subprocess.run([sys.executable, str(BENCH), *asked], capture_output=True, text=True, env=env)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: it would measure for a quarter of an hour")
def test_without_a_gpu_it_says_so_in_one_line_and_is_no_failure() -> None:
    done = bench()
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert "no CUDA GPU here, nothing measured" in done.stdout


def test_every_part_of_it_runs_on_a_cpu_with_tiny_models() -> None:
    done = bench("--device", "cpu", "--tiny", "--passes", "1")
    assert done.returncode == 0, done.stderr
    for said in (
        "semivit ",
        "vit ",
        "resnet18 ",
        "stream ",
        "waiting for pictures",
        "teacher's average",
        "aten::",
        "passes extrapolated",
    ):
        assert said in done.stdout, said
