"""What a folder holds, read to the bottom: names, bytes, every value of every Parquet table, every row of every database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def mentions(root: Path, words: Iterable[str | bytes]) -> list[str]:
    """Files of a folder in which one of the words stands anywhere: `path: word`."""
    wanted = [word.encode() if isinstance(word, str) else word for word in words]
    return [
        f"{path.relative_to(root)}: {word[:64]!r}"
        for path in sorted(root.rglob("*"))
        if path.is_file()
        for word in wanted
        if word in path.relative_to(root).as_posix().encode() or any(word in piece for piece in pieces(path))
    ]


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, and what they say once they are unpacked."""
    data = path.read_bytes()
    yield data
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield repr(table.schema.metadata).encode()
        for name in table.column_names:
            yield from flat(table[name].to_pylist())
    elif data.startswith(b"SQLite format 3"):
        yield dump(path).encode()


def dump(path: Path) -> str:
    """A database as SQL."""
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


def flat(value: Any) -> Iterator[bytes]:
    """Every text inside a value."""
    if isinstance(value, str | bytes):
        yield value.encode() if isinstance(value, str) else value
    elif isinstance(value, dict):
        yield from flat([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from flat(each)
