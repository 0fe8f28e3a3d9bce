"""How to cut 64-bit hashes so that near ones meet without comparing all with all.

Cut each hash into bands and allow every band a few differing bits, so that the allowances plus one for each band make one
more than the distance asked for. Two hashes within that distance then keep to the allowance of at least one band: to break
it everywhere takes one differing bit too many. (A pigeonhole per band instead of one for all, as in "GPH", Qin et al. 2018.)
So hashes sorted by a band meet all their neighbors in the buckets whose keys differ from theirs in so few bits.

Which bands are cheapest depends on how many hashes there are; `plan` tries all. The arithmetic is that of uniform hashes;
others are found just as exactly, only slower.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from math import comb

import numpy as np

# Nanoseconds of the compiled join, fitted to 1e6 and 1e7 uniform hashes on x86-64 with AVX2.
_SORT = 13.0  # a hash put into its bucket
_VISIT = 7.0  # a pair of buckets looked at
_ROW = 3.0  # a hash begun to be compared with a bucket
_PAIR = 0.5  # two hashes compared
_WIDEST = 24  # bits of a key: a table of 2^24 places is 64 MB
_MOST_BANDS = 16


@dataclass(frozen=True)
class Band:
    """The bits from `shift` on, `width` of them, and in how many of them two hashes may differ to meet."""

    shift: int
    width: int
    most: int

    @property
    def mask(self) -> np.uint64:
        """Its bits, as they lie in the hash."""
        return np.uint64(((1 << self.width) - 1) << self.shift)

    @cached_property
    def flips(self) -> np.ndarray:
        """int64: every pattern of at most `most` bits of the key, none first."""
        sizes = range(min(self.most, self.width) + 1)
        return np.array(
            [sum(1 << bit for bit in some) for size in sizes for some in combinations(range(self.width), size)]
        )

    def keys(self, hashes: np.ndarray) -> np.ndarray:
        """int64: the band of each hash as a number."""
        return ((hashes >> np.uint64(self.shift)) & np.uint64((1 << self.width) - 1)).astype(np.int64)


@cache
def plan(count: int, bits: int) -> tuple[Band, ...]:
    """The cheapest bands that bring every pair of `count` hashes within `bits` together. One of no width compares all."""
    best: tuple[Band, ...] = (Band(0, 0, bits),)
    cheapest = _cost(count, 0, bits)
    for bands in range(1, min(bits + 1, _MOST_BANDS) + 1):
        most, wide = divmod(bits + 1 - bands, bands)  # the first `wide` bands may differ in one bit more
        costs = [[_cost(count, width, most + more) for width in range(_WIDEST + 1)] for more in (0, 1)]
        for wider in range(_WIDEST + 1) if wide else (0,):
            width = min(_WIDEST, (64 - wide * wider) // (bands - wide)) if wide * wider <= 64 else -1
            for narrower in range(width + 1):
                cost = wide * costs[1][wider] + (bands - wide) * costs[0][narrower]
                if cost < cheapest:
                    best, cheapest = _laid_out([(wider, most + 1)] * wide + [(narrower, most)] * (bands - wide)), cost
    return best


def _cost(count: int, width: int, most: int) -> float:
    """Nanoseconds that one band takes."""
    patterns = sum(comb(width, size) for size in range(min(most, width) + 1))
    buckets = 2**width
    rows = count * patterns / 2
    return count * _SORT + buckets * patterns / 2 * _VISIT + rows * _ROW + rows * count / buckets * _PAIR


def _laid_out(bands: list[tuple[int, int]]) -> tuple[Band, ...]:
    """Bands of those widths and allowances, one after the other, spread over the 64 bits."""
    free = (64 - sum(width for width, _ in bands)) // len(bands)
    shift, laid = 0, []
    for width, most in bands:
        laid.append(Band(shift, width, most))
        shift += width + free
    return tuple(laid)
