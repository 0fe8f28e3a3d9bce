"""A command that cannot do its work says so in one line and leaves the workspace as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.tables import APPEARANCES, LISTINGS, PICTURES, VOTES

COMMANDS = [
    ("curate check", "pictures.parquet"),
    ("curate dedup", "pictures.parquet"),
    ("curate import folder none", "none: no such folder"),
    ("curate import truth none.csv", "no such file"),
    ("curate import votes none.csv", "pictures.parquet"),
    ("curate import labels none.csv", "pictures.parquet"),
    ("curate gold import none.csv", "no such file"),
    ("curate qual create", "gold"),
    ("curate hits create --images 10 --yes", "no such file"),
    ("curate crowd simulate", "curate hits create"),
    ("curate aggregate", "curate hits collect"),
    ("curate aggregate none.parquet", "none.parquet: no such file"),
    ("curate agreement", "curate hits collect"),
    ("curate workers", "curate hits collect"),
    ("curate workers exclude A --reason late", "curate hits collect"),
    ("curate workers restore A", "is not excluded from task apron"),
    ("curate split", "curate aggregate"),
    ("curate task migrate none.yaml", "none.yaml: no such file"),
    ("curate validate none.parquet", "none.parquet: no such file"),
    ("curate leaks none.parquet", "none.parquet: no such file"),
    ("curate select --for label --images 5", ""),
    ("curate select --for workers", "curate workers"),
    ("curate hits create --selection --yes", "curate select"),
    ("curate export csv none.parquet --out out", "none.parquet: no such file"),
    ("curate pack none.parquet", "none.parquet: no such file"),
    ("curate show none.parquet", "none.parquet: no such file"),
    ("curate report --predictions none.parquet", "none.parquet: no such file"),
    ("curate status --task", ""),
    ("train vit --manifest none.parquet", "none.parquet: no such file"),
    ("train vit --manifest pictures.parquet", "is a pictures table, not manifest"),
    ("train report none", "none"),
    ("train verify none", "none: no config.json there"),
    ("train predict", "name a bundle"),
    ("train predict none none.jpg", "none: no config.json there"),
    ("train predict --folds 3 --manifest none.parquet", "none.parquet: no such file"),
    ("train predict --folds 3", "name the data set with --manifest"),
    ("train evaluate none --manifest none.parquet", "none.parquet: no such file"),
    ("train compare none none", "no such file"),
    ("train export none --to onnx", "none: no config.json there"),
]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the workspace but its databases, its lock and its log."""
    return {
        str(p): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and ".db" not in p.name and p.name not in (".lock", "log.jsonl")
    }


@pytest.mark.parametrize("state", ["new", "empty tables"])
def test_bad_input_is_one_line_and_changes_nothing(person: Any, state: str) -> None:
    person.types("curate", "init", "shop", "--contact", "tests@example.org")
    person.folder = person.folder / "shop"
    for table in (PICTURES, LISTINGS, APPEARANCES) if state == "empty tables" else ():
        table.write(table.empty(), person.folder / f"{table.name}.parquet")
    if state == "empty tables":
        VOTES.write(VOTES.empty(), person.folder / "apron" / "votes.parquet")
    before = contents(person.folder)
    for command, said in COMMANDS:
        if "pictures.parquet" in command and state == "new":
            continue
        if command.startswith("train") and "none" in command and state == "empty tables":
            continue  # looks at no table of the workspace, and starts torch
        usage = command.endswith("--task")
        error = person.types(*command.split(), code=2 if usage else 1)
        if not usage:
            assert error.count("\n") == 1, f"{command}: {error}"
            assert error.startswith("error: "), f"{command}: {error}"
            assert said in error, f"{command}: {error}"
        assert contents(person.folder) == before, f"{command} changed something"
