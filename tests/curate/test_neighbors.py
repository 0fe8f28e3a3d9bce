"""Banding finds exactly the pairs that comparing all with all finds, compiled and in plain numpy, all at once or one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curate.neighbors as neighbors
from curate import band_join
from curate.bands import Band, plan
from curate.neighbors import NearIndex, Skipped, near_between, near_pairs, stream_pairs

ENGINES = ("numpy", "numba")
Pairs = set[tuple[int, int, int]]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "numba":
        pytest.importorskip("numba", reason="the extra `search` is not installed")
    return str(request.param)


def by_brute_force(hashes: np.ndarray, bits: int) -> Pairs:
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    i, j = np.nonzero(np.triu(distance <= bits, 1))
    return set(zip(i.tolist(), j.tolist(), distance[i, j].tolist(), strict=True))


def as_set(blocks: Sequence[band_join.Found]) -> Pairs:
    pairs = [pair for block in blocks for pair in zip(*(part.tolist() for part in block), strict=True)]
    assert len(pairs) == len(set(pairs)), "a pair came twice"
    return set(pairs)


@st.composite
def families(draw: st.DrawFn) -> np.ndarray:
    """Hashes around a few centers, each some flipped bits away: what banding must not miss."""
    centers = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=6))
    changes = draw(
        st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 63), max_size=12)), min_size=1, max_size=40)
    )
    hashes = list(centers)
    for which, flips in changes:
        changed = centers[which % len(centers)]
        for bit in flips:
            changed ^= 1 << bit
        hashes.append(changed)
    return np.array(hashes, dtype=np.uint64)


@st.composite
def bands(draw: st.DrawFn, bits: int) -> tuple[Band, ...]:
    """Any bands that may serve: apart from one another, their allowances as the pigeonhole wants them."""
    count = draw(st.integers(1, min(bits + 1, 5)))
    cuts = sorted(draw(st.lists(st.integers(0, bits + 1 - count), min_size=count - 1, max_size=count - 1)))
    most = np.diff([0, *cuts, bits + 1 - count])
    share = 64 // count
    return tuple(
        Band(share * at + draw(st.integers(0, 2)), draw(st.integers(0, min(8, share - 2))), int(allowed))
        for at, allowed in enumerate(most)
    )


@settings(max_examples=60)
@given(families(), st.integers(0, 64))
def test_it_finds_exactly_what_brute_force_finds(hashes: np.ndarray, bits: int) -> None:
    assert as_set([near_pairs(hashes, bits)]) == by_brute_force(hashes, bits)


def test_any_bands_of_the_pigeonhole_find_them_with_either_engine(engine: str) -> None:
    tools = neighbors.tools_for(0, engine)

    @settings(max_examples=150)
    @given(families(), st.integers(0, 12), st.data())
    def check(hashes: np.ndarray, bits: int, data: st.DataObject) -> None:
        cut = data.draw(bands(bits))
        flags = np.zeros(len(hashes), np.uint32)
        found, asked = [], []
        for number, band in enumerate(cut):
            table = tools.sort_by_band(hashes, band, len(hashes))
            found += tools.join(table, bits, cut[:number], flags)
            asked += tools.query(table, hashes[::2].copy(), bits, cut[:number], flags)
        expected = by_brute_force(hashes, bits)
        assert as_set(found) == expected
        both_ways = expected | {(j, i, d) for i, j, d in expected} | {(at, at, 0) for at in range(len(hashes))}
        assert as_set(asked) == {(i // 2, j, d) for i, j, d in both_ways if i % 2 == 0}

    check()


@pytest.mark.parametrize("count", [0, 1, 2, 1_000, 1_000_000, 100_000_000])
@pytest.mark.parametrize("bits", [0, 1, 4, 10, 25, 64])
def test_a_plan_is_a_pigeonhole(count: int, bits: int) -> None:
    cut = plan(count, bits)
    assert sum(band.most + 1 for band in cut) == bits + 1
    masks = [int(band.mask) for band in cut]
    assert sum(mask.bit_count() for mask in masks) == sum(band.width for band in cut)
    assert sum(masks) == int(np.bitwise_or.reduce(np.array(masks, np.uint64))), "bands overlap"
    assert max(masks) < 2**64


@pytest.mark.parametrize("bits", [0, 4, 7, 10])
def test_among_many_random_hashes_no_planted_twin_is_missed(engine: str, bits: int) -> None:
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 2**64, 4_000, dtype=np.uint64)
    for at in range(0, 2_000, 2):
        for bit in rng.choice(64, at % (bits + 2), replace=False):
            hashes[at + 1] = hashes[at] ^ np.uint64(1 << int(bit))
    assert as_set(list(stream_pairs(hashes, bits, engine=engine))) == by_brute_force(hashes, bits)


def test_thousands_of_equal_hashes_are_all_paired_a_block_at_a_time(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 2_000
    monkeypatch.setattr(band_join, "BLOCK", 10_000)
    blocks = list(stream_pairs(np.full(count, 7, dtype=np.uint64), 4, engine=engine))
    assert len(as_set(blocks)) == count * (count - 1) // 2
    assert len(blocks) > 1, "everything came at once"


def test_hashes_that_too_many_share_are_left_out_and_listed_and_all_others_are_found(engine: str) -> None:
    rng = np.random.default_rng(3)
    hashes = rng.integers(0, 2**64, 600, dtype=np.uint64)
    hashes[100:160] = hashes[0]  # 61 equal ones
    hashes[200] = hashes[0] ^ np.uint64(1)  # a neighbor of theirs
    hashes[300] = hashes[200] ^ np.uint64(2)
    skipped: list[Skipped] = []
    found = as_set(list(stream_pairs(hashes, 4, 60, skipped, engine)))
    alone = np.ones(600, bool)
    alone[[0, *range(100, 160)]] = False
    assert found == {pair for pair in by_brute_force(hashes, 4) if alone[pair[0]] and alone[pair[1]]}
    assert (200, 300, 1) in found
    assert skipped == [Skipped(2**64 - 1, int(hashes[0]), 61)]
    assert skipped[0].describe() == f"61 pictures share the hash {int(hashes[0]):016x}"


def test_a_bucket_over_the_cap_costs_only_pairs_that_meet_nowhere_else(engine: str) -> None:
    """Hashes agree in one band's bits by the hundred: every pair that is missing lies in a listed bucket of each band it meets in."""
    rng = np.random.default_rng(5)
    hashes = rng.integers(0, 2**64, 30_000, dtype=np.uint64)
    first = plan(len(hashes), 4)[0]
    hashes[:2_000] = (hashes[:2_000] & ~first.mask) | np.uint64(0)
    twins = np.arange(0, 2_000, 2)
    hashes[twins + 1] = hashes[twins] ^ np.array([1 << int(rng.integers(64)) for _ in twins], np.uint64)
    skipped: list[Skipped] = []
    found = as_set(list(stream_pairs(hashes, 4, 1_000, skipped, engine)))
    assert [(s.mask, s.value) for s in skipped] == [(int(first.mask), 0)]
    assert skipped[0].count > 1_000
    everything = as_set(list(stream_pairs(hashes, 4, None, engine=engine)))
    crowded = (hashes & first.mask) == 0
    cut = plan(len(hashes), 4)

    def meets(i: int, j: int) -> bool:
        differ = int(hashes[i] ^ hashes[j])
        inside = [(differ & int(band.mask)).bit_count() <= band.most for band in cut]
        return any(inside[1:]) or (inside[0] and not crowded[i] and not crowded[j])

    assert found == {pair for pair in everything if meets(pair[0], pair[1])}
    assert len(everything) > len(twins) * 0.9


def test_both_engines_stream_the_same_pairs_and_skip_the_same() -> None:
    pytest.importorskip("numba", reason="the extra `search` is not installed")
    rng = np.random.default_rng(8)
    hashes = rng.integers(0, 2**64, 50_000, dtype=np.uint64)
    hashes[1::5] = hashes[::5] ^ (np.uint64(1) << rng.integers(0, 64, 10_000).astype(np.uint64))
    hashes[:500] &= np.uint64(2**30 - 1)
    seen = []
    for engine in ENGINES:
        skipped: list[Skipped] = []
        seen.append((as_set(list(stream_pairs(hashes, 6, 100, skipped, engine))), skipped))
    assert seen[0] == seen[1]
    assert seen[0][1], "nothing was skipped"


def test_new_hashes_find_their_neighbors_among_old_ones_whatever_the_chunk(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(9)
    old = rng.integers(0, 2**64, 5_000, dtype=np.uint64)
    old[4_000:] = old[17]
    new = np.concatenate([old[::50] ^ (np.uint64(1) << rng.integers(0, 64, 100).astype(np.uint64)), old[:3]])
    distance = np.bitwise_count(new[:, None] ^ old[None, :])
    i, j = np.nonzero(distance <= 5)
    expected = set(zip(i.tolist(), j.tolist(), distance[i, j].tolist(), strict=True))
    index = NearIndex(old, 5, engine=engine)
    assert as_set(list(index.query(new))) == expected
    monkeypatch.setattr(neighbors, "_CHUNK", 7)
    assert as_set(list(index.query(new))) == expected
    capped = NearIndex(old, 5, cap=500, engine=engine)
    shared = old == old[17]
    assert as_set(list(capped.query(new))) == {pair for pair in expected if not shared[pair[1]]}
    assert [one.count for one in capped.skipped] == [1_001]


@settings(max_examples=40)
@given(st.lists(st.integers(0, 255), max_size=12), st.lists(st.integers(0, 255), max_size=12), st.integers(0, 4))
def test_between_two_sets_exactly_the_near_pairs_are_found_whatever_the_block(
    a: list[int], b: list[int], bits: int
) -> None:
    expected = {
        (i, j, (x ^ y).bit_count()) for i, x in enumerate(a) for j, y in enumerate(b) if (x ^ y).bit_count() <= bits
    }
    for block in (1, 5, 4_000_000):
        i, j, distance = near_between(np.array(a, np.uint64), np.array(b, np.uint64), bits, block)
        assert as_set([(i, j, distance)]) == expected
        assert (np.diff(i) >= 0).all()


def test_a_pair_whose_differences_all_lie_in_one_band_meets_in_another(engine: str) -> None:
    x = np.random.default_rng(1).integers(0, 2**64, 30_000, dtype=np.uint64)
    cut = plan(len(x), 4)
    for at, band in enumerate(cut):
        x[2 * at + 1] = x[2 * at] ^ np.uint64(0b1111 << band.shift)
    assert as_set(list(stream_pairs(x, 4, engine=engine))) >= {(2 * at, 2 * at + 1, 4) for at in range(len(cut))}
