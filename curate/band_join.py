"""Buckets of hashes compared with one another in plain numpy; `band_join_fast` does the same compiled, pair for pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curate.bands import Band

Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # int64: position, other position, distance
BLOCK = 2_000_000  # candidates compared at once


@dataclass(frozen=True)
class Table:
    """Hashes sorted by the key of one band, so that each key's bucket is one stretch of them."""

    band: Band
    order: np.ndarray  # uint32 [n]: where the hash stood before
    hashes: np.ndarray  # uint64 [n]
    starts: np.ndarray  # uint32 [2^width + 1]: bucket k is hashes[starts[k] : starts[k + 1]]
    limit: int  # buckets of more hashes are skipped


def sort_by_band(hashes: np.ndarray, band: Band, limit: int) -> Table:
    """The hashes by the key of a band; equal keys keep their order."""
    keys = band.keys(hashes)
    order = np.argsort(keys.astype(np.uint16 if band.width <= 16 else np.uint32), kind="stable")
    starts = np.zeros(2**band.width + 1, np.uint32)
    np.cumsum(np.bincount(keys, minlength=2**band.width), out=starts[1:])
    return Table(band, order.astype(np.uint32), hashes[order], starts, limit)


def join(table: Table, bits: int, earlier: tuple[Band, ...], skipped: np.ndarray) -> Iterator[Found]:
    """Pairs of the table within `bits` that meet in its band and met in no earlier one, i < j, a block at a time.

    Args:
        table: hashes by the band.
        bits: the largest distance.
        earlier: bands that were joined before.
        skipped: uint32 [n]: bit b is set for a hash whose bucket of band b was skipped.
    """
    keys = table.band.keys(table.hashes)
    sizes = np.diff(table.starts.astype(np.int64))
    rows = np.flatnonzero(sizes[keys] <= table.limit)
    for flip in table.band.flips:
        if flip == 0:
            here, low, high = rows, rows + 1, table.starts[keys[rows] + 1].astype(np.int64)
        else:
            here = rows[(keys[rows] ^ flip) > keys[rows]]
            here = here[sizes[keys[here] ^ flip] <= table.limit]
            low, high = _bucket(table, keys[here] ^ flip)
        for at, other in _spread(here, low, high):
            i, j = table.order[at], table.order[other]
            bad = skipped[i] | skipped[j]
            yield _near(i, j, table.hashes[at], table.hashes[other], bits, earlier, bad)


def query(
    table: Table, queries: np.ndarray, bits: int, earlier: tuple[Band, ...], skipped: np.ndarray
) -> Iterator[Found]:
    """Pairs of a query and a hash of the table, as `join` finds them: position among the queries, position in the table."""
    keys = table.band.keys(queries)
    sizes = np.diff(table.starts.astype(np.int64))
    for flip in table.band.flips:
        here = np.flatnonzero(sizes[keys ^ flip] <= table.limit)
        for i, other in _spread(here, *_bucket(table, keys[here] ^ flip)):
            j = table.order[other]
            found = _near(i, j, queries[i], table.hashes[other], bits, earlier, skipped[j], ordered=False)
            yield found


def _bucket(table: Table, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return table.starts[keys].astype(np.int64), table.starts[keys + 1].astype(np.int64)


def _spread(rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each row with each place from its `low` to before its `high`, about BLOCK of them at a time."""
    sizes = high - low
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(rows):
        done = ends[begin] - sizes[begin]
        end = max(begin + 1, int(np.searchsorted(ends, done + BLOCK, side="right")))
        part = sizes[begin:end]
        first = np.repeat(ends[begin:end] - part - done, part)
        yield np.repeat(rows[begin:end], part), np.arange(len(first)) - first + np.repeat(low[begin:end], part)
        begin = end


def _near(
    i: np.ndarray,
    j: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    bits: int,
    earlier: tuple[Band, ...],
    bad: np.ndarray,
    ordered: bool = True,
) -> Found:
    """Those of the candidates that are near and that no earlier band has found."""
    differ = x ^ y
    distance = np.bitwise_count(differ)
    near = np.flatnonzero(distance <= bits)
    for number, band in enumerate(earlier):
        met = (np.bitwise_count(differ[near] & band.mask) <= band.most) & ((bad[near] >> np.uint32(number)) & 1 == 0)
        near = near[~met]
    i, j = i[near].astype(np.int64), j[near].astype(np.int64)
    low, high = (np.minimum(i, j), np.maximum(i, j)) if ordered else (i, j)
    return low, high, distance[near].astype(np.int64)
