"""Hashes and vectors of pictures that stand in Parquet partitions and not in a workspace: a partition in, a partition out."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from curate.clean.hashes import HASH_ALGO
from curate.clean.measure import Limits, inspect
from schemas.engine import POOL, Engine
from schemas.partitions import Work, map_partitions, pictures_of

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.clean.embed_model import Asked

HASHES = {
    "row": "int64", "path": "string", "image_id": "string", "format": "string", "mode": "string", "frames": "int32",
    "width_px": "int32", "height_px": "int32", "hash_algo": "string", "phash64": "uint64", "phash256": "binary",
    "sharpness": "double", "brightness": "double", "dropped": "string",
}  # fmt: skip

# numbers whose last bits are zero pack well when their bytes are sorted by place: half the size
VECTORS_WRITTEN = {"use_dictionary": ["model_id"], "column_encoding": {"vector.list.element": "BYTE_STREAM_SPLIT"}}


def hash_partitions(
    source: str, out: str, root: str = "", limits: Limits | None = None, engine: Engine = POOL
) -> dict[str, int]:
    """Check and hash the pictures of every partition of `source` that `out` does not hold yet; rows by partition.

    Args:
        source: folder or s3://bucket/prefix of Parquet files, as `map_partitions` takes them.
        out: folder or s3://bucket/prefix for files of the same names, a row for each row.
        root: what relative paths start from: a folder or s3://bucket/prefix.
        limits: what a picture must be to count; the defaults of a task.
        engine: a pool of processes, or Daft; a cluster's machines must all see source, out and root.
    """
    import pyarrow as pa

    limits = limits or Limits()
    schema = pa.schema([pa.field(name, pa.type_for_alias(kind)) for name, kind in HASHES.items()])
    step = partial(hash_batch, root=root, limits=limits, schema=schema)
    return map_partitions(Work(step, schema, {"hash_algo": HASH_ALGO, "limits": asdict(limits)}), source, out, engine)


def hash_batch(batch: pa.RecordBatch, first: int, root: str, limits: Limits, schema: pa.Schema) -> pa.RecordBatch:
    """Batch in, batch out: pictures, and what is said of them; `first` is the number of the first row."""
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    for path, data in pictures_of(batch, root):
        rows.append({"row": first + len(rows), "path": path})
        if isinstance(data, str):
            rows[-1]["dropped"] = f"broken: {data}"
        else:
            rows[-1] |= {"image_id": hashlib.sha256(data).hexdigest(), **inspect(data, limits)}
    return pa.RecordBatch.from_pylist(rows, schema=schema)


def embed_partitions(source: str, out: str, asked: Asked, root: str = "", engine: Engine = POOL) -> dict[str, int]:
    """Give the pictures of every partition of `source` that `out` does not hold yet a vector; rows by partition.

    Args:
        source: folder or s3://bucket/prefix of Parquet files, as `map_partitions` takes them.
        out: folder or s3://bucket/prefix for files of the same names, a row for each row: row, path, image_id, model_id,
            vector, and `failed` where there is none.
        asked: the model; each process loads it once.
        root: what relative paths start from: a folder or s3://bucket/prefix.
        engine: a pool of processes, or Daft; a cluster's machines must all see source, out, root and the weights.
    """
    import pyarrow as pa

    text = pa.string()
    schema = pa.schema(
        {
            "row": pa.int64(),
            "path": text,
            "image_id": text,
            "model_id": text,
            "vector": pa.list_(pa.float32()),
            "failed": text,
        }
    )
    step = partial(embed_batch, asked=asked, root=root, schema=schema)
    return map_partitions(Work(step, schema, {"model_id": asked.model_id}, VECTORS_WRITTEN), source, out, engine)


def embed_batch(batch: pa.RecordBatch, first: int, asked: Asked, root: str, schema: pa.Schema) -> pa.RecordBatch:
    """Batch in, batch out: pictures, and their vectors or why they have none; `first` is the number of the first row."""
    import pyarrow as pa

    from curate.clean.embed import embed
    from curate.clean.embed_model import loaded

    embedder = loaded(asked)
    threads = 1 if embedder.device == "cpu" else 0  # the other cores have processes of their own
    pictures = list(pictures_of(batch, root))
    rows: list[dict[str, Any]] = [
        {
            "row": first + at,
            "path": path,
            "image_id": None if isinstance(data, str) else hashlib.sha256(data).hexdigest(),
        }
        for at, (path, data) in enumerate(pictures)
    ]
    for positions, vectors in embed([data for _, data in pictures], embedder, threads):
        for at, found in zip(positions, vectors, strict=True):
            rows[at] |= {"failed": found} if isinstance(found, str) else {"model_id": asked.model_id, "vector": found}
    return pa.RecordBatch.from_pylist(rows, schema=schema)
