from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from schemas.errors import TableError
from schemas.manifest import manifest_id, picture_root, read_manifest, write_manifest
from schemas.tables import LABELS, MANIFEST

CLASSES = ["plain", "dots"]


def row(image_id: str, **values: Any) -> dict[str, Any]:
    return {"image_id": image_id, "path": f"blobs/{image_id}.jpg", **values}


def rows() -> pd.DataFrame:
    votes = [{"pseudonym": "w1", "label": "dots"}, {"pseudonym": "w2", "label": "dots"}]
    labeled = row("a", label="dots", split="train", label_rank=0.0, label_probs=[0.0, 1.0], votes=votes)
    return MANIFEST.frame(
        [labeled, row("b", split="unlabeled", unlabeled_rank=0.0), row("c", label="plain", split="test")]
    )


def write(path: Path, frame: pd.DataFrame | None = None, **options: Any) -> str:
    given = {"task": "apron", "classes": CLASSES, **options}
    return write_manifest(rows() if frame is None else frame, [path], **given)


def test_a_manifest_carries_its_classes_task_parent_and_making(tmp_path: Path) -> None:
    identity = write(tmp_path / "m.parquet", parent="older", info={"counts": {"pictures": 3}})
    found = read_manifest(tmp_path / "m.parquet")
    assert (found.classes, found.task, found.parent, found.manifest_id) == (CLASSES, "apron", "older", identity)
    assert found.info == {"counts": {"pictures": 3}}
    pd.testing.assert_frame_equal(found.rows, rows())


def test_the_id_is_the_content_in_any_row_order(tmp_path: Path) -> None:
    frame = rows()
    one = write(tmp_path / "one.parquet", frame)
    assert one == write(tmp_path / "two.parquet", frame.iloc[::-1], parent="p", info={"made_by": "me"})
    found = read_manifest(tmp_path / "two.parquet")
    assert found.rows.image_id.tolist() == ["a", "b", "c"]
    assert manifest_id(MANIFEST.read_arrow(tmp_path / "two.parquet"), "apron", CLASSES) == one


@pytest.mark.parametrize(
    "change",
    [{"classes": CLASSES[::-1]}, {"task": "vest"}, {"frame": rows().assign(split="train")}, {"frame": rows()[:2]}],
)
def test_another_content_has_another_id(tmp_path: Path, change: dict[str, Any]) -> None:
    assert write(tmp_path / "one.parquet") != write(tmp_path / "two.parquet", **change)


def test_the_same_bytes_stand_at_every_place(tmp_path: Path) -> None:
    places = [tmp_path / "manifests" / "apron-0001.parquet", tmp_path / "apron.parquet"]
    write_manifest(rows(), places, task="apron", classes=CLASSES)
    assert places[0].read_bytes() == places[1].read_bytes()


def test_a_manifest_that_pandas_wrote_again_is_read_with_sorted_classes_and_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "apron.parquet"
    identity = write(path)
    pd.read_parquet(path).to_parquet(path)
    found = read_manifest(path)
    assert capsys.readouterr().err.count("\n") == 1
    assert (found.classes, found.task) == (["dots", "plain"], "apron")
    assert read_manifest(path, CLASSES).manifest_id == identity
    assert capsys.readouterr().err == ""


def test_a_label_outside_the_classes_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.parquet", classes=["plain"])
    with pytest.raises(TableError, match="label 'dots' is not in the class list \\(plain\\)"):
        read_manifest(tmp_path / "m.parquet")


def test_other_classes_than_the_file_carries_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.parquet")
    assert read_manifest(tmp_path / "m.parquet", CLASSES).classes == CLASSES
    with pytest.raises(TableError, match=r"its classes are plain, dots; asked for were dots, plain\. The order counts"):
        read_manifest(tmp_path / "m.parquet", CLASSES[::-1])


def test_a_manifest_that_was_cut_off_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(TableError, match=r"cannot be read as Parquet .* it may be cut off") as error:
        read_manifest(path)
    assert "\n" not in str(error.value)


def test_another_table_is_no_manifest(tmp_path: Path) -> None:
    path = LABELS.write(LABELS.empty(), tmp_path / "labels.parquet")
    with pytest.raises(TableError, match="is a labels table, not manifest"):
        read_manifest(path)


def test_a_manifest_of_a_newer_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    write(path)
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"consenso.version": b"7"}), path)
    with pytest.raises(TableError, match="written as version 7 of manifest"):
        read_manifest(path)


def test_pictures_are_looked_for_in_the_workspace_around(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").touch()
    (tmp_path / "apron" / "manifests").mkdir(parents=True)
    assert picture_root(tmp_path / "apron" / "manifests" / "apron-0001.parquet") == tmp_path.resolve()


def test_plain_pandas_reads_sensible_columns(tmp_path: Path) -> None:
    more = {"n_votes": 3, "n_agree": 2, "width_px": 300, "height_px": 200, "marketplaces": ["mx"], "group_id": "g"}
    seen = {**more, "cluster_id": "c", "marketplace": "mx", "listing_id": "l", "chosen_by": "random", "label": "dots"}
    votes = [{"pseudonym": "w1", "label": "dots"}]
    full = row("a", **seen, split="out", split_reason="gold", dropped="x", label_probs=[0.0, 1.0], votes=votes)
    frames = {}
    for name, some in (("whole", [full]), ("gaps", [full, row("b")])):
        write(tmp_path / f"{name}.parquet", MANIFEST.frame(some))
        frames[name] = pd.read_parquet(tmp_path / f"{name}.parquet")
    text = [
        "image_id",
        "path",
        "label",
        "split",
        "split_reason",
        "dropped",
        "group_id",
        "cluster_id",
        "marketplace",
        "listing_id",
        "chosen_by",
    ]
    ranks, counts = ["label_rank", "unlabeled_rank"], ["n_votes", "n_agree", "width_px", "height_px"]
    lists = ["marketplaces", "label_probs", "votes"]
    for frame in frames.values():
        assert sorted(frame.columns) == sorted([*text, *ranks, *counts, *lists])
        assert {str(frame[name].dtype) for name in text} == {"str"}
        assert {str(frame[name].dtype) for name in ranks} == {"float64"}
        assert list(frame.columns[-2:]) == ["label_probs", "votes"]
    assert {str(frames["whole"][name].dtype) for name in counts} == {"int32"}
    assert {str(frames["gaps"][name].dtype) for name in counts} == {"float64"}  # pandas has no missing whole number
    whole = pd.read_parquet(tmp_path / "gaps.parquet", dtype_backend="numpy_nullable")
    assert {str(whole[name].dtype) for name in counts} == {"Int32"}
    first = frames["whole"].iloc[0]
    assert (list(first.marketplaces), list(first.label_probs), list(first.votes)) == (["mx"], [0.0, 1.0], votes)
