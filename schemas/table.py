"""The one door through which every table is read and written: it casts, checks, and writes whole.

pandas and Parquet disagree about small things that cost days: an all-missing column becomes type `null`, strings become
`large_string` in one part and not in the next, and pandas drops a file's metadata. So a table declares its Arrow schema
once, and every frame is cast to it on the way in and on the way out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import TableError
from schemas.files import clear_killed, whole

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_TYPES = {
    "string": "string",
    "bool": "bool_",
    "int32": "int32",
    "int64": "int64",
    "uint64": "uint64",
    "float32": "float32",
    "float64": "float64",
    "bytes": "binary",
}


@dataclass(frozen=True)
class Column:
    """One column: its name, type, whether it may be missing, and what it means (units, who writes it)."""

    name: str
    type: str  # a key of _TYPES, "time" (UTC, microseconds), "list<T>", "votes" (pseudonym, label), "map" (string to string)
    comment: str
    null: bool = False

    def arrow(self) -> pa.Field:
        """The Arrow field, its comment carried in the field's metadata."""
        import pyarrow as pa

        return pa.field(self.name, _arrow_type(self.type), self.null, {"comment": self.comment})


def _arrow_type(name: str) -> pa.DataType:
    import pyarrow as pa

    if name == "time":
        return pa.timestamp("us", tz="UTC")
    if name == "votes":
        return pa.list_(pa.struct([("pseudonym", pa.string()), ("label", pa.string())]))
    if name == "map":
        return pa.map_(pa.string(), pa.string())
    if name.startswith("list<"):
        return pa.list_(_arrow_type(name[5:-1]))
    return getattr(pa, _TYPES[name])()


@dataclass(frozen=True)
class Table:
    """A kind of table: its name, version, key, the command that writes it, and its columns in order."""

    name: str
    key: tuple[str, ...]
    made_by: str
    columns: tuple[Column, ...]
    version: int = 1

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def schema(self, metadata: Mapping[str, str] | None = None) -> pa.Schema:
        """The Arrow schema, with the table's name and version in its metadata."""
        import pyarrow as pa

        meta = {"consenso.table": self.name, "consenso.version": str(self.version), **(metadata or {})}
        return pa.schema([column.arrow() for column in self.columns], meta)

    def empty(self) -> pd.DataFrame:
        """A frame with no rows and the right columns and dtypes."""
        return self.to_frame(self.schema().empty_table())

    def frame(self, rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
        """Rows given as dictionaries, as a checked frame; columns that a row leaves out are missing there."""
        import pandas as pd

        rows = list(rows)
        unknown = sorted({name for row in rows for name in row} - set(self.names))
        if unknown:
            raise TableError(self._columns_message(self.name, [], unknown, list(rows[0])))
        # as objects: pandas would turn integers with a missing one among them into floats, and a 64-bit hash into another
        columns = {name: pd.Series([row.get(name) for row in rows], dtype=object) for name in self.names}
        return self.check(pd.DataFrame(columns))

    def check(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same rows cast to the declared types, columns in order, optional ones added as missing.

        Raises TableError for a missing required column, a value that does not fit its type, a null where none may be, or two
        rows with one key. Columns that the table does not know are refused, so that nothing is lost without a word.
        """
        return self.to_frame(self.to_arrow(frame))

    def to_arrow(self, frame: pd.DataFrame, metadata: Mapping[str, str] | None = None) -> pa.Table:
        """The frame as an Arrow table of the declared schema; raises TableError as `check` does."""
        import pyarrow as pa

        unknown = [name for name in frame.columns if name not in self.names]
        missing = [c.name for c in self.columns if not c.null and c.name not in frame.columns]
        if unknown or (missing and len(frame.columns) > 0):
            raise TableError(self._columns_message(self.name, missing, unknown, list(frame.columns)))
        schema = self.schema(metadata)
        arrays = []
        for field in schema:
            if field.name not in frame.columns:
                arrays.append(pa.nulls(len(frame), field.type))
                continue
            arrays.append(self._cast(frame[field.name], field))
        table = pa.Table.from_arrays(arrays, schema=schema)
        self._check_nulls(table)
        self._check_key(table)
        return table

    def _cast(self, series: pd.Series, field: pa.Field) -> pa.Array:
        import pandas as pd
        import pyarrow as pa

        try:
            if pa.types.is_nested(field.type):
                values = [None if _is_missing(value) else value for value in series]
                return pa.array(values, field.type)
            if series.isna().all():
                return pa.nulls(len(series), field.type)
            if pa.types.is_timestamp(field.type):
                series = pd.to_datetime(series, utc=True)
            if pa.types.is_integer(field.type) and series.dtype.kind == "f" and series.abs().max() >= 2**53:
                raise ValueError("whole numbers above 2**53 came as floats and have lost digits")
            if series.dtype == object:
                if pa.types.is_integer(field.type):
                    _check_whole(series)
                return pa.array(series, field.type, from_pandas=True)
            array = pa.array(series, from_pandas=True)
            if isinstance(array, pa.ChunkedArray):
                array = array.combine_chunks()
            return array.cast(field.type)
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            detail = str(error).splitlines()[0]
            raise TableError(f"{self.name}: column {field.name} should be {field.type}: {detail}") from error

    def _check_nulls(self, table: pa.Table) -> None:
        for column in self.columns:
            if not column.null and (count := table[column.name].null_count):
                raise TableError(f"{self.name}: column {column.name} is missing in {count} of {table.num_rows} rows")

    def _check_key(self, table: pa.Table) -> None:
        import pyarrow.compute as pc

        if not self.key or table.num_rows < 2:
            return
        counts = table.select(list(self.key)).group_by(list(self.key)).aggregate([([], "count_all")])
        if counts.num_rows == table.num_rows:
            return
        row = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()[0]
        value = ", ".join(f"{name}={row[name]}" for name in self.key)
        raise TableError(f"{self.name}: {row['count_all']} rows have the key {value}; a key names one row")

    def to_frame(self, table: pa.Table) -> pd.DataFrame:
        """An Arrow table of this schema as pandas: strings stay strings, nullable integers stay integers."""
        import pandas as pd

        nullable = {c.name for c in self.columns if c.null and c.type in ("int32", "int64", "uint64", "bool")}
        frame = table.to_pandas(date_as_object=False, maps_as_pydicts="lossy")
        for name in nullable & set(frame.columns):
            frame[name] = pd.array(table[name].to_pylist(), dtype=_PANDAS_NULLABLE[self._type_of(name)])
        return frame

    def _type_of(self, name: str) -> str:
        return next(column.type for column in self.columns if column.name == name)

    def write(self, frame: pd.DataFrame, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
        """Check the frame and write it whole as Parquet; returns the path. Nothing is left behind when it fails."""
        import pyarrow.parquet as pq

        table = self.to_arrow(frame, metadata)
        clear_killed(Path(path))
        with whole(Path(path)) as part:
            pq.write_table(table, part, compression="zstd")
        return Path(path)

    def read(self, path: Path, columns: list[str] | None = None) -> pd.DataFrame:
        """The table at `path` as a checked frame.

        Raises TableError when the file is missing, is no Parquet, is another table, or comes from a newer version.
        """
        return self.to_frame(self.read_arrow(path, columns))

    def read_arrow(self, path: Path, columns: list[str] | None = None) -> pa.Table:
        """As `read`, as an Arrow table with the file's metadata kept."""

        table = read_parquet(Path(path), self.made_by)
        self.check_identity(Path(path), table.schema)
        wanted = [column for column in self.columns if columns is None or column.name in columns]
        result = self._declared(table, Path(path), wanted)
        if columns is None:
            self._check_nulls(result)
        return result

    def _declared(self, table: pa.Table, path: Path, wanted: Sequence[Column]) -> pa.Table:
        """The wanted columns of a table that was read, cast to what is declared; optional ones may be missing in it."""
        import pyarrow as pa

        missing = [c.name for c in self.columns if not c.null and c in wanted and c.name not in table.column_names]
        if missing:
            raise TableError(self._columns_message(str(path), missing, [], table.column_names))
        arrays = []
        for column in wanted:
            field = column.arrow()
            if column.name not in table.column_names:
                arrays.append(pa.nulls(table.num_rows, field.type))
                continue
            try:
                arrays.append(table[column.name].cast(field.type))
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                detail = str(error).splitlines()[0]
                raise TableError(f"{path}: column {column.name} should be {field.type}: {detail}") from error
        return pa.Table.from_arrays(arrays, schema=pa.schema([c.arrow() for c in wanted], table.schema.metadata))

    def batches(self, path: Path, columns: Sequence[str] | None = None, rows: int = 20_000) -> Iterator[pa.Table]:
        """As `read_arrow`, a piece at a time: memory depends on `rows` and not on the file. Without a file, nothing."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not Path(path).exists():
            return
        wanted = [column for column in self.columns if columns is None or column.name in columns]
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:  # else all of it is read ahead
                self.check_identity(Path(path), file.schema_arrow)
                held = [column.name for column in wanted if column.name in file.schema_arrow.names]
                for batch in file.iter_batches(rows, columns=held):
                    yield self._declared(pa.Table.from_batches([batch]), Path(path), wanted)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        """Rows given as dictionaries as an Arrow table of the declared schema; columns that a row leaves out are missing."""
        import pyarrow as pa

        arrays = [pa.array([row.get(column.name) for row in rows], column.arrow().type) for column in self.columns]
        table = pa.Table.from_arrays(arrays, schema=self.schema())
        self._check_nulls(table)
        return table

    def write_batches(self, tables: Iterable[pa.Table], path: Path, metadata: Mapping[str, str] | None = None) -> int:
        """Write Arrow tables of the declared schema one after the other, whole as `write` does; returns how many rows.

        Only one of them is in memory at a time, so the caller promises that keys do not repeat from one to the next.
        """
        import pyarrow.parquet as pq

        clear_killed(Path(path))
        schema, count = self.schema(metadata), 0
        with whole(Path(path)) as part, pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for table in tables:
                self._check_key(table)
                writer.write_table(table.select(self.names).cast(schema))
                count += table.num_rows
        return count

    def read_if_there(self, path: Path) -> pd.DataFrame:
        """As `read`, but an empty frame where there is no file yet."""
        return self.read(path) if Path(path).exists() else self.empty()

    def metadata(self, path: Path) -> dict[str, str]:
        """The file's own metadata (version, class list, …) without reading its rows."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            raw = pq.read_schema(path).metadata or {}
        except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
            raise TableError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
        return {key.decode(): value.decode() for key, value in raw.items() if key != b"ARROW:schema"}

    def check_identity(self, path: Path, schema: pa.Schema) -> None:
        """Raise TableError when a file's metadata names another table, or a version that this program does not know."""
        meta = schema.metadata or {}
        name = meta.get(b"consenso.table", b"").decode()
        if name and name != self.name:
            raise TableError(f"{path}: is a {name} table, not {self.name}. {self._made_by_hint()}")
        version = int(meta.get(b"consenso.version", b"0") or 0)
        if version > self.version:
            raise TableError(
                f"{path}: was written as version {version} of {self.name}; this program knows up to {self.version}. "
                "Upgrade with: pip install -U consenso"
            )

    def _made_by_hint(self) -> str:
        return f"{self.name} is written by `{self.made_by}`."

    def _columns_message(self, where: str, missing: list[str], unknown: list[str], found: list[str]) -> str:
        said = []
        if missing:
            said.append(f"missing columns {', '.join(missing)}")
        if unknown:
            said.append(f"unknown columns {', '.join(map(str, unknown))}")
        head = ", ".join(map(str, found[:8])) + (", …" if len(found) > 8 else "")
        return f"{where}: {'; '.join(said)}; found {head}. Was it written by `{self.made_by}`?"


_PANDAS_NULLABLE = {"int32": "Int32", "int64": "Int64", "uint64": "UInt64", "bool": "boolean"}


def _check_whole(values: Iterable[Any]) -> None:
    """Raise ValueError for a float that is no whole number or has lost digits: Arrow would cut it off without a word."""
    for value in values:
        if isinstance(value, float) and value == value and (not value.is_integer() or abs(value) >= 2**53):
            raise ValueError(f"{value} is not a whole number that a float can hold")


def _is_missing(value: Any) -> bool:
    """True for None and NaN, false for any list, dictionary or array."""
    return value is None or (isinstance(value, float) and value != value)


def read_parquet(path: Path, made_by: str = "") -> pa.Table:
    """Any Parquet file as an Arrow table, or one clear line about why not."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    hint = f" Make it with `{made_by}`." if made_by else ""
    if not path.exists():
        raise TableError(f"{path}: no such file.{hint}")
    if path.is_dir():
        raise TableError(f"{path}: is a folder; one Parquet file is expected.")
    try:
        return pq.read_table(path, partitioning=None)
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0]
        raise TableError(
            f"{path}: cannot be read as Parquet ({detail}); it may be cut off or another kind of file.{hint}"
        ) from error
