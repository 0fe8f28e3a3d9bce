"""The loop closed: a small shop is asked at random, a probe learns, a selection is asked as the second round, and counts."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from schemas.manifest import read_manifest
from schemas.tables import EMBEDDINGS, HITS, PICTURES, PREDICTIONS, SELECTION, SPLITS, VOTES


@pytest.mark.slow
def test_what_a_model_is_unsure_of_is_asked_next(person: Any, root: Path) -> None:
    shop = person.folder / "shop"
    sample = root / "sample_data" / "shop"
    person.types("curate", "init", "shop", "--contact", "tests@example.org", "--set", "split.test=0.2")
    person.env["CURATE_WORKSPACE"] = str(shop)
    person.types("curate", "import", "folder", sample / "blobs", "--no-truth")
    person.types("curate", "check")
    person.types("curate", "dedup")
    key = json.loads(person.types("curate", "crowd", "keys", "issue", "tests", "--json"))
    person.env |= {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
    person.env["CURATE_ENDPOINT"] = person.starts("curate", "crowd", "serve", "--port", "0")
    person.types("curate", "gold", "import", sample / "apron" / "gold.parquet")
    person.types("curate", "import", "truth", sample / "apron" / "truth.parquet")
    person.types("curate", "qual", "create")
    person.types("curate", "hits", "create", "--images", "36", "--yes")
    answer(person)
    person.types("curate", "split")
    tested = where(shop, "test")

    write_vectors(shop)
    assert "labeled train pictures predicted out of fold" in person.types("curate", "probe", "--folds", "3")
    manifest = read_manifest(shop / "apron.parquet")
    told = PREDICTIONS.read(shop / "apron" / "probe.parquet").set_index("image_id")
    train = manifest.rows.loc[manifest.rows["split"] == "train", "image_id"]
    assert told["fold"].notna().sum() == train.isin(told.index).sum()
    assert told.loc[told["split"].isin(["val", "test", "unlabeled"]), "fold"].isna().all()

    said = person.types("curate", "select", "--for", "label", "--votes", "36")
    chosen = SELECTION.read(shop / "apron" / "selection.parquet")
    assert chosen["assignments"].sum() <= 36
    assert "uncertain" in said
    assert "random" in said
    assert "curate hits create --selection" in person.types("curate", "status").splitlines()[-1]
    person.types("curate", "hits", "create", "--selection", "--yes")
    assert "nothing to make" in person.types("curate", "hits", "create", "--selection", "--yes")
    answer(person)
    person.types("curate", "split")

    assert "in 2 rounds" in person.types("curate", "status")
    hits = HITS.read(shop / "apron" / "hits.parquet")
    assert set(hits.loc[(hits["round"] == 2) & (hits["chosen_by"] != "gold"), "image_id"]) == set(chosen["image_id"])
    after = read_manifest(shop / "apron.parquet").rows.set_index("image_id")
    assert after.loc[chosen["image_id"], "label"].notna().mean() > 0.6
    assert where(shop, "test") >= tested, "what was tested on stays"
    for split in ("val", "test"):
        asked_for = set(after.loc[after["split"] == split, "chosen_by"])
        assert asked_for == {"random"}, f"{split} holds nothing that a model chose"
    votes = VOTES.read(shop / "apron" / "votes.parquet")
    real = votes[votes["dropped"] != "gold"]
    assert not real.duplicated(["image_id", "worker_id"]).any(), "nobody was asked about a picture twice"

    refused = person.types("curate", "select", "--for", "recheck", "--split", "test", "--images", "3", code=1)
    assert "never chosen by a model's doubts" in refused
    person.types("curate", "probe", "--folds", "3")
    assert "recheck" in person.types("curate", "select", "--for", "recheck", "--images", "3")


def answer(person: Any) -> None:
    """Simulated workers answer what is open; their votes are collected, judged and aggregated."""
    person.types("curate", "crowd", "simulate", "--workers", "10")
    person.types("curate", "hits", "collect")
    person.types("curate", "hits", "review", "--yes")
    person.types("curate", "hits", "collect")
    person.types("curate", "aggregate")


def where(shop: Path, split: str) -> set[str]:
    rows = SPLITS.read(shop / "apron" / "splits.parquet")
    return set(rows.loc[rows["split"] == split, "image_id"])


def write_vectors(shop: Path) -> None:
    """Small pictures as vectors: no model is needed to see colors and patterns."""
    pictures = PICTURES.read(shop / "pictures.parquet")
    kept: pd.DataFrame = pictures[pictures["dropped"].isna()]
    rows = []
    for image_id, blob in zip(kept["image_id"], kept["blob"], strict=True):
        with Image.open(io.BytesIO((shop / blob).read_bytes())) as picture:
            x = np.asarray(picture.convert("RGBA").convert("RGB").resize((12, 12)), np.float32).ravel() - 128
        rows.append({"image_id": image_id, "model_id": "pixels", "vector": x / np.linalg.norm(x)})
    EMBEDDINGS.write(EMBEDDINGS.frame(rows), shop / "embeddings.parquet")
