"""Which pictures count: each is opened and loaded once, measured, hashed, and dropped with a reason where it must be."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.clean.hashes import HASH_ALGO
from curate.clean.measure import Limits, inspect_file
from curate.engine import POOL, Engine, each
from curate.neighbors import near_pairs
from curate.workspace import Workspace
from schemas.errors import Interrupted, UserError
from schemas.picture import as_seen, open_picture
from schemas.progress import progress
from schemas.tables import APPEARANCES, PICTURES

SAVE_EVERY = 30.0  # seconds; what a kill can cost
SMALL_SET = 2_000  # below this many pictures, starting processes takes longer than the work
SAME = "same pixels as "  # begins the reason of an exact copy; the kept picture's image_id follows


def check_pictures(
    root: Path, pictures: pd.DataFrame, limits: Limits, engine: Engine = POOL
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Inspect each picture of the frame; yields its position in the frame and what was found, as they are done."""
    jobs = [(position, str(root / blob), limits) for position, blob in enumerate(pictures["blob"])]
    yield from each(inspect_file, jobs, engine, SMALL_SET)


FILLED = (
    "format", "mode", "frames", "width_px", "height_px", "pixels_sha256", "hash_algo", "phash64", "phash256", "sharpness",
    "brightness", "dropped",
)  # fmt: skip


def unchecked(pictures: pd.DataFrame, again: bool = False) -> pd.DataFrame:
    """The pictures that nobody looked at yet, or that were hashed by other code; all of them with `again`."""
    if again:
        return pictures
    done = pictures["hash_algo"].eq(HASH_ALGO) | (pictures["dropped"].notna() & pictures["hash_algo"].isna())
    return pictures[~done.fillna(False).astype(bool)]


def fill(pictures: pd.DataFrame, rows: Sequence[Any], findings: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The pictures with what was found written into the rows of those index labels; what they held before is gone."""
    filled = pictures.copy()
    for name in FILLED:
        values = filled[name].astype(object)
        values.loc[list(rows)] = pd.Series([found.get(name) for found in findings], index=list(rows), dtype=object)
        filled[name] = values
    return filled


def drop_copies(root: Path, pictures: pd.DataFrame, first_seen: pd.Series) -> pd.DataFrame:
    """The pictures with every exact copy dropped as "same pixels as …": the one seen first is kept, then the smaller id.

    Only pictures of one size whose hashes nearly agree are decoded in full; all others cannot be equal.

    Args:
        root: what blob paths start from.
        pictures: checked PICTURES.
        first_seen: time by image_id.
    """
    counts = pictures["dropped"].isna() | pictures["dropped"].fillna("").str.startswith(SAME)
    alike = _maybe_equal(pictures[counts & pictures["phash64"].notna()])
    filled = pictures.copy()
    filled["pixels_sha256"] = filled["pixels_sha256"].astype(object)
    bare = alike[filled.loc[alike, "pixels_sha256"].isna().to_numpy()]
    hashed = [pixels_sha256(root / blob) for blob in filled.loc[bare, "blob"]]
    filled.loc[bare, "pixels_sha256"] = pd.Series(hashed, index=bare, dtype=object)
    filled["dropped"] = filled["dropped"].astype(object).mask(counts, None)
    candidates = filled.loc[alike].assign(seen=lambda rows: rows["image_id"].map(first_seen))
    candidates = candidates[candidates["pixels_sha256"].notna()].sort_values(["seen", "image_id"])
    kept = candidates.groupby("pixels_sha256")["image_id"].transform("first")
    copies = kept.index[kept != candidates["image_id"]]
    filled.loc[copies, "dropped"] = SAME + kept[copies]
    return filled


def _maybe_equal(pictures: pd.DataFrame) -> pd.Index:
    """Index labels of the pictures that share their size and, within the noise of a reduced decode, their hash."""
    hashes = pictures["phash64"].to_numpy(np.uint64)
    i, j, _ = near_pairs(hashes, 4)  # a reduced decode moves at most 2 bits, so two of them at most 4
    sizes = pictures[["width_px", "height_px"]].to_numpy(np.int64)
    same = (sizes[i] == sizes[j]).all(axis=1)
    return pictures.index[np.unique(np.concatenate([i[same], j[same]]))]


def pixels_sha256(path: Path) -> str | None:
    """sha256 of the upright RGB pixels with their size; None when a full decode fails after all."""
    try:
        with open_picture(path) as image:
            seen = as_seen(image)
    except (OSError, ValueError, SyntaxError, EOFError):
        return None
    return hashlib.sha256(f"{seen.width}x{seen.height}:".encode() + seen.tobytes()).hexdigest()


def limits_of(workspace: Workspace) -> Limits:
    """The widest limits of all tasks: the pictures are shared, and one that serves any task counts."""
    asked = [workspace.task(name).pictures for name in workspace.tasks()]
    if not asked:
        raise UserError(f"{workspace.root}: no task yet, so no limits for pictures. Make one with `curate task add`.")
    return Limits(
        min(pictures.min_side_px for pictures in asked),
        int(max(pictures.max_megapixels for pictures in asked) * 1_000_000),
    )


def read_some(path: Path) -> pd.DataFrame:
    """PICTURES with one row or more; raises UserError when nothing came in yet."""
    pictures = PICTURES.read(path)
    if pictures.empty:
        raise UserError(f"{path}: holds no pictures yet; bring some in with `curate scrape` or `curate import folder`")
    return pictures


def check_workspace(workspace: Workspace, again: bool = False, engine: Engine = POOL) -> tuple[int, pd.DataFrame]:
    """Check the workspace's new pictures and write PICTURES; returns how many were looked at, and the whole table.

    Saves as it goes, so a run that was killed goes on where it was. Raises Interrupted on Ctrl-C, with what was done kept.
    """
    path = workspace.table("pictures")
    pictures = read_some(path)
    first_seen = APPEARANCES.read(workspace.table("appearances")).groupby("image_id")["first_seen_at"].min()
    todo = unchecked(pictures, again)
    rows: list[Any] = []
    findings: list[dict[str, Any]] = []
    saved = time.monotonic()
    try:
        with progress(len(todo), "pictures") as bar:
            for position, found in check_pictures(workspace.root, todo, limits_of(workspace), engine):
                rows.append(todo.index[position])
                findings.append(found)
                bar.update()
                if time.monotonic() - saved > SAVE_EVERY:
                    PICTURES.write(fill(pictures, rows, findings), path)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        PICTURES.write(fill(pictures, rows, findings), path)
        raise Interrupted(
            f"stopped after {len(rows)} of {len(todo)} pictures; `curate check` goes on from there"
        ) from None
    checked = PICTURES.check(drop_copies(workspace.root, fill(pictures, rows, findings), first_seen))
    PICTURES.write(checked, path)
    return len(rows), checked


def describe(pictures: pd.DataFrame) -> str:
    """How many pictures count, and how many were dropped for which kind of reason, in one line."""
    reasons = pictures["dropped"].dropna().str.replace(r"(:| \(| as [0-9a-f]{64}).*", "", regex=True).value_counts()
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{int(pictures['dropped'].isna().sum())} of {len(pictures)} count" + (f"; dropped: {said}" if said else "")
