"""A folder becomes pictures, and its class folders become known classes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.collect.folder import import_folder
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import APPEARANCES, LISTINGS, PICTURES, TRUTH


def fill(folder: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff\xd8\xff" + bytes([number]))
    return folder


def truth(workspace: Workspace) -> dict[str, str]:
    """Known class by listing."""
    known = TRUTH.read(workspace.of_task("apron", "truth")).set_index("image_id")["label"]
    shown = APPEARANCES.read(workspace.table("appearances"))
    return {row.listing_id: known[row.image_id] for row in shown.itertuples() if row.image_id in known}


def test_class_folders_become_known_classes_also_below_train_and_validation(
    workspace: Workspace, tmp_path: Path
) -> None:
    done = import_folder(
        workspace, fill(tmp_path / "set", "train/dots/1.jpg", "validation/plain/1.jpg", "train/dots/.hidden.jpg")
    )
    assert (done.pictures, done.new, done.truth) == (2, 2, 2)
    assert truth(workspace) == {"set/train/dots/1.jpg": "dots", "set/validation/plain/1.jpg": "plain"}
    listings = LISTINGS.read(workspace.table("listings"))
    assert set(listings["marketplace"]) == {"local"}
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 2


def test_a_flat_folder_has_no_truth(workspace: Workspace, tmp_path: Path) -> None:
    assert import_folder(workspace, fill(tmp_path / "set", "1.jpg", "2.jpg")).truth == 0
    assert not workspace.of_task("apron", "truth").exists()


def test_unknown_class_folders_are_named_and_nothing_is_written(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "dots/1.jpg", "tartan/2.jpg")
    with pytest.raises(UserError, match=r"'tartan': no such class in task apron; its classes: plain, stripes"):
        import_folder(workspace, folder)
    assert not workspace.table("pictures").exists()
    assert not list(workspace.blobs.rglob("*.*"))
    assert import_folder(workspace, folder, truth=False).pictures == 2


def test_run_again_it_adds_only_what_is_new_and_keeps_what_check_filled(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "dots/1.jpg")
    import_folder(workspace, folder)
    pictures = PICTURES.read(workspace.table("pictures")).assign(format="JPEG")
    PICTURES.write(pictures, workspace.table("pictures"))
    fill(tmp_path / "set", "dots/1.jpg", "dots/2.jpg")
    done = import_folder(workspace, folder)
    assert (done.pictures, done.new) == (2, 1)
    assert PICTURES.read(workspace.table("pictures"))["format"].tolist()[0] == "JPEG"


def test_the_same_bytes_under_two_names_are_one_picture_in_two_places(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "dots/1.jpg")
    (folder / "dots" / "copy.jpg").write_bytes((folder / "dots" / "1.jpg").read_bytes())
    assert import_folder(workspace, folder).pictures == 1
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 2


def test_a_picture_filed_under_two_classes_has_no_known_class(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "dots/1.jpg", "dots/2.jpg")
    (folder / "plain").mkdir()
    (folder / "plain" / "1.jpg").write_bytes((folder / "dots" / "1.jpg").read_bytes())
    done = import_folder(workspace, folder)
    assert (done.truth, done.torn) == (1, 1)
    assert truth(workspace) == {"set/dots/2.jpg": "dots"}


def test_other_files_are_left_alone_and_counted(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "1.jpg")
    (folder / "README.md").write_text("about")
    (folder / "no-ending").write_bytes(b"\xff\xd8\xff\x99")
    done = import_folder(workspace, folder)
    assert (done.pictures, done.skipped) == (2, 1)


def test_linked_originals_share_their_bytes_on_disk(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "1.jpg")
    import_folder(workspace, folder, link=True)
    assert (folder / "1.jpg").stat().st_nlink == 2


@pytest.mark.parametrize("made", ["missing", "file", "empty"])
def test_a_folder_that_is_none_gets_one_clear_line(workspace: Workspace, tmp_path: Path, made: str) -> None:
    path = tmp_path / "set"
    if made == "file":
        path.write_text("x")
    if made == "empty":
        path.mkdir()
    with pytest.raises(UserError, match=r"set: (no such folder|is a file|holds no pictures)"):
        import_folder(workspace, path)


def test_the_command_says_what_it_did(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", "dots/1.jpg")
    result = CliRunner().invoke(
        app, ["import", "folder", str(folder), "-w", str(workspace.root)], catch_exceptions=False
    )
    assert result.stdout.startswith("1 pictures, 1 of them new; 1 with a known class -> ")


_DIES = """
import os, signal
from curate.collect import folder
calls = 0
def dying(*given, put=folder.put):
    global calls
    calls += 1
    if calls == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return put(*given)
folder.put = dying
"""


def test_killed_it_goes_on_and_copies_nothing_twice(workspace: Workspace, tmp_path: Path) -> None:
    folder = fill(tmp_path / "set", *(f"dots/{n}.jpg" for n in range(6)))
    (tmp_path / "dies").mkdir()
    (tmp_path / "dies" / "sitecustomize.py").write_text(_DIES)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "dies"), os.environ.get("PYTHONPATH", "")]),
    }
    words = ["import", "folder", str(folder), "-w", str(workspace.root)]
    command = [sys.executable, "-m", "curate.cli", *words]
    died = subprocess.run(command, capture_output=True, timeout=60, env=environment)
    assert died.returncode == -signal.SIGKILL
    first = {path: path.stat().st_mtime_ns for path in workspace.blobs.rglob("*.jpg")}
    assert len(first) == 3
    assert import_folder(workspace, folder).pictures == 6
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 6
