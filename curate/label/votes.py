"""Votes from anywhere behind one door: our own table, a Parquet or CSV file, a folder of Parquet parts, or a frame.

DuckDB reads them, so that they need not fit in memory. Whatever the source, the view `votes` has text ids and labels and,
where the source has them, the columns that the rule knows.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.engine import cores
from schemas.errors import TableError, UserError
from schemas.question import CANNOT_SEE
from schemas.tables import VOTES

if TYPE_CHECKING:
    import duckdb

NEEDED = ("image_id", "worker_id", "label")
MOST_CLASSES = 1000  # more different labels than this is a wrong column, not a question people were asked
_TEXT = ("assignment_id", "assignment_status", "source", "endpoint", "answer", "dropped", "task")
_TEXT_FILES = (".csv", ".tsv", ".txt")
# What `submitted_at` may look like besides ISO 8601: MTurk's own way to write it. DuckDB knows the names of time zones.
_TIME_FORMATS = ("%a %b %d %H:%M:%S %Z %Y", "%a %b %d %Y %H:%M:%S %Z")


@dataclass(frozen=True)
class Votes:
    """Votes behind a DuckDB connection, as the view `votes`."""

    connection: duckdb.DuckDBPyConnection
    where: str  # what messages call them
    columns: tuple[str, ...]  # of the source, in its order
    rows: int
    bytes: int  # how much there is to read

    def has(self, column: str) -> bool:
        """Whether the source has that column."""
        return column in self.columns

    def one(self, query: str) -> Any:
        """The first value of a query's first row."""
        with reading(self.where):
            rows = self.connection.execute(query).fetchall()
        return rows[0][0] if rows else None

    def few(self, column: str, most: int = 1000) -> dict[str, int]:
        """The different values of a column that has few, sorted, with their counts; empty where there is no such column."""
        if not self.has(column):
            return {}
        query = f"SELECT {column}, count(*) FROM votes WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT {most}"
        with reading(self.where):
            return dict(self.connection.execute(query).fetchall())

    def frame(self) -> pd.DataFrame:
        """All votes in memory, every column, ids and labels as text."""
        with reading(self.where):
            table = self.connection.sql(f"SELECT {', '.join(map(quoted, self.columns))} FROM votes").to_arrow_table()
        frame = table.to_pandas()
        return frame.assign(**{name: frame[name].astype("str") for name in NEEDED})


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turns DuckDB's words for a damaged source into one clear line."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise UserError(
            f"{where}: sorting the votes ran out of room ({_short(' '.join(str(error).split()))}); "
            "free some disk beside --out, or put --out on a larger one"
        ) from error
    except duckdb.Error as error:
        detail = " ".join(str(error).split())
        if "submitted_at" in detail:
            raise UserError(f"{where}: {detail.split('Error: ', 1)[-1]}") from error
        if ".csv" in where or ".tsv" in where or ".txt" in where:
            raise TableError(f"{where}: cannot be read as CSV ({_short(detail)}); it should be UTF-8 text") from error
        raise TableError(
            f"{where}: cannot be read as Parquet ({_short(detail)}); it may be cut off or another kind of file."
        ) from error


def _short(detail: str, most: int = 160) -> str:
    return detail if len(detail) <= most else detail[:most] + "…"


def open_votes(path: Path, task: str | None = None, spill: Path | None = None) -> Votes:
    """The votes of a file or folder of Parquet parts, behind DuckDB, checked at the door; nothing is held in memory.

    Args:
        task: of several tasks in the source, the one that is meant.
        spill: where what does not fit in memory may lie for a while; default: nowhere.
    Raises UserError for a missing or damaged file, a missing column, no rows, and for votes of several tasks when `task`
    does not say which.
    """
    path = Path(path)
    files = _files(path)
    for file in files:
        _check_kind(file)
    size = sum(file.stat().st_size for file in files)
    connection = connect(size, spill)
    with reading(str(path)):
        if files[0].suffix.lower() in _TEXT_FILES:
            raw = _csv(connection, files[0])
        else:
            raw = connection.read_parquet([str(f) for f in files], union_by_name=True, hive_partitioning=False)
        raw.create_view("raw")
        columns = tuple(raw.columns)
    votes = _prepared(connection, str(path), columns, dict(zip(raw.columns, map(str, raw.types), strict=True)), size)
    if votes.rows == 0:
        raise UserError(f"{path}: holds no votes. Collect some with `curate hits collect`.")
    return _one_task(votes, task)


def votes_of(frame: pd.DataFrame, columns: Sequence[str]) -> Votes:
    """The votes of a frame behind DuckDB, only those of `columns` that it has, and `row_number` for their order."""
    there = [name for name in columns if name in frame.columns]
    arrays = [_plain(frame[name]) for name in there]
    table = pa.table([*arrays, pa.array(range(len(frame)), pa.int64())], names=[*there, "row_number"])
    connection = connect(table.nbytes, None)
    connection.register("raw", table)
    kinds = {name: str(kind) for name, kind in zip(table.column_names, connection.table("raw").types, strict=True)}
    return _prepared(connection, "votes", tuple(table.column_names), kinds, table.nbytes)


def _plain(series: pd.Series) -> pa.Array:
    """A column as Arrow has it, whatever pandas made of it."""
    if series.isna().all():
        return pa.nulls(len(series), pa.string())
    return pa.array(series, from_pandas=True)


def connect(size: int, spill: Path | None) -> duckdb.DuckDBPyConnection:
    """A DuckDB of its own. With a folder to spill to it takes 0.5 to 2.5 GB, in measure of what there is to read."""
    import duckdb

    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    memory = min(max(512 << 20, size // 2), 2560 << 20, machine // 4) if spill else machine // 2
    options: dict[str, Any] = {"preserve_insertion_order": False, "memory_limit": f"{memory >> 20}MB"}
    options["temp_directory"] = str(spill or "")
    options["threads"] = cores()
    connection = duckdb.connect(config=options)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET enable_progress_bar = false")  # it would write into our results
    return connection


def quoted(name: str) -> str:
    """A column name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL takes it."""
    return "'" + text.replace("'", "''") + "'"


def _prepared(
    connection: duckdb.DuckDBPyConnection, where: str, columns: tuple[str, ...], kinds: dict[str, str], size: int
) -> Votes:
    """The view `votes` over `raw`: known columns in their types, all others as they are."""
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        found = ", ".join(map(str, columns[:8])) + (", …" if len(columns) > 8 else "")
        raise TableError(f"{where}: missing columns {', '.join(missing)}; found {found or 'none'}.")
    shown = [_typed(name, kinds[name], where) for name in columns]
    connection.execute(f"CREATE VIEW votes AS SELECT {', '.join(shown)} FROM raw")
    with reading(where):
        [(rows,)] = connection.execute("SELECT count(*) FROM raw").fetchall()
    return Votes(connection, where, columns, int(rows), size)


def _typed(name: str, kind: str, where: str) -> str:
    column = quoted(name)
    if name in (*NEEDED, *_TEXT):
        return column if kind == "VARCHAR" else f"{column}::VARCHAR AS {column}"
    if name == "submitted_at":
        return f"{_time(column, kind)} AS {column}"
    return column


def _time(column: str, kind: str) -> str:
    """SQL for a time in UTC: a timestamp, text in ISO 8601 or as MTurk writes it, or seconds or milliseconds since 1970.

    A time that is none of these stops the query with its value. A text without a zone is UTC.
    """
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"{column}::TIMESTAMPTZ"
    number = f"try_cast({column} AS DOUBLE)"
    seconds = f"to_timestamp(CASE WHEN {number} > 1e11 THEN {number} / 1000 ELSE {number} END)"
    formats = ", ".join(map(literal, _TIME_FORMATS))
    text = f"{column}::VARCHAR"
    parsed = f"try_cast({text} AS TIMESTAMPTZ), try_strptime({text}, [{formats}])::TIMESTAMPTZ, {seconds}"
    wrong = f"error('submitted_at ' || {text} || ' is no time; write it as 2026-01-31T09:30:00Z')"
    return f"CASE WHEN {column} IS NULL THEN NULL ELSE coalesce({parsed}, {wrong}::TIMESTAMPTZ) END"


def _files(path: Path) -> list[Path]:
    """The file itself, or the Parquet parts of a folder."""
    if path.is_dir():
        parts = sorted(path.rglob("*.parquet"))
        if not parts:
            raise TableError(
                f"{path}: is a folder without a Parquet file; votes are a file or a folder of Parquet parts"
            )
        return parts
    if not path.exists():
        raise TableError(f"{path}: no such file.")
    if path.suffix.lower() in _TEXT_FILES and path.stat().st_size == 0:
        raise UserError(f"{path}: is empty; a first line with image_id,worker_id,label is expected")
    return [path]


def _csv(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    """A CSV with every value as text, so that a label `NA` stays a label; an empty cell is missing.

    Columns are separated by commas, semicolons or tabs, whichever the first line has most of.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(1 << 16)
            sign = max(",;\t", key=first.count)
            names = next(csv.reader([first], delimiter=sign), [])
    except UnicodeDecodeError as error:
        raise TableError(f"{path}: cannot be read as CSV: it is not UTF-8 text ({error.reason})") from error
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise TableError(f"{path}: column {twice[0]!r} stands in the first line {names.count(twice[0])} times")
    return connection.read_csv(
        str(path), header=True, auto_detect=False, columns=dict.fromkeys(names, "VARCHAR"), delimiter=sign,
        quotechar='"', escapechar='"', na_values="", strict_mode=True,
    )  # fmt: skip


def _check_kind(file: Path) -> None:
    """Refuse another table of ours, and votes that a newer program wrote, before anything is read."""
    if file.suffix.lower() in _TEXT_FILES:
        return
    try:
        schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0]
        raise TableError(
            f"{file}: cannot be read as Parquet ({detail}); it may be cut off or another kind of file."
        ) from error
    meta = schema.metadata or {}
    kind = meta.get(b"consenso.table", b"").decode()
    if kind not in ("", VOTES.name) and not set(NEEDED) <= set(schema.names):
        missing = ", ".join(name for name in NEEDED if name not in schema.names)
        raise TableError(f"{file}: missing columns {missing}. It is a {kind} table; votes are expected.")
    if kind == VOTES.name:
        VOTES.check_identity(file, schema)


def _one_task(votes: Votes, task: str | None) -> Votes:
    """Only the votes of one task."""
    if not votes.has("task"):
        return votes
    names = list(votes.few("task"))
    wanted = [name for name in names if task is None or name == task]
    if len(wanted) != 1:
        found = f"none of task {task!r}" if task else ", ".join(names) or "none"
        raise UserError(f"{votes.where}: votes of one task are expected, found {found}; say which with --task NAME")
    if len(names) == 1:
        return votes
    votes.connection.execute("ALTER VIEW votes RENAME TO all_votes")
    votes.connection.execute(f"CREATE VIEW votes AS SELECT * FROM all_votes WHERE task = {literal(wanted[0])}")
    rows = votes.one("SELECT count(*) FROM votes")
    return Votes(votes.connection, votes.where, votes.columns, int(rows), votes.bytes)


def read_votes(path: Path, task: str | None = None) -> pd.DataFrame:
    """The votes of a file in memory, with ids and labels as text; other columns are kept.

    Raises UserError as `open_votes` does, and for a vote without worker or image.
    """
    votes = open_votes(path, task)
    frame = votes.frame()
    for name in ("image_id", "worker_id"):
        if gone := int(frame[name].isna().sum()):
            raise UserError(f"{path}: {name} is missing in {gone} of {len(frame)} votes; every vote needs one")
    return frame


def classes_of(votes: Votes | pd.DataFrame, where: Path | str, given: str | None = None) -> list[str]:
    """The class list of loose votes: as given (`dots,plain`), else every label found, sorted.

    Raises UserError when a label is not in the given list, when there are too many different ones to be classes, and when
    there is only one: then nothing was asked.
    """
    found = _labels(votes)
    if given is None:
        total = votes.rows if isinstance(votes, Votes) else len(votes)
        if len(found) > MOST_CLASSES:
            many = int(votes.one("SELECT count(DISTINCT label) FROM votes")) if isinstance(votes, Votes) else len(found)
            raise UserError(
                f"{where}: {many} different labels in {total} votes, for example {min(found)!r}; "
                f"at most {MOST_CLASSES} are classes. Is `label` the right column?"
            )
        if len(found) < 2:
            said = f"every vote says {next(iter(found))!r}" if found else "no vote has a label"
            raise UserError(f"{where}: {said}, and a question has two answers or more; name all with --classes a,b")
        return sorted(found)
    classes = list(dict.fromkeys(key.strip() for key in given.split(",") if key.strip()))
    if len(classes) < 2:
        raise UserError(f"--classes {given!r}: a question has two answers or more, e.g. --classes dots,plain")
    stray = sorted(set(found) - set(classes))
    if stray:
        raise UserError(
            f"{where}: {sum(found[label] for label in stray)} votes have a label that --classes does not name, "
            f"for example {stray[0]!r}; add it, or leave --classes out"
        )
    return classes


def _labels(votes: Votes | pd.DataFrame) -> dict[str, int]:
    """Every label that is a class, with its votes; of far too many only some."""
    if isinstance(votes, Votes):
        found = votes.few("label", MOST_CLASSES + 2)
    else:
        found = {str(label): int(n) for label, n in votes["label"].value_counts().items()}
    found.pop(CANNOT_SEE, None)
    return found
