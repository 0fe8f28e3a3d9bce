from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import pytest

from curate.cli import app
from curate.workspace import open_workspace
from schemas.command import exit_code
from schemas.manifest import read_manifest
from schemas.table import Table
from schemas.tables import APPEARANCES, CLUSTERS, GOLD, HITS, LABELS, LISTINGS, PICTURES, SPLITS, TRUTH, VOTES


@pytest.fixture(scope="module")
def sample(root: Path) -> Path:
    return root / "sample_data" / "shop"


@pytest.mark.parametrize("table", [LISTINGS, PICTURES, APPEARANCES, CLUSTERS], ids=lambda table: table.name)
def test_shared_tables_open_through_the_one_door(sample: Path, table: Table) -> None:
    assert len(table.read(sample / f"{table.name}.parquet")) > 0


@pytest.mark.parametrize("table", [GOLD, TRUTH, HITS, VOTES, LABELS, SPLITS], ids=lambda table: table.name)
def test_tables_of_the_task_open_through_the_one_door(sample: Path, table: Table) -> None:
    assert len(table.read(sample / "apron" / f"{table.name}.parquet")) > 0


def test_every_picture_is_there_and_is_what_its_id_says(sample: Path) -> None:
    for row in PICTURES.read(sample / "pictures.parquet").itertuples():
        assert hashlib.sha256((sample / str(row.blob)).read_bytes()).hexdigest() == row.image_id


def test_the_manifest_names_pictures_that_are_there_and_has_every_split(sample: Path) -> None:
    manifest = read_manifest(sample / "apron.parquet")
    assert {"train", "val", "test", "unlabeled", "out"} == set(manifest.rows["split"])
    assert all(manifest.picture(path).exists() for path in manifest.rows["path"])


def test_it_is_small_and_holds_nothing_of_the_machine_it_was_made_on(sample: Path) -> None:
    files = [path for path in sample.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1.5e6
    assert not [path for path in files if path.suffix in (".db", ".jsonl", ".part")]


def test_commands_run_on_a_copy_and_give_the_labels_that_are_there(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = tmp_path / "shop"
    shutil.copytree(sample, shop)
    before = read_manifest(shop / "apron.parquet")
    for command in (["aggregate"], ["agreement"], ["workers"], ["split"], ["report"], ["status"]):
        monkeypatch.setattr(sys, "argv", ["curate", *command, "--workspace", str(shop)])
        assert exit_code(app, "curate") == 0, command
    after = read_manifest(open_workspace(shop).manifest("apron"))
    assert after.rows[["image_id", "label", "split"]].equals(before.rows[["image_id", "label", "split"]])
    assert (shop / "report.html").stat().st_size > 100_000
