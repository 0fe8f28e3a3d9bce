"""Banding finds exactly the pairs that comparing all with all finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.neighbors import near_between, near_pairs


def by_brute_force(hashes: np.ndarray, bits: int) -> set[tuple[int, int, int]]:
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    i, j = np.nonzero(np.triu(distance <= bits, 1))
    return set(zip(i.tolist(), j.tolist(), distance[i, j].tolist(), strict=True))


def found(hashes: np.ndarray, bits: int) -> set[tuple[int, int, int]]:
    i, j, distance = near_pairs(hashes, bits)
    pairs = list(zip(i.tolist(), j.tolist(), distance.tolist(), strict=True))
    assert len(pairs) == len(set(pairs)), "a pair came twice"
    return set(pairs)


@settings(deadline=None, max_examples=60)
@given(
    centers=st.lists(st.integers(0, 2**64 - 1), min_size=0, max_size=6),
    changes=st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 63), max_size=12)), max_size=40),
    bits=st.integers(0, 10),
)
def test_it_finds_exactly_what_brute_force_finds(
    centers: list[int], changes: list[tuple[int, list[int]]], bits: int
) -> None:
    hashes = list(centers)
    for which, flips in changes:
        if centers:
            changed = centers[which % len(centers)]
            for bit in flips:
                changed ^= 1 << bit
            hashes.append(changed)
    array = np.array(hashes, dtype=np.uint64)
    assert found(array, bits) == by_brute_force(array, bits)


def test_among_many_random_hashes_no_planted_twin_is_missed() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 3_000, dtype=np.uint64)
    for at in range(0, 1_500, 3):
        for bit in rng.choice(64, at % 5, replace=False):
            hashes[at + 1] = hashes[at] ^ np.uint64(1 << int(bit))
    assert found(hashes, 4) == by_brute_force(hashes, 4)


def test_thousands_of_equal_hashes_are_all_paired() -> None:
    assert len(found(np.full(400, 7, dtype=np.uint64), 4)) == 400 * 399 // 2


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 255), max_size=12), st.lists(st.integers(0, 255), max_size=12), st.integers(0, 4))
def test_between_two_sets_exactly_the_near_pairs_are_found_whatever_the_block(
    a: list[int], b: list[int], bits: int
) -> None:
    expected = {
        (i, j, (x ^ y).bit_count()) for i, x in enumerate(a) for j, y in enumerate(b) if (x ^ y).bit_count() <= bits
    }
    for block in (1, 5, 4_000_000):
        parts = near_between(np.array(a, np.uint64), np.array(b, np.uint64), bits, block)
        pairs = list(zip(*(part.tolist() for part in parts), strict=True))
        assert len(pairs) == len(expected)
        assert set(pairs) == expected
