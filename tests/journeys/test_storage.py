"""A collection whose originals never touch this machine's disk: from a shop over labels to a model and an export, all by S3."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.manifest import read_manifest
from schemas.storage import storage_at
from schemas.tables import HITS, PICTURES, TRUTH
from train.feed.load import load_pictures


@pytest.fixture
def shop(person: Any, s3: str) -> Path:
    """A workspace with its originals in S3 and the pictures of a small market."""
    from curate.demo.market import draw_market

    # as in life: S3 has a key and an address of its own beside those of the crowd
    person.env |= {
        "CURATE_S3_ACCESS_KEY_ID": "key", "CURATE_S3_SECRET_ACCESS_KEY": "secret",
        "AWS_ENDPOINT_URL_S3": os.environ["AWS_ENDPOINT_URL"],
    }  # fmt: skip
    market = person.folder / "market"
    draw_market(market, seed=1, scale=0.12)
    url = person.starts("shop", market, "--port", "0")
    person.types(
        "curate",
        "init",
        "shop",
        "--contact",
        "tests@example.org",
        "--set",
        "split.test=0.25",
        "--storage",
        f"{s3}/shop",
    )
    person.env["CURATE_WORKSPACE"] = str(person.folder / "shop")
    person.types("curate", "scrape", url, "--delay", "0", "--allow-private")
    person.types("curate", "import", "truth", market / "truth.csv")
    return Path(person.folder / "shop")


@pytest.mark.slow
def test_from_a_shop_to_a_model_with_originals_in_s3(person: Any, shop: Path, s3: str) -> None:
    drawn = {hashlib.sha256(p.read_bytes()).hexdigest() for p in (person.folder / "market" / "pictures").rglob("*.*")}
    pictures = PICTURES.read(shop / "pictures.parquet")
    assert set(pictures["image_id"]) == drawn
    assert {Path(name).stem for name in storage_at(f"{s3}/shop").names("blobs/")} == drawn

    person.types("curate", "check")
    person.types("curate", "dedup")
    assert f"originals in {s3}/shop" in person.types("curate", "status")
    show_to_workers(person, shop)

    label_all(person, shop)
    manifest = read_manifest(shop / "apron.parquet")
    assert manifest.rows["path"].str.startswith(f"{s3}/shop/blobs/").all()
    used = manifest.rows[manifest.rows["split"].isin(["train", "val", "test"])]
    loaded, failed = load_pictures(used, manifest.root, 32)
    assert (len(loaded), failed) == (used["image_id"].nunique(), {})

    small = ("--set", "epochs=1", "--set", "warmup_epochs=0", "--set", "image_size=32")
    person.types(
        "train", "resnet18", "--manifest", shop / "apron.parquet", "--recipe", "cpu-quick", *small, "--out", "run"
    )
    assert json.loads((person.folder / "run" / "run.json").read_text())["unreadable"] == {}
    packed = person.types("curate", "pack", "--side", "64")
    assert "pictures packed" in packed
    person.types("curate", "export", "folder", "--out", "images")
    files = {p.stem: p for p in (person.folder / "images").rglob("*.*") if len(p.stem) == 64}
    assert set(files) == set(used["image_id"])
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == image_id for image_id, p in files.items())
    person.types("curate", "export", "sagemaker", "--s3-prefix", f"{s3}/for-sagemaker", "--out", "sm")
    person.types("curate", "export", "webdataset", "--side", "64", "--out", "tars")
    person.types("curate", "report")
    assert (shop / "report.html").read_text(encoding="utf-8").count("data:image/webp") > 10
    assert "0 errors" in person.types("curate", "validate", shop / "apron.parquet", "--pictures")
    assert not [path for path in (shop / "blobs").rglob("*") if path.is_file()]

    gone = storage_at(used["path"].iloc[0].rpartition("/")[0])
    gone.remove(used["path"].iloc[0].rpartition("/")[2])
    person.types("curate", "validate", shop / "apron.parquet", "--pictures", code=1)
    person.types("curate", "storage", "move", ".", code=3)
    after = read_manifest(shop / "apron.parquet").rows
    assert after["path"].str.startswith("blobs/").sum() == len(after) - 1
    assert len(load_pictures(after[after["split"] == "train"], shop, 32)[1]) <= 1


def show_to_workers(person: Any, shop: Path) -> None:
    """Ask a crowd about some pictures and load one as a browser would."""
    key = json.loads(person.types("curate", "crowd", "keys", "issue", "tests", "--json"))
    person.env |= {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
    person.env["CURATE_ENDPOINT"] = crowd = person.starts("curate", "crowd", "serve", "--port", "0")
    person.types("curate", "gold", "import", person.folder / "market" / "gold.csv")
    person.types("curate", "qual", "create")
    person.types("curate", "hits", "create", "--images", "27", "--yes")
    image_id = HITS.read(shop / "apron" / "hits.parquet")["image_id"].iloc[0]
    with urllib.request.urlopen(f"{crowd}/picture/{image_id}") as reply:
        assert reply.read()[:3] == b"\xff\xd8\xff"


def label_all(person: Any, shop: Path) -> None:
    """Take in the drawn classes as an expert's labels, and cut the data set."""
    truth = TRUTH.read(shop / "apron" / "truth.parquet")
    pictures = PICTURES.read(shop / "pictures.parquet")
    kept = truth[truth["image_id"].isin(pictures.loc[pictures["dropped"].isna(), "image_id"])]
    pd.DataFrame(kept[["image_id", "label"]]).to_csv(person.folder / "labels.csv", index=False)
    words = ("--source", "expert", "--given-by", "us", "--chosen-by", "random")
    person.types("curate", "import", "labels", person.folder / "labels.csv", *words)
    person.types("curate", "aggregate")
    person.types("curate", "split")
