"""Pictures in a column of Parquet come in, as Hugging Face keeps them: bytes, or {bytes, path}, with labels beside them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.collect.blobs import sweep
from curate.collect.export import export_here
from curate.collect.files import can_go_on, keep_bytes
from curate.collect.folder import check_classes
from curate.collect.intake import Entry, Got, Intake, Picture, batches
from curate.collect.known import Known, write_truth
from curate.collect.outcome import Outcome, outcome_of
from curate.collect.parquet_columns import Columns, data_of, find_columns
from curate.collect.value_map import alike
from curate.database import transaction
from curate.forgotten import Forgotten
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.progress import progress
from schemas.s3 import SCHEME
from schemas.storage import Storage

if TYPE_CHECKING:
    import pyarrow.parquet as pq

AT_ONCE = 64  # pictures in memory
THREADS = 4


@dataclass(frozen=True)
class Ask:
    """What to take in of which column, and what its labels mean."""

    where: str  # a file, a folder of files, or s3://bucket/prefix
    image_column: str | None = None
    label_column: str | None = None
    task: str | None = None
    marketplace: str = "local"
    values: dict[str, str] | None = None  # value of the label column to class key


@dataclass(frozen=True)
class Part:
    """One Parquet file."""

    place: Path | str
    name: str  # below what was asked for; listings are called by it and their row


def import_parquet(workspace: Workspace, ask: Ask) -> Outcome:
    """Take in every picture of a Parquet file or folder; a label column becomes TRUTH of the task.

    Each row is a listing, called by its file and its number. Only some rows are in memory, and a killed import goes on at
    the row where it was. A label that is no class of the task is refused before anything is written.
    """
    parts = _parts(ask.where)
    asked = workspace.task(ask.task) if ask.label_column or ask.task else None
    if asked and ask.label_column:
        check_classes(_labels(parts, ask), asked.keys, ask.where, asked.task, ". --map FILE says what they are")
    else:
        with _opened(parts[0]) as file:
            find_columns(file, ask.image_column, ask.label_column, parts[0].place)
    sweep(workspace.storage)
    with can_go_on(workspace.storage), contextlib.closing(workspace.project()) as db:
        intake = Intake(db, ask.where, Forgotten.of(workspace))
        for part in parts:
            _take(workspace, intake, part, ask)
        export_here(workspace)
        known = write_truth(workspace, intake, asked.task, _source(ask)) if asked and ask.label_column else Known()
        return outcome_of(intake, known)


def _source(ask: Ask) -> str:
    return ask.where if ask.where.startswith(SCHEME) else f"parquet {Path(ask.where).name}"


def _parts(where: str) -> list[Part]:
    """The Parquet files at a place, in order of their names."""
    if where.startswith(SCHEME):
        from schemas.storage import Bucket

        if where.lower().endswith((".parquet", ".pq")):
            return [Part(where, where.rpartition("/")[2])]
        bucket = Bucket(where)
        names = sorted(name for name in bucket.names() if name.lower().endswith((".parquet", ".pq")))
        found = [Part(bucket.said(name), name) for name in names]
    elif Path(where).is_dir():
        paths = sorted(path for path in Path(where).rglob("*") if path.suffix.lower() in (".parquet", ".pq"))
        found = [Part(path, path.relative_to(where).as_posix()) for path in paths if path.is_file()]
    elif Path(where).is_file():
        return [Part(Path(where), Path(where).name)]
    else:
        raise UserError(f"{where}: no such file or folder; a Parquet with a column of pictures is expected")
    if not found:
        raise UserError(f"{where}: holds no Parquet files (*.parquet)")
    return found


@contextmanager
def _opened(part: Part) -> Iterator[pq.ParquetFile]:
    """A Parquet file, read from the disk; one of a bucket is fetched to a temporary file first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with contextlib.ExitStack() as stack:
        path = Path(part.place)
        if isinstance(part.place, str):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="consenso-"))) / "part.parquet"
            _fetch(part.place, path)
        try:
            yield stack.enter_context(pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True))
        except pa.ArrowException as error:
            said = str(error).splitlines()[0][:120]
            raise UserError(f"{part.place}: cannot be read as Parquet ({said}); what came before stays") from error


def _fetch(place: str, path: Path) -> None:
    from schemas.s3 import bucket_and_key, clear_errors, client

    bucket, key = bucket_and_key(place)
    with clear_errors(place, "GetObject"):
        client().download_file(bucket, key, str(path))


def _labels(parts: Sequence[Part], ask: Ask) -> list[str]:
    """Every label that occurs, sorted."""
    found: set[str] = set()
    for part in parts:
        with _opened(part) as file:
            columns = find_columns(file, ask.image_column, ask.label_column, part.place)
            for batch in file.iter_batches(10_000, columns=[columns.label]):
                found |= {label for one in batch.column(0).unique().to_pylist() if (label := _label(one, columns, ask))}
    return sorted(found)


def _label(value: Any, columns: Columns, ask: Ask) -> str | None:
    """A value of the label column as a class key; None where there is none."""
    if value is None or value == "" or value == -1:  # -1: how Hugging Face writes an unknown ClassLabel
        return None
    if columns.names is not None and isinstance(value, int):
        value = columns.names[value] if 0 <= value < len(columns.names) else value
    said = str(value).strip()
    return (ask.values or {}).get(alike(said), said) or None


def _take(workspace: Workspace, intake: Intake, part: Part, ask: Ask) -> None:
    """Take in one file, from the row where an earlier run was."""
    with _opened(part) as file, ThreadPoolExecutor(THREADS) as pool:
        columns = find_columns(file, ask.image_column, ask.label_column, part.place)
        base = f"parquet:{part.name}@{_print(file, ask)}#"
        rows = file.metadata.num_rows
        done = _done(intake, base)
        with progress(rows, part.name, done=done) as bar:
            for batch in batches(_rows(file, columns, ask, done), AT_ONCE):
                entries = [_entry(part, base, ask, *row) for row in batch]
                places = [entry.pictures[0].url for entry in entries]
                intake.take(entries)
                keep = partial(_keep, workspace.storage, intake.forgotten)
                intake.save(list(pool.map(keep, places, [data for _, data, _, _ in batch])))
                bar.update(len(batch))


def _keep(storage: Storage, forgotten: Forgotten, place: str, data: bytes | None) -> Got:
    return keep_bytes(storage, forgotten, place, data or b"")


def _print(file: pq.ParquetFile, ask: Ask) -> str:
    """A fingerprint of a file by its footer, and of what is asked of it: another content has other offsets and statistics."""
    meta = file.metadata
    groups = [meta.row_group(number).to_dict() for number in range(meta.num_row_groups)]
    said = [meta.num_rows, groups, ask.image_column, ask.label_column, ask.marketplace, ask.values]
    return hashlib.sha256(json.dumps(said, default=str).encode()).hexdigest()[:16]


def _done(intake: Intake, base: str) -> int:
    """Rows of a file that are done: they come in in order, so the first that is not is where to go on."""
    below = "kind = 'file' AND state <> 'pending' AND url >= ? AND url < ?"
    named = (base, base + "\uffff")
    with transaction(intake.db) as db:
        done = int(db.execute(f"SELECT count(*) FROM frontier WHERE {below}", named).fetchone()[0])
        listings = f"SELECT 'listing:' || marketplace || '/' || listing_id FROM frontier WHERE {below}"
        db.execute(f"UPDATE frontier SET fetched_at = ?, final_url = ? WHERE url IN ({listings})",
                   (intake.at, intake.source, *named))  # fmt: skip
    intake.counts.same += done
    intake.counts.rows += done
    return done


def _rows(
    file: pq.ParquetFile, columns: Columns, ask: Ask, done: int
) -> Iterator[tuple[int, bytes | None, str | None, str | None]]:
    """Number, bytes, path and label of each row from `done` on; row groups before it are not read."""
    start = 0
    for group in range(file.metadata.num_row_groups):
        size = file.metadata.row_group(group).num_rows
        if start + size > done:
            rows = enumerate(_group(file, group, columns), start)
            yield from (
                (number, *data_of(value), _label(label, columns, ask))
                for number, (value, label) in rows
                if number >= done
            )
        start += size


def _group(file: pq.ParquetFile, group: int, columns: Columns) -> Iterator[tuple[Any, Any]]:
    """Picture and label of each row of a row group, some in memory at a time."""
    import pyarrow as pa

    names = [columns.image, *([columns.label] if columns.label else [])]
    try:
        for batch in file.iter_batches(AT_ONCE, row_groups=[group], columns=names):
            labels = batch.column(columns.label).to_pylist() if columns.label else [None] * batch.num_rows
            yield from zip(batch.column(columns.image).to_pylist(), labels, strict=True)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0][:120]
        raise UserError(f"row group {group} cannot be read as Parquet ({said}); what came before stays") from error


def _entry(
    part: Part, base: str, ask: Ask, number: int, _data: bytes | None, path: str | None, label: str | None
) -> Entry:
    listing_id = f"{part.name}/{number}"
    picture = Picture(f"{base}{number:012d}", None, path or listing_id, label)
    return Entry(ask.marketplace, listing_id, {"source": "parquet"}, (picture,), number)
