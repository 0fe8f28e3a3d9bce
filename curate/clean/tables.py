"""`curate dedup` on a workspace: which tables it reads, what it writes, and what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd

from curate.clean.check import read_some
from curate.clean.dedup import Dedup, dedup
from curate.clean.twins import ALGO, find_pairs
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, CLUSTERS, CONFLICTS, DECISIONS, GIVEN, GOLD, LABELS, LOOKS, PAIRS

RULES = "consenso.twins"  # metadata of PAIRS: the rules that judged them
LENT = ("duplicate", "twin")  # sources of a label that the picture has from another one


def dedup_workspace(workspace: Workspace, again: bool = False, link: str = "star") -> tuple[Dedup, pd.DataFrame]:
    """Find the workspace's twins, cluster its pictures, and write PAIRS, CLUSTERS and CONFLICTS; returns the last, too.

    With `again` the pairs and clusters there are are forgotten; decisions never are. The pictures are shared by all tasks, so
    the widest `near_bits` of them decides. Vectors of `curate embed` may veto, where there are any.
    """
    pictures = read_some(workspace.table("pictures"))
    if (bare := (pictures["dropped"].isna() & pictures["phash64"].isna())).any():
        raise UserError(f"{int(bare.sum())} pictures are not checked yet; run `curate check` first")
    first_seen = APPEARANCES.read(workspace.table("appearances")).groupby("image_id")["first_seen_at"].min()
    before = CLUSTERS.empty() if again else CLUSTERS.read_if_there(workspace.table("clusters"))
    bits = max((workspace.task(name).pictures.near_bits for name in workspace.tasks()), default=10)
    vectors = workspace.table("embeddings")
    kept = pictures[pictures["dropped"].isna()].reset_index(drop=True)
    pairs, _ = find_pairs(
        kept,
        LOOKS.read_if_there(workspace.table("looks")),
        workspace.root,
        bits,
        vectors if vectors.exists() else None,
        None if again else _pairs_before(workspace),
    )
    PAIRS.write(pairs, workspace.table("pairs"), {RULES: ALGO})
    labels = own_labels(workspace)
    decisions = DECISIONS.read_if_there(workspace.table("decisions"))
    done = dedup(pictures, first_seen, before, pairs, decisions, frozenset(labels["image_id"]), link)
    CLUSTERS.write(done.clusters, workspace.table("clusters"))
    found = conflicts(done.clusters, labels)
    CONFLICTS.write(found, workspace.table("label_conflicts"))
    return done, found


def _pairs_before(workspace: Workspace) -> pd.DataFrame | None:
    """PAIRS of the last run, where the same rules made them."""
    path = workspace.table("pairs")
    return PAIRS.read(path) if path.exists() and PAIRS.metadata(path).get(RULES) == ALGO else None


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
