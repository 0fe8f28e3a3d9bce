"""Pictures that must stay on one side of every split: near twins, same pixels, and pictures of one listing.

Near twins and same pixels are never pulled apart. Listings can chain: one stock photo that many sellers use ties all their
pictures into one giant group, too big for any split. Then listing edges are cut first: the pictures that tie most listings
together leave the data set (`out`, bridge), so what is left of each listing still stays on one side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

GIANT_SHARE = 0.02  # of all pictures: a larger group cannot be placed without bending the split
GIANT_LEAST = 50  # in a small collection a group of this size is still no giant


@dataclass(frozen=True)
class Groups:
    """Which group every picture is in, and what had to be cut to keep groups small."""

    group_id: pd.Series  # by image_id: the smallest image_id of its group
    bridges: frozenset[str]  # pictures that left the data set because they tied listings into a giant group
    cut: int  # listing edges that were cut
    largest: tuple[int, ...]  # sizes of the largest groups, before any cut first

    def describe(self) -> str:
        """The largest groups and what was cut, in one line."""
        said = f"{self.group_id.nunique()} groups"
        if self.largest:
            said += f"; largest {', '.join(map(str, self.largest))} pictures"
        if self.cut:
            said += f"; {self.cut} listing edges of {len(self.bridges)} bridge pictures cut"
        return said


def make_groups(
    pictures: pd.DataFrame,
    clusters: pd.DataFrame,
    appearances: pd.DataFrame,
    sides: Mapping[str, str] | None = None,
    *,
    giant_share: float = GIANT_SHARE,
    giant_least: int = GIANT_LEAST,
) -> Groups:
    """The group of every picture. Row order never matters.

    Args:
        pictures: image_id, dropped, pixels_sha256. A dropped picture ties no listings together.
        clusters: image_id, cluster_id.
        appearances: image_id, marketplace, listing_id.
        sides: image_id to train, val or test where that is decided already. Such a picture is never cut out; a new one that
            would tie pictures of different sides together by its listings is.
    """
    ids = np.sort(pictures["image_id"].to_numpy(dtype=object))
    place = pd.Index(ids)
    looks = _looks(pictures, clusters, place)
    unit = _join(len(ids), looks)  # what looks the same is one thing from here on
    listings = _listings(pictures, appearances, place, unit)
    side = _side_of_unit(sides or {}, place, unit)
    limit = max(giant_least, int(giant_share * len(ids)))
    size = np.bincount(unit, minlength=len(ids))

    root = _join(len(ids), listings, unit)
    before = _largest(root)
    cut = np.isin(listings["unit"].to_numpy(), _bridges(listings, unit, root, size, side, limit))
    if cut.any():
        root = _join(len(ids), listings[~cut], unit)
    bridges = np.isin(unit, listings.loc[cut, "unit"].unique())
    first = pd.Series(ids).groupby(root).transform("first")  # ids are sorted: the first is the smallest
    return Groups(
        group_id=pd.Series(first.to_numpy(), index=pd.Index(ids, name="image_id"), dtype="str"),
        bridges=frozenset(ids[bridges]),
        cut=int(cut.sum()),
        largest=before,
    )


def _looks(pictures: pd.DataFrame, clusters: pd.DataFrame, place: pd.Index) -> pd.DataFrame:
    """Edges between a picture and what it looks like: its cluster, its pixels."""
    known = clusters[_at(place, clusters["image_id"]) >= 0]
    pixels = pictures[pictures["pixels_sha256"].notna()]
    edges = [
        pd.DataFrame({"unit": _at(place, known["image_id"]), "hub": "c" + known["cluster_id"].to_numpy(object)}),
        pd.DataFrame({"unit": _at(place, pixels["image_id"]), "hub": "p" + pixels["pixels_sha256"].to_numpy(object)}),
    ]
    return pd.concat(edges, ignore_index=True)


def _listings(pictures: pd.DataFrame, appearances: pd.DataFrame, place: pd.Index, unit: np.ndarray) -> pd.DataFrame:
    """Edges between a unit and a listing that shows one of its pictures, each once, with the unit's number of listings."""
    kept = pd.Index(pictures.loc[pictures["dropped"].isna(), "image_id"])
    shown = appearances[_at(kept, appearances["image_id"]) >= 0]
    hub, _ = pd.factorize(pd.MultiIndex.from_frame(shown[["marketplace", "listing_id"]]))
    edges = pd.DataFrame({"unit": unit[_at(place, shown["image_id"])], "hub": hub}).drop_duplicates()
    return edges.assign(listings=edges.groupby("unit")["hub"].transform("size")).reset_index(drop=True)


def _join(n: int, edges: pd.DataFrame, start: np.ndarray | None = None) -> np.ndarray:
    """For each of n things the smallest thing it hangs together with, by union-find over edges to named hubs."""
    parent = list(range(n)) if start is None else start.tolist()

    def find(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    first_at: dict[object, int] = {}
    for thing, hub in zip(edges["unit"].tolist(), edges["hub"].tolist(), strict=True):
        a, b = find(first_at.setdefault(hub, thing)), find(thing)
        parent[max(a, b)] = min(a, b)
    return np.array([find(x) for x in range(n)], dtype=np.int64)


def _at(place: pd.Index, image_ids: pd.Series) -> np.ndarray:
    """Where each id stands in `place`, -1 where it does not; much quicker than `isin`, which walks text one by one."""
    return place.get_indexer(pd.Index(image_ids))


_SIDES = {"train": 1, "val": 2, "test": 4}


def _side_of_unit(sides: Mapping[str, str], place: pd.Index, unit: np.ndarray) -> np.ndarray:
    """For each place the sides already taken by its unit, as bits."""
    taken = np.zeros(len(place), np.int64)
    where = place.get_indexer(pd.Index(list(sides), dtype=object))
    bits = np.array([_SIDES[side] for side in sides.values()], np.int64)
    np.bitwise_or.at(taken, unit[where[where >= 0]], bits[where >= 0])
    return taken


def _bridges(
    edges: pd.DataFrame, unit: np.ndarray, root: np.ndarray, size: np.ndarray, side: np.ndarray, limit: int
) -> np.ndarray:
    """The free units to cut: in a group that is too large, or torn between sides, those that tie the most listings.

    Taking the most tied ones out of every bad group, until none is bad, would join anew each time. The same units are found
    in one pass from below, because a group that is bad stays bad when more is tied to it: a unit is cut when the group that
    it forms with all that tie no more than it does is bad.
    """
    units = np.flatnonzero(size)
    pictures = np.bincount(root[units], size[units], minlength=len(root))
    sides = np.zeros(len(root), np.int64)
    np.bitwise_or.at(sides, root[units], side[units])
    inside = edges[((pictures > limit) | _torn(sides))[root[edges["unit"].to_numpy()]]]
    free = (inside["listings"] > 1) & (side[inside["unit"].to_numpy()] == 0)
    low = _join(len(unit), inside[~free], unit)
    pictures, sides = np.bincount(low, minlength=len(low)), np.zeros(len(low), np.int64)
    np.bitwise_or.at(sides, low[units], side[units])

    forest = _Forest(low, pictures, sides)
    hub_at = dict(zip(inside.loc[~free, "hub"].tolist(), inside.loc[~free, "unit"].tolist(), strict=True))
    cut: list[int] = []
    for _, level in inside[free].groupby("listings"):
        for thing, hub in zip(level["unit"].tolist(), level["hub"].tolist(), strict=True):
            forest.join(hub_at.setdefault(hub, thing), thing)
        cut += [thing for thing in level["unit"].unique().tolist() if forest.is_bad(thing, limit)]
    return np.array(cut, np.int64)


def _torn(sides: np.ndarray) -> np.ndarray:
    """True where bits name more than one side."""
    return (sides & (sides - 1)) != 0


class _Forest:
    """Union-find that knows of each tree how many pictures it holds and which sides they have."""

    def __init__(self, root: np.ndarray, pictures: np.ndarray, sides: np.ndarray) -> None:
        self.parent, self.pictures, self.sides = root.tolist(), pictures.tolist(), sides.tolist()

    def find(self, x: int) -> int:
        """The root of x's tree."""
        parent = self.parent
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return int(x)

    def join(self, a: int, b: int) -> None:
        """Make one tree of two."""
        a, b = self.find(a), self.find(b)
        if a != b:
            low, high = min(a, b), max(a, b)
            self.parent[high] = low
            self.pictures[low] += self.pictures[high]
            self.sides[low] |= self.sides[high]

    def is_bad(self, x: int, limit: int) -> bool:
        """True when x's tree is too large, or has pictures of more than one side."""
        x = self.find(x)
        return bool(self.pictures[x] > limit or self.sides[x] & (self.sides[x] - 1))


def _largest(root: np.ndarray, how_many: int = 3) -> tuple[int, ...]:
    sizes = np.sort(np.bincount(root))[::-1] if len(root) else np.zeros(0, int)
    return tuple(int(size) for size in sizes[:how_many] if size > 1)
