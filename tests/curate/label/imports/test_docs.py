"""docs/import.md says only what the commands know."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from curate.cli import app


def test_every_option_that_the_page_names_exists(root: Path) -> None:
    page = (root / "docs" / "import.md").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {
        option
        for command in (*commands["import"].commands.values(), commands["aggregate"])
        for parameter in command.params
        for option in parameter.opts
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page))
    assert len(named) > 5
    assert named <= known


def test_every_column_name_that_the_page_gives_as_an_example_is_read(root: Path) -> None:
    from curate.label.imports.plain import NAMES

    page = (root / "docs" / "import.md").read_text(encoding="utf-8")
    needed = re.search(r"^- Needed: (.*)$", page, re.M)
    assert needed
    named = re.findall(r"`([a-z_]+)`", needed.group(1))
    assert len(named) > 10
    assert set(named) <= {name for names in NAMES.values() for name in names}
