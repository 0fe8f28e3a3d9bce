"""Originals go from the workspace to S3 and back, whatever happens on the way: every row leads to its bytes at any moment."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from curate.cli import app
from curate.collect.export import export_here
from curate.collect.folder import import_folder
from curate.status import describe
from curate.storage_move import left_places
from curate.workspace import Workspace, open_workspace
from schemas.command import exit_code
from schemas.storage import read_place, storage_at
from schemas.tables import PICTURES

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def filled(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace with five pictures of a folder and one that a crawl brought and did not export yet."""
    for number in range(5):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.new("RGB", (80, 80 + number), (number * 40, 0, 0)).save(tmp_path / "in" / f"{number}.png")
    import_folder(workspace, tmp_path / "in")
    data = b"\xff\xd8\xff crawled"
    image_id = hashlib.sha256(data).hexdigest()
    blob = f"blobs/{image_id[:2]}/{image_id}.jpg"
    workspace.storage.write(blob, data)
    with contextlib.closing(workspace.project()) as db:
        db.execute(
            "INSERT INTO frontier (url, kind, host, depth, marketplace, state, image_id, blob, bytes, first_seen_at) "
            "VALUES ('http://a/1.jpg', 'picture', 'a', 1, 'a', 'done', ?, ?, ?, '2026-11-30T00:00:00+00:00')",
            (image_id, blob, len(data)),
        )
    return workspace


@pytest.fixture
def run(filled: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in the workspace; its exit code and what it says."""
    monkeypatch.chdir(filled.root)

    def go(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["curate", *words])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out + said.err

    return go


def blobs(workspace: Workspace) -> set[str]:
    """What PICTURES and the crawl say of where bytes are, each of them led to the right bytes."""
    rows = PICTURES.read(workspace.table("pictures"))
    with contextlib.closing(workspace.project()) as db:
        crawled = [tuple(row) for row in db.execute("SELECT image_id, blob FROM frontier WHERE image_id IS NOT NULL")]
    known = [*zip(rows["image_id"], rows["blob"], strict=True), *crawled]
    for image_id, blob in known:
        assert hashlib.sha256(read_place(workspace.original(blob))).hexdigest() == image_id
    return {blob for _, blob in known}


def files(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.blobs.rglob("*") if path.is_file()]


def test_pictures_go_to_s3_and_back_and_old_copies_go_when_asked(filled: Workspace, s3: str, run: Run) -> None:
    place = f"{s3}/shop one"
    assert run("storage", "move", place)[0] == 1, "a place with a space would not survive in workspace.yaml"
    place = f"{s3}/shop"
    code, said = run("storage", "move", place + "/")
    assert code == 0, said
    assert f"6 pictures to copy to {place} (0.0 MB)" in said
    assert "6 pictures copied (0.0 MB) and checked; 6 are kept in " + place in said
    assert f"copies are left in {filled.root}: the same command with --remove removes them" in said
    here = open_workspace(filled.root)
    assert here.config.storage == place
    assert all(blob.startswith(f"{place}/blobs/") for blob in blobs(here))
    assert len(files(here)) == 6
    assert f"originals in {place}; old copies in {filled.root}" in describe(here)

    code, said = run("storage", "move", place, "--remove")
    assert code == 0
    assert "0 pictures to copy" in said
    assert "6 are there already" in said
    assert "6 old copies removed" in said
    assert (files(here), left_places(here)) == ([], [])
    assert len(blobs(here)) == 6
    assert "originals in " + place + "\n" in describe(here) + "\n"

    export_here(here)
    assert all(blob.startswith(place) for blob in PICTURES.read(here.table("pictures"))["blob"]), "the crawled one, too"
    assert run("storage", "move", ".", "--remove")[0] == 0
    back = open_workspace(filled.root)
    assert back.config.storage == ""
    assert all(blob.startswith("blobs/") for blob in blobs(back))
    assert list(storage_at(place).names()) == []
    assert "originals in blobs/" in describe(back)


def test_what_comes_in_after_a_move_lies_beside_the_others(
    filled: Workspace, s3: str, run: Run, tmp_path: Path
) -> None:
    assert run("storage", "move", s3)[0] == 0
    Image.new("RGB", (99, 99), "blue").save(tmp_path / "in" / "new.png")
    assert run("import", "folder", str(tmp_path / "in"))[0] == 0
    assert len(list(storage_at(s3).names("blobs/"))) == 7
    assert len(files(filled)) == 6


def test_a_picture_that_is_lost_or_changed_is_told_and_the_others_go(filled: Workspace, s3: str, run: Run) -> None:
    lost, changed = files(filled)[:2]
    lost.unlink()
    changed.write_bytes(b"other bytes")
    code, said = run("storage", "move", s3, "--remove")
    assert code == 3
    assert "4 pictures copied" in said
    assert "2 of the pictures could not be copied; their rows say what they said before. The first is " in said
    assert changed.exists(), "nothing is removed that is not at the new place"
    code, said = run("storage", "move", s3)
    assert code == 3
    assert "2 pictures to copy" in said
    assert "2 elsewhere" in describe(open_workspace(filled.root))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("s3://nobody-has-this/x", "s3://nobody-has-this/x: S3 refused PutObject: "),
        ("shop-originals", "shop-originals: should look like s3://bucket/prefix"),
        ("s3://", "s3://: should look like s3://bucket/prefix"),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line_and_changes_nothing(
    filled: Workspace, s3: str, run: Run, tmp_path: Path, place: str, said: str
) -> None:
    before = {path: path.read_bytes() for path in filled.root.rglob("*") if path.is_file() and path.name != ".lock"}
    for words in (("storage", "move", place), ("init", str(tmp_path / "new"), "--storage", place)):
        code, told = run(*words)
        assert (code, told.count("\n")) == (1, 1)
        assert told.startswith(f"error: {said}")
    assert not (tmp_path / "new").exists()
    assert {path: path.read_bytes() for path in before} == before


def test_a_workspace_may_begin_in_s3(s3: str, run: Run, tmp_path: Path) -> None:
    assert run("init", str(tmp_path / "new"), "--storage", f"{s3}/new/")[0] == 0
    assert yaml.safe_load((tmp_path / "new" / "workspace.yaml").read_text())["storage"] == f"{s3}/new"
    assert list(storage_at(s3).names()) == [], "what was written to see whether it can be is gone"
    assert run("import", "folder", str(tmp_path / "in"), "-w", str(tmp_path / "new"))[0] == 0
    made = open_workspace(tmp_path / "new")
    assert len(list(storage_at(f"{s3}/new").names("blobs/"))) == 5
    assert files(made) == []
    code, said = run("init", str(tmp_path / "other"), "--storage", f"{s3}/new")
    assert (code, "holds pictures already; if they are another workspace's" in said) == (0, True)


# Imported by the process before anything else: it dies at the n-th call of one of our functions.
_DIES = """
import os, signal
point, when = os.environ["DIES"].split("/")
calls = 0

def dying(function):
    def wrapped(*args, **options):
        global calls
        calls += 1
        if calls == int(when):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)
    return wrapped

from curate import storage_move
from schemas import storage, table
if point == "written":
    storage.Folder.write, storage.Bucket.write = dying(storage.Folder.write), dying(storage.Bucket.write)
elif point == "removed":
    storage.Folder.remove, storage.Bucket.remove = dying(storage.Folder.remove), dying(storage.Bucket.remove)
elif point == "table":
    table.Table.write = dying(table.Table.write)
else:
    setattr(storage_move, point, dying(getattr(storage_move, point)))
"""


@pytest.mark.parametrize("way", ["to S3", "back"])
def test_killed_at_every_step_every_row_leads_to_its_bytes_and_the_next_run_ends_it(
    filled: Workspace, s3: str, run: Run, tmp_path: Path, way: str
) -> None:
    goal = s3
    if way == "back":
        assert run("storage", "move", s3, "--remove")[0] == 0
        goal = "."
    (tmp_path / "dies").mkdir()
    (tmp_path / "dies" / "sitecustomize.py").write_text(_DIES)
    command = [sys.executable, "-m", "curate.cli", "storage", "move", goal, "--remove", "-w", str(filled.root)]
    path = os.pathsep.join([str(tmp_path / "dies"), os.environ.get("PYTHONPATH", "")])
    # the bucket's first write and removal are those of the check whether it can be used
    points = ["_remember/1", "written/2", "written/5", "_rename/1", "_rename_crawled/1", "table/1", "write_config/1",
              "removed/2", "removed/4", "_remember/2"]  # fmt: skip
    for point in points:
        environment = {**os.environ, "PYTHONPATH": path, "DIES": point}
        died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert died.returncode == -signal.SIGKILL, (point, died.stdout, died.stderr)
        assert len(blobs(open_workspace(filled.root))) >= 6
    assert run("storage", "move", goal, "--remove")[0] == 0
    here = open_workspace(filled.root)
    there, gone = (storage_at(s3), filled.storage) if way == "to S3" else (filled.storage, storage_at(s3))
    assert {here.storage.said(name) for name in there.names("blobs/")} == blobs(here)
    assert list(gone.names("blobs/")) == []
    assert left_places(here) == []
