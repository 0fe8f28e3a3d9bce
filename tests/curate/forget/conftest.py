"""A workspace of a few pictures by real commands, and a way to run the command on it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from photos import as_bytes, photo, save

from curate.cli import app
from curate.workspace import Workspace
from schemas.command import exit_code

Curate = Callable[..., str]


@pytest.fixture
def curate(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Curate:
    """Run the command line in this process, in the workspace; returns what it says, and wants `code`."""

    def run(*words: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "argv", ["curate", *words])
        monkeypatch.setenv("CURATE_WORKSPACE", str(workspace.root))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            found = exit_code(app, "curate")
        assert found == code, out.getvalue() + err.getvalue()
        return out.getvalue() if code == 0 else err.getvalue()

    return run


@pytest.fixture
def ids(workspace: Workspace, tmp_path: Path, curate: Curate) -> dict[str, str]:
    """Six pictures taken in from a folder and checked: three alone, one with a copy of the same pixels and a near twin."""
    folder = tmp_path / "aprons"
    for number in range(3):
        save(folder / f"{number}.jpg", photo(number))
    scene = photo(9)
    save(folder / "first.png", scene)
    (folder / "pixels.png").write_bytes(as_bytes(scene, "PNG", compress_level=1))
    save(folder / "twin.jpg", scene, quality=80)
    curate("import", "folder", str(folder))
    curate("check")
    curate("dedup")
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
