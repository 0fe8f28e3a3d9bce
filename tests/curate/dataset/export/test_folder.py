from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from curate.dataset.export.choose import choose, find_pictures
from curate.dataset.export.folder import export_folder
from schemas.manifest import Manifest, read_manifest


def test_torchvision_reads_the_same_pictures_under_the_same_labels(shop: Path, curate: Callable[..., Any]) -> None:
    curate("export", "folder", "--out", "out", "--unlabeled", cwd=shop)
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    assert (shop / "out/classes.txt").read_text().split() == manifest.classes
    for split in ("train", "val", "test"):
        there = ImageFolder(shop / "out" / split, allow_empty=True)
        assert there.classes == sorted(manifest.classes)  # in every split, so numbers mean the same
        assert {Path(path).stem for path, _ in there.samples} == set(rows.index[rows["split"] == split])
        for path, number in there.samples:
            row = rows.loc[Path(path).stem]
            assert row["label"] == there.classes[number]
            assert Path(path).samefile(shop / row["path"])  # a link: same bytes, no room
    assert {path.stem for path in (shop / "out/unlabeled").iterdir()} == set(rows.index[rows["split"] == "unlabeled"])


def test_what_torchvision_would_pass_over_becomes_jpeg(odd: Manifest, tmp_path: Path) -> None:
    chosen = find_pictures(choose(odd))
    done = export_folder(chosen, tmp_path / "out", copy=True)
    assert any("1 pictures re-encoded as JPEG" in line for line in done.facts["said"])
    assert [Path(p).suffix for p, _ in ImageFolder(tmp_path / "out/test", allow_empty=True).samples] == [".jpg"]
    names = sorted(path.suffix for path in (tmp_path / "out").rglob("*.*") if path.parent != tmp_path / "out")
    assert names == [".jpg", ".jpg", ".png", ".webp"]
    for path in (tmp_path / "out/train/apple").iterdir():
        assert path.read_bytes() == (odd.root / "a/clear.png").read_bytes()
        assert path.stat().st_nlink == 1  # --copy


def test_a_reencoded_picture_is_what_a_person_sees(odd: Manifest, tmp_path: Path) -> None:
    export_folder(find_pictures(choose(odd)), tmp_path / "out", side=16)
    turned = Image.open(next((tmp_path / "out/train/zebra").iterdir()))
    assert (turned.size, turned.mode, turned.getexif().get(0x0112)) == ((16, 32), "RGB", None)
    red, _, blue = turned.getpixel((8, 4))  # type: ignore[misc]
    assert red > 200 > 60 > blue
    red, _, blue = turned.getpixel((8, 28))  # type: ignore[misc]
    assert blue > 200 > 60 > red
    clear = Image.open(next((tmp_path / "out/train/apple").iterdir()))
    assert min(clear.getpixel((8, 8))) > 250  # type: ignore[type-var, arg-type]


def test_a_picture_smaller_than_the_side_is_not_enlarged(odd: Manifest, tmp_path: Path) -> None:
    export_folder(find_pictures(choose(odd)), tmp_path / "out", side=512)
    assert Image.open(next((tmp_path / "out/val/zebra").iterdir())).size == (40, 30)


def test_an_unreadable_picture_is_left_out_by_name_and_the_exit_code_is_3(
    odd: Manifest, tmp_path: Path, curate: Callable[..., Any]
) -> None:
    (odd.root / "b/web.webp").write_bytes(b"RIFF not a picture")
    failed = curate("export", "folder", odd.path, "--out", "out", "--side", 32, code=3)
    image_id = odd.rows.loc[odd.rows["path"] == "b/web.webp", "image_id"].iloc[0]
    assert f"1 pictures could not be read and are not in the export, first {image_id[:12]}" in failed.stderr
    assert "3 pictures: 2 train, 0 val, 1 test" in failed.stdout
    assert image_id in (tmp_path / "out/_done.json").read_text()


@pytest.mark.parametrize("linked", [True, False])
def test_a_blob_that_is_a_symbolic_link_goes_out_as_a_file(odd: Manifest, tmp_path: Path, linked: bool) -> None:
    blob = odd.root / "b/web.webp"
    blob.rename(tmp_path / "original.webp")
    blob.symlink_to(tmp_path / "original.webp")
    export_folder(find_pictures(choose(odd)), tmp_path / "out", copy=not linked)
    (out,) = (tmp_path / "out/val/zebra").iterdir()
    assert not out.is_symlink()
    assert out.samefile(tmp_path / "original.webp") == linked
