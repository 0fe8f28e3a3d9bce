from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from curate.cli import app


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


def test_every_line_of_the_page_runs_as_written(root: Path, shop: Path, curate: Callable[..., Any]) -> None:
    page = (root / "docs/export.md").read_text(encoding="utf-8")
    (commands,) = blocks(page, "sh")
    for line in commands.splitlines():
        curate(*shlex.split(line)[1:], cwd=shop)
    snippets = blocks(page, "python")
    assert len(snippets) == 8
    # one process for all: each imports what it needs by itself, which the empty namespace proves
    program = "import sys\nfor code in sys.argv[1:]:\n    exec(compile(code, code[:60], 'exec'), {})\n"
    done = subprocess.run(
        [sys.executable, "-c", program, *snippets], cwd=shop, text=True, capture_output=True, timeout=300,
        env={**os.environ, "HF_HOME": str(shop / "cache"), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_page_names_every_format(root: Path) -> None:
    page = (root / "docs/export.md").read_text(encoding="utf-8")
    formats = typer.main.get_command(app).commands["export"].commands  # type: ignore[attr-defined]
    assert sorted(set(re.findall(r"^\| .*?`curate export (\S+)", page, re.MULTILINE))) == sorted(formats)
