"""Pictures in a column of Parquet come in, exactly, and a killed import goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from whole import photo, shown

from curate.collect.outcome import Outcome, finish
from curate.collect.parquet import Ask, import_parquet
from curate.workspace import Workspace
from schemas.errors import Partial, UserError
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES, TRUTH


def take(workspace: Workspace, where: Path | str, **more: Any) -> Outcome:
    return import_parquet(workspace, Ask(str(where), **more))


def ids(numbers: range) -> list[str]:
    return [hashlib.sha256(photo(number)).hexdigest() for number in numbers]


def truth(workspace: Workspace) -> dict[str, str]:
    rows = TRUTH.read(workspace.of_task("apron", "truth"))
    return dict(zip(rows["image_id"], rows["label"], strict=True))


def test_bytes_are_found_by_what_they_are_and_come_in_as_they_are(workspace: Workspace, tmp_path: Path) -> None:
    columns = {"noise": [b"x"] * 5, "n": list(range(5)), "jpeg": [photo(n) for n in range(5)]}
    pq.write_table(pa.table(columns), tmp_path / "set.parquet", row_group_size=2)
    done = take(workspace, tmp_path / "set.parquet")
    assert (done.counts.rows, done.counts.new, done.pictures, done.failed) == (5, 5, 5, [])
    assert shown(workspace) == {(f"set.parquet/{n}", 0, one) for n, one in enumerate(ids(range(5)))}
    for image_id, blob in PICTURES.read(workspace.table("pictures"))[["image_id", "blob"]].to_numpy():
        assert hashlib.sha256((workspace.root / blob).read_bytes()).hexdigest() == image_id
    assert set(LISTINGS.read(workspace.table("listings"))["source"]) == {"parquet"}
    again = take(workspace, tmp_path / "set.parquet")
    assert (again.counts.rows, again.counts.same, again.counts.new, again.pictures) == (5, 5, 0, 5)
    assert finish(again) == "5 listings, 0 of them new; 5 pictures"


def test_a_hugging_face_folder_has_paths_and_names_of_its_classes(workspace: Workspace, tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["plain", "dots"], "_type": "ClassLabel"}}}}
    for part in range(2):
        rows = [{"image": {"bytes": photo(part * 3 + n), "path": f"{n}.jpg"}, "label": [0, 1, -1][n]} for n in range(3)]
        table = pa.Table.from_pylist(rows).replace_schema_metadata({"huggingface": json.dumps(features)})
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / "data" / f"train-0000{part}.parquet")
    done = take(workspace, tmp_path / "data", label_column="label")
    assert (done.pictures, done.known.labels) == (6, 4)
    names = ids(range(6))
    assert truth(workspace) == {names[0]: "plain", names[1]: "dots", names[3]: "plain", names[4]: "dots"}
    assert set(APPEARANCES.read(workspace.table("appearances"))["url"]) == {"0.jpg", "1.jpg", "2.jpg"}


def test_labels_are_mapped_may_come_later_and_two_of_one_picture_are_none(workspace: Workspace, tmp_path: Path) -> None:
    kinds = ["Lunares", "liso", "liso", "Lunares"]
    table = pa.table({"jpeg": [photo(0), photo(1), photo(2), photo(2)], "kind": kinds})
    pq.write_table(table, tmp_path / "set.parquet")
    take(workspace, tmp_path / "set.parquet")
    with pytest.raises(UserError, match=r"'Lunares', 'liso': no such class in task apron; .*--map FILE says"):
        take(workspace, tmp_path / "set.parquet", label_column="kind")
    done = take(workspace, tmp_path / "set.parquet", label_column="kind", values={"lunares": "dots", "liso": "plain"})
    assert (done.pictures, done.known.labels, done.known.torn) == (3, 2, 1)
    assert truth(workspace) == dict(zip(ids(range(2)), ("dots", "plain"), strict=True))
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 4


def test_what_is_no_picture_is_a_failure_and_the_others_come_in(workspace: Workspace, tmp_path: Path) -> None:
    pq.write_table(pa.table({"jpeg": [photo(0), b"<html>", None, b""]}), tmp_path / "set.parquet")
    done = take(workspace, tmp_path / "set.parquet")
    with pytest.raises(
        Partial, match="4 listings, 4 of them new; 1 pictures; 3 pictures failed: 2 empty, 1 not a picture"
    ):
        finish(done)
    failures = FAILURES.read(workspace.table("failures")).set_index("url")["dropped"]
    assert failures["set.parquet/1"] == "not a picture (begins with b'<html>')"


@pytest.mark.parametrize(
    ("columns", "more", "said"),
    [
        ({"a": [1]}, {}, "no column of picture bytes; found a. Say --image-column NAME"),
        ({"a": [b"\xff\xd8\xff"], "b": [b"\xff\xd8\xff"]}, {}, "several columns of pictures, a, b; found a, b"),
        ({"a": [b"\xff\xd8\xff"]}, {"image_column": "c"}, "no column 'c'; found a"),
        ({"a": [b"\xff\xd8\xff"]}, {"label_column": "c"}, "no column 'c'; found a"),
    ],
)
def test_columns_that_cannot_be_told_are_named_and_nothing_is_written(
    workspace: Workspace, tmp_path: Path, columns: dict[str, list[Any]], more: dict[str, str], said: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "set.parquet")
    with pytest.raises(UserError, match=said):
        take(workspace, tmp_path / "set.parquet", **more)
    assert not workspace.table("pictures").exists()


def test_what_is_no_parquet_gets_one_line(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "set.parquet").write_bytes(b"no")
    with pytest.raises(UserError, match=r"set\.parquet: cannot be read as Parquet"):
        take(workspace, tmp_path / "set.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: holds no Parquet files"):
        take(workspace, tmp_path / "empty")
    with pytest.raises(UserError, match=r"none: no such file or folder"):
        take(workspace, tmp_path / "none")


def test_a_damaged_row_group_stops_it_and_what_came_before_stays(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    table = pa.table({"jpeg": [photo(n) for n in range(128)]})
    pq.write_table(table, path, row_group_size=64, use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    at = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    data[at + 20_000 : at + 20_100] = bytes(100)
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match="row group 1 cannot be read"):
        take(workspace, path)
    with workspace.project() as db:
        assert db.execute("SELECT count(*) FROM frontier WHERE kind = 'file' AND state = 'done'").fetchone()[0] == 64


def test_it_comes_from_a_bucket_too(workspace: Workspace, tmp_path: Path, s3: str) -> None:
    from schemas.storage import storage_at

    pq.write_table(pa.table({"jpeg": [photo(0), photo(1)]}), tmp_path / "set.parquet")
    storage_at(s3).write("data/a.parquet", (tmp_path / "set.parquet").read_bytes())
    assert take(workspace, f"{s3}/data").pictures == 2
    assert take(workspace, f"{s3}/data/a.parquet").counts.same == 2


_DIES = """
import os, signal
from curate.collect import parquet
calls = 0
def dying(self, *given, keep=parquet.Intake.save):
    global calls
    keep(self, *given)
    calls += 1
    if calls == 2:
        os.kill(os.getpid(), signal.SIGKILL)
parquet.Intake.save = dying
"""


def test_killed_it_goes_on_at_the_row_where_it_was(workspace: Workspace, tmp_path: Path) -> None:
    pq.write_table(pa.table({"jpeg": [photo(n) for n in range(200)]}), tmp_path / "set.parquet", row_group_size=70)
    (tmp_path / "dies").mkdir()
    (tmp_path / "dies" / "sitecustomize.py").write_text(_DIES)
    words = ["import", "parquet", str(tmp_path / "set.parquet"), "-w", str(workspace.root)]
    path = os.pathsep.join([str(tmp_path / "dies"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "curate.cli", *words]
    died = subprocess.run(command, capture_output=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert died.returncode == -signal.SIGKILL
    done = take(workspace, tmp_path / "set.parquet")
    assert (done.counts.rows, done.counts.same, done.counts.new, done.pictures) == (200, 128, 72, 200)
    assert shown(workspace) == {(f"set.parquet/{n}", 0, one) for n, one in enumerate(ids(range(200)))}


def test_cifar10n_comes_in_whole_with_its_true_labels(workspace: Workspace, shared_data: Any, tmp_path: Path) -> None:
    path = shared_data("cifar10n") / "images.parquet"
    given = pq.read_table(path, columns=["image_id", "true_label"])
    small = tmp_path / "images.parquet"
    pq.write_table(pq.read_table(path).slice(0, 5_000), small, row_group_size=1_000)
    classes = sorted(set(given["true_label"].to_pylist()))
    keys = workspace.task("apron").keys
    values = {name: keys[number % len(keys)] for number, name in enumerate(classes)}
    done = take(workspace, small, label_column="true_label", values=values)
    pictures = PICTURES.read(workspace.table("pictures"))
    assert (done.counts.new, done.failed) == (5_000, [])
    assert done.pictures == len(pictures)
    assert done.known.labels + done.known.torn == len(pictures)
