"""Pictures that look the same become clusters: near in 64 bits, verified in 256, gathered around a kept representative.

Stars and not chains: a member is near its representative, not merely near another member, so look-alike jeans do not pull
in one another without end. What people have seen stays: a cluster keeps its id and its representative when new pictures
come in, and two clusters that turn out to be one keep the older id.
"""

from __future__ import annotations

import getpass
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate.clean.check import SAME, read_some
from curate.neighbors import degenerate, distance256, near_pairs
from curate.workspace import Workspace, now
from schemas.errors import UserError
from schemas.tables import APPEARANCES, CLUSTERS, DECISIONS, LEAKS, PICTURES

VERIFY_BITS = 48  # of 256; among real pairs within 10 bits of 64 this left one false one (provisional)


@dataclass(frozen=True)
class Dedup:
    """The clusters, and what is worth saying about how they came."""

    clusters: pd.DataFrame
    pictures: int  # that count
    groups: int  # clusters of more than one picture that counts
    verified: int  # pairs near in 64 bits and in 256
    unverified: int  # pairs near in 64 bits only: not joined
    degenerate: int  # pictures whose hash says too little to compare
    bridges: int  # new pictures near two clusters that are not near each other; they joined the nearer one
    merged: int  # clusters that became part of an older one
    joined: int = 0  # of them because a person said that two pictures are the same


@dataclass
class _Star:
    """One cluster while it grows: its permanent id, its representative and its members, as positions."""

    cluster_id: str
    center: int
    members: list[int]


def dedup(
    pictures: pd.DataFrame,
    first_seen: pd.Series,
    before: pd.DataFrame,
    bits: int = 4,
    verify_bits: int = VERIFY_BITS,
    decisions: pd.DataFrame | None = None,
) -> Dedup:
    """Put every picture that counts into exactly one cluster, alone if nothing is like it; exact copies go with their twin.

    Args:
        pictures: checked PICTURES.
        first_seen: time by image_id.
        before: CLUSTERS of the last run, empty at first. Its clusters stay together and keep id and representative.
        bits: 64-bit hashes at most so far apart are candidates.
        verify_bits: 256-bit hashes at most so far apart make a candidate a near twin.
        decisions: DECISIONS. Clusters of two pictures that are the same become one, whatever their hashes say.
    """
    kept = _best_first(pictures, first_seen)
    near, verified, unverified = _neighbors(kept, bits, verify_bits)
    stars, merged = _old_stars(kept, before, near, first_seen)
    bridges = _gather(kept, stars, near)
    stars, joined = _join_decided(kept, stars, decisions, first_seen)
    clusters = _table(kept, stars)
    copies = _exact_copies(pictures, clusters)
    return Dedup(
        clusters=CLUSTERS.check(pd.concat([clusters, copies], ignore_index=True)),
        pictures=len(kept),
        groups=sum(len(star.members) > 1 for star in stars),
        verified=verified,
        unverified=unverified,
        degenerate=int(degenerate(kept["phash64"].to_numpy(np.uint64)).sum()),
        bridges=bridges,
        merged=merged + joined,
        joined=joined,
    )


def _best_first(pictures: pd.DataFrame, first_seen: pd.Series) -> pd.DataFrame:
    """The pictures that count, in the order in which they may represent others: resolution, then oldest, then id."""
    kept = pictures[pictures["dropped"].isna()]
    if (bare := kept["phash64"].isna()).any():
        raise UserError(f"{int(bare.sum())} pictures are not checked yet; run `curate check` first")
    if kept["hash_algo"].nunique() > 1:
        found = ", ".join(sorted(kept["hash_algo"].unique()))
        raise UserError(f"hashes of different kinds do not compare ({found}); run `curate check` again")
    size = kept["width_px"].astype("int64") * kept["height_px"].astype("int64")
    ranked = kept.assign(size=-size, seen=kept["image_id"].map(first_seen))
    return ranked.sort_values(["size", "seen", "image_id"]).reset_index(drop=True)


def _neighbors(kept: pd.DataFrame, bits: int, verify_bits: int) -> tuple[dict[int, dict[int, int]], int, int]:
    """For each position its verified neighbors and their distance in 64 bits; the counts of verified and other pairs."""
    hashes = kept["phash64"].to_numpy(np.uint64)
    usable = np.flatnonzero(~degenerate(hashes))
    i, j, distance = near_pairs(hashes[usable], bits)
    i, j = usable[i], usable[j]
    fine = np.frombuffer(b"".join(kept["phash256"]), np.uint8).reshape(-1, 32)
    same = distance256(fine[i], fine[j]) <= verify_bits
    near: dict[int, dict[int, int]] = defaultdict(dict)
    for a, b, d in zip(i[same].tolist(), j[same].tolist(), distance[same].tolist(), strict=True):
        near[a][b] = near[b][a] = d
    return near, int(same.sum()), int((~same).sum())


def _old_stars(
    kept: pd.DataFrame, before: pd.DataFrame, near: dict[int, dict[int, int]], first_seen: pd.Series
) -> tuple[list[_Star], int]:
    """The clusters of the last run, oldest first, those whose representatives are near twins merged; how many were merged."""
    position = {image_id: at for at, image_id in enumerate(kept["image_id"])}
    before = before[before["image_id"].isin(position)]
    stars = []
    for cluster_id, rows in before.groupby("cluster_id", sort=True):
        members = sorted(position[image_id] for image_id in rows["image_id"])
        leaders = [position[image_id] for image_id in rows.loc[rows["representative"], "image_id"]]
        stars.append(_Star(str(cluster_id), leaders[0] if leaders else members[0], members))  # it may be dropped by now
    seen = first_seen.to_dict()
    latest = max(seen.values(), default=pd.Timestamp(0, tz="UTC"))
    stars.sort(key=lambda star: (seen.get(star.cluster_id, latest), star.cluster_id))
    result: list[_Star] = []
    for star in stars:
        older = next((other for other in result if star.center in near.get(other.center, ())), None)
        if older:
            older.members += star.members
        else:
            result.append(star)
    return result, len(stars) - len(result)


def _gather(kept: pd.DataFrame, stars: list[_Star], near: dict[int, dict[int, int]]) -> int:
    """Put the pictures without a cluster into the nearest star, or let them begin one; returns how many were near several."""
    taken = {member for star in stars for member in star.members}
    at_center = {star.center: star for star in stars}
    fresh: set[int] = set()
    bridges = 0
    for at, image_id in enumerate(kept["image_id"]):
        if at in taken:
            continue
        reach = sorted((distance, other) for other, distance in near.get(at, {}).items() if other in at_center)
        if reach:
            at_center[reach[0][1]].members.append(at)
            bridges += sum(other not in fresh for _, other in reach) > 1
        else:
            stars.append(_Star(image_id, at, [at]))
            at_center[at] = stars[-1]
            fresh.add(at)
    return bridges


def _join_decided(
    kept: pd.DataFrame, stars: list[_Star], decisions: pd.DataFrame | None, first_seen: pd.Series
) -> tuple[list[_Star], int]:
    """The stars with those merged that hold two pictures of which a person said `same`; the older one keeps its id."""
    if decisions is None:
        return stars, 0
    position = {image_id: at for at, image_id in enumerate(kept["image_id"])}
    home = {member: star for star in stars for member in star.members}
    same = decisions[(decisions["decision"] == "same")].sort_values(["image_id_a", "image_id_b"])
    gone: set[str] = set()
    latest = max(first_seen, default=pd.Timestamp(0, tz="UTC"))
    for a, b in zip(same["image_id_a"], same["image_id_b"], strict=True):
        if a not in position or b not in position or home[position[a]] is home[position[b]]:
            continue
        pair = home[position[a]], home[position[b]]
        older, newer = sorted(pair, key=lambda star: (first_seen.get(star.cluster_id, latest), star.cluster_id))
        older.members += newer.members
        home.update(dict.fromkeys(newer.members, older))
        gone.add(newer.cluster_id)
    return [star for star in stars if star.cluster_id not in gone], len(gone)


def _table(kept: pd.DataFrame, stars: list[_Star]) -> pd.DataFrame:
    """The stars as rows of CLUSTERS."""
    hashes = kept["phash64"].to_numpy(np.uint64)
    ids = kept["image_id"].to_numpy()
    rows = [
        {
            "image_id": ids[member],
            "cluster_id": star.cluster_id,
            "representative": member == star.center,
            "kind": "verified" if len(star.members) > 1 else "single",
            "distance": int(np.bitwise_count(hashes[member] ^ hashes[star.center])),
        }
        for star in stars
        for member in star.members
    ]
    return CLUSTERS.frame(rows)


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


def dedup_workspace(workspace: Workspace, again: bool = False) -> Dedup:
    """Cluster the workspace's pictures and write CLUSTERS; with `again` the clusters there are are forgotten.

    The pictures are shared by all tasks, so the widest `near_bits` of them decides.
    """
    pictures = read_some(workspace.table("pictures"))
    first_seen = APPEARANCES.read(workspace.table("appearances")).groupby("image_id")["first_seen_at"].min()
    path = workspace.table("clusters")
    before = CLUSTERS.empty() if again else CLUSTERS.read_if_there(path)
    bits = max((workspace.task(name).pictures.near_bits for name in workspace.tasks()), default=4)
    done = dedup(pictures, first_seen, before, bits, decisions=DECISIONS.read_if_there(workspace.table("decisions")))
    CLUSTERS.write(done.clusters, path)
    return done


def decide_same(workspace: Workspace, leaks: Path) -> int:
    """Write the twins of a LEAKS table (its look-alikes are not) into DECISIONS as `same`; returns how many are new.

    Raises UserError when a picture of a pair is not in this workspace. What was decided before stays.
    """
    found = LEAKS.read(leaks)
    twins = found[found["kind"] != "look-alike"]
    ids = set(PICTURES.read(workspace.table("pictures"))["image_id"])
    stray = twins[~twins["image_id"].isin(ids) | ~twins["other_id"].isin(ids)]
    if len(stray):
        raise UserError(
            f"{leaks}: {len(stray)} of {len(twins)} pairs are not of this workspace, such as {stray['path'].iloc[0]}"
        )
    path = workspace.table("decisions")
    before = DECISIONS.read_if_there(path)
    pairs = twins[["image_id", "other_id"]]
    rows = pd.DataFrame(
        {
            "image_id_a": pairs.min(axis=1),
            "image_id_b": pairs.max(axis=1),
            "decision": "same",
            "decided_by": f"{getpass.getuser()}, {leaks.name}",
            "decided_at": now(),
        }
    )
    every = pd.concat([before, DECISIONS.check(rows)], ignore_index=True) if len(rows) else before
    every = every.drop_duplicates(["image_id_a", "image_id_b"])
    DECISIONS.write(every, path)
    return len(every) - len(before)


def describe(done: Dedup) -> str:
    """What came out, in one line."""
    said = [
        f"{done.pictures} pictures in {done.clusters['cluster_id'].nunique()} clusters",
        f"{done.groups} of them with near twins",
        f"{done.verified} pairs verified, {done.unverified} candidates not verified and left apart",
    ]
    notes = (
        (done.degenerate, "hashes with too little in them to compare"),
        (done.merged, "clusters merged into an older one"),
        (done.joined, "of them as decided by a person"),
        (done.bridges, "pictures near two clusters"),
    )
    return "; ".join(said + [f"{count} {what}" for count, what in notes if count])
