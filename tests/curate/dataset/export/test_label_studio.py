from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface

from schemas.manifest import Manifest, read_manifest


def tasks(out: Path) -> list[dict]:
    return [task for path in sorted(out.glob("tasks-*.json")) for task in json.loads(path.read_text(encoding="utf-8"))]


def test_the_config_and_every_task_are_what_label_studio_takes(shop: Path, curate: Callable[..., Any]) -> None:
    curate("export", "label-studio", "--out", "exports/review", "--unlabeled", cwd=shop)
    out, manifest = shop / "exports/review", read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    asked = LabelInterface((out / "config.xml").read_text(encoding="utf-8"))
    asked.validate()
    assert list(asked.get_control("label").labels) == manifest.classes
    read = tasks(out)
    assert {task["data"]["image_id"] for task in read} == set(
        rows.index[rows["split"].isin(["train", "val", "test", "unlabeled"])]
    )
    for task in read:
        row = rows.loc[task["data"]["image_id"]]
        assert task["data"]["image"].startswith("/data/local-files/?d=review/images/")
        served = shop / "exports" / task["data"]["image"].split("?d=")[1]
        assert served.read_bytes() == (shop / row["path"]).read_bytes()
        assert asked.validate_task({"data": task["data"]})
        for prediction in task.get("predictions", []):
            assert asked.validate_prediction(prediction, return_errors=True) == []
            assert prediction["result"][0]["value"]["choices"] == [row["label"]]
            assert prediction["score"] == row["n_agree"] / row["n_votes"]
        assert len(task.get("predictions", [])) == isinstance(row["label"], str)
        assert "votes" not in task["data"]


def test_finished_annotations_come_back_through_its_converter(
    odd: Manifest, tmp_path: Path, curate: Callable[..., Any]
) -> None:
    curate(
        "export", "label-studio", odd.path, "--out", "out", "--finished", "--workers", "--url", "https://x.example/p/"
    )
    out = tmp_path / "out"
    config = (out / "config.xml").read_text(encoding="utf-8")
    read = tasks(out)
    assert all(LabelInterface(config).validate_annotation(each) for task in read for each in task["annotations"])
    assert all(task["data"]["image"].startswith("https://x.example/p/") for task in read)
    (votes,) = [task["data"]["votes"] for task in read if "votes" in task["data"]]
    assert votes == [{"pseudonym": "w1", "label": "zebra"}, {"pseudonym": "w2", "label": "zebra"}]
    for number, task in enumerate(read, start=1):  # as Label Studio numbers them when it imports
        task["id"] = number
        for each in task["annotations"]:
            each |= {"id": number, "completed_by": {"email": "a@example.org"}}
    (tmp_path / "read.json").write_text(json.dumps(read))
    Converter(config, str(tmp_path)).convert_to_csv(
        str(tmp_path / "read.json"), str(tmp_path / "csv"), is_dir=False, sep=",", header=True
    )
    with (tmp_path / "csv/result.csv").open(newline="") as file:
        back = {row["image_id"]: row["label"] for row in csv.DictReader(file)}
    assert back == odd.rows[odd.rows["label"].notna()].set_index("image_id")["label"].to_dict()
