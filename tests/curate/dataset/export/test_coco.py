from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import CocoDetection

from curate.dataset.export.choose import choose, find_pictures
from curate.dataset.export.circumstances import circumstances
from curate.dataset.export.coco import export_coco
from schemas.manifest import Manifest, read_manifest
from schemas.tables import LISTINGS


def test_pycocotools_reads_the_same_labels_in_class_order(shop: Path, curate: Callable[..., Any]) -> None:
    curate("export", "coco", "--out", "out", "--unlabeled", cwd=shop)
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    seen: list[int] = []
    for split in ("train", "val", "test", "unlabeled"):
        coco = COCO(str(shop / f"out/annotations/{split}.json"))
        assert [each["name"] for each in coco.loadCats(sorted(coco.getCatIds()))] == manifest.classes
        images = coco.loadImgs(coco.getImgIds())
        assert {each["sha256"] for each in images} == set(rows.index[rows["split"] == split])
        seen += coco.getImgIds()
        for each in images:
            row = rows.loc[each["sha256"]]
            path = shop / "out" / split / each["file_name"]
            assert path.read_bytes() == (shop / row["path"]).read_bytes()
            assert (each["width"], each["height"]) == (row["width_px"], row["height_px"])
            found = coco.loadAnns(coco.getAnnIds(imgIds=each["id"]))
            assert [manifest.classes[a["category_id"] - 1] for a in found] == [row["label"]][: split != "unlabeled"]
            assert all(a["bbox"] == [0, 0, each["width"], each["height"]] for a in found)
    assert len(seen) == len(set(seen))
    pairs = CocoDetection(shop / "out/train", shop / "out/annotations/train.json")
    assert len(pairs) == (rows["split"] == "train").sum()
    assert all(isinstance(picture, Image.Image) and len(found) == 1 for picture, found in pairs)


def test_sizes_are_those_of_the_file_written(odd: Manifest, tmp_path: Path) -> None:
    export_coco(find_pictures(choose(odd)), tmp_path / "small", circumstances(odd), side=16)
    export_coco(find_pictures(choose(odd)), tmp_path / "whole", circumstances(odd))
    for name in ("small", "whole"):
        for path in (tmp_path / name / "annotations").iterdir():
            for each in json.loads(path.read_text())["images"]:
                with Image.open(tmp_path / name / path.stem / each["file_name"]) as image:
                    upright = image.size[::-1] if image.getexif().get(0x0112) == 6 else image.size
                assert (each["width"], each["height"]) == upright


def test_licenses_of_the_listings_stand_beside_their_pictures(shop: Path, curate: Callable[..., Any]) -> None:
    listings = LISTINGS.read(shop / "listings.parquet")
    free = listings["marketplace"] == "Mercadito Sur"
    LISTINGS.write(listings.assign(license=free.map({True: "CC-BY-4.0", False: None})), shop / "listings.parquet")
    curate("export", "coco", "--out", "out", cwd=shop)
    read = json.loads((shop / "out/annotations/train.json").read_text())
    names = {each["id"]: each["name"] for each in read["licenses"]}
    assert sorted(names.values()) == ["CC-BY-4.0", "unknown: ask the marketplace or seller before use"]
    rows = read_manifest(shop / "apron.parquet").rows.set_index("image_id")
    for each in read["images"]:
        free_one = rows.loc[each["sha256"], "marketplace"] == "Mercadito Sur"
        assert (names[each["license"]] == "CC-BY-4.0") == free_one
    assert read["info"]["version"] == pytest.approx(read_manifest(shop / "apron.parquet").manifest_id)
