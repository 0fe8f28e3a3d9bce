"""Whoever reads originals reads them from S3: several at once, a missing one with the reason of a missing file."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from photos import as_bytes, photo

from curate.alignment import fits
from curate.clean.check import check_pictures, check_workspace, drop_copies
from curate.clean.embed import embed
from curate.clean.measure import Limits
from curate.clean.rehash import mirrored_hashes
from curate.crowd.server.pictures import Originals
from curate.dataset.pack import pack, plan_pack
from curate.dataset.shrink import made_small
from curate.display import display_bytes
from curate.workspace import Workspace
from schemas.manifest import read_manifest, write_manifest
from schemas.pack import Format, open_pack
from schemas.storage import is_remote, sizes, storage_at
from schemas.tables import APPEARANCES, MANIFEST, PICTURES
from train.feed.load import load_pictures

COUNT = 12


@pytest.fixture
def pictures(s3: str) -> pd.DataFrame:
    """Twelve pictures in S3; the one before the last is not there any more, the last one is broken."""
    storage = storage_at(f"{s3}/shop")
    rows = []
    for number in range(COUNT):
        data = as_bytes(photo(number)) if number < COUNT - 1 else b"\xff\xd8\xff no picture"
        image_id = hashlib.sha256(data).hexdigest()
        name = f"blobs/{image_id[:2]}/{image_id}.jpg"
        if number != COUNT - 2:
            storage.write(name, data)
        rows.append({"image_id": image_id, "blob": storage.said(name), "bytes": len(data)})
    return PICTURES.frame(rows)


def local(pictures: pd.DataFrame, root: Path) -> list[str]:
    """The same pictures as files below a folder: their relative names."""
    names = ["/".join(blob.split("/")[-3:]) for blob in pictures["blob"]]
    for name, blob, size in zip(names, pictures["blob"], sizes(pictures["blob"].tolist()), strict=True):
        if size is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(storage_at(blob.rpartition("/")[0]).read(blob.rpartition("/")[2]))
    return names


def test_checking_finds_the_same_in_s3_as_in_a_folder(pictures: pd.DataFrame, tmp_path: Path) -> None:
    names = local(pictures, tmp_path)
    in_s3 = dict(check_pictures(tmp_path, pictures, Limits()))
    here = dict(check_pictures(tmp_path, pictures.assign(blob=names), Limits()))
    assert in_s3 == here
    assert in_s3[COUNT - 2]["dropped"] == "broken: its file cannot be read (No such file or directory)"
    assert in_s3[COUNT - 1]["dropped"].startswith("not a picture")


def test_a_picture_that_goes_away_during_a_check_is_a_row_with_a_reason(
    workspace: Workspace, pictures: pd.DataFrame
) -> None:
    PICTURES.write(pictures, workspace.table("pictures"))
    seen = {
        "marketplace": "local",
        "listing_id": "1",
        "url": "u",
        "first_seen_at": pd.Timestamp("2026-11-30", tz="UTC"),
    }
    shown = APPEARANCES.frame({**seen, "position": at, "image_id": i} for at, i in enumerate(pictures["image_id"]))
    APPEARANCES.write(shown, workspace.table("appearances"))
    looked, checked = check_workspace(workspace)
    assert looked == COUNT
    assert checked["dropped"].notna().sum() == 2
    twice = pd.concat([checked.iloc[:1].assign(image_id="f" * 64), checked], ignore_index=True)
    first = pd.Series(pd.Timestamp("2026-11-30", tz="UTC"), index=twice["image_id"])
    dropped = drop_copies(workspace.root, twice, first)["dropped"]
    assert dropped.fillna("").str.startswith("same pixels as ").sum() == 1


def readers(pictures: pd.DataFrame, tmp_path: Path) -> dict[str, Any]:
    """Each way in which many originals are read, as a function that returns how many it could read."""
    places = pictures["blob"].tolist()
    rows = pictures.rename(columns={"blob": "path"})
    jobs = list(zip(pictures["image_id"], places, strict=True))

    class Model:
        side, batch = 32, 4

        def __call__(self, pixels: np.ndarray) -> np.ndarray:
            return pixels.mean(axis=(1, 2))

    def embedded() -> int:
        return sum(not isinstance(v, str) for _, vectors in embed(places, Model()) for v in vectors)  # type: ignore[arg-type]

    def packed() -> int:
        with made_small(jobs, Format(side_px=64), 1) as small:
            return sum(one.jpeg is not None for one in small)

    return {
        "check": lambda: sum("phash64" in one for _, one in check_pictures(tmp_path, pictures, Limits())),
        "embed": embedded,
        "pack": packed,
        "mirrored": lambda: len(mirrored_hashes(tmp_path, rows)),
        "twins": lambda: 1 + sum(one is not None for _, one in fits([*pairwise(places)])),
        "train": lambda: len(load_pictures(rows, tmp_path, 32)[0]),
    }


@pytest.mark.parametrize("reader", ["check", "embed", "pack", "mirrored", "twins", "train"])
def test_several_are_read_at_once(pictures: pd.DataFrame, slow_s3: Any, tmp_path: Path, reader: str) -> None:
    assert readers(pictures, tmp_path)[reader]() == COUNT - 2
    assert slow_s3.most >= 4
    assert slow_s3.requests == (2 * COUNT - 3 if reader == "twins" else COUNT), "one a picture; beside a lost one none"


def test_a_pack_of_pictures_in_s3_is_that_of_the_same_files(pictures: pd.DataFrame, tmp_path: Path) -> None:
    rows = MANIFEST.frame(
        {"image_id": i, "path": p} for i, p in zip(pictures["image_id"], pictures["blob"], strict=True)
    )
    folder = rows.assign(path=local(pictures, tmp_path))
    packs = []
    for name, some in (("s3", rows), ("files", folder)):
        path = tmp_path / f"{name}.parquet"
        write_manifest(some, [path], task="t", classes=["a", "b"])
        done = pack(plan_pack(path, Format(side_px=64)), tmp_path / name)
        assert sorted(done.dropped.values())[0].startswith(("broken", "no such file", "not a picture"))
        packs.append({i: (jpeg, why) for i, jpeg, why in open_pack(tmp_path / name).read(list(rows["image_id"]))})
        assert load_pictures(read_manifest(path).rows, read_manifest(path).root, 32)[1].keys() == done.dropped.keys()
    assert packs[0] == packs[1]


def test_a_page_that_shows_pictures_shows_those_in_s3_and_asks_once(
    pictures: pd.DataFrame, s3: str, slow_s3: Any, tmp_path: Path
) -> None:
    slow_s3.together = 0
    originals = Originals((tmp_path / "blobs", f"{s3}/shop/blobs"), tmp_path / "display")
    first, gone = pictures["image_id"].iloc[0], pictures["image_id"].iloc[COUNT - 2]
    assert originals.has(first)
    copy = originals.copy(first)
    assert copy is not None
    assert copy.read_bytes() == display_bytes(pictures["blob"].iloc[0])
    asked = slow_s3.requests
    assert (originals.copy(first), originals.has(first)) == (copy, True)
    assert slow_s3.requests == asked
    assert (originals.copy(gone), originals.has(gone)) == (None, False)


def test_a_page_lives_on_while_s3_does_not_answer(tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    originals = Originals((f"{s3}/shop/blobs",), tmp_path / "display")
    assert (originals.copy("a" * 64), originals.has("a" * 64)) == (None, False)


def test_the_sizes_of_many_are_listed_and_of_few_asked_for(pictures: pd.DataFrame, slow_s3: Any) -> None:
    slow_s3.together = 0
    some = pictures["blob"].tolist()
    assert sizes(some)[COUNT - 2 :] == [None, pictures["bytes"].iloc[-1]]
    assert slow_s3.requests == COUNT
    assert sizes(some * 40) == sizes(some) * 40
    assert slow_s3.requests == 2 * COUNT + 1
    assert all(map(is_remote, some))
