"""Which pictures count: each is opened and loaded once, measured, hashed, and dropped with a reason where it must be."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.clean.hashes import HASH_ALGO
from curate.clean.looks import LOOK_ALGO, see_file
from curate.clean.measure import inspect_file
from curate.clean.reasons import Rules
from curate.neighbors import near_pairs
from curate.workspace import Workspace
from schemas.engine import POOL, Engine, each
from schemas.errors import Interrupted, UserError
from schemas.picture import as_seen, open_picture
from schemas.progress import progress
from schemas.tables import APPEARANCES, LOOKS, PICTURES
from schemas.task import Pictures

SAVE_EVERY = 30.0  # seconds; what a kill can cost
SMALL_SET = 2_000  # below this many pictures, starting processes takes longer than the work
PLACEHOLDER = "placeholder"  # begins the reason of a picture that very many listings show
SAME = "same pixels as "  # begins the reason of an exact copy; the kept picture's image_id follows


def check_pictures(
    root: Path,
    pictures: pd.DataFrame,
    limits: Any,
    step: Callable[[Any], tuple[int, dict[str, Any]]] = inspect_file,
    engine: Engine = POOL,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Inspect each picture of the frame; yields its position in the frame and what was found, as they are done.

    `step` does one (position, path, limits): inspect_file, or see_file, which looks for more.
    """
    jobs = [(position, str(root / blob), limits) for position, blob in enumerate(pictures["blob"])]
    yield from each(step, jobs, engine, SMALL_SET)


FILLED = (
    "format", "mode", "frames", "width_px", "height_px", "pixels_sha256", "hash_algo", "phash64", "phash256", "sharpness",
    "brightness", "blur", "dropped",
)  # fmt: skip


def unchecked(pictures: pd.DataFrame, looked: Collection[str], again: bool = False, blur: bool = False) -> pd.DataFrame:
    """The pictures that nobody looked at yet, or that were hashed by other code; all of them with `again`.

    `looked` are the image_ids of those that have a row in LOOKS by this code. With `blur` those without that measure, too.
    """
    if again:
        return pictures
    done = pictures["hash_algo"].eq(HASH_ALGO) & pictures["image_id"].isin(looked)
    if blur:
        done &= pictures["blur"].notna()
    done |= pictures["dropped"].notna() & pictures["hash_algo"].isna()
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
    counts = pictures["dropped"].isna() | pictures["dropped"].fillna("").str.startswith((SAME, PLACEHOLDER))
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


def drop_placeholders(pictures: pd.DataFrame, appearances: pd.DataFrame, most: int) -> pd.DataFrame:
    """The pictures with those dropped as "placeholder" that `most` listings or more show, exact copies counted together.

    Only what counts, and what was a placeholder before: so one that fewer listings show now counts again. 0 = none is.
    """
    was = pictures["dropped"].fillna("").str.startswith(PLACEHOLDER)
    filled = pictures.assign(dropped=pictures["dropped"].astype(object).mask(was, None))
    kept = filled["image_id"].where(filled["dropped"].isna())
    stands_for = kept.fillna(
        filled["dropped"].where(filled["dropped"].fillna("").str.startswith(SAME)).str.removeprefix(SAME)
    )
    shown = appearances.assign(
        image_id=appearances["image_id"].map(dict(zip(filled["image_id"], stands_for, strict=True)))
    )
    listings = shown.dropna(subset="image_id").drop_duplicates(["image_id", "marketplace", "listing_id"])
    counts = filled["image_id"].map(listings["image_id"].value_counts()).fillna(0).astype(int)
    many = filled["dropped"].isna() & (counts >= most) if most else np.zeros(len(filled), bool)
    filled.loc[many, "dropped"] = PLACEHOLDER + " (" + counts[many].astype(str) + " listings show it)"
    return filled


def rules_of(workspace: Workspace, blur: bool = False) -> Rules:
    """The widest rules of all tasks: the pictures are shared, and one that serves any task counts."""
    asked = _asked(workspace)
    return Rules(
        min(pictures.min_side_px for pictures in asked),
        int(max(pictures.max_megapixels for pictures in asked) * 1_000_000),
        max(pictures.max_aspect for pictures in asked),
        frozenset(kind for pictures in asked for kind in pictures.keep),
        blur,
    )


def placeholder_listings(workspace: Workspace) -> int:
    """How many listings make a picture a placeholder; 0 = no number does."""
    asked = _asked(workspace)
    limits = [0 if "placeholder" in pictures.keep else pictures.placeholder_listings for pictures in asked]
    return 0 if 0 in limits else max(limits)


def _asked(workspace: Workspace) -> list[Pictures]:
    asked = [workspace.task(name).pictures for name in workspace.tasks()]
    if not asked:
        raise UserError(f"{workspace.root}: no task yet, so no limits for pictures. Make one with `curate task add`.")
    return asked


def read_some(path: Path) -> pd.DataFrame:
    """PICTURES with one row or more; raises UserError when nothing came in yet."""
    pictures = PICTURES.read(path)
    if pictures.empty:
        raise UserError(f"{path}: holds no pictures yet; bring some in with `curate scrape` or `curate import folder`")
    return pictures


def check_workspace(
    workspace: Workspace, again: bool = False, blur: bool = False, engine: Engine = POOL
) -> tuple[int, pd.DataFrame]:
    """Check the workspace's new pictures and write PICTURES and LOOKS; returns how many were looked at, and PICTURES.

    Saves as it goes, so a run that was killed goes on where it was. Raises Interrupted on Ctrl-C, with what was done kept.
    With `blur` every picture without that measure is decoded in full and gets it.
    """
    path = workspace.table("pictures")
    pictures = read_some(path)
    looks = _Looks(workspace.table("looks"))
    todo = unchecked(pictures, looks.known, again, blur)
    rules = rules_of(workspace, blur)
    rows: list[Any] = []
    findings: list[dict[str, Any]] = []

    def save() -> None:
        looks.write()  # first: a picture counts as looked at only when both say so
        PICTURES.write(fill(pictures, rows, findings), path)

    saved = time.monotonic()
    try:
        with progress(len(todo), "pictures") as bar:
            for position, found in check_pictures(workspace.root, todo, rules, see_file, engine):
                looks.add(todo["image_id"].iloc[position], found.pop("look", None))
                rows.append(todo.index[position])
                findings.append(found)
                bar.update()
                if time.monotonic() - saved > SAVE_EVERY:
                    save()
                    saved = time.monotonic()
    except KeyboardInterrupt:
        save()
        raise Interrupted(
            f"stopped after {len(rows)} of {len(todo)} pictures; `curate check` goes on from there"
        ) from None
    appearances = APPEARANCES.read(workspace.table("appearances"))
    first_seen = appearances.groupby("image_id")["first_seen_at"].min()
    checked = drop_copies(workspace.root, fill(pictures, rows, findings), first_seen)
    checked = PICTURES.check(drop_placeholders(checked, appearances, placeholder_listings(workspace)))
    looks.write()
    PICTURES.write(checked, path)
    return len(rows), checked


class _Looks:
    """The table LOOKS while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = LOOKS.read_if_there(path)
        self.known = set(self.rows.loc[self.rows["look_algo"] == LOOK_ALGO, "image_id"])
        self.new: dict[str, dict[str, Any]] = {}

    def add(self, image_id: str, found: dict[str, Any] | None) -> None:
        """Remember how a picture looks; None where it has no pixels."""
        if found is not None:
            self.new[image_id] = {"image_id": image_id, **found}

    def write(self) -> None:
        """The table whole, newer rows in place of older ones."""
        if self.new:
            older = self.rows[~self.rows["image_id"].isin(list(self.new))]
            self.rows = pd.concat([older, LOOKS.frame(self.new.values())], ignore_index=True)
            self.new = {}
        LOOKS.write(self.rows, self.path)


def describe(pictures: pd.DataFrame) -> str:
    """How many pictures count, and how many were dropped for which kind of reason, in one line."""
    reasons = pictures["dropped"].dropna().str.replace(r"(:| \(| as [0-9a-f]{64}).*", "", regex=True).value_counts()
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{int(pictures['dropped'].isna().sum())} of {len(pictures)} count" + (f"; dropped: {said}" if said else "")
