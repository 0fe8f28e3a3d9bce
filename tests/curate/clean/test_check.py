"""`curate check` writes what it found, goes on where it was, and keeps the first of equal pictures."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import curate.clean.check as check
from curate.clean.check import NOISE, check_pictures, check_workspace, maybe_equal
from curate.cli import app
from curate.collect.blobs import put
from curate.collect.folder import import_folder
from curate.workspace import Workspace
from schemas.errors import Interrupted
from schemas.tables import APPEARANCES, CLUSTERS, LOOKS, PICTURES


def picture(seed: int, form: str = "PNG", size: tuple[int, int] = (120, 100), **options: object) -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (7, 7, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(file, form, **options)
    return file.getvalue()


@pytest.fixture
def filled(workspace: Workspace, tmp_path: Path) -> Workspace:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, data in {
        "a.png": picture(1),
        "a-packed-tighter.png": picture(1, compress_level=9, optimize=True) + b"\0",
        "b.jpg": picture(2, "JPEG"),
        "small.jpg": picture(3, "JPEG", (40, 40)),
        "broken.jpg": picture(4, "JPEG")[:-30],
    }.items():
        (folder / name).write_bytes(data)
    import_folder(workspace, folder)
    return workspace


def test_every_picture_is_kept_or_says_why(filled: Workspace) -> None:
    looked, pictures = check_workspace(filled)
    reasons = pictures["dropped"].dropna()
    assert looked == 5
    assert sorted(reason.split()[0].strip(":") for reason in reasons) == ["broken", "same", "too"]
    pd.testing.assert_frame_equal(PICTURES.read(filled.table("pictures")), pictures)


def test_of_equal_pixels_the_first_seen_is_kept(filled: Workspace) -> None:
    appearances = APPEARANCES.read(filled.table("appearances"))
    tight = appearances["listing_id"].eq("photos/a-packed-tighter.png")
    appearances.loc[tight, "first_seen_at"] -= pd.Timedelta(days=1)
    APPEARANCES.write(appearances, filled.table("appearances"))
    older = appearances.loc[tight, "image_id"].iloc[0]
    _, pictures = check_workspace(filled)
    copies = pictures[pictures["dropped"].fillna("").str.startswith("same pixels as ")]
    assert copies["dropped"].tolist() == [f"same pixels as {older}"]
    assert copies["pixels_sha256"].iloc[0] == pictures.set_index("image_id").at[older, "pixels_sha256"]


def test_only_new_pictures_are_looked_at_and_again_means_all(filled: Workspace) -> None:
    check_workspace(filled)
    assert check_workspace(filled)[0] == 0
    image_id, blob = put(filled.storage, picture(9))
    new = pd.concat(
        [
            PICTURES.read(filled.table("pictures")).astype(object),
            pd.DataFrame([{"image_id": image_id, "blob": blob, "bytes": 9}]),
        ]
    )
    PICTURES.write(new, filled.table("pictures"))
    looked, pictures = check_workspace(filled)
    assert (looked, len(pictures)) == (1, 6)
    first = pictures.set_index("image_id").sort_index()
    assert check_workspace(filled, again=True)[0] == 6
    pd.testing.assert_frame_equal(PICTURES.read(filled.table("pictures")).set_index("image_id").sort_index(), first)


def test_a_pool_of_processes_finds_the_same(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    _, alone = check_workspace(filled)
    monkeypatch.setattr(check, "SMALL_SET", 1)
    _, together = check_workspace(filled, again=True)
    pd.testing.assert_frame_equal(alone, together)


def test_a_blob_that_is_gone_says_so(filled: Workspace) -> None:
    for path in filled.blobs.rglob("*.png"):
        path.unlink()
    _, pictures = check_workspace(filled)
    assert pictures["dropped"].fillna("").str.startswith("broken: its file cannot be read").sum() == 2


def test_the_commands_say_one_line_each(filled: Workspace) -> None:
    root = ["--workspace", str(filled.root)]
    checked = CliRunner().invoke(app, ["check", *root], catch_exceptions=False)
    assert "5 pictures checked; 2 of 5 count; dropped: 1" in checked.stdout
    deduped = CliRunner().invoke(app, ["dedup", *root], catch_exceptions=False)
    assert "2 pictures in 2 clusters" in deduped.stdout
    assert set(CLUSTERS.read(filled.table("clusters"))["kind"]) == {"single", "exact"}


def test_without_pictures_the_message_says_what_to_do(workspace: Workspace) -> None:
    result = CliRunner().invoke(app, ["check", "--workspace", str(workspace.root)])
    assert "curate import" in str(result.exception)


def test_ctrl_c_keeps_what_was_done_and_the_next_run_does_the_rest(
    filled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: Any) -> Iterator[Any]:
        yield from itertools.islice(check_pictures(*given), 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(check, "check_pictures", interrupted)
        with pytest.raises(Interrupted, match="stopped after 2 of 5 pictures"):
            check_workspace(filled)
    looked, pictures = check_workspace(filled)
    assert looked == 3
    assert (pictures["hash_algo"].notna() | pictures["dropped"].notna()).all()


@pytest.mark.parametrize("seed", range(5))
def test_only_pictures_of_one_size_and_near_hashes_are_decoded_to_see_whether_they_are_equal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    centers = rng.integers(0, 2**64, 12, dtype=np.uint64)
    flips = np.array(
        [sum(1 << int(bit) for bit in rng.permutation(64)[: rng.integers(0, 6)]) for _ in range(150)], np.uint64
    )
    hashes = centers[rng.integers(0, 12, 150)] ^ flips * rng.integers(0, 2, 150, dtype=np.uint64)
    fine = np.where(rng.random((150, 32)) < 0.3, rng.integers(0, 256, (150, 32)), 0).astype(np.uint8)
    fine[rng.random(150) < 0.6] = 0
    sizes = rng.integers(100, 102, (150, 2))
    rows = pd.DataFrame(
        {"phash64": hashes, "phash256": [one.tobytes() for one in fine], "width_px": sizes[:, 0], "height_px": sizes[:, 1]},
        index=rng.permutation(1000)[:150],
    )  # fmt: skip
    near = (
        (np.bitwise_count(hashes[:, None] ^ hashes) <= NOISE[0])
        & (np.bitwise_count(fine[:, None] ^ fine).sum(axis=2) <= NOISE[1])
        & (sizes[:, None] == sizes).all(axis=2)
    )
    expected = (near.sum(axis=1) > 1).nonzero()[0]
    assert 20 < len(expected) < 150
    assert set(maybe_equal(rows)) == set(rows.index[expected])
    assert len(maybe_equal(rows.iloc[:0])) == 0


def test_looks_are_added_to_those_there_are_and_replaced_by_newer_ones(filled: Workspace) -> None:
    check_workspace(filled)
    path = filled.table("looks")
    rows = LOOKS.read(path).sort_values("image_id", ignore_index=True)
    old = rows.assign(look_algo=[*rows["look_algo"][:-2], "look/0", "look/0"])
    LOOKS.write(old.iloc[1:], path)
    assert check_workspace(filled)[0] == 3
    pd.testing.assert_frame_equal(LOOKS.read(path).sort_values("image_id", ignore_index=True), rows)
