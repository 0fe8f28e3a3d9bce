"""Pictures that look the same become clusters, gathered around a kept representative; what a person decided stands above all.

Stars and not chains: a member is near its representative, not merely near another member, so look-alike jeans do not pull
in one another without end. What people have seen stays: a cluster keeps its id and its representative when new pictures
come in, and two clusters that turn out to be one keep the older id. Nothing is removed here: only equal pixels are, by
`curate check`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from curate.clean.check import SAME
from curate.clean.forms import FORMS
from curate.clean.twins import REFUSED
from curate.neighbors import degenerate
from schemas.errors import UserError
from schemas.tables import CLUSTERS

LINKS = ("star", "complete")
KIND = {"whole": "verified", "trimmed": "trimmed", "mirror": "mirror", "trimmed_mirror": "mirror", "inner": "cropped"}


@dataclass(frozen=True)
class Dedup:
    """The clusters, and what is worth saying about how they came."""

    clusters: pd.DataFrame
    pictures: int  # that count
    groups: int  # clusters of more than one picture that counts
    verified: int  # pairs that proved to be twins
    unverified: int  # pairs that wait for a person
    degenerate: int  # pictures whose hash says too little to compare
    bridges: int  # new pictures near two clusters that are not near each other; they joined the nearer one
    merged: int  # clusters that became part of an older one
    joined: int = 0  # of them because a person said that two pictures are the same
    parted: int = 0  # pictures that left a cluster because a person said different
    contradictions: int = 0  # `same` decisions that others, of `different`, do not allow


@dataclass
class _Star:
    """One cluster while it grows: its permanent id, its representative and its members, as positions."""

    cluster_id: str
    center: int
    members: list[int]
    decided: set[int] = field(default_factory=set)  # members that a person put here


@dataclass(frozen=True)
class _Ties:
    """What is known of pairs of positions: twins and how far apart they are, and what a person called the same or different."""

    near: dict[int, dict[int, tuple[int, str]]]  # distance256, how
    same: list[tuple[int, int]]
    apart: dict[int, set[int]]

    def are_near(self, a: int, b: int) -> bool:
        """Whether two pictures are twins and no person said otherwise."""
        return b in self.near.get(a, ()) and b not in self.apart.get(a, ())

    def torn(self, members: list[int], others: list[int]) -> bool:
        """Whether a person called some member and some other one different."""
        return any(not self.apart[member].isdisjoint(others) for member in members if member in self.apart)


def dedup(
    pictures: pd.DataFrame,
    first_seen: pd.Series,
    before: pd.DataFrame,
    pairs: pd.DataFrame,
    decisions: pd.DataFrame | None = None,
    labeled: frozenset[str] = frozenset(),
    link: str = "star",
) -> Dedup:
    """Put every picture that counts into exactly one cluster, alone if nothing is like it; exact copies go with their twin.

    Args:
        pictures: checked PICTURES.
        first_seen: time by image_id.
        before: CLUSTERS of the last run, empty at first. Its clusters stay together and keep id and representative, but for
            what a person decided since.
        pairs: PAIRS of the pictures.
        decisions: DECISIONS. `same` makes one cluster of two, whatever the hashes say; `different` keeps two apart.
        labeled: image_ids that have a label: they represent others first.
        link: star = a member is near its representative; complete = near every member, for smaller and surer clusters.
    """
    if link not in LINKS:
        raise UserError(f"link {link!r} is not known; it can be {' or '.join(LINKS)}")
    kept = _best_first(pictures, first_seen, labeled)
    ties = _ties(kept, pairs, decisions)
    stars, merged = _old_stars(kept, before, ties, first_seen, link)
    parted = _part(kept, stars, ties)
    bridges = _gather(kept, stars, ties, link)
    stars, joined, contradictions = _join_decided(stars, ties, first_seen)
    clusters = _table(kept, stars, ties)
    known = set(before["cluster_id"])
    return Dedup(
        clusters=CLUSTERS.check(pd.concat([clusters, _exact_copies(pictures, clusters)], ignore_index=True)),
        pictures=len(kept),
        groups=sum(len(star.members) > 1 for star in stars),
        verified=int(pairs["verified"].sum()),
        unverified=_waiting(pairs, decisions),
        degenerate=int(degenerate(kept["phash64"].to_numpy(np.uint64)).sum()),
        bridges=bridges,
        merged=merged + len(joined & known),
        joined=len(joined & known),
        parted=parted,
        contradictions=contradictions,
    )


def _best_first(pictures: pd.DataFrame, first_seen: pd.Series, labeled: frozenset[str]) -> pd.DataFrame:
    """The pictures that count, in the order in which they may represent others.

    Labeled ones first, then resolution, bytes per pixel (of equal size: the one that lost less), oldest, id.
    """
    kept = pictures[pictures["dropped"].isna()]
    if (bare := kept["phash64"].isna()).any():
        raise UserError(f"{int(bare.sum())} pictures are not checked yet; run `curate check` first")
    if kept["hash_algo"].nunique() > 1:
        found = ", ".join(sorted(kept["hash_algo"].unique()))
        raise UserError(f"hashes of different kinds do not compare ({found}); run `curate check` again")
    size = kept["width_px"].astype("int64") * kept["height_px"].astype("int64")
    ranked = kept.assign(
        bare=~kept["image_id"].isin(labeled),
        size=-size,
        thin=-kept["bytes"] / size,
        seen=kept["image_id"].map(first_seen),
    )
    return ranked.sort_values(["bare", "size", "thin", "seen", "image_id"]).reset_index(drop=True)


def _ties(kept: pd.DataFrame, pairs: pd.DataFrame, decisions: pd.DataFrame | None) -> _Ties:
    position = {image_id: at for at, image_id in enumerate(kept["image_id"])}
    near: dict[int, dict[int, tuple[int, str]]] = defaultdict(dict)
    twins = pairs[pairs["verified"].astype(bool)]
    for a, b, far, how in zip(
        twins["image_id_a"], twins["image_id_b"], twins["distance256"].tolist(), twins["how"], strict=True
    ):
        if a in position and b in position:
            i, j = position[a], position[b]
            near[i][j] = near[j][i] = (far, how)
    same: list[tuple[int, int]] = []
    apart: dict[int, set[int]] = defaultdict(set)
    if decisions is not None:
        rows = decisions.sort_values(["image_id_a", "image_id_b"])
        for a, b, said in zip(rows["image_id_a"], rows["image_id_b"], rows["decision"], strict=True):
            if a not in position or b not in position:
                continue
            i, j = position[a], position[b]
            if said == "same":
                same.append((i, j))
            else:
                apart[i].add(j)
                apart[j].add(i)
    return _Ties(near, same, apart)


def _waiting(pairs: pd.DataFrame, decisions: pd.DataFrame | None) -> int:
    """How many pairs are not verified and not decided."""
    keys = ["image_id_a", "image_id_b"]
    asks = ~pairs["verified"].astype(bool) & (pairs["reason"] != REFUSED)
    waiting = pd.MultiIndex.from_frame(pairs.loc[asks, keys])
    if decisions is None or decisions.empty:
        return len(waiting)
    return int((~waiting.isin(pd.MultiIndex.from_frame(decisions[keys]))).sum())


def _old_stars(
    kept: pd.DataFrame, before: pd.DataFrame, ties: _Ties, first_seen: pd.Series, link: str
) -> tuple[list[_Star], int]:
    """The clusters of the last run, oldest first, those whose representatives are near twins merged; how many were merged.

    Members that a person had put there are free: they come back if the decision still stands.
    """
    position = {image_id: at for at, image_id in enumerate(kept["image_id"])}
    before = before[before["image_id"].isin(position) & (before["kind"] != "decided")]
    stars = []
    for cluster_id, rows in before.groupby("cluster_id", sort=True):
        members = sorted(position[image_id] for image_id in rows["image_id"])
        leaders = [position[image_id] for image_id in rows.loc[rows["representative"], "image_id"]]
        stars.append(_Star(str(cluster_id), leaders[0] if leaders else members[0], members))  # it may be dropped by now
    stars.sort(key=_age(first_seen))
    result: list[_Star] = []
    for star in stars:
        older = next((other for other in result if _fit_together(star, other, ties, link)), None)
        if older:
            older.members += star.members
        else:
            result.append(star)
    return result, len(stars) - len(result)


def _fit_together(star: _Star, older: _Star, ties: _Ties, link: str) -> bool:
    if not ties.are_near(star.center, older.center) or ties.torn(star.members, older.members):
        return False
    return link == "star" or all(ties.are_near(a, b) for a in star.members for b in older.members)


def _age(first_seen: pd.Series) -> Callable[[_Star], tuple[pd.Timestamp, str]]:
    """Sorts stars by when their first representative came in."""
    latest = max(first_seen, default=pd.Timestamp(0, tz="UTC"))
    return lambda star: (first_seen.get(star.cluster_id, latest), star.cluster_id)


def _part(kept: pd.DataFrame, stars: list[_Star], ties: _Ties) -> int:
    """Take out of each old cluster the members that a person told apart from it; returns how many left.

    Of two that are different the representative stays, else the better picture. Who left is gathered anew.
    """
    ids = kept["image_id"]
    left = 0
    for star in stars:
        staying, leaving = [star.center], list[int]()
        for member in sorted(set(star.members) - {star.center}):
            (leaving if ties.torn([member], staying) else staying).append(member)
        star.members = sorted(staying)
        left += len(leaving)
        if star.cluster_id in set(ids.iloc[leaving]):  # the picture that gave the name leaves with it
            star.cluster_id = str(ids.iloc[star.center])
    return left


def _gather(kept: pd.DataFrame, stars: list[_Star], ties: _Ties, link: str) -> int:
    """Put the pictures without a cluster into the nearest star, or let them begin one; returns how many were near several."""
    taken = {member for star in stars for member in star.members}
    at_center = {star.center: star for star in stars}
    fresh: set[int] = set()
    bridges = 0
    for at, image_id in enumerate(kept["image_id"]):
        if at in taken:
            continue
        near = ((far, other) for other, (far, _) in ties.near.get(at, {}).items() if other in at_center)
        reach = [other for _, other in sorted(near) if _may_join(at, at_center[other], ties, link)]
        if reach:
            at_center[reach[0]].members.append(at)
            bridges += sum(other not in fresh for other in reach) > 1
        else:
            stars.append(_Star(image_id, at, [at]))
            at_center[at] = stars[-1]
            fresh.add(at)
    return bridges


def _may_join(at: int, star: _Star, ties: _Ties, link: str) -> bool:
    if ties.torn([at], star.members):
        return False
    return link == "star" or all(ties.are_near(at, member) for member in star.members)


def _join_decided(stars: list[_Star], ties: _Ties, first_seen: pd.Series) -> tuple[list[_Star], set[str], int]:
    """The stars with those merged that hold two pictures of which a person said `same`; the older one keeps its id.

    Returns them, the ids that are gone, and how many decisions were not followed because of a `different`.
    """
    home = {member: star for star in stars for member in star.members}
    age = _age(first_seen)
    gone: set[str] = set()
    against = 0
    for a, b in ties.same:
        if home[a] is home[b]:
            continue
        older, newer = sorted((home[a], home[b]), key=age)
        if ties.torn(older.members, newer.members):
            against += 1
            continue
        older.members += newer.members
        older.decided |= set(newer.members)
        home.update(dict.fromkeys(newer.members, older))
        gone.add(newer.cluster_id)
    return [star for star in stars if star.cluster_id not in gone], gone, against


def _table(kept: pd.DataFrame, stars: list[_Star], ties: _Ties) -> pd.DataFrame:
    """The stars as rows of CLUSTERS."""
    hashes = kept["phash64"].to_numpy(np.uint64)
    ids = kept["image_id"].to_numpy()
    rows = [
        {
            "image_id": ids[member],
            "cluster_id": star.cluster_id,
            "representative": member == star.center,
            "kind": _kind(member, star, ties),
            "distance": int(np.bitwise_count(hashes[member] ^ hashes[star.center])),
        }
        for star in stars
        for member in star.members
    ]
    return CLUSTERS.frame(rows)


def _kind(member: int, star: _Star, ties: _Ties) -> str:
    """How a member came to its cluster."""
    if len(star.members) == 1:
        return "single"
    if member in star.decided:
        return "decided"
    return KIND[ties.near.get(member, {}).get(star.center, (0, FORMS[0]))[1]]


def _exact_copies(pictures: pd.DataFrame, clusters: pd.DataFrame) -> pd.DataFrame:
    """Rows for the pictures that were dropped as exact copies: in the cluster of the picture that was kept."""
    copies = pictures[pictures["dropped"].fillna("").str.startswith(SAME)]
    cluster_of = clusters.set_index("image_id")["cluster_id"]
    homes = copies["dropped"].str.removeprefix(SAME).map(cluster_of)
    rows = [
        {"image_id": image_id, "cluster_id": home, "representative": False, "kind": "exact", "distance": 0}
        for image_id, home in zip(copies["image_id"], homes, strict=True)
        if isinstance(home, str)
    ]
    return CLUSTERS.frame(rows)
