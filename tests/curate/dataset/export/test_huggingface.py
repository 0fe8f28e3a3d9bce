from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from fruit import encoded, noise, save
from huggingface_hub import DatasetCard

from curate.dataset.export.choose import choose, find_pictures
from curate.dataset.export.circumstances import Circumstances
from curate.dataset.export.huggingface import export_huggingface
from schemas.manifest import Manifest, read_manifest

SPLITS = {"train": "train", "val": "validation", "test": "test", "unlabeled": "unlabeled"}


@pytest.fixture
def load(tmp_path: Path) -> Callable[[Path], datasets.DatasetDict]:
    return lambda folder: datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))


def test_datasets_reads_the_same_bytes_labels_and_class_order(
    shop: Path, curate: Callable[..., Any], load: Callable[[Path], datasets.DatasetDict]
) -> None:
    curate("export", "huggingface", "--out", "out", "--unlabeled", cwd=shop)
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    there = load(shop / "out")
    for ours, theirs in SPLITS.items():
        some = there[theirs].cast_column("image", datasets.Image(decode=False))
        assert set(some["image_id"]) == set(rows.index[rows["split"] == ours])
        assert some.features["label"].names == manifest.classes
        for each in some:
            row = rows.loc[each["image_id"]]
            assert each["image"]["bytes"] == (shop / row["path"]).read_bytes()
            if ours == "unlabeled":
                assert each["label"] is None
            else:
                assert some.features["label"].int2str(each["label"]) == row["label"]
                assert each["label_probs"] == pytest.approx(row["label_probs"])
                assert each["marketplaces"] == list(row["marketplaces"])
        assert "votes" not in some.column_names
    first = there["train"][0]
    row = rows.loc[first["image_id"]]
    assert first["image"].size == (row["width_px"], row["height_px"])


def test_votes_go_along_only_when_asked_and_by_pseudonym(
    odd: Manifest, tmp_path: Path, load: Callable[[Path], datasets.DatasetDict]
) -> None:
    export_huggingface(find_pictures(choose(odd)), tmp_path / "out", Circumstances(), workers=True)
    votes = [each["votes"] for each in load(tmp_path / "out")["train"].remove_columns("image")]
    assert [{"pseudonym": "w1", "label": "zebra"}, {"pseudonym": "w2", "label": "zebra"}] in votes
    assert None in votes


def test_shards_are_bounded_numbered_and_read_in_pages(tmp_path: Path) -> None:
    rows = [{"bytes": encoded(noise(n, (700, 500)), "PNG"), "label": "zebra", "split": "train"} for n in range(5)]
    chosen = find_pictures(choose(save(tmp_path, rows)))
    done = export_huggingface(chosen, tmp_path / "out", Circumstances(), shard_mb=2)
    names = [path.name for path in sorted((tmp_path / "out/data").iterdir())]
    assert names == [f"train-{n:05d}-of-00005.parquet" for n in range(5)]  # 1 MB each, two would be more than 2
    assert [count for _, count in done.facts["shards"]["train"]] == [1] * 5
    meta = pq.read_metadata(tmp_path / "out/data" / names[0]).row_group(0)
    pictures = next(meta.column(n) for n in range(meta.num_columns) if meta.column(n).path_in_schema == "image.bytes")
    assert (pictures.compression, pictures.has_offset_index) == ("UNCOMPRESSED", True)


def test_the_readme_is_a_card_whose_configs_name_the_files(odd: Manifest, tmp_path: Path) -> None:
    export_huggingface(find_pictures(choose(odd)), tmp_path / "out", Circumstances())
    text = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    card = DatasetCard(text)
    (config,) = yaml.safe_load(text.split("---")[1])["configs"]
    assert config["data_files"] == [
        {"split": split, "path": f"data/{split}-*"} for split in ("train", "validation", "test")
    ]
    assert card.data.license == "unknown"


def test_an_unsplit_manifest_is_one_split_called_train(
    tmp_path: Path, load: Callable[[Path], datasets.DatasetDict]
) -> None:
    chosen = find_pictures(choose(save(tmp_path, [{"bytes": encoded(noise(1)), "label": "mango"}])))
    export_huggingface(chosen, tmp_path / "out", Circumstances())
    assert {name: len(rows) for name, rows in load(tmp_path / "out").items()} == {"train": 1}
    assert "**It was not**" in (tmp_path / "out/README.md").read_text(encoding="utf-8")
