"""Training from a pack: one folder with manifest, pictures and sums, copied from where the originals are."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate.dataset.pack import pack, plan_pack
from schemas.errors import TableError, UserError
from schemas.manifest import read_manifest, write_manifest
from schemas.pack import Format, open_pack
from train.data import check_source, picture_source
from train.feed.load import load_pictures
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]


def packed(manifest: Path, out: Path, side_px: int = 64) -> Path:
    pack(plan_pack(manifest, Format(side_px)), out, workers=1)
    return out


def soft_photos(folder: Path, n: int, size: tuple[int, int]) -> pd.DataFrame:
    """Rows and files of pictures of soft shapes, as photos are."""
    folder.mkdir()
    rows = []
    for seed in range(n):
        coarse = np.random.default_rng(seed).integers(0, 255, (8, 6, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / "new.jpg", quality=92)
        image_id = hashlib.sha256((folder / "new.jpg").read_bytes()).hexdigest()
        (folder / "new.jpg").rename(folder / f"{image_id}.jpg")
        rows.append({"image_id": image_id, "path": f"{image_id}.jpg", "label": "dots", "split": "train"})
    return pd.DataFrame(rows)


def test_pictures_from_a_pack_are_those_of_the_files_up_to_the_jpeg(tmp_path: Path) -> None:
    rows = soft_photos(tmp_path / "shop", 12, (300, 400))
    write_manifest(rows, [tmp_path / "shop" / "apron.parquet"], task="apron", classes=["dots"])
    out = packed(tmp_path / "shop" / "apron.parquet", tmp_path / "out", 128)
    from_files, _ = load_pictures(rows, tmp_path / "shop", 48)
    from_pack, failed = load_pictures(rows, open_pack(out), 48)
    assert not failed
    for image_id in rows["image_id"]:
        a = from_files.batch(from_files.positions([image_id])).pixels.float()
        b = from_pack.batch(from_pack.positions([image_id])).pixels.float()
        assert a.shape == b.shape == (1, 3, 64, 48)
        assert (a - b).abs().mean() < 2.5  # of 255
        assert (a - b).abs().max() < 40
    first = rows["image_id"].tolist()
    other = from_files.batch(from_files.positions(first[:1])).pixels.float()
    same_size = from_pack.batch(from_pack.positions(first[1:2])).pixels.float()
    assert (other - same_size).abs().mean() > 10  # so the bound above tells pictures apart


def test_a_run_needs_nothing_but_the_folder(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    manifest = make_manifest()
    packed(manifest, tmp_path / "packing")
    elsewhere = tmp_path / "machine" / "apron-pack"
    shutil.copytree(tmp_path / "packing", elsewhere)
    shutil.rmtree(manifest.parent)
    shutil.rmtree(tmp_path / "packing")
    record = train(ask(elsewhere / "apron.parquet", "resnet18", "epochs=12"))
    assert record["test"]["acc1"] > 0.8  # chance is a third
    assert record["unreadable"] == {}
    assert record["pictures"].startswith(f"pack {elsewhere}, 93 pictures, short side 64 px")
    assert (elsewhere / "runs" / "apron-resnet18-100-s0" / "run.json").exists()


def test_the_first_lines_say_where_pictures_come_from(
    make_manifest: Make, ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make_manifest()
    train(ask(manifest, "resnet18", "epochs=1", out=tmp_path / "files"))
    assert f"pictures files under {manifest.parent}" in capsys.readouterr().err
    out = packed(manifest, tmp_path / "out")
    train(ask(manifest, "resnet18", "epochs=1", out=tmp_path / "pack", pictures=out))
    assert f"pictures pack {out}" in capsys.readouterr().err


def test_a_run_from_files_is_not_the_same_run_as_one_from_a_pack(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    manifest = make_manifest()
    out = packed(manifest, tmp_path / "out")
    train(ask(manifest, "resnet18", "epochs=1", out=tmp_path / "run"))
    with pytest.raises(UserError, match="holds another run"):
        train(ask(manifest, "resnet18", "epochs=1", out=tmp_path / "run", pictures=out))


def test_the_pack_beside_the_manifest_goes_first_and_a_folder_that_is_asked_for_before_it(
    make_manifest: Make, tmp_path: Path
) -> None:
    manifest = make_manifest()
    out = packed(manifest, tmp_path / "out")
    here = read_manifest(out / "apron.parquet")
    assert picture_source(here) == open_pack(out)
    assert picture_source(here, manifest.parent) == manifest.parent
    assert picture_source(read_manifest(manifest)) == manifest.parent
    for asked in (out, out / "apron.pack-0000.parquet"):
        assert picture_source(read_manifest(manifest), asked) == open_pack(out)
    with pytest.raises(UserError, match="--pictures nowhere: no such folder"):
        picture_source(here, Path("nowhere"))


def test_a_newer_manifest_may_use_the_pack_while_it_has_every_picture(make_manifest: Make, tmp_path: Path) -> None:
    manifest = read_manifest(make_manifest())
    source = open_pack(packed(manifest.path, tmp_path / "out"))
    ids = manifest.rows["image_id"].tolist()
    relabeled = manifest.rows.assign(n_votes=3)
    write_manifest(relabeled, [source.manifest], task="apron", classes=manifest.classes)
    said = check_source(source, read_manifest(source.manifest), ids, 32)
    assert "made for another build of the manifest, but it has every picture" in said
    with pytest.raises(
        UserError, match=r"1 of the 94 pictures that this run needs are not in the pack \(it was made for"
    ):
        check_source(source, read_manifest(source.manifest), [*ids, "f" * 64], 32)


def test_a_pack_smaller_than_the_recipe_says_so(make_manifest: Make, tmp_path: Path) -> None:
    manifest = read_manifest(make_manifest())
    source = open_pack(packed(manifest.path, tmp_path / "out"))
    ids = manifest.rows["image_id"].tolist()
    assert "enlarges them: `curate pack --side 256`" in check_source(source, manifest, ids, 256)
    assert "enlarges" not in check_source(source, manifest, ids, 64)


def test_a_broken_pack_is_one_line(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    out = packed(make_manifest(), tmp_path / "out")
    here = read_manifest(out / "apron.parquet")
    part = out / "apron.pack-0000.parquet"
    whole = part.read_bytes()
    for broken in (whole[: len(whole) // 2], b""):
        part.write_bytes(broken)
        with pytest.raises(TableError, match=r"pack-0000.parquet: is damaged .*sha256sum -c SHA256SUMS"):
            train(ask(out / "apron.parquet", "resnet18"))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    part.write_bytes(flipped)
    with pytest.raises(TableError, match="is damaged"):
        load_pictures(here.rows[["image_id", "path"]], open_pack(out), 32)
    part.unlink()
    with pytest.raises(UserError, match=r"1 of 1 files are missing, the first is apron.pack-0000.parquet"):
        picture_source(here)


def test_pictures_that_could_not_be_packed_are_skipped_and_listed(
    make_manifest: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = read_manifest(make_manifest())
    gone = manifest.rows["path"][0]
    (manifest.root / gone).unlink()
    source = open_pack(packed(manifest.path, tmp_path / "out"))
    pictures, failed = load_pictures(manifest.rows, source, 32)
    assert failed == {manifest.rows["image_id"][0]: "no such file"}
    assert len(pictures) == 92
    assert "1 pictures cannot be read and are skipped" in capsys.readouterr().err
