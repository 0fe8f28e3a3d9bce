"""All pairs of 64-bit hashes that differ in few bits, found exactly and without comparing all with all.

Cut each hash into `bits + s` bands. Two hashes that differ in at most `bits` bits agree in at least `s` whole bands, since
each differing bit can spoil only one band. So sorting by every choice of s bands brings each such pair side by side.
"""

from __future__ import annotations

from itertools import combinations, pairwise
from math import comb

import numpy as np

_SORT = 0.12  # microseconds a hash for sorting once
_PAIR = 0.02  # microseconds for looking at one candidate pair


def near_pairs(hashes: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair i < j of hashes at most `bits` apart, once, sorted: the two positions and the distance."""
    hashes = np.asarray(hashes, dtype=np.uint64)
    found = [_pairs_within(hashes, mask, bits) for mask in _masks(len(hashes), bits)]
    codes = np.unique(np.concatenate(found)) if found else np.empty(0, np.uint64)
    i, j = (codes >> np.uint64(32)).astype(np.int64), (codes & np.uint64(0xFFFFFFFF)).astype(np.int64)
    return i, j, np.bitwise_count(hashes[i] ^ hashes[j]).astype(np.int64)


def _masks(count: int, bits: int) -> list[np.uint64]:
    """The bits to sort by, one mask for each choice of bands."""
    if count < 2:
        return []
    share = min(range(1, 5), key=lambda s: _cost(count, bits, s))
    edges = np.linspace(0, 64, bits + share + 1).round().astype(int)
    bands = [((1 << int(end)) - 1) ^ ((1 << int(start)) - 1) for start, end in pairwise(edges)]
    return [np.uint64(sum(choice)) for choice in combinations(bands, share)]


def _cost(count: int, bits: int, share: int) -> float:
    """Expected microseconds with `share` bands to agree: more sorts, fewer candidates."""
    bands = bits + share
    candidates = count**2 / 2 / 2 ** (64 * share / bands)
    return comb(bands, share) * (count * _SORT + candidates * _PAIR)


def _pairs_within(hashes: np.ndarray, mask: np.uint64, bits: int) -> np.ndarray:
    """Pairs that agree in the masked bits and are near, coded as (smaller position << 32) + larger."""
    keys = hashes & mask
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    ordered = hashes[order]
    left = np.arange(len(keys) - 1)
    found = []
    step = 1
    while left.size:  # compare each hash with the one `step` places on, as long as both are in one run of equal keys
        left = left[left + step < len(keys)]
        left = left[keys[left] == keys[left + step]]
        near = left[np.bitwise_count(ordered[left] ^ ordered[left + step]) <= bits]
        a, b = order[near], order[near + step]
        found.append((np.minimum(a, b).astype(np.uint64) << np.uint64(32)) | np.maximum(a, b).astype(np.uint64))
        step += 1
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def near_between(
    queries: np.ndarray, others: np.ndarray, bits: int, block: int = 4_000_000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of a query and another hash at most `bits` apart: the two positions and the distance, queries in order.

    Compares each with each, a block at a time: for a few thousand queries that takes seconds whatever `bits` is, and hashes
    that thousands of pictures share cost no more than others.
    """
    queries, others = np.asarray(queries, np.uint64), np.asarray(others, np.uint64)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    rows = max(1, block // max(1, len(others)))
    for start in range(0, len(queries), rows):
        distance = np.bitwise_count(queries[start : start + rows, None] ^ others[None, :])
        i, j = np.nonzero(distance <= bits)
        found.append((i + start, j, distance[i, j].astype(np.int64)))
    empty = np.empty(0, np.int64)
    i, j, distance = (np.concatenate(part) for part in zip(*found, strict=True)) if found else (empty, empty, empty)
    return i, j, distance


def degenerate(hashes: np.ndarray) -> np.ndarray:
    """True for each 64-bit hash that says too little to compare: a hash of a picture with content has half of its bits set.

    Flat pictures and pure stripes have most frequencies at zero; thousands of them share a few hashes without being alike.
    """
    ones = np.bitwise_count(hashes.astype(np.uint64))
    return (ones < 16) | (ones > 48)


def distance256(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Differing bits between rows of two uint8 arrays of shape [n, 32]."""
    return np.bitwise_count(a ^ b).sum(axis=1, dtype=np.int64)
