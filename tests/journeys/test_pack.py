"""A data set travels: packed here, copied there without the originals, trained on; and what a person reads on the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from schemas.manifest import write_manifest
from schemas.tables import PACK


@pytest.fixture
def shop(person: Any, root: Path) -> Path:
    """A person standing in a copy of the sample shop."""
    shutil.copytree(root / "sample_data" / "shop", person.folder / "shop")
    person.folder = person.folder / "shop"
    return Path(person.folder)


def test_a_pack_is_made_checked_and_left_alone(person: Any, shop: Path) -> None:
    said = person.types("curate", "pack", "--side", "64")
    assert said.startswith("61 pictures packed, 12 rows of the manifest left out")
    assert "-> apron-pack (1 file of" in said
    assert "unchanged" in person.types("curate", "pack", "--side", "64")
    checked = person.types("curate", "pack", "--check", "apron-pack")
    assert (
        "apron-pack is whole: 2 files match SHA256SUMS, all 61 pictures of the manifest are there, 61 opened" in checked
    )
    assert '"command": "pack"' in (shop / "log.jsonl").read_text()
    assert len(PACK.read(shop / "apron-pack" / "apron.pack-0000.parquet")) == 61


def test_pictures_that_are_gone_are_counted_and_the_rest_is_packed(person: Any, shop: Path) -> None:
    rows = pd.read_parquet(shop / "apron.parquet").query("split == 'train'")
    (shop / rows["path"].iloc[0]).unlink()
    said = person.types("curate", "pack", "--side", "64", code=3)
    assert said.count("\n") == 1
    assert said.startswith("1 of 61 pictures could not be packed and say why in `dropped`; the first is ")
    assert "no such file" in said
    assert "1 of them with a reason" in person.types("curate", "pack", "--check", "apron-pack")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("curate pack none.parquet", "none.parquet: no such file"),
        ("curate pack pictures.parquet", "is a pictures table, not manifest"),
        ("curate pack --out apron", "holds other files and no pack"),
        ("curate pack --out workspace.yaml", "is a file; a pack is a folder"),
        ("curate pack --splits train,testing", "no split 'testing'"),
        ("curate pack --pictures nowhere", "pictures looked for are not there"),
        ("curate pack --check apron", "holds no pack"),
        (
            "train vit --manifest apron.parquet --set pretrained=false --pictures nowhere",
            "--pictures nowhere: no such folder",
        ),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(person: Any, shop: Path, command: str, said: str) -> None:
    before = sorted((str(path), path.stat().st_size) for path in shop.rglob("*"))
    error = person.types(*command.split(), code=1)
    assert (error.count("\n"), error.startswith("error: ")) == (1, True), error
    assert said in error
    assert sorted((str(path), path.stat().st_size) for path in shop.rglob("*")) == before


def test_ctrl_c_stops_says_how_to_go_on_and_the_same_command_goes_on(person: Any) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(800):
        Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)).resize((600, 450)).save(
            person.folder / "x.jpg"
        )
        image_id = hashlib.sha256((person.folder / "x.jpg").read_bytes()).hexdigest()
        (person.folder / "x.jpg").rename(person.folder / f"{image_id}.jpg")
        rows.append({"image_id": image_id, "path": f"{image_id}.jpg"})
    write_manifest(pd.DataFrame(rows), [person.folder / "apron.parquet"], task="apron", classes=["a", "b"])
    slow = person.folder / rows[-1]["path"]  # its last picture comes from a pipe into which nobody writes yet
    slow.rename(person.folder / "x.jpg")
    os.mkfifo(slow)
    command = [sys.executable, "-P", "-m", "curate.cli", "pack", "apron.parquet", "--workers", "2"]
    packing = subprocess.Popen(
        command, cwd=person.folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # a terminal sends Ctrl-C to the whole group
    part = person.folder / "apron-pack" / ".packing" / "apron.pack-0000.parquet.part"
    while not part.exists() or part.stat().st_size < 10_000:
        assert packing.poll() is None
        time.sleep(0.01)
    os.killpg(packing.pid, signal.SIGINT)
    said = packing.communicate()[1]
    assert packing.returncode == 130
    assert "of 800 pictures; `curate pack` goes on from there" in said
    assert "Traceback" not in said
    (person.folder / "x.jpg").replace(slow)
    assert person.types("curate", "pack", "apron.parquet").startswith(
        "800 pictures packed; the manifest has no splits yet"
    )
    assert {path.name for path in (person.folder / "apron-pack").iterdir()} == {
        "SHA256SUMS", "apron.parquet", "apron.pack-0000.parquet"
    }  # fmt: skip


def test_a_copied_folder_trains_with_the_originals_gone(person: Any, shop: Path) -> None:
    person.types("curate", "pack")
    machine = shop.parent / "machine"
    machine.mkdir()
    shutil.copytree(shop / "apron-pack", machine / "apron-pack")
    shutil.rmtree(shop)
    person.folder = machine
    said = person.types(
        "train", "resnet18", "--manifest", "apron-pack/apron.parquet", "--recipe", "cpu-quick", "--set", "epochs=1"
    )
    assert said.startswith("ResNet18: Acc@1 ")
    assert (machine / "apron-pack" / "runs" / "apron-resnet18-100-s0" / "predictions.parquet").exists()
