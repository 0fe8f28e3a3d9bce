"""Votes that are no workspace's: from any table of votes, however large, to a table of labels."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from curate.label.aggregate import told
from curate.label.count import BLOCK_ROWS, Block, Filters, count, label_source
from curate.label.rule import EXCLUDED, GOLD, UNQUALIFIED, Rule
from curate.label.votes import Votes, classes_of, open_votes
from schemas.errors import UserError
from schemas.files import clear_killed, whole
from schemas.progress import progress
from schemas.tables import LABELS

if TYPE_CHECKING:
    from curate.label.methods import Wanted


@dataclass(frozen=True)
class Extra:
    """What may be asked for besides the rule."""

    wanted: Wanted | None = None  # a model of workers
    gold: Mapping[str, str] = field(default_factory=dict)  # class by image_id
    confusion: Path | None = None  # where the workers' confusion matrices go


def aggregate_file(
    votes: Path,
    out: Path,
    audit: Path | None = None,
    classes: str | None = None,
    filters: Filters | None = None,
    task: str | None = None,
    extra: Extra | None = None,
    **rule: Any,
) -> list[str]:
    """Label the images of a file, or of a folder of Parquet parts, and write them to `out`; returns what to tell the person.

    Memory stays flat: what does not fit lies in a scratch folder beside `out` while this runs. `rule` are the fields of Rule
    besides the classes. With a method, or with gold to hold methods against, the votes that count are held as whole
    numbers, 12 bytes each. Raises UserError for what `open_votes` and `count` refuse; then nothing is written.
    """
    extra = extra or Extra()
    if out.resolve() == votes.resolve() or (audit and audit.resolve() in (votes.resolve(), out.resolve())):
        raise UserError(f"{out}: would replace its own input; name another file with --out or --audit")
    for path in filter(None, (out, audit)):
        clear_killed(path)
    filters = replace(filters or Filters(), honored=(GOLD, UNQUALIFIED, EXCLUDED))  # nothing else says who is excluded
    with _scratch(out) as spill:
        source = open_votes(votes, task, spill)
        made = Rule(tuple(classes_of(source, votes, classes)), **rule)
        name = task or next(iter(source.few("task")), votes.stem)
        filters = replace(filters, gold=set(extra.gold))
        said = _write(source, made, filters, name, out, audit, extra)
    said.append(f"labels -> {out}")
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
    votes: Votes, rule: Rule, filters: Filters, task: str, out: Path, audit: Path | None, extra: Extra
) -> list[str]:
    """Count block by block into the files; returns what to tell the person."""
    schema = LABELS.schema(rule.metadata())
    pictures: Counter[str | None] = Counter()
    counted: Counter[str | None] = Counter()
    said: list[str] = []
    modeled = extra.wanted is not None or bool(extra.gold)
    columns = list(votes.columns) if audit else ["image_id", "worker_id", "label"] if modeled else []
    with ExitStack() as files:
        bar = files.enter_context(progress(votes.rows, "counting votes", " votes"))
        labels = files.enter_context(_parquet(files.enter_context(whole(out)), schema))
        audited = _Audit(files, audit) if audit else None
        # encoding takes as long as counting: both cores work
        pool = files.enter_context(ThreadPoolExecutor(2))

        def audited_blocks() -> Iterator[Block]:
            writing: Future[None] | None = None
            for block in count(votes, rule, filters, columns, bar.update):
                if writing:
                    writing.result()
                writing = pool.submit(audited.write, block.audit) if audited else None
                counted.update(_reasons(block.audit["dropped"]))
                yield block
            if writing:
                writing.result()

        parts = (block.labels for block in audited_blocks())
        if modeled:
            made, said = _model(audited_blocks(), rule, extra, label_source(votes, filters.source))
            parts = (made.slice(at, BLOCK_ROWS) for at in range(0, made.num_rows, BLOCK_ROWS))
        writing: Future[None] | None = None
        for part in parts:
            if writing:
                writing.result()
            writing = pool.submit(labels.write_table, _as_labels(part, schema, task))
            pictures.update(_reasons(part["dropped"]))
        if writing:
            writing.result()
    pictures.pop(GOLD, None)
    return [*told(pictures, counted), *said]


def _model(blocks: Iterator[Block], rule: Rule, extra: Extra, source: str) -> tuple[pa.Table, list[str]]:
    """Labels of all blocks, by the method asked for, and how methods do on gold."""
    from curate.label.methods import compare, label_by, write_confusion
    from curate.label.models.coded import coded_blocks

    # a model's own probabilities take the place of the shares, which are large
    votes, workers, labels = coded_blocks(blocks, rule.classes, ["label_probs"] if extra.wanted else [])
    if extra.wanted is None:
        return labels, compare(labels, votes, rule, extra.gold)
    made = label_by(extra.wanted, labels, votes, workers, rule, extra.gold, source)
    if extra.confusion:
        write_confusion(made, rule.classes, extra.confusion)
        made.said.append(f"confusion matrices of {len(workers):,} workers -> {extra.confusion}")
    return made.labels, made.said


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
