"""One file of a pack, written whole: PACK rows in row groups that are bounded in rows and in bytes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from curate.dataset.shrink import Job, Small
from schemas.pack import GROUP_ROWS, INFO
from schemas.tables import PACK

GROUP_BYTES = 16 * 2**20  # a row group ends here, however few pictures it holds


def write_part(
    path: Path, rows: Sequence[Job], pictures: Iterator[Small], info: Mapping[str, Any], tell: Callable[[int], Any]
) -> str:
    """Write one file of the pack whole, row group by row group; returns its sha256."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = PACK.schema({INFO: json.dumps(info)})
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as raw:
        sink = _Hashing(raw)
        with pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"), schema, use_dictionary=False, write_statistics=["image_id"],
            compression={name: "zstd" if name == "image_id" else "none" for name in schema.names},
            write_page_checksum=True,
        ) as writer:  # fmt: skip
            for group in _groups(rows, pictures):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                tell(len(group))
        sync(raw)
    part.replace(path)
    return sink.digest.hexdigest()


def _groups(rows: Sequence[Job], pictures: Iterator[Small]) -> Iterator[list[dict[str, Any]]]:
    """The rows of PACK in row groups that are bounded in rows and bytes."""
    group: list[dict[str, Any]] = []
    size = 0
    for (image_id, _), small in zip(rows, pictures, strict=True):
        group.append({"image_id": image_id, **vars(small)})
        size += len(small.jpeg or b"")
        if len(group) == GROUP_ROWS or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


class _Hashing:
    """A file that knows the sha256 of what was written to it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest, self._at = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        """Write and add to the digest."""
        self.digest.update(data)
        self._at += self._file.write(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self._at

    def flush(self) -> None:
        """Pass it on."""
        self._file.flush()

    def close(self) -> None:
        """Left to the file's owner."""


def sync(file: IO[bytes]) -> None:
    """See that what was written is on the disk before the file gets its name."""
    file.flush()
    os.fsync(file.fileno())
