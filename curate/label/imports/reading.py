"""What every reader of another tool's file hands on, and the one way in which text, JSON and CSV files are opened."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from schemas.errors import TableError, UserError
from schemas.table import read_parquet
from schemas.tables import TABLES

# The columns of `Reading.answers`, one row an answer about one picture, everything as the file has it.
COLUMNS = ("picture", "worker", "answer", "status", "time", "seconds", "assignment", "hit", "note", "row")
STATUSES = ("Submitted", "Approved", "Rejected")


@dataclass
class Reading:
    """One file (or folder) of another tool, read."""

    tool: str  # what a person calls the format
    path: Path
    answers: pd.DataFrame  # COLUMNS; missing = the file does not say
    skipped: Counter[str] = field(default_factory=Counter)  # why something in the file is no answer

    def __post_init__(self) -> None:
        self.answers = self.answers.reindex(columns=list(COLUMNS)).astype(object)
        self.answers = self.answers.where(self.answers.notna(), None).reset_index(drop=True)


@dataclass(frozen=True)
class Hints:
    """What helps a reader where a file leaves a choice."""

    image_column: str | None = None
    label_column: str | None = None
    task: str | None = None  # rows that a table says are of another one stay out
    manifest: Path | None = None  # Ground Truth: says which picture an object number is
    is_class: Callable[[str], bool] = lambda _: False  # whether a text names a class of the task


def rows_of(answers: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Answers given as dictionaries, as a frame with all the columns."""
    return pd.DataFrame(list(answers), columns=list(COLUMNS), dtype=object)


def read_text(path: Path) -> str:
    """A text file, whatever mark of its encoding it begins with. Raises UserError when it is missing, empty or no UTF-8."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    if data[:4] == b"PK\x03\x04":
        raise UserError(f"{path}: is a workbook or a zip archive; save it as CSV UTF-8, or unpack it, and import that")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line}: is not UTF-8 (byte {data[error.start]:#04x}); save it as CSV UTF-8, or convert it with "
            f"`iconv -f windows-1252 -t utf-8 {path.name} > utf8-{path.name}`"
        ) from None
    if not text.strip():
        raise UserError(f"{path}: is empty; export the results again")
    return text


def read_json(text: str, path: Path) -> Any:
    """A JSON document, or a list of the documents that stand one a line. Raises UserError with the line that breaks off."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as whole:
        lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
        if not lines[0][1].strip().endswith("}"):
            raise UserError(
                f"{path}: line {whole.lineno}: is not readable as JSON ({whole.msg}); is the file cut off?"
            ) from None
    found = []
    for number, line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UserError(
                f"{path}: line {number}: is not readable as JSON ({error.msg}); is the file cut off?"
            ) from None
    return found


def delimiter_of(text: str) -> str:
    """What separates the columns, told by the first line: a comma, a semicolon (Excel where the comma is decimal), a tab."""
    head = text.lstrip().splitlines()[0]
    bare = "".join(head.split('"')[::2])  # what stands outside quotes
    return max(",;\t", key=lambda sign: (bare.count(sign), sign == ","))


def read_csv(text: str, path: Path) -> pd.DataFrame:
    """A CSV with every value as text (a label `NA` stays one), an empty cell missing, its lines as index.

    Comma, semicolon or tab. Raises UserError for a torn line, a column name used twice, or no rows.
    """
    separator = delimiter_of(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # a row longer than the head would lose its end
            frame = pd.read_csv(
                io.StringIO(text), sep=separator, dtype="str", keep_default_na=False, na_values=[""], index_col=False,
                skipinitialspace=True,
            )  # fmt: skip
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: cannot be read as CSV: {_torn(text, separator) or str(error).strip()}") from error
    twice = [
        name for name, count in Counter(next(csv.reader(io.StringIO(text), delimiter=separator))).items() if count > 1
    ]
    if twice:
        raise UserError(f"{path}: column {twice[0]!r} stands there twice; rename one")
    frame.columns = [str(name).strip() for name in frame.columns]
    rows = len(frame)
    frame = frame[frame.notna().any(axis=1)]
    if frame.empty:
        raise UserError(f"{path}: holds no rows below its head; export the results again")
    frame.index = pd.Index(_lines(text, separator, frame.index, rows))
    if separator == ";":
        frame.attrs["decimal"] = ","
    return frame


def _lines(text: str, separator: str, kept: pd.Index, rows: int) -> list[str]:
    """`line 7` for each row that is kept: the line of the file on which it ends."""
    if text.rstrip("\r\n").count("\n") == rows:  # no empty lines, no line breaks inside values
        return [f"line {row + 2}" for row in kept]
    reader = csv.reader(io.StringIO(text), delimiter=separator, skipinitialspace=True)
    ends = [reader.line_num for values in reader if any(values) or len(values) > 1]
    if len(ends) != rows + 1:
        return [f"row {row + 1}" for row in kept]
    return [f"line {ends[row + 1]}" for row in kept]


def _torn(text: str, separator: str) -> str | None:
    """The first line that has more columns than the head, in words."""
    reader = csv.reader(io.StringIO(text), delimiter=separator)
    wanted = len(next(reader, []))
    for values in reader:
        if len(values) > wanted:
            return f"line {reader.line_num} has {len(values)} values, the first line names {wanted} columns"
    return None


def read_table(path: Path, text: str | None = None) -> pd.DataFrame:
    """A Parquet or CSV file, or a JSON list of plain records; the index says which line or row."""
    if text is None:
        frame = _read_parquet(path)
        if frame.empty:
            raise UserError(f"{path}: holds no rows")
        frame.index = pd.Index([f"row {row + 1}" for row in range(len(frame))])
        return frame
    return read_csv(text, path)


def _read_parquet(path: Path) -> pd.DataFrame:
    """Anybody's Parquet file, or one of our tables, whose version is checked."""
    table = read_parquet(path)
    name = (table.schema.metadata or {}).get(b"consenso.table", b"").decode()
    ours = next((one for one in TABLES if one.name == name), None)
    return ours.read(path) if ours else table.to_pandas()


def column_of(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The first column whose name is one of `names`, whatever its case, spaces, dashes and underscores."""
    plain = {_plain(name): name for name in reversed(list(frame.columns))}
    return next((plain[_plain(name)] for name in names if _plain(name) in plain), None)


def _plain(name: object) -> str:
    return "".join(sign for sign in str(name).casefold() if sign.isalnum())


def named_column(frame: pd.DataFrame, name: str, path: Path, option: str) -> str:
    """The column that an option names; raises UserError with those there are."""
    if name in frame.columns:
        return name
    found = column_of(frame, [name])
    if found is None:
        raise UserError(f"{path}: {option} {name}: no such column; found {listing(frame.columns)}")
    return found


def listing(values: Iterable[object], most: int = 8) -> str:
    """The first few of some values, separated by commas."""
    values = list(values)
    return ", ".join(map(str, values[:most])) + (f", … and {len(values) - most} more" if len(values) > most else "")


def number_of(value: object, decimal: str = ".") -> float | None:
    """A duration in seconds; None for what is missing or no number."""
    if value is None or value != value:
        return None
    try:
        seconds = float(str(value).replace(decimal, "."))
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e9 else None
