"""A catalogue file, read a row at a time: CSV, TSV, JSON lines or Parquet, each also gzipped, in the encodings that occur.

The whole file is passed over once before the first row: a gzip that is cut off, or text in a broken encoding, is refused
before anything is written.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from curate.collect.csv_records import LONGEST_LINE, TooLong, records
from schemas.errors import UserError

LOOKED_AT = 1_000  # rows whose keys are the columns of JSON lines
_CHUNK = 1 << 20
_TEXT = "CSV, TSV, JSON lines or Parquet, each also .gz"


@dataclass(frozen=True)
class Row:
    """One row: its values by column, or why it cannot be read."""

    line: int  # of the file, from 1; of Parquet the row
    values: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None


@dataclass
class Feed:
    """An open catalogue."""

    path: Path
    name: str  # as messages and tables say it
    kind: str  # csv, tsv, jsonl, parquet
    packed: bool = False
    encoding: str = "utf-8"
    note: str | None = None  # what a person should know of how it is read
    names: list[str] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """Every row, in order; can be asked for again."""
        if self.kind == "parquet":
            return _parquet_rows(self.path, self.name)
        if self.kind == "jsonl":
            return _json_rows(self)
        return _csv_rows(self)


@contextmanager
def open_feed(path: Path, name: str | None = None) -> Iterator[Feed]:
    """A catalogue, looked over from end to end. Raises UserError for what cannot be read at all."""
    name = name or path.name
    if not path.is_file():
        raise UserError(f"{path}: {'is a folder' if path.is_dir() else 'no such file'}; expected {_TEXT}")
    if not path.stat().st_size:
        raise UserError(f"{name}: is empty")
    with path.open("rb") as file:
        head = file.read(8)
    packed = head[:2] == b"\x1f\x8b"
    with tempfile.TemporaryDirectory(prefix="consenso-") as folder:
        first = _first_bytes(path, packed, name)
        if first[:4] == b"PAR1":
            whole = _unpacked(path, Path(folder) / "feed.parquet", name) if packed else path
            yield _with_names(Feed(whole, name, "parquet"))
            return
        yield _with_names(_text_feed(path, name, packed, first))


def _text_feed(path: Path, name: str, packed: bool, first: bytes) -> Feed:
    if first[:4] in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise UserError(f"{name}: is a spreadsheet or an archive; save it as CSV (UTF-8). Expected {_TEXT}")
    encoding, note = _encoding(path, packed, name, first)
    text = first.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    if not text:
        raise UserError(f"{name}: is empty")
    ending = Path(name.lower().removesuffix(".gz")).suffix
    if text.startswith("["):
        raise UserError(f"{name}: is one JSON list; expected JSON lines, an object a line (jq -c '.[]' makes them)")
    if text.startswith("<"):
        raise UserError(f"{name}: is XML or HTML; expected {_TEXT}. `curate scrape {name}` reads RSS and sitemaps")
    json_lines = text.startswith("{") or ending in (".jsonl", ".ndjson")
    kind = "jsonl" if json_lines else "tsv" if ending == ".tsv" else "csv"
    return Feed(path, name, kind, packed, encoding, note)


def _with_names(feed: Feed) -> Feed:
    if feed.kind == "parquet":
        feed.names = _parquet_names(feed.path, feed.name)
    elif feed.kind == "jsonl":
        seen: dict[str, None] = {}
        fault = None
        for number, row in enumerate(feed.rows()):
            seen |= dict.fromkeys(row.values)
            fault = fault or (row.fault and f"line {row.line}: {row.fault}")
            if number >= LOOKED_AT:
                break
        if not seen:
            raise UserError(f"{feed.name}: {fault or 'holds no rows'}")
        feed.names = list(seen)
    else:
        feed.names = _header(feed)[0]
    return feed


def _first_bytes(path: Path, packed: bool, name: str) -> bytes:
    with _raw(path, packed, name) as file:
        return file.read(65_536)


@contextmanager
def _raw(path: Path, packed: bool, name: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked."""
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            yield file  # type: ignore[misc]
    except EOFError:
        raise UserError(f"{name}: is a gzip that is cut off; nothing was taken in. Fetch the whole file") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{name}: is a broken gzip ({error}); nothing was taken in") from None


def _unpacked(path: Path, target: Path, name: str) -> Path:
    with _raw(path, True, name) as file, target.open("wb") as out:
        shutil.copyfileobj(file, out, _CHUNK)
    return target


def _encoding(path: Path, packed: bool, name: str, first: bytes) -> tuple[str, str | None]:
    """How a text is written, known only once all of it was decoded."""
    marked = _by_mark(first)
    for encoding in [marked] if marked else ["utf-8", "cp1252", "latin-1"]:
        fault = _fault(path, packed, name, encoding)
        if fault is None:
            note = None if encoding.startswith("utf") else f"{name} is not UTF-8: read as {encoding}"
            return encoding, note
    raise UserError(f"{name}: is {marked} that is broken ({fault}); nothing was taken in")


def _by_mark(first: bytes) -> str | None:
    """UTF-8 with a mark, or UTF-16 with or without one: then every second byte of the header is 0."""
    if first.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    odd, even = first[1:400:2].count(0), first[0:400:2].count(0)
    half = len(first[:400]) // 4
    return "utf-16-le" if odd > half and even < half else "utf-16-be" if even > half and odd < half else None


def _fault(path: Path, packed: bool, name: str, encoding: str) -> str | None:
    decoder = codecs.getincrementaldecoder(encoding)()
    with _raw(path, packed, name) as file:
        try:
            while chunk := file.read(_CHUNK):
                if "\0" in decoder.decode(chunk):
                    raise UserError(f"{name}: holds zero bytes, so it is no text; expected {_TEXT}")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            return error.reason
    return None


def _lines(feed: Feed) -> Iterator[str]:
    """Lines with their ends, as they stand; one that is too long is passed over."""
    with _raw(feed.path, feed.packed, feed.name) as raw, io.TextIOWrapper(raw, feed.encoding, newline="") as text:
        while line := text.readline(LONGEST_LINE + 1):
            if len(line) <= LONGEST_LINE:
                yield line
                continue
            while line and not line.endswith(("\n", "\r")):
                line = text.readline(LONGEST_LINE)
            yield TooLong("\n")


def _header(feed: Feed) -> tuple[list[str], str]:
    """Names of the columns, each once, and what separates cells."""
    head = next((line for line in _lines(feed) if line.strip()), "")
    delimiter = "\t" if feed.kind == "tsv" else max(",;\t|", key=head.count)
    cells = next((cells for _, cells in records(_lines(feed), delimiter) if cells), "is empty")
    if isinstance(cells, str):
        raise UserError(f"{feed.name}: line 1: {cells}")
    names: list[str] = []
    for place, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column_{place}"
        names.append(name if name not in names else f"{name}_{place}")
    return names, delimiter


def _csv_rows(feed: Feed) -> Iterator[Row]:
    names, delimiter = _header(feed)
    begun = False
    for line, cells in records(_lines(feed), delimiter):
        if isinstance(cells, str):
            yield Row(line, fault=cells)
        elif not any(cell.strip() for cell in cells):
            continue
        elif not begun:
            begun = True  # the header
        elif len(cells) > len(names):
            yield Row(line, fault=f"{len(cells)} cells under {len(names)} columns")
        else:
            yield Row(line, dict(zip(names, cells, strict=False)))


def _json_rows(feed: Feed) -> Iterator[Row]:
    for number, line in enumerate(_lines(feed), start=1):
        if isinstance(line, TooLong):
            yield Row(number, fault=f"longer than {LONGEST_LINE:,} characters")
        elif line.strip("\ufeff \t\r\n"):
            yield _json_row(number, line.lstrip("\ufeff"))


def _json_row(number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(number, fault=f"no JSON ({str(error)[:80]})")
    if not isinstance(values, dict):
        return Row(number, fault="JSON, but no object of names and values")
    return Row(number, values)


def _parquet_names(path: Path, name: str) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: cannot be read as Parquet ({str(error).splitlines()[0][:120]})") from error


def _parquet_rows(path: Path, name: str) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(1_000):
                for values in batch.to_pylist():
                    number += 1
                    yield Row(number, values)
    except (pa.ArrowException, OSError) as error:
        said = str(error).splitlines()[0][:120]
        raise UserError(f"{name}: cannot be read after row {number} ({said}); what came before stays") from error
