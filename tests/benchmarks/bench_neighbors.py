"""CPU time and memory of finding all near pairs of hashes, beside FAISS and imagededup at the size each can do.

Run: python tests/benchmarks/bench_neighbors.py [--large] [--changed FILE]; `pip install -e '.[bench]'` brings the peers.
Every line is a process of its own, so that its peak memory is its own; one thread; compiling (once a machine) is not counted.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from curate.band_partitions import join_meeting, partition
from curate.neighbors import NearIndex, Skipped, degenerate, stream_pairs

TARGETS = {(10**6, 4): 0.75, (10**6, 6): 1.8, (10**6, 8): 5.5, (10**6, 10): 20.0, (10**7, 4): 27.0}


def uniform(count: int, seed: int = 0) -> np.ndarray:
    """Random hashes, 2 % of them a copy of their neighbor with 0 to 10 bits flipped."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for at in range(0, count - 1, 50):
        bits = rng.permutation(64)[: rng.integers(0, 11)]
        hashes[at + 1] = hashes[at] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    return hashes


def ours(hashes: np.ndarray, bits: int, engine: str = "numba") -> dict[str, Any]:
    """All pairs, streamed and counted."""
    for _ in stream_pairs(np.arange(100, dtype=np.uint64), bits, engine=engine):
        pass  # compiled or loaded here
    skipped: list[Skipped] = []
    began = time.process_time()
    pairs = sum(len(i) for i, _, _ in stream_pairs(hashes, bits, skipped=skipped, engine=engine))
    return {"cpu": time.process_time() - began, "pairs": pairs, "skipped": [one.describe() for one in skipped]}


def new_against_old(old: np.ndarray, bits: int, count: int) -> dict[str, Any]:
    """An index of the old ones, and `count` new ones asked."""
    NearIndex(old[:100], bits, engine="numba").query(old[:1])
    new = old[:: len(old) // count][:count] ^ np.uint64(1 << 40 | 1 << 7)
    began = time.process_time()
    index = NearIndex(old, bits, engine="numba")
    built = time.process_time()
    pairs = sum(len(i) for i, _, _ in index.query(new))
    return {"cpu": time.process_time() - built, "build": built - began, "pairs": pairs}


def partitions(count: int, bits: int) -> dict[str, Any]:
    """The band join over partitions on disk, the hashes drawn a block at a time, one in fifty a copy with 0 to 10 bits flipped."""
    for _ in stream_pairs(np.arange(100, dtype=np.uint64), bits, engine="numba"):
        pass
    planted: list[np.ndarray] = []
    spent = [0.0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began, wall = time.process_time(), time.time()
        meetings = partition(_drawn(count, bits, planted, spent), bits, count, folder)
        written = time.process_time()
        on_disk = sum(path.stat().st_size for path in folder.iterdir())
        pairs, found = 0, []
        for meeting in meetings:
            path = join_meeting(meeting)
            i, j, _ = np.load(path)
            pairs += len(i)
            found.append(i[(j == i + 1) & (i % 50 == 0)])
            on_disk = max(on_disk, sum(path.stat().st_size for path in folder.iterdir()))
        cpu = time.process_time() - written
        expected, seen = np.concatenate(planted), np.sort(np.concatenate(found))
        assert np.array_equal(expected, seen), f"{len(expected)} planted pairs, {len(seen)} found"
    print(
        f"    all {len(seen):,} planted pairs found; {on_disk / 1e9:.1f} GB of disk, {time.time() - wall:.0f} s of wall time"
    )
    return {"cpu": cpu, "build": written - began - spent[0], "pairs": pairs}


def _drawn(count: int, bits: int, planted: list[np.ndarray], spent: list[float]) -> Iterator[np.ndarray]:
    """Blocks of uniform hashes; the positions of the planted pairs within `bits` go into `planted`, the CPU seconds into `spent`."""
    rng, size = np.random.default_rng(0), min(count, 5_000_000)
    for begin in range(0, count, size):
        began = time.process_time()
        block = rng.integers(0, 2**64, min(size, count - begin), dtype=np.uint64)
        at = np.arange(0, len(block) - 1, 50)
        flips = rng.integers(0, 11, len(at))
        order = rng.permuted(np.tile(np.arange(64, dtype=np.uint64), (len(at), 1)), axis=1)[:, :10]
        masks = np.where(np.arange(10) < flips[:, None], np.uint64(1) << order, np.uint64(0)).sum(
            axis=1, dtype=np.uint64
        )
        block[at + 1] = block[at] ^ masks
        planted.append(begin + at[flips <= bits])
        spent[0] += time.process_time() - began
        yield block


def faiss_flat(hashes: np.ndarray, bits: int, queries: int) -> dict[str, Any]:
    """Each of `queries` hashes with all; the pairs of all hashes by arithmetic when that is not all of them."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryFlat(64)
    return _faiss(index, hashes, bits, queries)


def faiss_multihash(hashes: np.ndarray, bits: int, queries: int) -> dict[str, Any]:
    """FAISS's own banding: four tables of 16 bits, each asked with as many flips as make it exact."""
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = bits // 4
    return _faiss(index, hashes, bits, queries)


def _faiss(index: Any, hashes: np.ndarray, bits: int, queries: int) -> dict[str, Any]:
    rows = hashes.view(np.uint8).reshape(-1, 8)
    began = time.process_time()
    index.add(rows)
    added = time.process_time()
    limits, _, _ = index.range_search(rows[:queries], bits + 1)  # its radius is exclusive
    asked = time.process_time()
    share = len(hashes) / queries
    pairs = (int(limits[-1]) - queries) // 2 if queries == len(hashes) else -1
    return {"cpu": (added - began) + (asked - added) * share, "pairs": pairs}


def imagededup(hashes: np.ndarray, bits: int, queries: int) -> dict[str, Any]:
    """`find_duplicates` over an encoding map."""
    from imagededup.methods import PHash

    names = {f"{at}.jpg": f"{int(value):016x}" for at, value in enumerate(hashes)}
    began = sum(os.times()[:4])
    found = PHash(verbose=False).find_duplicates(encoding_map=names, max_distance_threshold=bits, num_dist_workers=0)
    return {"cpu": sum(os.times()[:4]) - began, "pairs": sum(map(len, found.values())) // 2}


def alone(work: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """What `work` says, from a process of its own, with its peak memory."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # not a Pool: imagededup starts processes of its own
        return pool.submit(_with_peak, work, arguments).result()


def _with_peak(work: Callable[..., dict[str, Any]], arguments: tuple[Any, ...]) -> dict[str, Any]:
    given = tuple(
        uniform(one) if index == 0 and isinstance(one, int) and work is not partitions else one
        for index, one in enumerate(arguments)
    )
    if isinstance(given[0], Path):
        every = np.load(given[0])
        given = (every[~degenerate(every)], *given[1:])
    return {**work(*given), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}


def say(what: str, found: dict[str, Any], note: str = "") -> None:
    """One line."""
    pairs = f"{found['pairs']:>12,} pairs" if found["pairs"] >= 0 else " " * 18
    built = f" + {found['build']:.3f} to sort" if "build" in found else ""
    print(f"{what:<58} {found['cpu']:9.3f} CPU s{built} {pairs}, peak {found['peak']:.2f} GB {note}", flush=True)
    for line in found.get("skipped", ()):
        print(f"    skipped: {line}")


def peers() -> None:
    """The peers, each beside ours on the same hashes."""
    for name, work, count, bits, queries in (
        ("imagededup", imagededup, 20_000, 10, 20_000),
        ("faiss", faiss_flat, 100_000, 10, 100_000),
        ("faiss", faiss_multihash, 100_000, 4, 100_000),
        ("faiss", faiss_flat, 1_000_000, 4, 1_000),
        ("faiss", faiss_multihash, 1_000_000, 4, 1_000),
        ("faiss", faiss_multihash, 1_000_000, 10, 1_000),
    ):
        if not find_spec(name):
            print(f"{name} is not installed")
            continue
        whole = "" if queries == count else f", all of them by {queries:,} queries"
        theirs, mine = alone(work, count, bits, queries), alone(ours, count, bits)
        say(f"{work.__name__}, {count:,} uniform, within {bits}{whole}", theirs)
        say(f"  ours, {count:,} uniform, within {bits}", mine, f"({theirs['cpu'] / mine['cpu']:.0f} times)")


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="1e7 hashes too")
    parser.add_argument("--huge", type=int, help="only this: so many hashes over partitions on disk, such as 100000000")
    parser.add_argument("--changed", type=Path, help="where the hashes of the changed photos are kept")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, one thread")
    if options.huge:
        say(f"{options.huge:,} over partitions, within 4", alone(partitions, options.huge, 4))
        return
    for (count, bits), most in TARGETS.items():
        if count <= 10**6 or options.large:
            say(f"ours, {count:,} uniform, within {bits}", alone(ours, count, bits), f"(asked for: {most})")
    say("ours without numba, 1,000,000 uniform, within 4", alone(ours, 10**6, 4, "numpy"))
    say("1,000 new against 1,000,000 old, within 4", alone(new_against_old, 10**6, 4, 1_000))
    say("1,000 new against 1,000,000 old, within 10", alone(new_against_old, 10**6, 10, 1_000))
    if options.large:
        say("1,000 new against 10,000,000 old, within 4", alone(new_against_old, 10**7, 4, 1_000))
    _photos(options.changed or Path(tempfile.gettempdir()) / "consenso-changed-photos.npy")
    if not options.no_peers:
        peers()


def _photos(kept: Path) -> None:
    """The same on hashes of real photos changed in 300 ways each."""
    from changed_photos import changed_hashes

    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    paths = sorted((base / "clothing").rglob("*.jpg"))
    if not paths and not kept.exists():
        print("the real photos are not on this machine")
        return
    hashes = changed_hashes(paths, kept)
    print(f"{len(hashes):,} hashes of changed photos, {int(degenerate(hashes).sum()):,} of them left out as degenerate")
    for bits in (4, 6, 8, 10):
        say(f"ours, changed photos, within {bits}", alone(ours, kept, bits))
    say("1,000 new against the changed photos, within 4", alone(new_against_old, kept, 4, 1_000))


if __name__ == "__main__":
    sys.exit(main())
