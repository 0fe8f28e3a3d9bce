"""Rows of Parquet tables: those about what is forgotten go, those that only name it name something else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.forget.plan import Plan
from curate.forgotten import Forgotten
from schemas.errors import TableError
from schemas.files import clear_killed, whole
from schemas.tables import CLUSTERS, EMBEDDINGS, LISTINGS, MANIFEST, PICTURES

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PICTURE_COLUMNS = ("image_id", "image_id_a", "image_id_b", "other_id")  # a row with one of these is about that picture
BARE = "none of its pictures could be had"  # what the crawl's tables say of such a listing
_NAME = {CLUSTERS.name, MANIFEST.name, "splits", "label_conflicts"}  # name clusters and groups by a picture in them


class Rows:
    """What a plan does to tables. Done twice it changes nothing more."""

    def __init__(self, plan: Plan, forgotten: Forgotten) -> None:
        import pyarrow as pa

        self.plan, self.forgotten = plan, forgotten
        self.images = pa.array(plan.images, pa.string())
        self.names = pa.array([f"{m}\0{i}" for m, i in sorted(plan.names)], pa.string())
        self.urls = pa.array(plan.urls, pa.string())
        self.bare = {(m, i) for m, i in plan.bare}

    def rewrite(self, path: Path, write: bool = True) -> int:
        """Bring the table at `path` up to the plan; returns how many of its rows went. Nothing is written where nothing changes."""
        import pyarrow.parquet as pq

        with opened(path) as file:
            name = kind_of(file.schema_arrow)
            whole_file = name in _NAME
            gone, changed = 0, False
            for rows in _pieces(file, whole_file, only_text=True):
                kept = self.changed(rows, name)
                gone += rows.num_rows - kept.num_rows
                changed = changed or kept is not rows
            if not changed or not write:
                return gone
            options = _embedding_options() if name == EMBEDDINGS.name else {}
            clear_killed(path)
            with (
                whole(path) as part,
                pq.ParquetWriter(part, file.schema_arrow, compression="zstd", **options) as writer,
            ):
                for rows in _pieces(file, whole_file):
                    writer.write_table(self.changed(rows, name))
        return gone

    def changed(self, rows: pa.Table, name: str) -> pa.Table:
        """The rows as they are to be; the very same object where nothing changes."""
        import pyarrow.compute as pc

        gone = self.goes(rows, name)
        if pc.any(gone).as_py():
            rows = rows.filter(pc.invert(gone))
        if name in _NAME:
            rows = self._renamed(rows)
        if name == CLUSTERS.name:
            rows = _given(rows, self.plan.clusters, ("cluster_id", "representative", "kind", "distance"))
        if name == PICTURES.name:
            rows = _given(rows, {i: {"dropped": why} for i, why in self.plan.same.items()}, ("dropped",))
        if name == MANIFEST.name:
            columns = ("marketplace", "listing_id", "marketplaces")
            rows = _given(rows, {i: dict(zip(columns, p, strict=True)) for i, p in self.plan.places.items()}, columns)
        if name == LISTINGS.name:
            rows = self._bare(rows)
        return self._veiled(rows)

    def goes(self, rows: pa.Table, name: str) -> Any:
        """Which rows are about what is forgotten."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
        for column in PICTURE_COLUMNS:
            if is_text(rows, column):
                found = pc.or_(found, pc.is_in(rows[column].cast(pa.string()), self.images))
        if name != MANIFEST.name and is_text(rows, "marketplace") and is_text(rows, "listing_id"):
            both = [rows[column].cast(pa.string()) for column in ("marketplace", "listing_id")]
            named = pc.binary_join_element_wise(*both, "\0")
            found = pc.or_(found, pc.is_in(named, self.names))
            if is_text(rows, "url") and name != "appearances":
                found = pc.or_(found, pc.is_in(rows["url"].cast(pa.string()), self.urls))
        return pc.fill_null(found, False)

    def _renamed(self, rows: pa.Table) -> pa.Table:
        """Clusters and groups that were called by a picture that goes are called by one that stays."""
        import pyarrow as pa

        ids = rows["image_id"].to_pylist()
        gone = set(self.plan.images)
        for column in ("cluster_id", "group_id"):
            if not is_text(rows, column):
                continue
            was = rows[column].to_pylist()
            if not gone & set(was):
                continue
            instead: dict[str, str] = {}
            for image, called in zip(ids, was, strict=True):
                if called in gone:
                    instead[called] = min(image, instead.get(called, image))
            if column == "cluster_id":
                instead |= {old: new for old, new in self.plan.renamed.items() if old in instead}
            values = pa.array([instead.get(called, called) for called in was], pa.string())
            rows = _set(rows, column, values)
        return rows

    def _bare(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        was = rows["dropped"].to_pylist()
        named = zip(rows["marketplace"].to_pylist(), rows["listing_id"].to_pylist(), was, strict=True)
        values = [why or (BARE if (m, i) in self.bare else None) for m, i, why in named]
        return rows if values == was else _set(rows, "dropped", pa.array(values, pa.string()))

    def _veiled(self, rows: pa.Table) -> pa.Table:
        """Texts that still name a picture name its hash instead."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for column in rows.column_names:
            if not is_text(rows, column) or not pc.any(pc.match_substring_regex(rows[column], "[0-9a-f]{64}")).as_py():
                continue
            was = rows[column].to_pylist()
            values = [self.forgotten.veil(text) if text else text for text in was]
            if values != was:
                rows = _set(rows, column, pa.array(values, rows[column].type))
        return rows


def kind_of(schema: pa.Schema) -> str:
    """Which of our tables a file is; empty for another's."""
    return (schema.metadata or {}).get(b"consenso.table", b"").decode()


def table_of(path: Path) -> str:
    """Which of our tables lies at a path; empty for another's."""
    with opened(path) as file:
        return kind_of(file.schema_arrow)


def opened(path: Path) -> pq.ParquetFile:
    """A Parquet file, open. Raises TableError with the way out for one that is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise TableError(
            f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]}), so nobody can tell what it holds; mend it or "
            "take it away, and run the same command again"
        ) from error


def is_text(rows: pa.Table, column: str) -> bool:
    """Whether there is such a column, and it holds text."""
    import pyarrow as pa

    if column not in rows.column_names:
        return False
    kind = rows.schema.field(column).type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _pieces(file: pq.ParquetFile, all_at_once: bool, only_text: bool = False) -> Iterator[pa.Table]:
    """The rows, a row group at a time; numbers left out where only texts are looked at."""
    import pyarrow as pa

    schema = file.schema_arrow
    # what is put in place of another value is looked at as a whole row
    wide = kind_of(schema) in (*_NAME, PICTURES.name, LISTINGS.name)
    texts = [f.name for f in schema if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)]
    columns = texts if only_text and not wide else None
    if all_at_once:
        yield file.read(columns=columns)
        return
    for group in range(file.num_row_groups):
        yield file.read_row_group(group, columns=columns)


def _set(rows: pa.Table, column: str, values: Any) -> pa.Table:
    at = rows.column_names.index(column)
    return rows.set_column(at, rows.schema.field(column), values.cast(rows.schema.field(column).type))


def _given(rows: pa.Table, new: dict[str, dict[str, Any]], columns: tuple[str, ...]) -> pa.Table:
    """Some pictures' values of some columns replaced; the same object where they are so already."""
    import pyarrow as pa

    ids = rows["image_id"].to_pylist() if new else []
    if not set(ids) & set(new):
        return rows
    for column in columns:
        was = rows[column].to_pylist()
        values = [new[i][column] if i in new else value for i, value in zip(ids, was, strict=True)]
        if values != was:
            rows = _set(rows, column, pa.array(values, rows.schema.field(column).type))
    return rows


def _embedding_options() -> dict[str, Any]:
    return {"use_dictionary": ["model_id"], "column_encoding": {"vector.list.element": "BYTE_STREAM_SPLIT"}}
