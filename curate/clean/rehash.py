"""Hashes of pictures outside of `curate check`: of a manifest that travels without its workspace, and of mirrored pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from curate.clean.check import check_pictures
from curate.clean.hashes import DRAFT_PX, HASH_ALGO, frequencies
from curate.clean.measure import Limits
from schemas.engine import cores
from schemas.picture import draft, luma, open_picture, upright
from schemas.progress import progress
from schemas.storage import overlapped, place_of, threads_for

COLUMNS = ["image_id", "phash64", "phash256"]


def hashes_of(root: Path, rows: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    """image_id, phash64, phash256 of the rows' pictures that can be read; taken from PICTURES where they stand there.

    Args:
        root: what paths start from.
        rows: image_id, path.
        pictures: PICTURES, empty where there is no workspace.
    """
    known = pictures.loc[pictures["hash_algo"].eq(HASH_ALGO).fillna(False), COLUMNS]
    known = known[known["image_id"].isin(rows["image_id"]) & known["phash64"].notna()]
    bare = rows[~rows["image_id"].isin(known["image_id"])].rename(columns={"path": "blob"}).reset_index(drop=True)
    found = []
    with progress(len(bare), "pictures hashed") as bar:
        for at, one in check_pictures(root, bare, Limits(min_side_px=1)):
            bar.update()
            if "phash64" in one:
                found.append((bare["image_id"].iloc[at], one["phash64"], one["phash256"]))
    return pd.concat([known, _frame(found)], ignore_index=True).astype({"phash64": "uint64"})


def mirrored_hashes(root: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """image_id, phash64, phash256 of the rows' pictures seen in a mirror; those that cannot be read are left out."""
    found = []
    places = [place_of(root, path) for path in rows["path"]]
    threads = max(cores(), threads_for(places))
    with progress(len(rows), "pictures mirrored") as bar:
        for image_id, one in zip(rows["image_id"], overlapped(_mirrored, places, threads), strict=True):
            bar.update()
            if one is not None:
                found.append((image_id, *one))
    return _frame(found)


def _mirrored(path: Path | str) -> tuple[int, bytes] | None:
    """Both hashes of one picture's mirror image, decoded as for all hashes."""
    try:
        with open_picture(path) as image:
            draft(image, DRAFT_PX, gray=True)
            gray = luma(upright(image))
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError):
        return None
    return frequencies(gray).mirrored().hashes()


def _frame(found: list[tuple[str, int, bytes]]) -> pd.DataFrame:
    ids, coarse, fine = zip(*found, strict=True) if found else ((), (), ())
    columns = {"image_id": pd.Series(ids, dtype="str"), "phash64": np.array(coarse, np.uint64)}
    return pd.DataFrame({**columns, "phash256": pd.Series(fine, dtype=object)})
