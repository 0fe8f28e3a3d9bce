"""A crowd's whole store in one file, taken while the server runs, and put back into an empty database of either kind.

The file is a zip: `manifest.json` (what it is, the store's version, rows by table) and a file of JSON lines for each table. It
is one moment of the store, read in one transaction: what was answered later is in the next backup.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, text

from curate.crowd.server.schema import VERSION, schema_version, tables
from curate.crowd.server.store import Store
from schemas.errors import UserError
from schemas.files import whole

FORMAT = "consenso-crowd-backup"
_MANIFEST = "manifest.json"
_CHUNK = 500  # rows of one insert
_TABLES = [table for table in tables.sorted_tables if table is not schema_version]  # what others point at comes first


def back_up(store: Store, file: Path) -> int:
    """Write the store to a file that only its owner can read; how many rows. The file appears whole or not at all."""
    counts: dict[str, int] = {}
    with whole(file) as part:
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o600))  # it holds the requesters' secrets
        with (
            zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
            store.snapshot() as connection,
        ):
            for table in _TABLES:
                counts[table.name] = _write(connection, table, archive)
            made_at = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = {"format": FORMAT, "version": VERSION, "made_at": made_at, "rows": counts}
            archive.writestr(_MANIFEST, json.dumps(manifest, indent=1))
    return sum(counts.values())


def _write(connection: Connection, table: Table, archive: zipfile.ZipFile) -> int:
    rows = connection.execution_options(yield_per=_CHUNK).execute(select(table))
    count = 0
    with archive.open(f"{table.name}.jsonl", "w", force_zip64=True) as raw, TextIOWrapper(raw, "utf-8") as lines:
        for row in rows.mappings():
            lines.write(json.dumps(dict(row), ensure_ascii=False) + "\n")
            count += 1
    return count


def restore(store: Store, file: Path) -> int:
    """Fill an empty store from a backup; how many rows. All of it or nothing.

    Raises UserError when the file is no whole backup of this version, or the store holds anything already.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            counts = _read_manifest(file, archive)
            with store.writing() as connection:
                _refuse_full(connection)
                for table in _TABLES:
                    _fill(connection, table, archive, file, counts.get(table.name, 0))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; `curate crowd backup FILE` makes one") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"{file}: is not a whole backup made by `curate crowd backup` ({error})") from error
    return sum(counts.values())


def _read_manifest(file: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    manifest = json.loads(archive.read(_MANIFEST))
    if manifest.get("format") != FORMAT:
        raise ValueError(f"its format is {manifest.get('format')!r}")
    if manifest["version"] != VERSION:
        raise UserError(
            f"{file}: is a backup of store version {manifest['version']}, this program keeps version {VERSION}; "
            "restore it with the program that made it, then open that database with this one"
        )
    return {str(name): int(count) for name, count in manifest["rows"].items()}


def _refuse_full(connection: Connection) -> None:
    for table in _TABLES:
        if found := connection.scalar(select(func.count()).select_from(table)):
            raise UserError(f"the database already holds {found:,} rows of {table.name}; restore needs an empty one")


def _fill(connection: Connection, table: Table, archive: zipfile.ZipFile, file: Path, wanted: int) -> None:
    count = 0
    for rows in _chunks(archive, table):
        connection.execute(insert(table), rows)
        count += len(rows)
    if count != wanted:
        raise UserError(
            f"{file}: holds {count:,} rows of {table.name} where its manifest says {wanted:,}; nothing was restored"
        )
    if "seq" in table.c and connection.dialect.name == "postgresql":  # the next number follows the restored ones
        following = f"SELECT setval(pg_get_serial_sequence('{table.name}', 'seq'), max(seq)) FROM {table.name}"
        connection.execute(text(following))


def _chunks(archive: zipfile.ZipFile, table: Table) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    with archive.open(f"{table.name}.jsonl") as lines:
        for line in lines:
            chunk.append(json.loads(line))
            if len(chunk) == _CHUNK:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


_TIME = "{time}"


def dated(file: Path) -> Path:
    """The file's name with the time in place of {time}."""
    return file.with_name(file.name.replace(_TIME, datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")))


def prune(file: Path, keep: int | None) -> int:
    """Remove all but the newest `keep` files that `dated` has named; how many went."""
    if keep is None:
        return 0
    if _TIME not in file.name:
        raise UserError(f"--keep {keep}: needs {_TIME} in the file's name, got {file.name!r}")
    before, _, after = file.name.partition(_TIME)
    named = re.compile(rf"{re.escape(before)}\d{{8}}T\d{{6}}\.\d{{6}}Z{re.escape(after)}")
    old = sorted(path for path in file.parent.iterdir() if named.fullmatch(path.name))[:-keep]
    for path in old:
        path.unlink()
    return len(old)
