"""The work of `band_join`, compiled by numba: the same pairs, about ten times as fast. Needs the extra `search`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from curate.band_join import Found, Table
from curate.bands import Band

_BUFFER = 1 << 20  # pairs handed on at a time, at least


def _popcount(context: Any, value: Any) -> Any:
    """The bits set in a uint64: one machine instruction."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.uint64(types.uint64), generate


_ones: Any = intrinsic(_popcount)


def sort_by_band(hashes: np.ndarray, band: Band, limit: int) -> Table:
    """As `band_join.sort_by_band`."""
    order, ordered = np.empty(len(hashes), np.uint32), np.empty(len(hashes), np.uint64)
    starts = np.zeros(2**band.width + 1, np.uint32)
    _count_sort(hashes, np.uint64(band.shift), np.uint64((1 << band.width) - 1), order, ordered, starts)
    return Table(band, order, ordered, starts, limit)


def join(table: Table, bits: int, earlier: tuple[Band, ...], skipped: np.ndarray) -> Iterator[Found]:
    """As `band_join.join`."""
    longest = min(table.limit, int(np.diff(table.starts).max(initial=0)))
    buffer = _Buffer(longest)
    masks, most = _of(earlier)
    state = np.zeros(3, np.int64)  # where to go on: pattern, bucket, hash; the pattern is -1 at the end
    while state[0] >= 0:
        count = _join(table.hashes, table.order, table.starts, table.band.flips, table.limit, bits, masks, most, skipped, state, *buffer.arrays)  # fmt: skip
        i, j, distance = buffer.taken(count)
        yield np.minimum(i, j), np.maximum(i, j), distance


def query(
    table: Table, queries: np.ndarray, bits: int, earlier: tuple[Band, ...], skipped: np.ndarray
) -> Iterator[Found]:
    """As `band_join.query`."""
    keys = table.band.keys(queries)
    longest = min(table.limit, int(np.diff(table.starts).max(initial=0)))
    buffer = _Buffer(longest)
    masks, most = _of(earlier)
    state = np.zeros(2, np.int64)  # where to go on: query, pattern; the query is -1 at the end
    while state[0] >= 0:
        count = _query(table.hashes, table.order, table.starts, table.band.flips, table.limit, queries, keys, bits, masks, most, skipped, state, *buffer.arrays)  # fmt: skip
        yield buffer.taken(count)


class _Buffer:
    """Room for the pairs of one step; a bucket of `longest` hashes fits in whole."""

    def __init__(self, longest: int) -> None:
        size = max(_BUFFER, longest)
        self.arrays = np.empty(size, np.uint32), np.empty(size, np.uint32), np.empty(size, np.uint8)

    def taken(self, count: int) -> Found:
        """The first `count` pairs, as arrays of their own."""
        i, j, distance = (array[:count].astype(np.int64) for array in self.arrays)
        return i, j, distance


def _of(bands: tuple[Band, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Masks and allowances, as arrays."""
    return np.array([band.mask for band in bands], np.uint64), np.array([band.most for band in bands], np.uint64)


@njit(cache=True, nogil=True)
def _count_sort(hashes, shift, mask, order, ordered, starts):  # type: ignore[no-untyped-def]
    for at in range(len(hashes)):
        starts[np.int64((hashes[at] >> shift) & mask) + 1] += np.uint32(1)
    for key in range(1, len(starts)):
        starts[key] += starts[key - 1]
    for at in range(len(hashes)):
        bucket = np.int64((hashes[at] >> shift) & mask)
        place = starts[bucket]
        starts[bucket] = place + np.uint32(1)
        ordered[place] = hashes[at]
        order[place] = at
    for key in range(len(starts) - 1, 0, -1):  # each place stands at the next one's start now
        starts[key] = starts[key - 1]
    starts[0] = 0


@njit(cache=True, nogil=True, inline="always")
def _met(differ, masks, most, bad):  # type: ignore[no-untyped-def]
    """True when an earlier band has found the pair."""
    for band in range(len(masks)):
        if _ones(differ & masks[band]) <= most[band] and not (bad >> np.uint32(band)) & np.uint32(1):
            return True
    return False


@njit(cache=True, nogil=True)
def _join(hashes, order, starts, flips, limit, bits, masks, most, skipped, state, left, right, apart):  # type: ignore[no-untyped-def]
    """Fill the buffer from `state` on; returns how many pairs, and leaves in `state` where to go on."""
    near, room, count = np.uint64(bits), len(left), 0
    bucket, row = state[1], state[2]
    for pattern in range(state[0], len(flips)):
        flip = flips[pattern]
        for key in range(bucket, len(starts) - 1):
            other = key ^ flip
            if other < key:
                continue
            low, high = np.int64(starts[key]), np.int64(starts[key + 1])
            begin, end = np.int64(starts[other]), np.int64(starts[other + 1])
            if high - low > limit or end - begin > limit or begin == end:
                continue
            for at in range(max(low, row), high):
                if count + end - begin > room:
                    state[0], state[1], state[2] = pattern, key, at
                    return count
                hash_ = hashes[at]
                for to in range(begin if flip else at + 1, end):
                    differ = hash_ ^ hashes[to]
                    distance = _ones(differ)
                    if distance <= near and not _met(differ, masks, most, skipped[order[at]] | skipped[order[to]]):
                        left[count], right[count], apart[count] = order[at], order[to], distance
                        count += 1
            row = 0
        bucket, row = 0, 0
    state[0] = -1
    return count


@njit(cache=True, nogil=True)
def _query(hashes, order, starts, flips, limit, queries, keys, bits, masks, most, skipped, state, left, right, apart):  # type: ignore[no-untyped-def]
    """As `_join`, of each query with the buckets around its key."""
    near, room, count = np.uint64(bits), len(left), 0
    first = state[1]
    for at in range(state[0], len(queries)):
        hash_ = queries[at]
        for pattern in range(first, len(flips)):
            key = keys[at] ^ flips[pattern]
            begin, end = np.int64(starts[key]), np.int64(starts[key + 1])
            if end - begin > limit:
                continue
            if count + end - begin > room:
                state[0], state[1] = at, pattern
                return count
            for to in range(begin, end):
                differ = hash_ ^ hashes[to]
                distance = _ones(differ)
                if distance <= near and not _met(differ, masks, most, skipped[order[to]]):
                    left[count], right[count], apart[count] = at, order[to], distance
                    count += 1
        first = 0
    state[0] = -1
    return count
