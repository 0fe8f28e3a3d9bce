"""The whole 2-of-3 rule, labels and audit written, from 1e6 to 3e8 votes, beside reading the file and what a user would write.

Run: python tests/benchmarks/bench_votes.py [--sizes 1e6 3e6 1e7 3e7] [--ids sha256|short] [--folder DIR]
3e8 votes take 11 GB for the file with 64-character ids (3 GB with short ones) and about three times as much for a while.
Every row of the table is a process of its own: start-up, imports and all; peak is its resident memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORKERS, CLASSES, BATCH = 2000, 13, 1_000_000

READ = """
import pyarrow.parquet as pq
pq.read_table(source, columns=["image_id", "worker_id", "label"])
"""
OURS = """
from pathlib import Path
from curate.label.files import aggregate_file
aggregate_file(Path(source), Path(folder) / "labels.parquet", Path(folder) / "audit.parquet")
"""
PANDAS = """
import pandas as pd
frame = pd.read_parquet(source)
counts = frame.groupby(["image_id", "label"]).size().reset_index(name="n").sort_values("n")
counts.drop_duplicates("image_id", keep="last").to_parquet(folder + "/majority.parquet")
"""
TIMED = """
import json, os, resource, sys, time
source, folder = sys.argv[1:]
began = time.perf_counter()
{body}
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6]))
"""


def write_votes(path: Path, votes: int, ids: str) -> None:
    """Three votes an image, 85 % right, shuffled over the whole file; ids of 64 hex characters, or short numbers."""
    images = votes // 3
    label = pa.array([f"class{number}" for number in range(CLASSES)])
    worker = pa.array([f"A{number:013d}" for number in range(WORKERS)])
    schema = pa.schema([("image_id", pa.string()), ("worker_id", pa.string()), ("label", pa.string())])
    order = Shuffle(images * 3)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=["worker_id", "label"]) as writer:
        for start in range(0, images * 3, BATCH):
            vote = order.places(np.arange(start, min(start + BATCH, images * 3)))
            image, slot = vote // 3, vote % 3
            rng = np.random.default_rng(start)
            truth = image * 2654435761 % CLASSES
            said = np.where(rng.random(len(vote)) < 0.85, truth, rng.integers(CLASSES, size=len(vote)))
            who = slot * (WORKERS // 3) + rng.integers(WORKERS // 3, size=len(vote))
            columns = [sha256_like(image) if ids == "sha256" else pa.array(image).cast(pa.string())]
            columns += [worker.take(pa.array(who)), label.take(pa.array(said))]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=BATCH)


class Shuffle:
    """A permutation of 0 … n - 1 that needs no memory: x -> a x + b mod n, a and n without a common factor."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.a = next(a for a in range(int(n * 0.6180339887), n + 2) if np.gcd(a, n) == 1)

    def places(self, x: np.ndarray) -> np.ndarray:
        """Where the numbers go."""
        half = self.a >> 16, self.a & 0xFFFF  # in two steps, so that nothing leaves 64 bits
        high = (x * half[0] % self.n) * 65536 % self.n
        return (high + x * half[1]) % self.n


def sha256_like(numbers: np.ndarray) -> pa.Array:
    """64 hex characters for each number, spread as a hash would."""
    x = numbers.astype(np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
    x = x + np.arange(1, 5, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
    for shift, factor in ((29, 0xBF58476D1CE4E5B9), (32, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    raw = np.ascontiguousarray(x ^ (x >> np.uint64(31))).view(np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).reshape(len(numbers), 64)
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * 64
    return pa.Array.from_buffers(pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(text)])


def timed(body: str, source: Path, folder: Path) -> tuple[float, float, float] | None:
    """Wall seconds, CPU seconds and peak GB of a process of its own; None when it died (out of memory)."""
    command = [sys.executable, "-c", TIMED.format(body=body), str(source), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"  (ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]})")
        return None
    wall, cpu, peak = json.loads(done.stdout.splitlines()[-1])
    return wall, cpu, peak


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=float, default=[1e6, 3e6, 1e7, 3e7])
    parser.add_argument("--ids", choices=["sha256", "short"], default="sha256")
    parser.add_argument("--folder", type=Path, help="where files of this size may lie; default: a temporary folder")
    parser.add_argument("--pandas-up-to", type=float, default=1e7)
    asked = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; ids: {asked.ids}")
    print(f"{'votes':>7} {'what':<34} {'wall s':>7} {'CPU s':>7} {'peak GB':>8} {'x reading':>10}")
    with tempfile.TemporaryDirectory(dir=asked.folder) as name:
        for size in asked.sizes:
            one_size(Path(name), int(size), asked.ids, size <= asked.pandas_up_to)


def one_size(folder: Path, votes: int, ids: str, with_pandas: bool) -> None:
    """The rows of one number of votes."""
    source = folder / "votes.parquet"
    write_votes(source, votes, ids)
    timed(READ, source, folder) if votes < 1e8 else None  # so that all find the file in the page cache
    floor = None
    rows = [("reading three columns (pyarrow)", READ), ("the whole rule, labels and audit", OURS)]
    if with_pandas:
        rows.append(("pandas majority, no reasons, no ties", PANDAS))
    for what, body in rows:
        if body is READ and votes > 1e8:
            continue  # as one table in memory that is more than most machines have
        if figures := timed(body, source, folder):
            floor = floor or figures[0]
            ratio = f"{figures[0] / floor:>10.1f}" if votes <= 1e8 else ""
            print(
                f"{votes:>7.0e} {what:<34} {figures[0]:>7.1f} {figures[1]:>7.1f} {figures[2]:>8.2f} {ratio}", flush=True
            )
    source.unlink()


if __name__ == "__main__":
    sys.exit(main())
