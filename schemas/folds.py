"""Folds: how labeled pictures are cut so that each can be predicted by a model that never saw it, nor its like.

Both rooms cut alike: the linear probe of `curate` and the training runs of `train`.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd


def fold_of(rows: pd.DataFrame, folds: int, seed: int = 0) -> np.ndarray:
    """The fold of each row, [n]: groups and clusters stay whole, classes are spread evenly, chance comes from the ids.

    Args:
        rows: image_id, group_id, cluster_id, label, sorted by image_id; a missing group or cluster is none.
    """
    root = _together(rows)
    first = rows["image_id"].to_numpy(object)[root]  # rows are sorted: the root is the group's smallest id
    groups = pd.DataFrame({"root": root, "first": first, "label": rows["label"].to_numpy(object)})
    # a group of several classes counts for the rarest of them, which can least spare it
    size = groups["label"].map(groups["label"].value_counts())
    groups = groups.assign(size=size).sort_values(["root", "size", "label"]).drop_duplicates("root")
    groups["order"] = [hashlib.sha256(f"{seed} fold {name}".encode()).hexdigest() for name in groups["first"]]
    groups = groups.sort_values(["label", "order"])
    fold = pd.Series(np.arange(len(groups)) % folds, index=groups["root"])  # dealt out class after class
    return fold.loc[root].to_numpy()


def _together(rows: pd.DataFrame) -> np.ndarray:
    """For each row the first row that it hangs together with by groups and clusters, in any number of steps."""
    root = pd.Series(np.arange(len(rows)), index=rows.index)
    names = [rows[name].where(rows[name].notna(), rows["image_id"]) for name in ("group_id", "cluster_id")]
    while True:
        before = root
        for name in names:
            root = root.groupby(name.to_numpy(object)).transform("min")
        if root.equals(before):
            return root.to_numpy()
