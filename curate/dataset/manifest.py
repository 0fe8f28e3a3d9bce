"""The manifest is derived: one function makes it from the tables, and both `curate aggregate` and `curate split` call it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.workspace import Workspace
from schemas.files import write_bytes
from schemas.manifest import manifest_id, write_manifest
from schemas.tables import APPEARANCES, CLUSTERS, LABELS, MANIFEST, PICTURES, SPLITS, VOTES
from schemas.task import Task


@dataclass(frozen=True)
class Built:
    """A manifest that was built, or the newest one when nothing had changed."""

    path: Path  # its numbered place
    manifest_id: str
    rows: pd.DataFrame
    new: bool
    raised: dict[str, dict[str, int]]  # val and test where this build changed them: version, pictures, what changed

    def describe(self) -> str:
        """One line for a person: where it is and how it is divided."""
        counts = self.rows["split"].fillna("no split yet").value_counts()
        parts = ", ".join(f"{counts[name]} {name}" for name in _ORDER if name in counts)
        state = "" if self.new else " (unchanged)"
        said = f"manifest {self.manifest_id[:8]}{state}: {len(self.rows)} pictures, {parts or 'none'} -> {self.path}"
        return "\n".join([said, *(_version_line(name, version) for name, version in self.raised.items())])


_ORDER = ("train", "val", "test", "unlabeled", "out", "no split yet")


def _version_line(name: str, version: Mapping[str, int]) -> str:
    changes = [f"{version[what]} {what}" for what in ("added", "relabeled", "left") if version[what]]
    return f"{name} version {version['version']}: {', '.join(changes)}; figures compare within one version only"


def build_manifest(
    pictures: pd.DataFrame,
    appearances: pd.DataFrame,
    clusters: pd.DataFrame,
    labels: pd.DataFrame,
    splits: pd.DataFrame,
    votes: pd.DataFrame,
    *,
    task: str,
) -> pd.DataFrame:
    """One row per picture in image_id order with everything that is known about it.

    Labels that changed after the last `curate split` never contradict it: a train picture that lost its label is unlabeled,
    a val or test picture that lost it is out, a dropped picture is out, and a picture that is new to the split has none.
    Votes and shares stand only beside a label: votes that did not agree are discarded, as in the paper (VOTES keeps them).
    """
    rows = pictures[["image_id", "blob", "dropped", "width_px", "height_px"]].rename(columns={"blob": "path"})
    rows = rows.merge(_places(appearances), on="image_id", how="left")
    rows = rows.merge(clusters[["image_id", "cluster_id"]], on="image_id", how="left")
    said = ["image_id", "label", "n_votes", "n_agree", "chosen_by", "label_probs"]
    rows = rows.merge(labels[said], on="image_id", how="left")
    cut = ["image_id", "split", "split_reason", "label_rank", "unlabeled_rank", "group_id"]
    rows = rows.merge(splits[cut], on="image_id", how="left")
    rows = rows.merge(_votes(votes, task), on="image_id", how="left")
    rows = _consistent(rows)
    no_label = rows["label"].isna()
    for name in ("label_probs", "votes"):
        rows[name] = rows[name].astype(object).mask(no_label, None)
    return MANIFEST.check(rows.sort_values("image_id", ignore_index=True)[MANIFEST.names])


def _consistent(rows: pd.DataFrame) -> pd.DataFrame:
    """Splits that agree with the labels of now, until `curate split` decides anew."""
    unlabeled, split = rows["label"].isna(), rows["split"]
    withdrawn = unlabeled & split.isin(["val", "test"])
    dropped = rows["dropped"].notna() & split.notna()
    why = rows["split_reason"].mask(withdrawn, "label withdrawn").mask(dropped, "dropped")
    split = split.mask(unlabeled & (split == "train"), "unlabeled").mask(withdrawn | dropped, "out")
    why = why.mask(unlabeled & (rows["split"] == "train") & ~dropped, None)
    return rows.assign(
        split=split,
        split_reason=why,
        label_rank=rows["label_rank"].where(split == "train"),
        unlabeled_rank=rows["unlabeled_rank"].where(split == "unlabeled"),
    )


def _places(appearances: pd.DataFrame) -> pd.DataFrame:
    """Where each picture was seen: first marketplace and listing, all marketplaces sorted."""
    seen = appearances.sort_values(["first_seen_at", "marketplace", "listing_id", "position"])
    first = seen.drop_duplicates("image_id")[["image_id", "marketplace", "listing_id"]]
    every = seen[["image_id", "marketplace"]].drop_duplicates().sort_values("marketplace")
    return first.assign(
        marketplaces=_lists(every["image_id"], every["marketplace"]).reindex(first["image_id"]).to_numpy()
    )


def pseudonym(worker_id: str, task: str) -> str:
    """A short name for a worker inside one task's manifests; the same person has another name in another task."""
    return "w" + hashlib.sha256(f"{task} {worker_id}".encode()).hexdigest()[:10]


def _votes(votes: pd.DataFrame, task: str) -> pd.DataFrame:
    """The votes that count, as one list of (pseudonym, label) per picture, in pseudonym order."""
    counted = votes.loc[votes["dropped"].isna(), ["image_id", "worker_id", "label"]]
    names = {worker: pseudonym(worker, task) for worker in counted["worker_id"].unique()}
    counted = counted.assign(pseudonym=counted["worker_id"].map(names)).sort_values(["image_id", "pseudonym"])
    pairs = zip(counted["pseudonym"].tolist(), counted["label"].tolist(), strict=True)
    lists = _lists(counted["image_id"], [{"pseudonym": name, "label": label} for name, label in pairs])
    return lists.rename("votes").rename_axis("image_id").reset_index()


def _lists(image_ids: pd.Series, values: Iterable[Any]) -> pd.Series:
    """All values of each image as one list, by image_id, in the order they come in."""
    lists: dict[str, list[Any]] = {}
    for image_id, value in zip(image_ids.tolist(), values, strict=True):
        lists.setdefault(image_id, []).append(value)
    return pd.Series(list(lists.values()), index=pd.Index(list(lists), dtype="str"), dtype=object)


def rebuild_manifest(workspace: Workspace, task: Task, made_by: str, **facts: Any) -> Built:
    """Build the task's manifest from the tables as they are, under the next number and as `<task>.parquet`.

    The same content as the newest one makes no new number. `facts` are kept in its info, beside the counts and the versions
    of val and test.
    """
    name = task.task
    labels = LABELS.read_if_there(workspace.of_task(name, "labels"))
    rows = build_manifest(
        PICTURES.read(workspace.table("pictures")),
        APPEARANCES.read_if_there(workspace.table("appearances")),
        CLUSTERS.read_if_there(workspace.table("clusters")),
        labels,
        SPLITS.read_if_there(workspace.of_task(name, "splits")),
        VOTES.read_if_there(workspace.of_task(name, "votes")),
        task=name,
    )
    identity = manifest_id(MANIFEST.to_arrow(rows), name, task.keys)
    built = workspace.manifests(name)
    meta = MANIFEST.metadata(built[-1]) if built else {}
    parent = meta.get("consenso.manifest_id")
    earlier = json.loads(meta.get("consenso.info", "{}"))
    newest = workspace.manifest(name)
    given = labels.loc[labels["label"].notna(), "source"].value_counts().sort_index()
    sources = {str(source): int(n) for source, n in given.items()}  # so that a file passed on still says `simulated`
    if parent == identity:
        if not newest.exists() or MANIFEST.metadata(newest).get("consenso.manifest_id") != identity:
            write_bytes(newest, built[-1].read_bytes())  # a build was killed between its two files
        return Built(built[-1], identity, rows, new=False, raised={})
    known = earlier.get("versions", {})
    versions = _versions(rows, built[-1] if built else None, known)
    # What decided the split is what `curate split` said last, whatever command rebuilds the manifest.
    last = {key: earlier[key] for key in ("split", "seed", "fixed") if key in earlier and "seed" in earlier}
    info = {**_info(rows, task, made_by), "label_sources": sources, **last, **facts, "versions": versions}
    raised = {name: new for name, new in versions.items() if new["version"] > 1 and new != known.get(name)}
    place = workspace.next_manifest(name)
    write_manifest(rows, [place, newest], task=name, classes=task.keys, parent=parent, info=info)
    return Built(place, identity, rows, new=True, raised=raised)


def _versions(rows: pd.DataFrame, parent: Path | None, known: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """The version of val and test: raised whenever their pictures or labels differ from the parent's.

    A model that was tested on version 1 does not compare with one that was tested on version 2: a picture was added, left
    because its label was withdrawn or it was dropped, or stayed with another label.
    """
    before = MANIFEST.to_frame(MANIFEST.read_arrow(parent, ["image_id", "label", "split"])) if parent else rows[:0]
    found: dict[str, dict[str, int]] = {}
    for name in ("val", "test"):
        was = before[before["split"] == name].set_index("image_id")["label"]
        is_ = rows[rows["split"] == name].set_index("image_id")["label"]
        number = known.get(name, {}).get("version", 1 if len(was) else 0)
        both = was.index.intersection(is_.index)
        change = {
            "added": len(is_) - len(both),
            "relabeled": int((was[both] != is_[both]).sum()),
            "left": len(was) - len(both),
        }
        if any(change.values()) and number:
            found[name] = {"version": number + 1, "pictures": len(is_), **change}
        elif name in known:
            found[name] = dict(known[name])
        elif len(is_):
            found[name] = {"version": 1, "pictures": len(is_), "added": 0, "relabeled": 0, "left": 0}
    return found


def _info(rows: pd.DataFrame, task: Task, made_by: str) -> dict[str, Any]:
    """How the manifest was made, and its counts."""
    return {
        "made_by": made_by,
        "question_version": task.question_version,
        "taxonomy_version": task.taxonomy_version,
        "crowd": json.loads(task.crowd.model_dump_json(include={"assignments", "agree"})),
        "split": json.loads(task.split.model_dump_json()),
        "counts": counts_of(rows),
    }


def counts_of(rows: pd.DataFrame) -> dict[str, Any]:
    """How many rows of a manifest there are of each kind, as its info says it."""
    filled = (rows["split"] + " " + rows["label"])[rows["split_reason"] == "filled"]
    return {
        "pictures": len(rows),
        "labeled": int(rows["label"].notna().sum()),
        "dropped": int(rows["dropped"].notna().sum()),
        "splits": {str(key): int(n) for key, n in rows["split"].value_counts().sort_index().items()},
        "not_random_in": {str(key): int(n) for key, n in filled.value_counts().sort_index().items()},
    }
