"""Where pictures and labels are in a Parquet file: by its types, its bytes, and what Hugging Face writes beside them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

from schemas.errors import UserError

_LOOKED_AT = 20  # values of a column that are looked at
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")


@dataclass(frozen=True)
class Columns:
    """Where pictures and labels are in a file."""

    image: str
    nested: bool  # {bytes, path}
    label: str | None
    names: list[str] | None  # of a ClassLabel: what its numbers mean


def find_columns(file: pq.ParquetFile, image: str | None, label: str | None, where: Path | str) -> Columns:
    """Where pictures and labels are; raises UserError, naming the columns, when that cannot be told."""
    schema = file.schema_arrow
    found = f"; found {', '.join(schema.names[:12])}"
    for name in (image, label):
        if name is not None and name not in schema.names:
            raise UserError(f"{where}: no column {name!r}{found}")
    candidates = [image] if image else [name for name in schema.names if _is_binary(schema, name)]
    holding = [name for name in candidates if image or _holds_pictures(file, schema, name)]
    if len(holding) != 1 or not _is_binary(schema, holding[0]):
        said = (
            f"several columns of pictures, {', '.join(holding)}" if len(holding) > 1 else "no column of picture bytes"
        )
        raise UserError(f"{where}: {said}{found}. Say --image-column NAME")
    return Columns(holding[0], _is_nested(schema, holding[0]), label, _class_names(schema, label))


def _is_nested(schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    kind = schema.field(name).type
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0


def _is_binary(schema: pa.Schema, name: str) -> bool:
    import pyarrow as pa

    kind = schema.field(name).type
    kind = kind.field("bytes").type if _is_nested(schema, name) else kind
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _holds_pictures(file: pq.ParquetFile, schema: pa.Schema, name: str) -> bool:
    for batch in file.iter_batches(_LOOKED_AT, columns=[f"{name}.bytes" if _is_nested(schema, name) else name]):
        values = [data_of(value)[0] for value in batch.column(0).to_pylist()]
        return any((value or b"").startswith(_MAGIC) or (value or b"")[4:8] == b"ftyp" for value in values)
    return True  # no rows: nothing says that it does not


def _class_names(schema: pa.Schema, label: str | None) -> list[str] | None:
    """The names of a ClassLabel, which Hugging Face writes into the file's metadata."""
    if label is None:
        return None
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        feature = said["info"]["features"][label]
    except (ValueError, KeyError, TypeError):
        return None
    names = feature.get("names") if isinstance(feature, dict) else None
    return [str(name) for name in names] if isinstance(names, list) else None


def data_of(value: Any) -> tuple[bytes | None, str | None]:
    """Bytes and path of a value."""
    return (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
