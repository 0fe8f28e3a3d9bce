"""All pairs of 64-bit hashes that differ in few bits, found exactly and without comparing all with all.

`curate.bands` says how: hashes are sorted by a few bands of their bits and compared with the buckets around their own. With
numba (the extra `search`) that is compiled; without it numpy finds the same pairs in about ten times the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from curate import band_join
from curate.band_join import Found, Table
from curate.bands import Band, plan

CAP = 10_000  # hashes of one bucket; 50 million pairs if they are all equal
_COMPILED = 20_000  # hashes from which loading numba pays
_CHUNK = 1 << 20  # queries answered at once


@dataclass(frozen=True)
class Skipped:
    """A bucket that was too large to compare: `count` hashes whose bits in `mask` are those of `value`."""

    mask: int  # all 64 bits: equal hashes, which were left out altogether
    value: int
    count: int

    def describe(self) -> str:
        """In words."""
        if self.mask == 2**64 - 1:
            return f"{self.count} pictures share the hash {self.value:016x}"
        return f"{self.count} pictures share bits {self.value:016x} of {self.mask:016x}"


def stream_pairs(
    hashes: np.ndarray, bits: int, cap: int | None = CAP, skipped: list[Skipped] | None = None, engine: str = "auto"
) -> Iterator[Found]:
    """Every pair i < j of hashes at most `bits` apart, once, in no order: blocks of positions and distances, int64.

    Memory grows with the hashes (about 30 bytes each) and not with the pairs. Callers leave out `degenerate` hashes first.

    Args:
        hashes: uint64 [n], fewer than 2^32.
        bits: the largest distance, from 0.
        cap: hashes that more pictures than this share are left out, and larger buckets of a band are not compared (pairs
            that meet in another band are found there). None: nothing is skipped, whatever it costs.
        skipped: takes a row for everything that was skipped; complete when the pairs are.
        engine: `numba`, `numpy`, or `auto`: numba where it is installed and there is enough to do.
    """
    hashes = np.ascontiguousarray(hashes, dtype=np.uint64)
    skipped = [] if skipped is None else skipped
    kept = _without_crowds(hashes, cap, skipped)
    if kept is not None:
        for i, j, distance in stream_pairs(hashes[kept], bits, cap, skipped, engine):
            yield kept[i], kept[j], distance
        return
    tools, bands = tools_for(len(hashes), engine), plan(len(hashes), bits)
    flags = np.zeros(len(hashes), np.uint32)
    for number, band in enumerate(bands):
        table = tools.sort_by_band(hashes, band, _limit(len(hashes), band, cap))
        skipped += _flag_skipped(table, number, flags)
        yield from tools.join(table, bits, bands[:number], flags)


def near_pairs(hashes: np.ndarray, bits: int) -> Found:
    """Every pair i < j of hashes at most `bits` apart, once, sorted: the two positions and the distance."""
    i, j, distance = _together(list(stream_pairs(hashes, bits, cap=None)))
    order = np.lexsort((j, i))
    return i[order], j[order], distance[order]


class NearIndex:
    """Hashes kept sorted by every band, so that asking for the neighbors of a few new ones costs only those.

    Building it takes less time than reading the hashes from a table, so it is not kept in a file. About 12 bytes a hash and
    band.
    """

    def __init__(self, hashes: np.ndarray, bits: int, cap: int | None = CAP, engine: str = "auto") -> None:
        hashes = np.ascontiguousarray(hashes, dtype=np.uint64)
        self.bits, self.skipped = bits, list[Skipped]()
        kept = _without_crowds(hashes, cap, self.skipped)
        self._kept = kept
        hashes = hashes if kept is None else hashes[kept]
        self._tools, self._bands = tools_for(len(hashes), engine), plan(len(hashes), bits)
        self._flags = np.zeros(len(hashes), np.uint32)
        self._tables: list[Table] = []
        for number, band in enumerate(self._bands):
            self._tables.append(self._tools.sort_by_band(hashes, band, _limit(len(hashes), band, cap)))
            self.skipped += _flag_skipped(self._tables[-1], number, self._flags)

    def query(self, queries: np.ndarray) -> Iterator[Found]:
        """Every pair of a query and a hash of the index within its bits, once: their positions and distances, int64."""
        queries = np.ascontiguousarray(queries, dtype=np.uint64)
        for start in range(0, len(queries), _CHUNK):
            for number, table in enumerate(self._tables):
                some = queries[start : start + _CHUNK]
                for i, j, distance in self._tools.query(table, some, self.bits, self._bands[:number], self._flags):
                    yield i + start, j if self._kept is None else self._kept[j], distance


def near_between(queries: np.ndarray, others: np.ndarray, bits: int, block: int = 4_000_000) -> Found:
    """Every pair of a query and another hash at most `bits` apart: the two positions and the distance, queries in order.

    Up to ten `block`s of comparisons each is compared with each, a block at a time; more go through an index.
    """
    queries, others = np.asarray(queries, np.uint64), np.asarray(others, np.uint64)
    if len(queries) * len(others) <= 10 * block:
        return _together(list(_each_with_each(queries, others, bits, block)))
    i, j, distance = _together(list(NearIndex(others, bits, cap=None).query(queries)))
    order = np.lexsort((j, i))
    return i[order], j[order], distance[order]


def _each_with_each(queries: np.ndarray, others: np.ndarray, bits: int, block: int) -> Iterator[Found]:
    rows = max(1, block // max(1, len(others)))
    for start in range(0, len(queries), rows):
        distance = np.bitwise_count(queries[start : start + rows, None] ^ others[None, :])
        i, j = np.nonzero(distance <= bits)
        yield i + start, j, distance[i, j].astype(np.int64)


def _together(found: list[Found]) -> Found:
    """The blocks as one."""
    i, j, distance = zip(*found, strict=True) if found else ((), (), ())
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *i]), np.concatenate([empty, *j]), np.concatenate([empty, *distance])


def tools_for(count: int, engine: str = "auto") -> Any:
    """The module that sorts, joins and queries."""
    if engine == "numba" or (engine == "auto" and count >= _COMPILED and find_spec("numba")):
        from curate import band_join_fast

        return band_join_fast
    return band_join


def _limit(count: int, band: Band, cap: int | None) -> int:
    """Hashes that a bucket may hold: never less than some times what uniform hashes would put there."""
    return count if cap is None or band.width == 0 else max(cap, 8 * count >> band.width)


def _without_crowds(hashes: np.ndarray, cap: int | None, skipped: list[Skipped]) -> np.ndarray | None:
    """Positions of the hashes that at most `cap` share, the others being listed; None when that is all of them."""
    if cap is None or len(hashes) <= cap:
        return None
    crowded = np.bincount((hashes >> np.uint64(48)).astype(np.int64), minlength=1 << 16) > cap
    some = np.flatnonzero(crowded[(hashes >> np.uint64(48)).astype(np.int64)])
    values, inverse, counts = np.unique(hashes[some], return_inverse=True, return_counts=True)
    many = counts > cap
    if not many.any():
        return None
    skipped += [Skipped(2**64 - 1, int(v), int(c)) for v, c in zip(values[many], counts[many], strict=True)]
    return np.delete(np.arange(len(hashes)), some[many[inverse]])


def _flag_skipped(table: Table, number: int, flags: np.ndarray) -> list[Skipped]:
    """Mark the hashes whose bucket is too large, and list the buckets."""
    over = np.flatnonzero(np.diff(table.starts) > table.limit)
    found = []
    for key in over.tolist():
        low, high = int(table.starts[key]), int(table.starts[key + 1])
        flags[table.order[low:high]] |= np.uint32(1 << number)
        found.append(Skipped(int(table.band.mask), key << table.band.shift, high - low))
    return found


def degenerate(hashes: np.ndarray) -> np.ndarray:
    """True for each 64-bit hash that says too little to compare: a hash of a picture with content has half of its bits set.

    Flat pictures and pure stripes have most frequencies at zero; thousands of them share a few hashes without being alike.
    """
    ones = np.bitwise_count(hashes.astype(np.uint64))
    return (ones < 16) | (ones > 48)


def distance256(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differing bits between rows of two uint8 arrays of shape [n, 32]."""
    return np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int64)
