"""Votes that are no workspace's: from any table of votes, however large, to a table of labels."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from curate.label.aggregate import told
from curate.label.count import Filters, count
from curate.label.rule import EXCLUDED, GOLD, UNQUALIFIED, Rule
from curate.label.votes import Votes, classes_of, open_votes
from schemas.errors import UserError
from schemas.files import clear_killed, whole
from schemas.progress import progress
from schemas.tables import LABELS


def aggregate_file(
    votes: Path,
    out: Path,
    audit: Path | None = None,
    classes: str | None = None,
    filters: Filters | None = None,
    task: str | None = None,
    **rule: Any,
) -> list[str]:
    """Label the images of a file, or of a folder of Parquet parts, and write them to `out`; returns what to tell the person.

    Memory stays flat: what does not fit lies in a scratch folder beside `out` while this runs. `rule` are the fields of Rule
    besides the classes. Raises UserError for what `open_votes` and `count` refuse; then nothing is written.
    """
    if out.resolve() == votes.resolve() or (audit and audit.resolve() in (votes.resolve(), out.resolve())):
        raise UserError(f"{out}: would replace its own input; name another file with --out or --audit")
    for path in filter(None, (out, audit)):
        clear_killed(path)
    filters = replace(filters or Filters(), honored=(GOLD, UNQUALIFIED, EXCLUDED))  # nothing else says who is excluded
    with _scratch(out) as spill:
        source = open_votes(votes, task, spill)
        made = Rule(tuple(classes_of(source, votes, classes)), **rule)
        name = task or next(iter(source.few("task")), votes.stem)
        pictures, counted = _write(source, made, filters, name, out, audit)
    said = [*told(pictures, counted), f"labels -> {out}"]
    if audit is not None:
        said.append(f"every vote and why it counted or not -> {audit}")
    return said


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder beside `out` for what does not fit in memory; what a killed run left there is removed first."""
    folder = out.with_name(f".{out.name}.spill")
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    votes: Votes, rule: Rule, filters: Filters, task: str, out: Path, audit: Path | None
) -> tuple[Counter[str | None], Counter[str | None]]:
    """Count block by block into the files; returns how many pictures and votes have which reason."""
    schema = LABELS.schema(rule.metadata())
    pictures: Counter[str | None] = Counter()
    counted: Counter[str | None] = Counter()
    columns = list(votes.columns) if audit else []
    bar = progress(votes.rows, "counting votes", " votes")
    with bar, ExitStack() as files:
        labels = files.enter_context(_parquet(files.enter_context(whole(out)), schema))
        audited = _Audit(files, audit) if audit else None
        pool = files.enter_context(ThreadPoolExecutor(2))  # encoding takes as long as counting: both cores work
        writing: list[Future[None]] = []
        for block in count(votes, rule, filters, columns, bar.update):
            for done in writing:
                done.result()
            writing = [pool.submit(labels.write_table, _as_labels(block.labels, schema, task))]
            if audited:
                writing.append(pool.submit(audited.write, block.audit))
            pictures.update(_reasons(block.labels["dropped"]))
            counted.update(_reasons(block.audit["dropped"]))
        for done in writing:
            done.result()
    pictures.pop(GOLD, None)
    return pictures, counted


def _as_labels(block: pa.Table, schema: pa.Schema, task: str) -> pa.Table:
    """Counted pictures as rows of LABELS."""
    same = {"task": pa.repeat(task, block.num_rows), "chosen_by": pa.nulls(block.num_rows, pa.string())}
    columns = [same[name] if name in same else block[name] for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)


def _parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer that spends no time on a dictionary of ids, which repeat too rarely."""
    names = [f.name for f in schema if f.name not in ("image_id", "assignment_id") and not pa.types.is_nested(f.type)]
    nested = [f"{f.name}.list.element" for f in schema if pa.types.is_list(f.type)]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=[*names, *nested])


class _Audit:
    """The audit's file, CSV or Parquet by its name, opened once its columns are known."""

    def __init__(self, files: ExitStack, path: Path) -> None:
        self._files = files
        self._part = files.enter_context(whole(path))
        self._csv = path.suffix.lower() == ".csv"
        self._writer: Any = None

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        if self._writer is None:
            opened = pyarrow.csv.CSVWriter if self._csv else _parquet
            self._writer = self._files.enter_context(opened(self._part, rows.schema))
        self._writer.write_table(rows)


def _reasons(dropped: pa.ChunkedArray) -> dict[str | None, int]:
    return {pair["values"]: pair["counts"] for pair in pc.value_counts(dropped).to_pylist()}
