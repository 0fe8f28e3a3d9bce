"""The manifest: what `curate` hands to `train`. Derived from the tables, never edited; its id is the hash of its content."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import TableError
from schemas.files import write_bytes
from schemas.storage import place_of
from schemas.tables import MANIFEST

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Manifest:
    """A manifest read from disk: its rows, the class order of every probability list, and where the pictures are."""

    path: Path
    rows: pd.DataFrame
    classes: list[str]
    manifest_id: str
    task: str
    parent: str | None  # manifest_id of the build before
    info: dict[str, Any]  # taxonomy_version, question_version, how it was made, counts
    root: Path  # what relative picture paths start from

    def picture(self, path: str) -> Path | str:
        """Where a picture of this manifest is: a file, or an `s3://` place."""
        return place_of(self.root, path)


def manifest_id(table: pa.Table, task: str, classes: Sequence[str]) -> str:
    """Hash of the content: rows in image_id order, the task and the class order. 32 hex characters."""
    import pyarrow as pa

    plain = table.sort_by("image_id").replace_schema_metadata(None).combine_chunks()
    digest = hashlib.sha256(json.dumps([task, list(classes), MANIFEST.version]).encode())
    sink = pa.BufferOutputStream()
    fields = pa.schema([pa.field(f.name, f.type, f.nullable) for f in plain.schema])
    with pa.ipc.new_stream(sink, fields) as writer:
        writer.write_table(plain.cast(fields))
    digest.update(sink.getvalue())
    return digest.hexdigest()[:32]


def write_manifest(
    rows: pd.DataFrame,
    paths: Sequence[Path],
    *,
    task: str,
    classes: Sequence[str],
    parent: str | None = None,
    info: Mapping[str, Any] | None = None,
) -> str:
    """Write the same manifest whole to each of `paths` (its numbered place first, then `<task>.parquet`); returns its id.

    Rows are sorted by image_id. `info` says how it was made and is kept in the file's metadata as JSON.
    """
    import pyarrow.parquet as pq

    table = MANIFEST.to_arrow(rows).sort_by("image_id")
    identity = manifest_id(table, task, classes)
    metadata = {
        **{key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()},
        "consenso.manifest_id": identity,
        "consenso.task": task,
        "consenso.classes": json.dumps(list(classes)),
        "consenso.parent": parent or "",
        "consenso.info": json.dumps(dict(info or {}), default=str),
    }
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(metadata), sink, compression="zstd")
    data = sink.getvalue().to_pybytes()
    for path in paths:
        write_bytes(Path(path), data)
    return identity


def read_manifest(path: Path, classes: Sequence[str] | None = None) -> Manifest:
    """Read and check a manifest.

    A file that lost its metadata (pandas drops it) is read with its classes in sorted order and one warning on stderr, or
    with `classes` as given. Raises TableError for a file that is no manifest, for a label outside the class list, and where
    `classes` are not those that the file carries.
    """
    path = Path(path)
    table = MANIFEST.read_arrow(path)
    meta = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    rows = MANIFEST.to_frame(table)
    found = sorted(rows["label"].dropna().unique())
    kept = list(json.loads(meta.get("consenso.classes", "null")) or [])
    if classes and kept and list(classes) != kept:
        raise TableError(
            f"{path}: its classes are {', '.join(kept)}; asked for were {', '.join(classes)}. "
            "The order counts: it is that of every list of probabilities"
        )
    known = kept or list(classes or [])
    if not known:
        known = found
        print(
            f"warning: {path} carries no class list (pandas drops it); using {len(found)} classes in sorted order",
            file=sys.stderr,
        )
    stray = [label for label in found if label not in known]
    if stray:
        raise TableError(
            f"{path}: label {stray[0]!r} is not in the class list ({', '.join(known)}). Was the task file changed?"
        )
    return Manifest(
        path=path,
        rows=rows,
        classes=known,
        manifest_id=meta.get("consenso.manifest_id") or manifest_id(table, path.stem, known),
        task=meta.get("consenso.task") or path.stem,
        parent=meta.get("consenso.parent") or None,
        info=json.loads(meta.get("consenso.info", "{}")),
        root=picture_root(path),
    )


def picture_root(path: Path) -> Path:
    """The workspace that a manifest lies in, else its own folder: what relative picture paths start from."""
    folder = Path(path).resolve().parent
    for candidate in (folder, *folder.parents):
        if (candidate / "workspace.yaml").exists():
            return candidate
    return folder
