"""Vectors of pictures as they lie in an EMBEDDINGS table, read a block at a time: the whole table may not fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schemas.errors import TableError, UserError
from schemas.tables import EMBEDDINGS

CURRENT = "consenso.model_id"  # file metadata: the model that `curate embed` ran last; its vectors are the ones meant


def model_of(path: Path, model_id: str | None = None) -> str:
    """The model whose vectors in the file are meant: `model_id`, else the one embedded last, else the only one.

    Raises UserError when the file has no vectors of it, or of several models and does not say which one is meant.
    """
    import pyarrow.compute as pc

    file = open_embeddings(path)
    there = sorted(
        {
            str(name)
            for group in range(file.num_row_groups)
            for name in pc.unique(file.read_row_group(group, ["model_id"])["model_id"]).to_pylist()
        }
    )
    known = ", ".join(there) or "none"
    wanted = model_id or EMBEDDINGS.metadata(path).get(CURRENT) or (there[0] if len(there) == 1 else None)
    if wanted is None and there:
        raise UserError(f"{path}: holds vectors of several models and does not say which is meant: {known}")
    if wanted not in there:
        asked = f"of {wanted}" if wanted else "at all"
        raise UserError(f"{path}: holds no vectors {asked}; models in it: {known}. Make them with `curate embed`.")
    return wanted


def iter_vectors(path: Path, model_id: str, rows: int = 8192) -> Iterator[tuple[list[str], np.ndarray]]:
    """Blocks of at most `rows` pictures of one model: their image_ids and unit vectors, float32 [n, d].

    Raises UserError when a vector is of another length than the first.
    """
    import pyarrow.compute as pc

    width = 0
    for batch in open_embeddings(path).iter_batches(rows, columns=["image_id", "model_id", "vector"]):
        mine = batch.filter(pc.equal(batch.column("model_id"), model_id))
        if not mine.num_rows:
            continue
        column = mine.column("vector")
        flat = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        width = width or len(flat) // mine.num_rows
        if pc.any(pc.not_equal(pc.list_value_length(column), width)).as_py():
            raise UserError(f"{path}: vectors of {model_id} have different lengths; make it anew with `curate embed`")
        yield mine.column("image_id").to_pylist(), flat.reshape(mine.num_rows, width)


def read_vectors(
    path: Path, image_ids: Sequence[str] | None = None, model_id: str | None = None
) -> tuple[list[str], np.ndarray, str]:
    """Vectors of these pictures, or of all: the image_ids that have one, their unit vectors float32 [n, d], the model_id.

    The ids come back in the order they were asked for; a picture without a vector is left out, so compare lengths.

    Args:
        path: an EMBEDDINGS file.
        image_ids: which pictures; None = all, in the file's order.
        model_id: whose vectors; None = the model embedded last.
    Raises UserError for a file that is none, and for a model that it does not hold.
    """
    model_id = model_of(path, model_id)
    place = None if image_ids is None else {image_id: at for at, image_id in enumerate(image_ids)}
    room = open_embeddings(path).metadata.num_rows if place is None else len(place)
    ids: list[str | None] = [None] * room
    vectors = np.empty((0, 0), np.float32)
    count = 0
    for found, block in iter_vectors(path, model_id):
        if not vectors.size:
            vectors = np.empty((room, block.shape[1]), np.float32)  # once: a list of blocks would need the memory twice
        for image_id, vector in zip(found, block, strict=True):
            at = count if place is None else place.get(image_id)
            if at is not None:
                ids[at], vectors[at] = image_id, vector
                count += 1
    there = [at for at, image_id in enumerate(ids) if image_id is not None]
    solid = not there or there[-1] + 1 == count  # nothing is missing before the last one: no copy is needed
    return [str(ids[at]) for at in there], vectors[:count] if solid else vectors[there], model_id


def open_embeddings(path: Path) -> Any:
    """The Parquet file, its shape checked and no row read. Raises TableError for a file that is none of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise TableError(f"{path}: no such file. Make it with `{EMBEDDINGS.made_by}`.")
    try:
        file = pq.ParquetFile(path, pre_buffer=False)  # else it reads far ahead, 1.5 GB of it
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path}: cannot be read as Parquet ({str(error).splitlines()[0]})") from error
    name = (file.schema_arrow.metadata or {}).get(b"consenso.table", b"").decode()
    missing = [column for column in EMBEDDINGS.names if column not in file.schema_arrow.names]
    if missing or name not in ("", EMBEDDINGS.name):
        found = f"a {name} table" if name else f"a file with the columns {', '.join(file.schema_arrow.names[:8])}"
        raise TableError(f"{path}: is {found}, not embeddings; those are written by `{EMBEDDINGS.made_by}`")
    return file
