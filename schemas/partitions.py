"""Parquet partitions of pictures in, partitions of what is said of them out: one function of batch -> batch, disk or S3.

A partition is read, worked on and written by one process, whatever the engine, and is written whole: a run that was stopped goes
on with the partitions that are not there yet. `_done.json` comes last and says that nothing is missing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.engine import POOL, Engine, each
from schemas.errors import UserError
from schemas.files import clear_killed, sha256_of, whole, write_text
from schemas.progress import progress
from schemas.s3 import SCHEME, bucket_and_key, clear_errors, client
from schemas.storage import overlapped, place_of, read_place, threads_for

if TYPE_CHECKING:
    import pyarrow as pa

DONE = "_done.json"
FACTS = b"consenso.made_by"  # file metadata of each partition: what made it, as JSON
ROWS = 256  # pictures held at once
_FOOTER = 1 << 16  # bytes that hold most files' footer


@dataclass(frozen=True)
class Place:
    """A folder, or `s3://bucket/prefix`."""

    where: str

    @property
    def in_s3(self) -> bool:
        """Whether it is a bucket."""
        return self.where.startswith(SCHEME)

    def _key(self, name: str) -> dict[str, str]:
        bucket, prefix = bucket_and_key(self.where)
        return {"Bucket": bucket, "Key": f"{prefix}/{name}".lstrip("/")}

    def names(self) -> list[str]:
        """Names of its partitions and of `_done.json`, sorted; none in a folder that is not there."""
        if not self.in_s3:
            return sorted(path.name for path in Path(self.where).glob("*") if path.suffix in (".parquet", ".json"))
        place = self._key("")
        prefix = place["Key"]
        with clear_errors(self.where, "ListObjectsV2"):
            pages = (
                client().get_paginator("list_objects_v2").paginate(Bucket=place["Bucket"], Prefix=prefix, Delimiter="/")
            )
            return sorted(item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ()))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """A file of it, on this machine."""
        if not self.in_s3:
            yield Path(self.where) / name
            return
        with tempfile.TemporaryDirectory() as folder:
            with clear_errors(f"{self.where}/{name}", "GetObject"):
                client().download_file(**self._key(name), Filename=f"{folder}/{name}")
            yield Path(folder) / name

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Where to write a file; it gets its name when all of it is there, on S3 in one upload whose size is checked."""
        if not self.in_s3:
            clear_killed(Path(self.where) / name)
            with whole(Path(self.where) / name) as part:
                yield part
            return
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            yield path
            with clear_errors(f"{self.where}/{name}", "PutObject"):
                client().upload_file(str(path), **self._key(name), ExtraArgs={"Metadata": {"sha256": sha256_of(path)}})
                head = client().head_object(**self._key(name))
            if head["ContentLength"] != path.stat().st_size:
                raise UserError(f"{self.where}/{name}: S3 holds other bytes than were sent; run the same command again")

    def footer(self, name: str) -> Any:
        """The Parquet metadata of a partition, its rows unread."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            if not self.in_s3:
                return pq.read_metadata(Path(self.where) / name)
            with clear_errors(f"{self.where}/{name}", "GetObject"):
                end = self._end(name, _FOOTER)
                size = int.from_bytes(end[-8:-4], "little") + 8
                return pq.read_metadata(pa.BufferReader(end if size <= len(end) else self._end(name, size)))
        except (pa.ArrowInvalid, FileNotFoundError) as error:
            raise UserError(f"{self.where}/{name}: cannot be read as Parquet ({error}); remove it and go on") from None

    def _end(self, name: str, size: int) -> bytes:
        return bytes(client().get_object(**self._key(name), Range=f"bytes=-{size}")["Body"].read())


@dataclass(frozen=True)
class Work:
    """What is done to the pictures of every partition."""

    step: Callable[
        [pa.RecordBatch, int], pa.RecordBatch
    ]  # pictures and the number of the first one -> what is said of them
    schema: Any  # pyarrow's, of what the step makes
    facts: Mapping[str, Any]  # what made it, for `_done.json`; partitions of other facts do not mix
    options: Mapping[str, Any] = field(default_factory=dict)  # of the Parquet writer


@dataclass(frozen=True)
class _Job:
    """One partition to do."""

    source: Place
    name: str
    out: Place
    work: Work


def map_partitions(work: Work, source: str, out: str, engine: Engine = POOL) -> dict[str, int]:
    """Do the work for every partition of `source` that `out` does not hold yet; rows by partition.

    Args:
        work: what is done; pickled, so its step is a function at the top of a module, or a partial one of such.
        source: folder or s3://bucket/prefix of Parquet files with a column `image` (bytes, or bytes and path as Hugging Face
            writes them) or `path`.
        out: folder or s3://bucket/prefix for files of the same names, a row for each row.
        engine: a pool of processes, or Daft; a cluster's machines must all see source and out.
    Raises UserError where `out` holds partitions that other facts made.
    """
    begin, end = Place(source.rstrip("/")), Place(out.rstrip("/"))
    names = [name for name in begin.names() if name.endswith(".parquet")]
    if not names:
        raise UserError(f"{source}: holds no .parquet files; name a folder of partitions, or s3://bucket/prefix")
    counts = {name: _rows(end, name, work.facts) for name in sorted(set(end.names()) & set(names))}
    jobs = [_Job(begin, name, end, work) for name in names if name not in counts]
    with progress(len(names), "partitions", done=len(counts)) as bar:
        for name, rows in each(do_partition, jobs, engine, small=2, batch=1):
            counts[name] = rows
            bar.update()
    counts = dict(sorted(counts.items()))
    with end.writing(DONE) as path:
        write_text(path, json.dumps({**work.facts, "rows": counts}, indent=1))
    return counts


def do_partition(job: _Job) -> tuple[str, int]:
    """Write what the step says of each picture of one partition; returns its name and rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = job.work.schema.with_metadata({**(job.work.schema.metadata or {}), FACTS: json.dumps(job.work.facts)})
    with job.source.reading(job.name) as read, job.out.writing(job.name) as path:
        try:
            file = pq.ParquetFile(read)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{job.source.where}/{job.name}: cannot be read as Parquet ({error})") from None
        wanted = [name for name in ("image", "path") if name in file.schema_arrow.names]
        if not wanted:
            found = ", ".join(file.schema_arrow.names[:8])
            raise UserError(f"{job.source.where}/{job.name}: has neither a column `image` nor `path`; found {found}")
        row = 0
        with file, pq.ParquetWriter(path, schema, compression="zstd", **job.work.options) as writer:
            for batch in file.iter_batches(ROWS, columns=wanted):
                done = job.work.step(batch, row)
                writer.write_table(pa.Table.from_batches([done.replace_schema_metadata(schema.metadata)]))
                row += batch.num_rows
    return job.name, row


def pictures_of(batch: pa.RecordBatch, root: str) -> Iterator[tuple[str | None, bytes | str]]:
    """Each picture's path, if it has one, and its bytes, or why it has none.

    Args:
        batch: with `image`, or `path`: of a file, below `root` where it is relative, or s3://bucket/key.
        root: a folder or s3://bucket/prefix.
    """
    pictures = batch.to_pylist()
    threads = threads_for(place_of(root, picture.get("path") or "") for picture in pictures)
    yield from overlapped(partial(_picture, root), pictures, threads)


def _picture(root: str, row: dict[str, Any]) -> tuple[str | None, bytes | str]:
    image = row.get("image")
    path = row.get("path") or (image.get("path") if isinstance(image, dict) else None)
    data = image.get("bytes") if isinstance(image, dict) else image
    if data is not None:
        return path, data
    try:
        return path, read_place(place_of(root, path or ""))
    except OSError as error:
        return path, f"its file cannot be read ({error.strerror})"


def _rows(place: Place, name: str, facts: Mapping[str, Any]) -> int:
    """Rows of a partition that is there already, if the same work made it."""
    footer = place.footer(name)
    made_by = json.loads((footer.metadata or {}).get(FACTS, b"null"))
    if made_by != json.loads(json.dumps(facts)):
        raise UserError(
            f"{place.where}/{name}: was made by {json.dumps(made_by)}, this run is {json.dumps(facts)}; name another --out, or "
            "remove what is there"
        )
    return int(footer.num_rows)
