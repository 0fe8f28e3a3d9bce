"""COCO-style JSON: images, one annotation a picture with its class, categories in our class order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from curate.dataset.export.choose import Chosen
from curate.dataset.export.circumstances import UNKNOWN, Circumstances, rights
from curate.dataset.export.encode import Encoding
from curate.dataset.export.files import place_pictures
from curate.dataset.export.place import Exported, Facts, Place, export
from schemas.files import whole
from schemas.picture import open_picture, upright_size

ASK = "unknown: ask the marketplace or seller before use"


def export_coco(
    chosen: Chosen, out: Path, known: Circumstances, *, side: int | None = None, copy: bool = False
) -> Exported:
    """Write `out/annotations/train.json` and so on, and the pictures as `out/train/<image_id>.jpg`.

    The label is one of the whole picture: each annotation's box is the whole picture. `category_id` is the class number
    plus one, as COCO counts; ids are unique over all splits. An unlabeled picture has no annotation.
    """
    encoding = Encoding(side)

    def make(place: Place) -> Facts:
        columns = (chosen.rows[name].tolist() for name in ("split", "image_id", "path"))
        targets = [f"{split}/{encoding.name(i, path)}" for split, i, path in zip(*columns, strict=True)]
        placed = place_pictures(place, chosen, targets, encoding, copy=copy)
        rows = placed.rows.assign(license=rights(placed.rows, known.listings)["license"])
        licenses = [UNKNOWN, *sorted(set(rows["license"]) - {UNKNOWN})]
        rows["number"] = range(1, len(rows) + 1)
        for split, some in rows.groupby("split", sort=False):
            with whole(place.part / "annotations" / f"{split}.json") as part, part.open("w", encoding="utf-8") as sink:
                _write(sink, chosen, some, licenses, known)
        return {"failed": placed.failed, "said": placed.said}

    return export(chosen, out, "coco", {"side": side, "copy": copy}, make)


def _write(sink: TextIO, chosen: Chosen, rows: pd.DataFrame, licenses: list[str], known: Circumstances) -> None:
    """One JSON object, its long lists written item by item."""
    manifest = chosen.manifest
    info = {
        "description": f"{known.title(manifest.task)}: image-level labels, the box is the whole picture",
        "version": manifest.manifest_id,
        "contributor": "",
        "url": "",
        "date_created": "",
    }
    numbers = {key: number for number, key in enumerate(chosen.classes, start=1)}
    sink.write(f'{{"info": {_json(info)},\n"licenses": ')
    _list(sink, ({"id": n, "name": name if n else ASK, "url": ""} for n, name in enumerate(licenses)))
    sink.write(',\n"categories": ')
    _list(sink, ({"id": number, "name": key, "supercategory": manifest.task} for key, number in numbers.items()))
    sink.write(',\n"images": ')
    _list(sink, (_image(row, licenses) for row in _rows(rows)))
    sink.write(',\n"annotations": ')
    _list(sink, (_annotation(row, numbers) for row in _rows(rows) if isinstance(row["label"], str)))
    sink.write("}\n")


def _rows(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    names = ["number", "image_id", "target", "file", "label", "width_px", "height_px", "license", "n_votes", "n_agree"]
    columns = [rows[name].tolist() for name in names]
    return (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))


def _size(row: dict[str, Any]) -> tuple[int, int]:
    """Width and height as a person sees them; from the file where the manifest does not know."""
    if not pd.isna(row["width_px"]) and not pd.isna(row["height_px"]):
        return int(row["width_px"]), int(row["height_px"])
    with open_picture(str(row["file"])) as image:
        return upright_size(image)


def _image(row: dict[str, Any], licenses: list[str]) -> dict[str, Any]:
    width, height = _size(row)
    name = row["target"].split("/", 1)[1]
    return {"id": row["number"], "file_name": name, "width": width, "height": height,
            "license": licenses.index(row["license"]), "sha256": row["image_id"]}  # fmt: skip


def _annotation(row: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    width, height = _size(row)
    votes = {name: int(row[name]) for name in ("n_votes", "n_agree") if not pd.isna(row[name])}
    return {"id": row["number"], "image_id": row["number"], "category_id": numbers[row["label"]],
            "bbox": [0, 0, width, height], "area": width * height, "segmentation": [], "iscrowd": 0, **votes}  # fmt: skip


def _list(sink: TextIO, items: Iterator[dict[str, Any]]) -> None:
    sink.write("[")
    for number, item in enumerate(items):
        sink.write(",\n" if number else "\n")
        sink.write(_json(item))
    sink.write("]")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
