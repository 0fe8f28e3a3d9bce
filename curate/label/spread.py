"""Labels that do not come from counting: given ones, and those that one picture takes from another that looks the same.

An expert's label wins over votes. An imported one stands where votes make no label. Exact copies are one picture: votes on any
of them count together, and all carry the label. Near twins take a label from their cluster only when asked to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from schemas.tables import LABELS

EXPERT, IMPORT, DUPLICATE, TWIN = "expert", "import", "duplicate", "twin"


def copies(pictures: pd.DataFrame) -> dict[str, str]:
    """For each exact copy (same pixels) the picture that stands for it: the one that is not dropped, else the smallest id."""
    known = pictures[pictures["pixels_sha256"].notna()]
    known = known.assign(gone=known["dropped"].notna()).sort_values(["pixels_sha256", "gone", "image_id"])
    first = known.groupby("pixels_sha256")["image_id"].transform("first")
    copy = first != known["image_id"]
    return dict(zip(known.loc[copy, "image_id"], first[copy], strict=True))


def with_given(labels: pd.DataFrame, given: pd.DataFrame, classes: Sequence[str], task: str) -> pd.DataFrame:
    """LABELS with the labels that were given: an expert's in any case, an imported one where votes made none."""
    given = given[given["task"] == task]
    if given.empty:
        return labels
    expert = given[given["source"] == EXPERT]
    open_ids = set(labels.loc[labels["label"].isna() & (labels["dropped"] != "gold"), "image_id"])
    imported = given[given["source"] == IMPORT]
    asked = set(labels["image_id"]) | set(expert["image_id"])
    imported = imported[imported["image_id"].isin(open_ids) | ~imported["image_id"].isin(asked)]
    for rows, source in ((imported, IMPORT), (expert, EXPERT)):
        labels = _put(labels, rows, source, classes, task)
    return labels


def _put(labels: pd.DataFrame, rows: pd.DataFrame, source: str, classes: Sequence[str], task: str) -> pd.DataFrame:
    """Labels with those of `rows` written over them; their votes stay counted, their shares are all on the given class."""
    if rows.empty:
        return labels
    place = {key: number for number, key in enumerate(classes)}
    certain = np.eye(len(classes))
    new = LABELS.frame(
        {
            "image_id": image_id, "task": task, "label": label, "source": source, "n_votes": 0, "n_agree": 0,
            "label_probs": certain[place[label]], "method": "given", "chosen_by": why if isinstance(why, str) else None,
        }
        for image_id, label, why in rows[["image_id", "label", "chosen_by"]].astype(object).to_numpy().tolist()
    )  # fmt: skip
    before = labels.set_index("image_id").reindex(new["image_id"]).reset_index(drop=True)
    for name in ("n_votes", "n_agree", "chosen_by"):
        new[name] = before[name].fillna(new[name]).astype(new[name].dtype)
    rest = labels[~labels["image_id"].isin(set(new["image_id"]))]
    return _sorted(rest, new)


def with_copies(labels: pd.DataFrame, same: Mapping[str, str], task: str) -> pd.DataFrame:
    """LABELS in which every exact copy carries the label of the picture that stands for it, with no votes of its own."""
    of = labels[labels["label"].notna()].set_index("image_id")
    pairs = [(copy, kept) for copy, kept in same.items() if kept in of.index]
    return _take(labels, pairs, DUPLICATE, task)


def with_twins(
    labels: pd.DataFrame, clusters: pd.DataFrame, pictures: pd.DataFrame, task: str
) -> tuple[pd.DataFrame, int]:
    """LABELS in which pictures nobody was asked about take the label of their near twins, and how many clusters disagree.

    A cluster whose labeled pictures do not all say the same gives no label.
    """
    kept = set(pictures.loc[pictures["dropped"].isna(), "image_id"])
    known = clusters[clusters["image_id"].isin(kept)]
    cluster_of = known.set_index("image_id")["cluster_id"]
    labeled = labels[labels["label"].notna() & labels["image_id"].isin(cluster_of.index)]
    labeled = labeled.assign(cluster=labeled["image_id"].map(cluster_of)).sort_values("image_id")
    different = labeled.groupby("cluster")["label"].nunique()
    torn = set(different[different > 1].index)
    source = labeled[~labeled["cluster"].isin(torn)].drop_duplicates("cluster").set_index("cluster")["image_id"]
    asked = set(
        labels.loc[labels["n_votes"].gt(0) | labels["label"].notna() | (labels["dropped"] == "gold"), "image_id"]
    )
    free = known[~known["image_id"].isin(asked)]
    pairs = [(i, source[c]) for i, c in zip(free["image_id"], free["cluster_id"], strict=True) if c in source.index]
    return _take(labels, pairs, TWIN, task), len(torn)


def _take(labels: pd.DataFrame, pairs: Sequence[tuple[str, str]], source: str, task: str) -> pd.DataFrame:
    """Labels in which the first picture of each pair has the label of the second."""
    if not pairs:
        return labels
    of = labels.set_index("image_id")
    why = dict(of["chosen_by"].astype(object))
    rows = of.loc[[kept for _, kept in pairs]].reset_index(drop=True)
    rows = rows.assign(
        image_id=[copy for copy, _ in pairs], task=task, source=source, n_votes=0, n_agree=0, dropped=None,
        chosen_by=pd.Series([why.get(copy) for copy, _ in pairs], dtype=object),
    )  # fmt: skip
    rest = labels[~labels["image_id"].isin({copy for copy, _ in pairs})]
    return _sorted(rest, rows)


def _sorted(*parts: pd.DataFrame) -> pd.DataFrame:
    joined = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return LABELS.check(joined[LABELS.names].sort_values("image_id", ignore_index=True))
