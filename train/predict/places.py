"""Where pictures to predict are: a folder, a picture, a pack, a manifest, or any Parquet with a column of paths."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from schemas.engine import cores
from schemas.errors import UserError
from schemas.manifest import Manifest, read_manifest
from schemas.pack import Pack, is_pack, open_pack
from schemas.picture import reuse_memory
from schemas.storage import place_of, read_place
from schemas.table import read_parquet
from schemas.tables import APPEARANCES
from train.data import picture_source
from train.feed.decode import decode
from train.feed.load import AHEAD

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff", ".jp2")


@dataclass(frozen=True)
class Items:
    """Pictures to predict, and which listing shows which."""

    rows: pd.DataFrame  # path (as a person knows it), image_id, split, label, manifest_id; all but path may be missing
    root: Path | Pack  # what relative paths start from, or the pack that holds them by image_id
    listings: pd.DataFrame  # marketplace, listing_id, row (position in rows)
    said: str = ""  # the place, where there are several

    def names(self) -> list[str]:
        """Each picture as a person finds it."""
        paths = self.rows["path"].astype(str).tolist()
        return [str(place_of(self.said, path)) for path in paths] if self.said else paths

    def __len__(self) -> int:
        return len(self.rows)


def items_at(place: Path, classes: Sequence[str], pictures: Path | None = None) -> Items:
    """The pictures of a place, in its order. Raises UserError for a place that is none, holds none, or has other classes.

    A folder below another one is a listing; a picture that lies directly in the place is a listing of its own. A Parquet may
    name listing_id and marketplace; a manifest's listings come from `appearances.parquet` of its workspace where it is there.
    """
    if is_pack(place):
        return _manifest_items(open_pack(place).manifest, classes, place)
    if place.is_dir():
        return _folder_items(place)
    if not place.exists():
        raise UserError(
            f"{place}: no such file or folder; name a folder of pictures, a manifest or a Parquet with paths"
        )
    if place.suffix.lower() in ENDINGS:
        return _plain_items([place.name], place.parent, ["."])
    if place.suffix.lower() != ".parquet":
        raise UserError(f"{place}: is no picture ({', '.join(ENDINGS)}) and no Parquet file")
    table = read_parquet(place)
    if {"image_id", "label", "split"} <= set(table.column_names):
        return _manifest_items(place, classes, pictures)
    if "path" not in table.column_names:
        raise UserError(f"{place}: has no column path; found {', '.join(table.column_names)}")
    return _table_items(table.to_pandas(), place, pictures)


def _folder_items(folder: Path) -> Items:
    found = sorted(
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS
        and (path.is_file() or (path.is_symlink() and not path.exists()))  # a link to nowhere is said, not passed over
        and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    )
    if not found:
        raise UserError(f"{folder}: holds no picture ({', '.join(ENDINGS)})")
    return _plain_items([str(path) for path in found], folder, [str(path.parent) for path in found])


def _plain_items(paths: list[str], root: Path, folders: list[str]) -> Items:
    rows = _rows(pd.DataFrame({"path": paths}))
    names = [path if folder == "." else folder for path, folder in zip(paths, folders, strict=True)]
    return Items(rows, root, _listings(["local"] * len(paths), names))


def _table_items(table: pd.DataFrame, place: Path, pictures: Path | None) -> Items:
    if table["path"].isna().any():
        raise UserError(f"{place}: {int(table['path'].isna().sum())} rows have no path")
    named = table["path"].astype(str)
    listing = (
        table["listing_id"].astype(object).where(table["listing_id"].notna(), named) if "listing_id" in table else named
    )
    market = table["marketplace"].fillna("local") if "marketplace" in table else pd.Series("local", index=table.index)
    kept = table[[name for name in ("image_id",) if name in table]].assign(path=named)
    first = ~named.duplicated()  # one picture of two listings is read once
    row = named.map(dict(zip(named[first], range(int(first.sum())), strict=True)))
    listings = pd.DataFrame({"marketplace": market, "listing_id": listing.astype(str), "row": row})
    root = pictures if pictures is not None else place.parent
    return Items(_rows(kept[first].reset_index(drop=True)), root, listings.drop_duplicates(ignore_index=True))


def _manifest_items(path: Path, classes: Sequence[str], pictures: Path | None) -> Items:
    manifest = read_manifest(path)
    same_classes(manifest, classes)
    counts = manifest.rows["dropped"].isna() & (manifest.rows["split"].fillna("") != "out")
    rows = manifest.rows[counts].reset_index(drop=True)
    if rows.empty:
        raise UserError(f"{path}: no picture of it counts; every row says why in `dropped`")
    shown = manifest.root / "appearances.parquet"
    if shown.exists():
        known = APPEARANCES.read(shown, ["image_id", "marketplace", "listing_id"])
    else:
        known = rows[["image_id", "marketplace", "listing_id"]]
    place = dict(zip(rows["image_id"], range(len(rows)), strict=True))
    listings = known.assign(row=known["image_id"].map(place)).dropna(subset=["row", "listing_id"])
    listings = listings.assign(row=listings["row"].astype(int), marketplace=listings["marketplace"].fillna("local"))
    kept = rows[["image_id", "path", "split", "label"]].assign(manifest_id=manifest.manifest_id)
    listings = listings[["marketplace", "listing_id", "row"]].drop_duplicates(ignore_index=True)
    return Items(_rows(kept), picture_source(manifest, pictures), listings)


def same_classes(manifest: Manifest, classes: Sequence[str]) -> None:
    """Raise UserError when a manifest has other classes than a model, or the same in another order."""
    if manifest.classes != list(classes):
        raise UserError(
            f"{manifest.path}: its classes are {', '.join(manifest.classes)}; the model's are {', '.join(classes)} (the "
            "order counts)"
        )


def _rows(known: pd.DataFrame) -> pd.DataFrame:
    """The rows with every column there, missing where nothing is known."""
    return known.reindex(columns=["path", "image_id", "split", "label", "manifest_id"]).astype(object)


def _listings(marketplaces: list[str], names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"marketplace": marketplaces, "listing_id": names, "row": range(len(names))})


def read_items(items: Items, wanted: Sequence[int], side_px: int) -> Iterator[tuple[int, str, np.ndarray | str]]:
    """Each wanted row: its number, image_id (hash of the bytes where none was given), and pixels or why there are none.

    In the order of `wanted`, but for a pack, which gives them in its own. Only some hundred are under way at a time.
    """
    reuse_memory()
    with ThreadPoolExecutor(cores()) as pool:
        waiting: list[tuple[int, Future[tuple[str, np.ndarray | str]]]] = []
        try:
            for number, image_id, given in _raw(items, wanted):
                waiting.append((number, pool.submit(_read, given, image_id, side_px)))
                if len(waiting) >= AHEAD:
                    first, future = waiting.pop(0)
                    yield first, *future.result()
            for first, future in waiting:
                yield first, *future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _raw(items: Items, wanted: Sequence[int]) -> Iterator[tuple[int, str | None, Path | str | bytes | None]]:
    ids, paths = items.rows["image_id"].tolist(), items.rows["path"].tolist()
    if isinstance(items.root, Pack):
        numbers = {ids[number]: number for number in wanted}
        for image_id, jpeg, _ in items.root.read(numbers):
            yield numbers.pop(image_id), image_id, jpeg
        for image_id, number in numbers.items():
            yield number, image_id, None
        return
    for number in wanted:
        known = ids[number]
        yield number, None if pd.isna(known) else known, place_of(items.root, paths[number])


def _read(given: Path | str | bytes | None, image_id: str | None, side_px: int) -> tuple[str, np.ndarray | str]:
    """image_id and pixels, or why there are none."""
    if given is None:
        return image_id or "", "not in the pack"
    try:
        data = given if isinstance(given, bytes) else read_place(given)
    except UserError as error:
        return image_id or "", str(error)
    except OSError as error:
        return image_id or "", "no such file" if isinstance(error, FileNotFoundError) else str(error.strerror or error)
    return image_id or hashlib.sha256(data).hexdigest(), decode(data, side_px)
