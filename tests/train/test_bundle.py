from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from schemas.errors import UserError
from schemas.manifest import read_manifest
from train.bundle import FILES, open_bundle, verify


@pytest.fixture
def bundle(shop: Path, tmp_path: Path) -> Path:
    """The model files of a small run, and nothing else, taken elsewhere."""
    away = tmp_path / "away"
    away.mkdir()
    for name in FILES:
        where = shop / "runs" / "apron-vit-100-s0" / name
        (shutil.copytree if where.is_dir() else shutil.copy)(where, away / name)
    return away


def test_a_bundle_says_all_that_its_user_must_know(bundle: Path, tmp_path: Path) -> None:
    found = open_bundle(bundle)
    manifest = read_manifest(tmp_path / "shop" / "apron.parquet")
    assert found.classes == manifest.classes == found.config["label_names"]
    ours = found.ours
    assert ours["manifest_id"] == manifest.manifest_id
    assert ours["license"].startswith("none") == found.config["pretrained_cfg"]["license"].startswith("none")
    assert set(ours["thresholds"]) == {"0.9", "0.95", "0.98"}
    assert set(ours["thresholds"]["0.95"]) == set(found.classes)
    assert 0.25 <= found.temperature <= 10
    assert ours["val"]["calibrated"]["ce"] <= ours["val"]["as_trained"]["ce"]
    assert ours["preprocessing"]["image_size"] == 24
    assert found.thresholds(0.9) == ours["thresholds"]["0.9"]


def test_its_pictures_come_from_val_and_from_every_class(bundle: Path, tmp_path: Path) -> None:
    examples = open_bundle(bundle).ours["examples"]
    rows = read_manifest(tmp_path / "shop" / "apron.parquet").rows.set_index("image_id")
    assert len(examples) == 10
    assert {rows.loc[one["image_id"], "split"] for one in examples} == {"val"}
    assert [one["label"] for one in examples] == [rows.loc[one["image_id"], "label"] for one in examples]
    assert {one["label"] for one in examples} == {"red", "green", "blue"}
    assert all((bundle / one["file"]).is_file() for one in examples)


def test_verify_runs_the_ten_pictures(bundle: Path) -> None:
    said = verify(bundle)
    assert "10 pictures, largest difference of a probability" in said
    assert said.endswith("as expected")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.json", lambda found: found["consenso"]["classes"].reverse(), "classes"),
        ("config.json", lambda found: found["consenso"].update(temperature=3.0), "temperature"),
        ("config.json", lambda found: found["consenso"]["thresholds"]["0.9"].update(red=0.01), "thresholds"),
        (
            "calibration.json",
            lambda found: found["val"]["red"].update(confidence=[0.9] * 99, right=[1] * 99),
            "thresholds",
        ),
    ],
)
def test_verify_finds_what_was_changed_beside_the_weights(
    bundle: Path, name: str, change: Callable[[Any], None], said: str
) -> None:
    found = json.loads((bundle / name).read_text())
    change(found)
    (bundle / name).write_text(json.dumps(found))
    with pytest.raises(UserError, match=f"{said} in config.json and calibration.json differ"):
        verify(bundle)


@pytest.mark.parametrize("where", ["weights", "picture", "expected"])
def test_verify_finds_what_was_changed(bundle: Path, where: str) -> None:
    if where == "weights":
        data = bytearray((bundle / "model.safetensors").read_bytes())
        data[-1] ^= 64
        (bundle / "model.safetensors").write_bytes(data)
    if where == "picture":
        Image.new("RGB", (30, 30), "white").save(bundle / "examples" / "03.png")
    if where == "expected":
        config = json.loads((bundle / "config.json").read_text())
        config["consenso"]["examples"][4]["probs"] = [0.5, 0.25, 0.25]
        (bundle / "config.json").write_text(json.dumps(config))
    said = {"weights": "is not the file that config.json describes", "picture": r"examples/03\.png, allowed 0\.001",
            "expected": r"examples/05\.png"}  # fmt: skip
    with pytest.raises(UserError, match=said[where]):
        verify(bundle)


def test_a_broken_bundle_is_a_line(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no config\.json there"):
        open_bundle(tmp_path)
    with pytest.raises(UserError, match=r"no config\.json there"):
        open_bundle(tmp_path / "nowhere")
    (bundle / "examples" / "01.png").unlink()
    with pytest.raises(UserError, match=r"01\.png: cannot be read \(no such file\)"):
        verify(bundle)
    (bundle / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: no such file"):
        verify(bundle)
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps(config | {"consenso": {"format": 99}}))
    with pytest.raises(UserError, match="has format 99"):
        open_bundle(bundle)
    (bundle / "config.json").write_text("{}")
    with pytest.raises(UserError, match="has no section consenso"):
        open_bundle(bundle)
    (bundle / "config.json").write_text("{")
    with pytest.raises(UserError, match="is not the config of a bundle"):
        open_bundle(bundle)


def test_timm_loads_the_folder_by_itself(bundle: Path) -> None:
    import timm
    from timm.data import resolve_data_config

    found = open_bundle(bundle)
    theirs = timm.create_model(f"local-dir:{bundle}", pretrained=True).eval()
    x = torch.rand(2, 3, 24, 24)
    with torch.no_grad():
        assert torch.equal(theirs(x), found.build()(x))
    data = resolve_data_config({}, model=theirs)
    assert data["input_size"] == (3, 24, 24)
    assert np.allclose(data["mean"], found.views.mean)
    assert data["crop_pct"] == 0.875
