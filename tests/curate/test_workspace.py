"""A workspace is found, locked, logged, and says clearly what is wrong with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from curate.workspace import Config, Workspace, create_workspace, open_workspace
from schemas.errors import TaskError, UserError


def test_a_workspace_is_found_from_a_folder_below_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root / "tasks")
    assert open_workspace().root == workspace.root


def test_no_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="curate init DIR"):
        open_workspace(tmp_path)


def test_a_workspace_is_not_made_twice(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="is a workspace already"):
        create_workspace(workspace.root, Config(name="again"))


def test_the_only_task_needs_no_name(workspace: Workspace) -> None:
    assert workspace.task().task == "apron"


def test_an_unknown_task_names_those_there_are(workspace: Workspace) -> None:
    with pytest.raises(UserError, match="no task 'vest'; tasks here: apron"):
        workspace.task("vest")


def test_a_task_file_must_be_called_as_its_task(workspace: Workspace) -> None:
    (workspace.root / "tasks" / "apron.yaml").rename(workspace.root / "tasks" / "vest.yaml")
    with pytest.raises(TaskError, match=r"the file is called vest\.yaml"):
        workspace.task("vest")


def test_an_unknown_key_of_workspace_yaml_is_named(workspace: Workspace) -> None:
    with (workspace.root / "workspace.yaml").open("a") as file:
        file.write("secret: hunter2\n")
    with pytest.raises(UserError, match="secret: Extra inputs are not permitted; known keys: name, contact, endpoint"):
        open_workspace(workspace.root)


HOLD = """
import sys, pathlib
from curate.workspace import open_workspace
with open_workspace(pathlib.Path(sys.argv[1])).lock("curate check"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_told_who_holds_the_lock_and_a_killed_one_frees_it(workspace: Workspace) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"`curate check` \(process {holder.pid}"), workspace.lock("curate dedup"):
            pass
    finally:
        os.kill(holder.pid, 9)
        holder.wait(10)
    with workspace.lock("curate dedup"):
        pass


def test_the_log_says_who_did_what_to_which_files(workspace: Workspace) -> None:
    workspace.log("check", inputs=[workspace.table("pictures")], outputs=["s3://bucket/x"], kept=3)
    line = json.loads((workspace.root / "log.jsonl").read_text())
    assert (line["command"], line["inputs"], line["outputs"], line["kept"]) == (
        "check",
        ["pictures.parquet"],
        ["s3://bucket/x"],
        3,
    )


def test_manifests_are_numbered_in_order(workspace: Workspace) -> None:
    assert workspace.next_manifest("apron").name == "apron-0001.parquet"
    for number in (1, 2, 12):
        path = workspace.root / "apron" / "manifests" / f"apron-{number:04d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert workspace.next_manifest("apron").name == "apron-0013.parquet"
