from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fruit import encoded, noise, save

from curate.dataset.export.choose import choose, find_pictures
from curate.dataset.export.folder import export_folder
from schemas.manifest import Manifest, read_manifest

Start = Callable[..., "subprocess.Popen[str]"]


def content(folder: Path) -> dict[str, str]:
    """Hash of every file below a folder, by its relative path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """2,400 pictures: enough for several processes, and for several units of a thousand."""
    splits = ["train"] * 9 + ["test"]
    return save(
        tmp_path_factory.mktemp("many"),
        [{"bytes": encoded(noise(n)), "label": "apple", "split": splits[n % 10]} for n in range(2_400)],
    )


@pytest.fixture(scope="module")
def whole(many: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of them that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    export_folder(find_pictures(choose(many)), out, side=16)
    return out


def until(condition: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    """Look again and again until something is true; fails when the process ends before."""
    while not condition():
        assert process.poll() is None, process.communicate()


def records(part: Path) -> Iterator[Path]:
    return (part / "_units").glob("*.json")


KILLED = {
    "before the first unit": lambda part: (part / "_plan.json").exists(),
    "inside of a unit": lambda part: any((part / "train/apple").glob("*.jpg")),
    "after a unit": lambda part: any(records(part)),
}


@pytest.mark.parametrize("moment", KILLED)
def test_a_killed_export_leaves_nothing_that_looks_finished_and_goes_on(
    many: Manifest, whole: Path, tmp_path: Path, start: Start, moment: str
) -> None:
    arguments = ["export", "folder", many.path, "--side", 16]
    process = start(*arguments, "--out", tmp_path / "out")
    until(lambda: KILLED[moment](tmp_path / "out.part"), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    done = [json.loads(path.read_text()) for path in records(tmp_path / "out.part")]
    made = {path.name: path.stat().st_ino for path in (tmp_path / "out.part").rglob("*.jpg")}
    again = start(*arguments, "--out", tmp_path / "out")
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert "going on with an export that was stopped" in said
    assert content(tmp_path / "out") == content(whole)
    assert not (tmp_path / "out.part").exists()
    if moment == "after a unit":
        same = sum(path.stat().st_ino == made.get(path.name) for path in (tmp_path / "out").rglob("*.jpg"))
        assert same >= sum(len(each["sizes"]) for each in done) >= 240  # the work of whole units was not done again


@pytest.mark.parametrize("form", ["huggingface", "webdataset"])
def test_killed_between_its_shards_an_export_goes_on_with_the_next(
    tmp_path: Path, start: Start, curate: Callable[..., Any], form: str
) -> None:
    rows = [{"bytes": encoded(noise(n, (700, 500)), "PNG"), "label": "apple", "split": "train"} for n in range(40)]
    arguments = ["export", form, save(tmp_path / "fruit", rows).path, "--shard-mb", 2]
    curate(*arguments, "--out", tmp_path / "whole")
    process = start(*arguments, "--out", tmp_path / "out")
    until(lambda: len(list(records(tmp_path / "out.part"))) > 3, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = next(iter(sorted(records(tmp_path / "out.part"))))
    before = first.with_name(json.loads(first.read_text())["shards"][0][0]).stat().st_ino
    curate(*arguments, "--out", tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    shards = sorted((tmp_path / "out").rglob("train-*"))
    assert len(shards) == 40
    assert before in [path.stat().st_ino for path in shards]  # it was not made a second time


def test_a_killed_export_of_another_kind_is_cleared_away(
    many: Manifest, tmp_path: Path, start: Start, curate: Callable[..., Any]
) -> None:
    process = start("export", "folder", many.path, "--side", 16, "--out", tmp_path / "out")
    until(lambda: any((tmp_path / "out.part/train/apple").glob("*.jpg")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    curate("export", "csv", many.path, "--out", tmp_path / "out")
    assert sorted(content(tmp_path / "out")) == ["_done.json", "pictures.csv"]


def test_the_same_export_again_has_nothing_to_do(odd: Manifest, tmp_path: Path, curate: Callable[..., Any]) -> None:
    curate("export", "coco", odd.path, "--out", "out")
    before = content(tmp_path / "out")
    assert "was there already" in curate("export", "coco", odd.path, "--out", "out").stdout
    assert content(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("other export", "holds another export (csv export of manifest"),
        ("files", "holds other files; an export wants a new or empty folder"),
        ("a file", "is no folder"),
        ("files in part", "holds files that are no export's"),
        ("held", "another export writes here; wait for it to end"),
    ],
)
def test_other_content_is_refused_and_left_alone(
    odd: Manifest, tmp_path: Path, curate: Callable[..., Any], found: str, said: str
) -> None:
    out, part = tmp_path / "out", tmp_path / "out.part"
    holder = None
    if found == "other export":
        curate("export", "csv", odd.path, "--out", "out")
    elif found == "a file":
        out.write_text("mine")
    elif found == "held":
        part.mkdir()
        holder = (part / "_holder").open("a")
        fcntl.flock(holder, fcntl.LOCK_EX)
    else:
        folder = part if "part" in found else out
        folder.mkdir()
        (folder / "mine.txt").write_text("mine")
    before = content(tmp_path)
    assert said in curate("export", "folder", odd.path, "--out", "out", code=1).stderr
    left = content(tmp_path)
    assert {name: left[name] for name in before} == before
    assert not (out / "train").exists()
    if holder:
        holder.close()
        curate("export", "folder", odd.path, "--out", "out")


def test_an_empty_folder_is_taken(odd: Manifest, tmp_path: Path, curate: Callable[..., Any]) -> None:
    (tmp_path / "out").mkdir()
    curate("export", "folder", odd.path, "--out", "out/")
    assert (tmp_path / "out/_done.json").exists()


def test_ctrl_c_says_how_to_go_on(many: Manifest, tmp_path: Path, start: Start) -> None:
    process = start("export", "folder", many.path, "--side", 16, "--out", tmp_path / "out")
    until(lambda: any((tmp_path / "out.part/train/apple").glob("*.jpg")), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "run the same command again to go on" in said) == (130, True), said
    assert not (tmp_path / "out").exists()


def test_an_export_is_noted_in_the_log_of_its_workspace(shop: Path, curate: Callable[..., Any]) -> None:
    curate("export", "csv", "--out", "out", cwd=shop)
    line = json.loads((shop / "log.jsonl").read_text().splitlines()[-1])
    assert (line["command"], line["pictures"], line["outputs"]) == ("export", 56, ["out"])
    done = json.loads((shop / "out/_done.json").read_text())
    rows = read_manifest(shop / "apron.parquet").rows
    splits = rows["split"].value_counts()[["train", "val", "test"]].to_dict()
    gold = int((rows["split_reason"] == "gold").sum())
    assert (done["counts"], done["left_out"]["out: gold"]) == (splits, gold)
    assert done["plan"]["manifest_id"] == line["manifest_id"]
