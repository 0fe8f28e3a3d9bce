from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curate.dataset.export.choose import choose
from curate.dataset.export.spreadsheet import export_csv
from schemas.manifest import Manifest, read_manifest


def test_pandas_reads_every_value_back(shop: Path, curate: Callable[..., Any]) -> None:
    curate("export", "csv", "--out", "out", "--unlabeled", cwd=shop)
    manifest = read_manifest(shop / "apron.parquet")
    data = (shop / "out/pictures.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbf")  # by this mark Excel knows UTF-8
    read = pd.read_csv(shop / "out/pictures.csv", dtype={"listing_id": "str"}).set_index("image_id")
    rows = manifest.rows.set_index("image_id").loc[read.index]
    assert sorted(rows["split"].unique()) == ["test", "train", "unlabeled", "val"]
    for name in ("label", "split", "path", "marketplace", "listing_id", "n_votes", "label_rank", "width_px"):
        assert [None if pd.isna(v) else v for v in read[name]] == [None if pd.isna(v) else v for v in rows[name]], name
    labeled = read[read["label"].notna()]
    assert [manifest.classes[int(number)] for number in labeled["class"]] == labeled["label"].tolist()
    shares = labeled[[f"share_{key}" for key in manifest.classes]].to_numpy()
    assert shares == pytest.approx(np.stack(rows.loc[labeled.index, "label_probs"].tolist()), abs=1e-6)
    assert "votes" not in read


def test_a_cell_that_would_run_as_a_formula_is_text(odd: Manifest, tmp_path: Path) -> None:
    export_csv(choose(odd), tmp_path / "out", workers=True)
    read = pd.read_csv(tmp_path / "out/pictures.csv")
    assert read["listing_id"].dropna().tolist() == ["'=1+1"]
    assert read["marketplaces"].dropna().tolist() == ["br; mx"]
    assert [json.loads(cell) for cell in read["votes"].dropna()] == [
        [{"pseudonym": "w1", "label": "zebra"}, {"pseudonym": "w2", "label": "zebra"}]
    ]


def test_a_table_needs_no_pictures(odd: Manifest, tmp_path: Path, curate: Callable[..., Any]) -> None:
    for path in odd.rows["path"]:
        (odd.root / path).unlink()
    curate("export", "csv", odd.path, "--out", "out")
    assert len(pd.read_csv(tmp_path / "out/pictures.csv")) == 4
