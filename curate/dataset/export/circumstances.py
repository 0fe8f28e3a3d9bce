"""What is known around a manifest: its task, its listings' licenses, who gave the labels, how far people agreed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from curate.workspace import FILE, open_workspace
from schemas.manifest import Manifest
from schemas.tables import AGREEMENT, LABELS, LISTINGS
from schemas.task import Task

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Circumstances:
    """Everything that a manifest does not say itself; each part is empty where nobody knows."""

    task: Task | None = None
    listings: pd.DataFrame | None = None  # marketplace, listing_id, license, permission, language
    agreement: pd.DataFrame | None = None  # AGREEMENT
    sources: Mapping[str, int] = field(default_factory=dict)  # crowd, simulated, expert, … to labels

    def title(self, task: str) -> str:
        """The name of the data set for a person."""
        name = task.replace("-", " ").replace("_", " ").capitalize()
        return f"{name}: {next(iter(self.task.question.values()))}" if self.task else name

    @property
    def simulated(self) -> bool:
        """Whether some labels come from simulated workers."""
        return self.sources.get("simulated", 0) > 0


def circumstances(manifest: Manifest) -> Circumstances:
    """What the manifest's workspace knows; of a manifest that lies outside of one, what its own info says."""
    told = manifest.info.get("label_sources") or {}
    if not (manifest.root / FILE).exists():
        return Circumstances(sources=told)
    here = open_workspace(manifest.root)
    task = here.task(manifest.task) if manifest.task in here.tasks() else None
    columns = ["marketplace", "listing_id", "license", "permission", "language"]
    listings, agreement = here.table("listings"), here.of_task(manifest.task, "agreement")
    labels = LABELS.read_if_there(here.of_task(manifest.task, "labels"))
    given = labels[labels["label"].notna() & labels["image_id"].isin(manifest.rows["image_id"])]
    sources = {str(name): int(n) for name, n in given["source"].value_counts().items()}
    return Circumstances(
        task=task,
        listings=LISTINGS.read(listings, columns) if listings.exists() else None,
        agreement=AGREEMENT.read(agreement) if agreement.exists() else None,
        sources=told or sources,
    )


def rights(rows: pd.DataFrame, listings: pd.DataFrame | None) -> pd.DataFrame:
    """License and permission of each row's listing, in the order of the rows; `unknown` where nobody said."""
    names = ["license", "permission"]
    if listings is None:
        return pd.DataFrame(UNKNOWN, index=rows.index, columns=names)
    known = listings.drop_duplicates(["marketplace", "listing_id"])[["marketplace", "listing_id", *names]]
    found = rows[["marketplace", "listing_id"]].merge(known, on=["marketplace", "listing_id"], how="left")[names]
    return found.set_axis(rows.index).fillna(UNKNOWN)


def log_export(manifest: Manifest, out: Path, counts: Mapping[str, int]) -> None:
    """Note in the workspace's log that a manifest went out, so that a later erasure knows where its pictures are."""
    if (manifest.root / FILE).exists():
        open_workspace(manifest.root).log(
            "export", [manifest.path], [out], manifest_id=manifest.manifest_id, pictures=sum(counts.values())
        )
