"""What the tests of this stage share: the command line in this process, and the folder's own helpers on the path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.cli import app
from schemas.command import exit_code

# pytest imports by file, so a helper beside the tests needs its folder on the path
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `curate …` in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
