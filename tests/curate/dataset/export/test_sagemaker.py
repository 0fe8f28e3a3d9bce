from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from botocore.validate import ParamValidator

from curate.dataset.export.choose import choose, find_pictures
from curate.dataset.export.circumstances import Circumstances
from curate.dataset.export.sagemaker import export_sagemaker
from schemas.errors import UserError
from schemas.manifest import Manifest, read_manifest


def test_manifest_lines_lists_and_pictures_agree(shop: Path, curate: Callable[..., Any]) -> None:
    curate("export", "sagemaker", "--out", "out", "--s3-prefix", "s3://bucket/aprons/", cwd=shop)
    manifest = read_manifest(shop / "apron.parquet")
    rows = manifest.rows.set_index("image_id")
    for split in ("train", "val", "test"):
        lines = [json.loads(line) for line in (shop / f"out/{split}.manifest").read_text().splitlines()]
        listed = [line.split("\t") for line in (shop / f"out/{split}.lst").read_text().splitlines()]
        assert {Path(line["source-ref"]).stem for line in lines} == set(rows.index[rows["split"] == split])
        for line, (_, number, path) in zip(lines, listed, strict=True):
            row = rows.loc[Path(path).stem]
            assert line["source-ref"] == f"s3://bucket/aprons/{split}/{path}"
            assert line["label"] == int(number) == manifest.classes.index(row["label"])
            assert (shop / "out" / split / path).read_bytes() == (shop / row["path"]).read_bytes()
            meta = line["label-metadata"]
            assert (meta["class-name"], meta["type"]) == (row["label"], "groundtruth/image-classification")
            assert meta["confidence"] == pytest.approx(row["n_agree"] / row["n_votes"], abs=1e-4)
            assert meta["human-annotated"] == "no"  # the sample's votes are simulated
        assert [int(index) for index, *_ in listed] == list(range(len(lines)))


def test_the_channels_are_what_a_training_job_takes(odd: Manifest, tmp_path: Path) -> None:
    chosen = find_pictures(choose(odd))
    export_sagemaker(chosen, tmp_path / "out", Circumstances(), s3_prefix="s3://bucket/fruit", attribute="fruit")
    channels = json.loads((tmp_path / "out/channels.json").read_text())
    shape = Session().get_service_model("sagemaker").shape_for("InputDataConfig")
    assert not ParamValidator().validate(channels, shape).has_errors()
    assert [each["ChannelName"] for each in channels] == ["train", "validation", "test"]
    for each in channels:
        source = each["DataSource"]["S3DataSource"]
        path = tmp_path / "out" / Path(source["S3Uri"]).relative_to("s3:/bucket/fruit")
        first = json.loads(path.read_text().splitlines()[0])
        assert list(first)[:2] == source["AttributeNames"] == ["source-ref", "fruit"]
    kinds = {path.suffix for split in ("train", "val", "test") for path in (tmp_path / "out" / split).rglob("*.*")}
    assert kinds == {".jpg", ".png"}  # all that its built-in algorithm reads


@pytest.mark.parametrize("prefix", ["bucket/fruit", "https://bucket/fruit", "s3://", "s3://a b/c"])
def test_a_prefix_that_is_no_s3_address_is_refused(odd: Manifest, tmp_path: Path, prefix: str) -> None:
    with pytest.raises(UserError, match="is no S3 address; it looks like s3://bucket/folder"):
        export_sagemaker(find_pictures(choose(odd)), tmp_path / "out", Circumstances(), s3_prefix=prefix)
    assert not list(tmp_path.glob("out*"))
