"""Hashes of pictures that stand in Parquet partitions and not in a workspace: a partition in, a partition out, disk or S3.

A partition is read, hashed and written by one process, whatever the engine, and is written whole: a run that was stopped goes
on with the partitions that are not there yet. `_done.json` comes last and says that nothing is missing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.clean.hashes import HASH_ALGO
from curate.clean.measure import Limits, inspect
from curate.engine import POOL, Engine, each
from schemas.errors import UserError
from schemas.files import clear_killed, whole, write_text
from schemas.progress import progress
from schemas.s3 import bucket_and_key, clear_errors, client
from schemas.storage import is_remote, overlapped, place_of, read_place, threads_for

if TYPE_CHECKING:
    import pyarrow as pa

DONE = "_done.json"
ROWS = 256  # pictures held at once
COLUMNS = {
    "row": "int64", "path": "string", "image_id": "string", "format": "string", "mode": "string", "frames": "int32",
    "width_px": "int32", "height_px": "int32", "hash_algo": "string", "phash64": "uint64", "phash256": "binary",
    "sharpness": "double", "brightness": "double", "dropped": "string",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A folder, or `s3://bucket/prefix`."""

    where: str

    @property
    def _bucket(self) -> tuple[str, str]:
        bucket, prefix = bucket_and_key(self.where)
        return bucket, f"{prefix}/".lstrip("/")

    def names(self) -> list[str]:
        """Names of its partitions and of `_done.json`, sorted. Raises UserError where there is no such place."""
        if not is_remote(self.where):
            return sorted(path.name for path in Path(self.where).glob("*") if path.suffix in (".parquet", ".json"))
        bucket, prefix = self._bucket
        with clear_errors(self.where, "ListObjectsV2"):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            return sorted(item["Key"].removeprefix(prefix) for page in pages for item in page.get("Contents", ()))

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """A file of it, on this machine."""
        if not is_remote(self.where):
            yield Path(self.where) / name
            return
        bucket, prefix = self._bucket
        with tempfile.TemporaryDirectory() as folder:
            with clear_errors(self.where, "GetObject"):
                client().download_file(bucket, prefix + name, f"{folder}/{name}")
            yield Path(folder) / name

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Where to write a file; it gets its name when all of it is there, and on S3 in one upload."""
        if not is_remote(self.where):
            clear_killed(Path(self.where) / name)
            with whole(Path(self.where) / name) as part:
                yield part
            return
        bucket, prefix = self._bucket
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / name
            with clear_errors(self.where, "PutObject"):
                client().upload_file(f"{folder}/{name}", bucket, prefix + name)


@dataclass(frozen=True)
class _Job:
    """One partition to do."""

    source: Place
    name: str
    out: Place
    root: str
    limits: Limits


def hash_partitions(
    source: str, out: str, root: str = "", limits: Limits | None = None, engine: Engine = POOL
) -> dict[str, int]:
    """Check and hash the pictures of every partition of `source` that `out` does not hold yet; rows by partition.

    Args:
        source: folder or s3://bucket/prefix of Parquet files with a column `image` (bytes, or bytes and path as Hugging Face
            writes them) or `path`.
        out: folder or s3://bucket/prefix for files of the same names, a row for each row.
        root: what relative paths start from: a folder, or s3://bucket/prefix.
        limits: what a picture must be to count; the defaults of a task.
        engine: a pool of processes, or Daft; a cluster's machines must all see source, out and root.
    """
    begin, end, limits = Place(source.rstrip("/")), Place(out.rstrip("/")), limits or Limits()
    names = [name for name in begin.names() if name.endswith(".parquet")]
    if not names:
        raise UserError(f"{source}: holds no .parquet files; name a folder of partitions, or s3://bucket/prefix")
    there = set(end.names())
    jobs = [_Job(begin, name, end, root, limits) for name in names if name not in there]
    with progress(len(names), "partitions", done=len(names) - len(jobs)) as bar:
        for _ in each(hash_partition, jobs, engine, small=2, batch=1):
            bar.update()
    counts = {name: _rows(end, name) for name in names}
    with end.writing(DONE) as path:
        write_text(path, json.dumps({"hash_algo": HASH_ALGO, "limits": asdict(limits), "rows": counts}, indent=1))
    return counts


def hash_partition(job: _Job) -> str:
    """Write what `curate check` says of each picture of one partition; returns its name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([pa.field(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    with job.source.reading(job.name) as read, job.out.writing(job.name) as path:
        try:
            file = pq.ParquetFile(read)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"{job.source.where}/{job.name}: cannot be read as Parquet ({error})") from None
        wanted = [name for name in ("image", "path") if name in file.schema_arrow.names]
        if not wanted:
            found = ", ".join(file.schema_arrow.names[:8])
            raise UserError(f"{job.source.where}/{job.name}: has neither a column `image` nor `path`; found {found}")
        with file, pq.ParquetWriter(path, schema, compression="zstd") as writer:
            row = 0
            for batch in file.iter_batches(ROWS, columns=wanted):
                writer.write_batch(hash_batch(batch, row, job.root, job.limits, schema))
                row += batch.num_rows
    return job.name


def hash_batch(batch: pa.RecordBatch, first: int, root: str, limits: Limits, schema: pa.Schema) -> pa.RecordBatch:
    """Batch in, batch out: pictures, and what is said of them; `first` is the number of the first row."""
    import pyarrow as pa

    pictures = batch.to_pylist()
    threads = threads_for(place_of(root, picture.get("path") or "") for picture in pictures)
    looked = overlapped(partial(_look, root=root, limits=limits), pictures, threads)
    rows = [{"row": first + at, **found} for at, found in enumerate(looked)]
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def _look(picture: dict[str, Any], root: str, limits: Limits) -> dict[str, Any]:
    """What is said of the picture of one row."""
    image = picture.get("image")
    path = picture.get("path") or (image.get("path") if isinstance(image, dict) else None)
    data = image.get("bytes") if isinstance(image, dict) else image
    if data is None:
        try:
            data = read_place(place_of(root, path or ""))
        except OSError as error:
            return {"path": path, "dropped": f"broken: its file cannot be read ({error.strerror})"}
    return {"path": path, "image_id": hashlib.sha256(data).hexdigest(), **inspect(data, limits)}


def _rows(place: Place, name: str) -> int:
    import pyarrow.parquet as pq

    with place.reading(name) as path:
        return int(pq.read_metadata(path).num_rows)
