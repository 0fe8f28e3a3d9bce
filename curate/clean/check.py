"""Which pictures count: each is opened and loaded once, measured, hashed, and dropped with a reason where it must be."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from curate.clean.hashes import HASH_ALGO
from curate.clean.looks import LOOK_ALGO, see_file
from curate.clean.measure import inspect_file
from curate.clean.reasons import Rules
from curate.neighbors import distance256, stream_pairs
from curate.workspace import Workspace
from schemas.engine import POOL, Engine, each
from schemas.errors import Interrupted, UserError
from schemas.picture import as_seen, open_picture
from schemas.progress import progress
from schemas.storage import overlapped, place_of, threads_for
from schemas.tables import APPEARANCES, LOOKS, PICTURES
from schemas.task import Pictures

SAVE_EVERY = 30.0  # seconds; what a kill can cost
SMALL_SET = 2_000  # below this many pictures, starting processes takes longer than the work
PLACEHOLDER = "placeholder"  # begins the reason of a picture that very many listings show
NOISE = (6, 24)  # bits of 64 and of 256 that a reduced decode moves at most; 6 and 8 were seen, once in 569 photos
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
    jobs = [(position, str(place_of(root, blob)), limits) for position, blob in enumerate(pictures["blob"])]
    yield from each(step, jobs, engine, SMALL_SET, threads=threads_for(pictures["blob"]))


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
    alike = maybe_equal(pictures[counts & pictures["phash64"].notna()])
    filled = pictures.copy()
    filled["pixels_sha256"] = filled["pixels_sha256"].astype(object)
    bare = alike[filled.loc[alike, "pixels_sha256"].isna().to_numpy()]
    places = [place_of(root, blob) for blob in filled.loc[bare, "blob"]]
    hashed = list(overlapped(pixels_sha256, places, threads_for(places)))
    filled.loc[bare, "pixels_sha256"] = pd.Series(hashed, index=bare, dtype=object)
    filled["dropped"] = filled["dropped"].astype(object).mask(counts, None)
    candidates = filled.loc[alike].assign(seen=lambda rows: rows["image_id"].map(first_seen))
    candidates = candidates[candidates["pixels_sha256"].notna()].sort_values(["seen", "image_id"])
    kept = candidates.groupby("pixels_sha256")["image_id"].transform("first")
    copies = kept.index[kept != candidates["image_id"]]
    filled.loc[copies, "dropped"] = SAME + kept[copies]
    return filled


def maybe_equal(pictures: pd.DataFrame) -> pd.Index:
    """Index labels of the pictures that share their size and, within the noise of a reduced decode, their hashes."""
    sizes = pictures["width_px"].to_numpy(np.uint64) << np.uint64(32) | pictures["height_px"].to_numpy(np.uint64)
    hashes, fine = pictures["phash64"].to_numpy(np.uint64), pictures["phash256"]
    kind = pd.DataFrame({"size": sizes, "hash": hashes, "fine": fine.to_numpy(object)}).groupby(
        ["size", "hash", "fine"]
    )
    number = kind.ngroup().to_numpy()
    _, first, counts = np.unique(number, return_index=True, return_counts=True)
    alike = counts > 1  # a thousand copies of one file are one kind, not half a million pairs
    if len(first):
        bits = np.frombuffer(b"".join(fine.iloc[first]), np.uint8).reshape(-1, 32)
        # pictures of different sizes get hashes far apart, so that they never meet
        for i, j, _ in stream_pairs(hashes[first] ^ _scattered(sizes[first]), NOISE[0], cap=None):
            same = sizes[first[i]] == sizes[first[j]]
            same[same] = distance256(bits[i[same]], bits[j[same]]) <= NOISE[1]
            alike[i[same]] = alike[j[same]] = True
    return pictures.index[alike[number]]


def _scattered(values: np.ndarray) -> np.ndarray:
    """uint64 that differ in about half of their bits where the values differ at all (the finalizer of splitmix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def pixels_sha256(path: Path | str) -> str | None:
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

    saved, took = time.monotonic(), 0.0
    try:
        with progress(len(todo), "pictures") as bar:
            for position, found in check_pictures(workspace.root, todo, rules, see_file, engine):
                looks.add(todo["image_id"].iloc[position], found.pop("look", None))
                rows.append(todo.index[position])
                findings.append(found)
                bar.update()
                if (now := time.monotonic()) - saved > max(SAVE_EVERY, 20 * took):
                    save()
                    saved = time.monotonic()
                    took = saved - now  # tables of millions of rows take longer to write: then more rarely
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
    """The table LOOKS while it grows; what was there before is never in memory as a whole."""

    def __init__(self, path: Path) -> None:
        import pyarrow.compute as pc

        self.path = path
        self.known: set[str] = set()
        self.new: dict[str, dict[str, Any]] = {}
        for piece in LOOKS.batches(path, ["image_id", "look_algo"]):
            self.known.update(piece.filter(pc.equal(piece["look_algo"], LOOK_ALGO))["image_id"].to_pylist())

    def add(self, image_id: str, found: dict[str, Any] | None) -> None:
        """Remember how a picture looks; None where it has no pixels."""
        if found is not None:
            self.new[image_id] = {"image_id": image_id, **found}

    def write(self) -> None:
        """The table whole, newer rows in place of older ones."""
        if self.new or not self.path.exists():
            LOOKS.write_batches(self._all(), self.path)
            self.new = {}

    def _all(self) -> Iterator[pa.Table]:
        import pyarrow.compute as pc

        for piece in LOOKS.batches(self.path):
            older = piece.filter(pc.invert(pc.is_in(piece["image_id"], pa.array(list(self.new), pa.string()))))
            if older.num_rows:
                yield older
        yield LOOKS.rows(list(self.new.values()))


def describe(pictures: pd.DataFrame) -> str:
    """How many pictures count, and how many were dropped for which kind of reason, in one line."""
    reasons = pictures["dropped"].dropna().str.replace(r"(:| \(| as [0-9a-f]{64}).*", "", regex=True).value_counts()
    said = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    return f"{int(pictures['dropped'].isna().sum())} of {len(pictures)} count" + (f"; dropped: {said}" if said else "")
