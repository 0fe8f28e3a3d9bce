"""Which pictures of a manifest go out, and why the others do not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.manifest import Manifest
from schemas.storage import is_remote, place_of, sizes

LEARNED = ("train", "val", "test")
SPLITS = (*LEARNED, "unlabeled")


@dataclass(frozen=True)
class Chosen:
    """The rows of a manifest that are exported, in (split, image_id) order, and how many are left out for which reason."""

    manifest: Manifest
    rows: pd.DataFrame  # the manifest's columns; `split` is one of SPLITS; after `find_pictures` also `file` and `size`
    left_out: Mapping[str, int]
    was_split: bool  # false: the manifest is not split yet, and all labeled pictures stand as train

    @property
    def classes(self) -> list[str]:
        """Class keys in the order of their numbers."""
        return self.manifest.classes

    @property
    def splits(self) -> list[str]:
        """The splits that hold a picture, train first."""
        there = set(self.rows["split"])
        return [name for name in SPLITS if name in there]

    def counts(self) -> dict[str, int]:
        """Pictures per split."""
        found = self.rows["split"].value_counts()
        return {name: int(found[name]) for name in self.splits}


def choose(manifest: Manifest, *, unlabeled: bool = False, needs_splits: bool = False) -> Chosen:
    """The labeled pictures of train, val and test, and with `unlabeled` the unlabeled pool; every other row is counted.

    A manifest that was never split is refused with `needs_splits`, else its labeled pictures are one split, train.
    Raises UserError when nothing is left to export.
    """
    rows = manifest.rows
    was_split = bool(rows["split"].notna().any())
    if needs_splits and not was_split:
        raise UserError(
            f"{manifest.path}: is not split yet, and this format keeps train and test apart; run `curate split` first"
        )
    split = rows["split"] if was_split else rows["label"].notna().map({True: "train", False: "unlabeled"})
    why = _why_not(rows.assign(split=split), unlabeled)
    chosen = Chosen(
        manifest,
        rows.assign(split=split)[why.isna()].sort_values(["split", "image_id"], key=_place, ignore_index=True),
        {str(reason): int(n) for reason, n in why.value_counts().items()},
        was_split,
    )
    if chosen.rows.empty:
        raise UserError(
            f"{manifest.path}: nothing to export; left out: {describe(chosen.left_out) or 'no rows at all'}"
        )
    return chosen


def _place(column: pd.Series) -> pd.Series:
    """What a column is sorted by: splits in our order, not the alphabet's."""
    return column.map({name: place for place, name in enumerate(SPLITS)}) if column.name == "split" else column


def _why_not(rows: pd.DataFrame, unlabeled: bool) -> pd.Series:
    """The reason why each row is left out; missing for the ones that go out."""
    split, label = rows["split"], rows["label"]
    out = "out: " + rows["split_reason"].fillna("no reason given").astype(object)
    why = pd.Series(None, index=rows.index, dtype=object)
    why = why.mask(split.isin(LEARNED) & label.isna(), "without a label")
    if not unlabeled:
        why = why.mask(split == "unlabeled", "unlabeled")
    why = why.mask(split == "out", out).mask(split.isna(), "not split yet (`curate split`)")
    return why.mask(rows["dropped"].notna(), "dropped: " + rows["dropped"].astype(object).map(_kind))


def _kind(reason: Any) -> str:
    """A reason without the figures of its one picture, so that equal kinds are counted together."""
    return str(reason).split(":")[0].split(" (")[0].split(" as ")[0]


def describe(left_out: Mapping[str, int]) -> str:
    """The reasons with their counts, in one line; empty when nothing was left out."""
    kinds: dict[str, dict[str, int]] = {}
    for reason, n in left_out.items():
        kind, _, detail = reason.partition(": ")
        kinds.setdefault(kind, {})[detail] = n
    return ", ".join(f"{sum(some.values()):,} {kind}{_details(some)}" for kind, some in kinds.items())


def _details(some: Mapping[str, int]) -> str:
    said = ", ".join(f"{n:,} {detail}" for detail, n in some.items() if detail)
    return f" ({said})" if said else ""


def find_pictures(chosen: Chosen, pictures: Path | None = None, *, skip_missing: bool = False) -> Chosen:
    """The same rows with `file` (the place of the picture) and `size` (bytes); looks for every one once.

    With `pictures`, they are looked for there, by their whole path or by their name alone, and those of a bucket else there. Raises UserError for pictures
    that are missing, unless `skip_missing` leaves them out, and for a path that leaves its folder or is a URI.
    """
    root = (pictures or chosen.manifest.root).absolute()
    if pictures is not None and not pictures.is_dir():
        raise UserError(f"{pictures}: no such folder; --pictures names the folder that holds the pictures")
    _check_paths(chosen, root)
    found = _look(root, chosen.rows["path"].tolist(), by_name=pictures is not None)
    missing = np.array([file is None for file, _ in found])
    if missing.any() and not skip_missing:
        first = chosen.rows.loc[missing, "path"].iloc[0]
        raise UserError(
            f"{chosen.manifest.path}: {missing.sum():,} of {len(missing):,} pictures are not there, first {place_of(root, first)}. "
            "Say where they are with --pictures DIR, or leave them out with --skip-missing"
        )
    files = pd.Series([file for file, _ in found], dtype=object)
    rows = chosen.rows.assign(file=files, size=[size for _, size in found])
    left_out = Counter(chosen.left_out)
    if missing.any():
        left_out["not there"] += int(missing.sum())
    if missing.all():
        raise UserError(f"{root}: none of {len(missing):,} pictures is there, so there is nothing to export")
    return replace(chosen, rows=rows[~missing].reset_index(drop=True), left_out=dict(left_out))


def _check_paths(chosen: Chosen, root: Path) -> None:
    """Raise for a path that is no place below the root: a manifest from elsewhere must not fetch other files of ours."""
    for image_id, path in zip(chosen.rows["image_id"], chosen.rows["path"], strict=True):
        if is_remote(path) and path.rpartition("/")[2].startswith(f"{image_id}."):
            continue
        if is_remote(path):
            raise UserError(
                f"{chosen.manifest.path}: {path} is not named by its image_id, so it is no original of ours"
            )
        if "://" in path:
            raise UserError(f"{chosen.manifest.path}: {path} is a URI; download the pictures and say --pictures DIR")
        if path.startswith("/") or ".." in path.split("/"):
            raise UserError(f"{chosen.manifest.path}: picture path {path} leaves {root}; paths are relative to it")


def _look(root: Path, paths: list[str], *, by_name: bool) -> list[tuple[str | None, int]]:
    """Where each picture is and how many bytes it has; None and 0 when it is nowhere."""
    found: list[tuple[str | None, int]] = [(None, 0)] * len(paths)
    for turn in range(1 + by_name):
        todo = [at for at, (place, _) in enumerate(found) if place is None]
        places = [_ways(root, paths[at], by_name)[turn] for at in todo]
        for at, place, size in zip(todo, places, sizes(places), strict=True):
            if size is not None:
                found[at] = (place, size)
    return found


def _ways(root: Path, path: str, by_name: bool) -> list[str]:
    """Where a picture may be, first what costs least to look at."""
    named = [f"{root}/{path.rsplit('/', 1)[-1]}"] if by_name else []
    return [*named, path] if is_remote(path) else [f"{root}/{path}", *named]
