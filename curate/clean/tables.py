"""`curate dedup` on a workspace: which tables it reads, what it writes, and what it says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curate.clean.check import read_some
from curate.clean.dedup import Dedup, dedup
from curate.clean.twins import ALGO, find_pairs
from curate.neighbors import CAP, Skipped
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, CLUSTERS, CONFLICTS, DECISIONS, GIVEN, GOLD, LABELS, PAIRS, SKIPPED

RULES = "consenso.twins"  # metadata of PAIRS: the rules that judged them
SEARCHED = "consenso.search"  # and how far apart the hashes of a pair may be, the cap, and which pictures
LENT = ("duplicate", "twin")  # sources of a label that the picture has from another one


@dataclass(frozen=True)
class Done:
    """What `curate dedup` found and wrote."""

    clusters: Dedup
    conflicts: pd.DataFrame
    skipped: pd.DataFrame


def dedup_workspace(workspace: Workspace, again: bool = False, link: str = "star", cap: int = CAP) -> Done:
    """Find the workspace's twins, cluster its pictures, and write PAIRS, SKIPPED, CLUSTERS and CONFLICTS.

    Only pairs of pictures that came in since the last run are looked for, where the same rules made that; the outcome is that
    of looking for all. With `again` the pairs and clusters there are are forgotten; decisions never are. The pictures are shared
    by all tasks, so the widest `near_bits` of them decides. Vectors of `curate embed` may veto, where there are any. Hashes that
    more than `cap` forms share are not compared.
    """
    pictures = read_some(workspace.table("pictures"))
    if (bare := (pictures["dropped"].isna() & pictures["phash64"].isna())).any():
        raise UserError(f"{int(bare.sum())} pictures are not checked yet; run `curate check` first")
    first_seen = APPEARANCES.read(workspace.table("appearances")).groupby("image_id")["first_seen_at"].min()
    before = CLUSTERS.empty() if again else CLUSTERS.read_if_there(workspace.table("clusters"))
    skipped = _find_pairs(workspace, pictures[pictures["dropped"].isna()].reset_index(drop=True), before, again, cap)
    pairs = PAIRS.read(workspace.table("pairs"))
    labels = own_labels(workspace)
    decisions = DECISIONS.read_if_there(workspace.table("decisions"))
    done = dedup(pictures, first_seen, before, pairs, decisions, frozenset(labels["image_id"]), link)
    CLUSTERS.write(done.clusters, workspace.table("clusters"))
    found = conflicts(done.clusters, labels)
    CONFLICTS.write(found, workspace.table("label_conflicts"))
    return Done(done, found, skipped)


def _find_pairs(workspace: Workspace, kept: pd.DataFrame, before: pd.DataFrame, again: bool, cap: int) -> pd.DataFrame:
    """Write PAIRS and SKIPPED; returns the latter."""
    path, vectors = workspace.table("pairs"), workspace.table("embeddings")
    bits = max((workspace.task(name).pictures.near_bits for name in workspace.tasks()), default=10)
    last = PAIRS.metadata(path) if path.exists() and not again else {}
    old = PAIRS.read(path) if last.get(RULES) == ALGO else None
    known = before.loc[before["kind"] != "exact", "image_id"].tolist()
    # CLUSTERS of the same pictures: else the last run was stopped between the two, or a picture was forgotten since
    searched = known if last.get(SEARCHED) == _search(bits, cap, known) else ()
    crowds: list[Skipped] = []
    pairs, _ = find_pairs(
        kept, workspace.table("looks"), workspace.root, bits, vectors if vectors.exists() else None, old, searched, cap, crowds
    )  # fmt: skip
    PAIRS.write(pairs, path, {RULES: ALGO, SEARCHED: _search(bits, cap, kept["image_id"].tolist())})
    skipped = _skipped(crowds, kept)
    SKIPPED.write(skipped, workspace.table("skipped"))
    return skipped


def _search(bits: int, cap: int, ids: list[str]) -> str:
    """Says in which pictures all pairs were looked for, and how."""
    return f"{bits} bits, cap {cap}, pictures {hashlib.sha256(''.join(sorted(ids)).encode()).hexdigest()}"


def _skipped(crowds: list[Skipped], kept: pd.DataFrame) -> pd.DataFrame:
    """SKIPPED, the largest first."""
    hashes = kept["phash64"].to_numpy(np.uint64)
    rows = []
    for crowd in sorted(crowds, key=lambda one: -one.count):
        inside = np.flatnonzero((hashes & np.uint64(crowd.mask)) == np.uint64(crowd.value))
        example = kept["image_id"].iloc[inside[0]] if len(inside) else None
        rows.append({"mask": f"{crowd.mask:016x}", "value": f"{crowd.value:016x}", "hashes": crowd.count, "example": example})  # fmt: skip
    return SKIPPED.frame(rows)


def own_labels(workspace: Workspace) -> pd.DataFrame:
    """image_id, task, label of every picture that was labeled itself: not lent by its copy or its twin."""
    found = [pd.DataFrame({"image_id": [], "task": [], "label": []}, dtype="str")]
    for task in workspace.tasks():
        for table in (GIVEN, GOLD, LABELS):
            rows = table.read_if_there(workspace.of_task(task, table.name))
            rows = rows[~rows["source"].isin(LENT)] if table is LABELS else rows
            found.append(rows.loc[rows["label"].notna(), ["image_id", "task", "label"]])
    return pd.concat(found).drop_duplicates(["image_id", "task"]).reset_index(drop=True)


def conflicts(clusters: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """CONFLICTS: the labeled pictures of every cluster that holds two labels of one task, by cluster."""
    rows = labels.merge(clusters[["image_id", "cluster_id"]], on="image_id")
    torn = rows.groupby(["task", "cluster_id"])["label"].transform("nunique") > 1 if len(rows) else np.array([], bool)
    found = rows.loc[torn, CONFLICTS.names].sort_values(["task", "cluster_id", "image_id"])
    return CONFLICTS.check(found.reset_index(drop=True))


def describe(done: Dedup) -> str:
    """What came out, in one line."""
    said = [
        f"{done.pictures} pictures in {done.clusters['cluster_id'].nunique()} clusters",
        f"{done.groups} of them with near twins",
        f"{done.verified} pairs verified",
    ]
    notes = (
        (done.unverified, "pairs for a person to decide (curate dedup --review)"),
        (done.degenerate, "hashes with too little in them to compare"),
        (done.merged, "clusters merged into an older one"),
        (done.joined, "of them as decided by a person"),
        (done.parted, "pictures left their cluster as decided by a person"),
        (done.contradictions, "`same` decisions not followed: others of `different` speak against them"),
        (done.bridges, "pictures near two clusters"),
    )
    return "; ".join(said + [f"{count} {what}" for count, what in notes if count])


def describe_conflicts(found: pd.DataFrame) -> str:
    """One line about the clusters whose pictures carry different labels; empty where there are none."""
    if found.empty:
        return ""
    clusters = found.drop_duplicates(["task", "cluster_id"])
    first = found[found["cluster_id"] == clusters["cluster_id"].iloc[0]]
    said = ", ".join(f"{row.image_id[:12]}… {row.label}" for row in first.head(3).itertuples())
    return f"{len(clusters)} clusters carry different labels of one task, such as {said}"


def describe_skipped(skipped: pd.DataFrame) -> str:
    """One line about what was too large to compare; empty where nothing was."""
    if skipped.empty:
        return ""
    first = skipped.iloc[0]
    return (
        f"{len(skipped)} crowds of hashes too alike to compare, the largest of {first['hashes']:,}"
        + (f" (such as picture {first['example'][:12]}…)" if isinstance(first["example"], str) else "")
    )  # fmt: skip
