"""The page about the tables is the tables."""

from __future__ import annotations

from pathlib import Path

from schemas.describe import as_markdown
from schemas.tables import TABLES


def test_docs_tables_is_made_from_the_declarations(root: Path) -> None:
    assert (root / "docs" / "tables.md").read_text(encoding="utf-8") == as_markdown()


def test_every_column_says_what_it_means() -> None:
    silent = [f"{table.name}.{column.name}" for table in TABLES for column in table.columns if len(column.comment) < 3]
    assert silent == []
