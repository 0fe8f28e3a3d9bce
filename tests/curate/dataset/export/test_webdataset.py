from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import webdataset
from fruit import encoded, noise, save

from curate.dataset.export.choose import choose, find_pictures
from curate.dataset.export.webdataset import export_webdataset
from schemas.manifest import Manifest, read_manifest


def test_webdataset_reads_the_same_bytes_and_labels(shop: Path, curate: Callable[..., Any]) -> None:
    said = curate("export", "webdataset", "--out", "out", "--unlabeled", cwd=shop).stdout
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    classes = (shop / "out/classes.txt").read_text().split()
    assert classes == manifest.classes
    for split in ("train", "val", "test", "unlabeled"):
        (pattern,) = [line.split(": ")[1] for line in said.splitlines() if line.startswith(f"{split}: ")]
        samples = list(webdataset.WebDataset(str(shop / pattern), shardshuffle=False))
        assert {sample["__key__"] for sample in samples} == set(rows.index[rows["split"] == split])
        for sample in samples:
            row = rows.loc[sample["__key__"]]
            assert sample.get("jpg", sample.get("png")) == (shop / row["path"]).read_bytes()
            known = json.loads(sample["json"])
            if split == "unlabeled":
                assert "cls" not in sample
                assert "label" not in known
            else:
                assert classes[int(sample["cls"])] == row["label"] == known["label"]
            assert "votes" not in known
    decoded = webdataset.WebDataset(str(shop / "out/train-000000.tar"), shardshuffle=False).decode("pil")
    for picture, number, known in decoded.to_tuple("jpg;png", "cls", "json"):
        assert picture.size[0] > 0
        assert classes[number] == known["label"]


def test_shards_are_bounded_and_their_pattern_finds_all(tmp_path: Path) -> None:
    rows = [{"bytes": encoded(noise(n, (500, 400)), quality=95), "label": "zebra", "split": "train"} for n in range(9)]
    done = export_webdataset(find_pictures(choose(save(tmp_path, rows))), tmp_path / "out", shard_mb=1)
    shards = sorted((tmp_path / "out").glob("*.tar"))
    assert len(shards) > 1
    assert all(path.stat().st_size < 1.1e6 for path in shards)
    (pattern,) = [line.split(": ")[1] for line in done.describe().splitlines() if line.startswith("train: ")]
    assert pattern.endswith(f"train-{{000000..{len(shards) - 1:06d}}}.tar")
    assert len(list(webdataset.WebDataset(pattern, shardshuffle=False))) == 9


def test_pictures_go_out_as_jpg_or_png_and_votes_only_when_asked(odd: Manifest, tmp_path: Path) -> None:
    export_webdataset(find_pictures(choose(odd, unlabeled=True)), tmp_path / "out", workers=True)
    samples = {
        sample["__key__"]: sample
        for path in sorted((tmp_path / "out").glob("*.tar"))
        for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    }
    kinds = {
        row.path: sorted(set(samples[row.image_id]) & {"jpg", "png", "gif", "webp"}) for row in odd.rows.itertuples()
    }
    assert kinds == {"a/turned.jpg": ["jpg"], "a/clear.png": ["png"], "b/two.gif": ["jpg"], "b/web.webp": ["jpg"],
                     "b/plain.jpg": ["jpg"]}  # fmt: skip
    votes = [known["votes"] for sample in samples.values() if "votes" in (known := json.loads(sample["json"]))]
    assert votes == [[{"pseudonym": "w1", "label": "zebra"}, {"pseudonym": "w2", "label": "zebra"}]]


def test_equal_content_makes_equal_files(odd: Manifest, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_webdataset(find_pictures(choose(odd)), tmp_path / name)
    tars = [path.name for path in (tmp_path / "one").glob("*.tar")]
    assert tars
    for tar in tars:
        assert (tmp_path / "one" / tar).read_bytes() == (tmp_path / "two" / tar).read_bytes()
