"""Partitions joined two by two give the pairs that all hashes at once give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.band_partitions import join_partitions, partition
from curate.neighbors import near_pairs


@pytest.mark.parametrize(("bits", "count"), [(4, 3_000), (4, 1_000_000), (10, 1_000_000), (8, 200)])
@pytest.mark.parametrize("lead", [1, 3])
def test_the_pairs_are_those_of_all_hashes_at_once(bits: int, count: int, lead: int, tmp_path: Path) -> None:
    """`count` chooses the bands: those of a million hashes serve three thousand as well."""
    rng = np.random.default_rng(bits)
    hashes = rng.integers(0, 2**64, 3_000, dtype=np.uint64)
    for at in range(0, 1_500, 2):
        for bit in rng.choice(64, at % (bits + 2), replace=False):
            hashes[at + 1] = hashes[at] ^ np.uint64(1 << int(bit))
    meetings = partition(np.array_split(hashes, 4), bits, count, tmp_path, lead)
    assert {path.name.split("-")[0] for path in tmp_path.iterdir()} == {"band"}
    found = np.concatenate([np.load(path) for path in join_partitions(meetings)], axis=1)
    expected = near_pairs(hashes, bits)
    assert sorted(zip(*found.tolist(), strict=True)) == list(zip(*(one.tolist() for one in expected), strict=True))
    assert found.shape[1] >= 500
