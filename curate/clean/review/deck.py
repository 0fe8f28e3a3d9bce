"""The pairs that a person looks through, in order, with what is known of them; and what was decided, written at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.clean.decisions import KEYS, forget, put, take_back
from curate.clean.tables import own_labels
from curate.clean.twins import REFUSED
from curate.pages.pen import Pen
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, CLUSTERS, DECISIONS, PAIRS, PICTURES

COMMAND = "dedup review"
LISTS = ("open", "joined")


@dataclass(frozen=True)
class Side:
    """One picture of a pair."""

    image_id: str
    width: int
    height: int
    kilobytes: int
    listings: int
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """Two pictures and what is known of them."""

    key: tuple[str, str]
    how: str
    distance256: int
    reason: str | None
    together: bool  # in one cluster now
    conflict: bool  # in one cluster with different labels


@dataclass(frozen=True)
class _Known:
    """The tables as they were when they were last read."""

    pairs: dict[tuple[str, str], Pair]
    order: dict[str, list[tuple[str, str]]]
    pictures: dict[str, dict[str, Any]]
    listings: dict[str, int]
    labels: dict[str, tuple[str, ...]]


class Deck:
    """The pairs of a workspace. Reads tables again when they change, so a `curate dedup` beside it is seen."""

    def __init__(self, workspace: Workspace, by: str) -> None:
        self.workspace, self.by, self.pen = workspace, by, Pen(workspace)
        self.path = workspace.table("decisions")
        self.done = 0
        self._lock = threading.Lock()
        self._held: tuple[tuple[int, ...], _Known] | None = None
        self._steps: list[tuple[tuple[str, str], str | None]] = []  # what each decision of this run replaced

    def pairs(self, which: str) -> list[tuple[str, str]]:
        """The pairs of a list: `open` (a person should look), or `joined` (the program is certain)."""
        return self._known().order.get(which, [])

    def pair(self, key: tuple[str, str]) -> Pair:
        """What is known of a pair; raises UserError when it is none of this workspace any more."""
        found = self._known().pairs.get(key)
        if found is None:
            raise UserError("this pair is none of this workspace any more; go on with the next one")
        return found

    def side(self, image_id: str) -> Side:
        """What is known of a picture."""
        known = self._known()
        row = known.pictures[image_id]
        return Side(
            image_id, int(row["width_px"]), int(row["height_px"]), max(1, round(int(row["bytes"]) / 1000)),
            int(known.listings.get(image_id, 0)), known.labels.get(image_id, ()),
        )  # fmt: skip

    def original(self, image_id: str) -> Path | str | None:
        """The place of a picture that is in some pair; None for any other."""
        row = self._known().pictures.get(image_id)
        return self.workspace.original(str(row["blob"])) if row else None

    def decided(self) -> dict[tuple[str, str], str]:
        """The decision of each pair that has one."""
        rows = DECISIONS.read_if_there(self.path)
        return {
            (a, b): said for a, b, said in zip(rows["image_id_a"], rows["image_id_b"], rows["decision"], strict=True)
        }

    def decide(self, key: tuple[str, str], decision: str) -> None:
        """Write a decision; when this returns it is on disk."""
        self.pair(key)
        with self.pen.write("curate dedup --review"):
            before = self.decided().get(key)
            put(self.path, key, decision, self.by)
            self.workspace.log(COMMAND, outputs=[self.path], pair=list(key), decision=decision, by=self.by)
        self._steps.append((key, before))
        self.done += before is None

    def undo(self) -> tuple[str, str] | None:
        """Take the last decision back, as it was before; returns its pair. After a restart: this person's newest one."""
        with self.pen.write("curate dedup --review"):
            if not self._steps:
                key = take_back(self.path, self.by)
            else:
                key, before = self._steps.pop()
                self.done -= before is None
                if before is None:
                    forget(self.path, key)
                else:
                    put(self.path, key, before, self.by)
            if key:
                self.workspace.log(f"{COMMAND} undo", outputs=[self.path], pair=list(key), by=self.by)
        return key

    def _known(self) -> _Known:
        paths = [self.workspace.table(name) for name in ("pairs", "clusters", "pictures")]
        with self._lock:
            state = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)
            if self._held is None or self._held[0] != state:
                self._held = (state, _read(self.workspace))
            return self._held[1]


def _read(workspace: Workspace) -> _Known:
    if not workspace.table("pairs").exists():
        raise UserError(f"{workspace.root}: no pairs were looked for yet; run `curate dedup` first")
    rows = PAIRS.read(workspace.table("pairs"))
    rows = rows[rows["reason"] != REFUSED]
    ids = pd.unique(pd.concat([rows["image_id_a"], rows["image_id_b"]]))
    pictures = PICTURES.read(workspace.table("pictures")).set_index("image_id")
    pictures = pictures.loc[pictures.index.intersection(ids), ["blob", "bytes", "width_px", "height_px"]]
    rows = rows[rows["image_id_a"].isin(pictures.index) & rows["image_id_b"].isin(pictures.index)]
    cluster = CLUSTERS.read_if_there(workspace.table("clusters")).set_index("image_id")["cluster_id"]
    labels: dict[str, dict[str, str]] = {}
    for image_id, task, label in own_labels(workspace)[["image_id", "task", "label"]].itertuples(index=False):
        labels.setdefault(image_id, {})[task] = label
    home = dict(zip(cluster.index, cluster, strict=True))
    found = [_pair({str(name): value for name, value in row.items()}, home, labels) for row in rows.to_dict("records")]
    likely = {
        pair.key: at for at, pair in enumerate(sorted(found, key=lambda p: (not p.conflict, p.distance256, p.key)))
    }
    appearances = APPEARANCES.read_if_there(workspace.table("appearances"))
    listings = appearances.drop_duplicates(["image_id", "marketplace", "listing_id"])["image_id"].value_counts()
    certain = {pair.key for pair, sure in zip(found, rows["verified"], strict=True) if sure and not pair.conflict}
    return _Known(
        pairs={pair.key: pair for pair in found},
        order={
            "open": [key for key in likely if key not in certain],
            "joined": [key for key in likely if key in certain],
        },
        pictures={
            str(image_id): {str(name): value for name, value in row.items()}
            for image_id, row in pictures.to_dict("index").items()
        },
        listings={str(image_id): int(count) for image_id, count in listings.items()},
        labels={image_id: tuple(dict.fromkeys(own.values())) for image_id, own in labels.items()},
    )


def _pair(row: dict[str, Any], home: dict[str, str], labels: dict[str, dict[str, str]]) -> Pair:
    a, b = (row[name] for name in KEYS)
    together = a in home and home[a] == home.get(b)
    one, other = labels.get(a, {}), labels.get(b, {})
    torn = any(one[task] != other[task] for task in one.keys() & other.keys())
    return Pair(
        (a, b),
        row["how"],
        int(row["distance256"]),
        row["reason"] if isinstance(row["reason"], str) else None,
        together,
        together and torn,
    )
