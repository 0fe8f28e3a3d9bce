"""The tables in words: `python -m schemas.describe > docs/tables.md`."""

from __future__ import annotations

from schemas.table import Table
from schemas.tables import TABLES

_HEAD = """# The tables

Made from `schemas/tables.py` by `python -m schemas.describe > docs/tables.md`; a test keeps it true. Every table is a Parquet file with its name and version in the file's metadata. A row that does not count stays and says why in `dropped`. Times are UTC.
"""


def as_markdown() -> str:
    """Every table with its key, who writes it, and a line per column."""
    return "\n".join([_HEAD, *map(_table, TABLES)])


def _table(table: Table) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    lines = [f"## {table.name}", "", f"One row per {key}. Written by `{table.made_by}`. Version {table.version}.", ""]
    lines += ["| column | type | may be missing | meaning |", "| --- | --- | --- | --- |"]
    for column in table.columns:
        comment = column.comment.replace("|", "\\|")
        lines.append(f"| `{column.name}` | {column.type} | {'yes' if column.null else ''} | {comment} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(as_markdown(), end="")
