"""A Hugging Face data set: Parquet shards that `datasets.load_dataset` and the Hub's viewer read, and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.dataset.export.card import card
from curate.dataset.export.choose import Chosen
from curate.dataset.export.circumstances import Circumstances
from curate.dataset.export.encode import Encoding
from curate.dataset.export.place import Exported, Facts, Place, export
from curate.dataset.export.shards import number_shards, write_shards
from curate.dataset.export.units import Job, Record, cut, do_units
from schemas.files import write_text

NAMES = {"val": "validation"}  # the Hub's word
GROUP_ROWS = 100  # pictures in a row group: what a reader that wants one picture has to fetch
GROUP_BYTES = 32 << 20
_TEXT = ("image_id", "chosen_by", "group_id", "cluster_id", "marketplace", "listing_id")
_RANK = ("label_rank", "unlabeled_rank")


def export_huggingface(
    chosen: Chosen,
    out: Path,
    known: Circumstances,
    *,
    side: int | None = None,
    workers: bool = False,
    shard_mb: int = 256,
    processes: int | None = None,
) -> Exported:
    """Write `out/data/train-00000-of-00003.parquet` and so on, and `out/README.md`, the card with its `configs`.

    Columns: image (bytes and file name), label (ClassLabel in class order, missing where unlabeled), image_id, and what the
    manifest knows; with `workers` also the single votes by pseudonym.
    """
    encoding = Encoding(side)
    schema = _schema(chosen.classes, workers)
    work = partial(_write, encoding=encoding, most_bytes=shard_mb << 20, classes=chosen.classes, schema=schema)

    def make(place: Place) -> Facts:
        units = cut(chosen, most_bytes=shard_mb << 20, most_rows=20_000)
        columns = ["path", "file", "label", *(name for name in schema.names if name in chosen.rows and name != "label")]
        records = do_units(place, chosen.rows, units, columns, work, processes=processes)
        shards = number_shards(place, units, records, _shard_name)
        there = {NAMES.get(split, split): f"data/{NAMES.get(split, split)}-*" for split in shards}
        write_text(place.part / "README.md", card(chosen, known, data_files=there))
        return {
            "failed": [each for record in records for each in record["failed"]],
            "shards": shards,
            "said": ['read it: datasets.load_dataset("{out}")'],
        }

    return export(chosen, out, "huggingface", {"side": side, "workers": workers, "shard_mb": shard_mb}, make)


def _shard_name(split: str, number: int, of: int) -> str:
    return f"data/{NAMES.get(split, split)}-{number:05d}-of-{of:05d}.parquet"


def _schema(classes: list[str], workers: bool) -> pa.Schema:
    """The Arrow schema; its metadata tells `datasets` which column is a picture and what the class numbers mean."""
    text, whole, real = _value("string"), _value("int32"), _value("float64")
    votes = {"votes": [{"pseudonym": text, "label": text}]} if workers else {}
    # written as `Sequence`: the newest `datasets` reads it as List, and versions before 4 know no List
    features: Mapping[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
        "image_id": text,
        "n_votes": whole,
        "n_agree": whole,
        "label_probs": {"feature": real, "_type": "Sequence"},
        **dict.fromkeys(_TEXT[1:], text),
        "marketplaces": {"feature": text, "_type": "Sequence"},
        **dict.fromkeys(_RANK, real),
        **votes,
    }
    types = {
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        "label": pa.int64(),
        "n_votes": pa.int32(),
        "n_agree": pa.int32(),
        "label_probs": pa.list_(pa.float64()),
        "marketplaces": pa.list_(pa.string()),
        "votes": pa.list_(pa.struct([("pseudonym", pa.string()), ("label", pa.string())])),
        **dict.fromkeys(_TEXT, pa.string()),
        **dict.fromkeys(_RANK, pa.float64()),
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([(name, types[name]) for name in features], metadata)


def _value(dtype: str) -> dict[str, str]:
    return {"dtype": dtype, "_type": "Value"}


def _write(job: Job, encoding: Encoding, most_bytes: int, classes: list[str], schema: pa.Schema) -> Record:
    """The step of one process."""
    numbers = {key: number for number, key in enumerate(classes)}
    return write_shards(job, ".parquet", most_bytes, encoding, lambda path: _Shard(path, schema, numbers))


class _Shard:
    """A Parquet file that takes pictures one by one and holds one row group of them in memory."""

    def __init__(self, path: Path, schema: pa.Schema, numbers: Mapping[str, int]) -> None:
        # pictures are compressed already, and a dictionary of them would be a second copy
        compression = {leaf: "none" if leaf == "image.bytes" else "zstd" for leaf in _leaves(schema)}
        self._schema, self._numbers = schema, numbers
        self._file = pq.ParquetWriter(
            path, schema, compression=compression, use_dictionary=["chosen_by", "marketplace"], write_page_index=True,
            write_statistics=["label", "image_id"],
        )  # fmt: skip
        self._rows: list[dict[str, Any]] = []
        self._held = 0

    def add(self, row: dict[str, Any], picture: bytes) -> None:
        """Take in one picture."""
        label = self._numbers.get(row["label"]) if row["label"] is not None else None
        self._rows.append(row | {"image": {"bytes": picture, "path": row["name"]}, "label": label})
        self._held += len(picture)
        if len(self._rows) >= GROUP_ROWS or self._held >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._rows:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        columns = [pa.array([row.get(field.name) for row in self._rows], field.type) for field in self._schema]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._rows, self._held = [], 0


def _leaves(schema: pa.Schema) -> list[str]:
    """The columns as Parquet names them, e.g. `image.bytes`, `label_probs.list.element`."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    parquet = pq.ParquetFile(sink.getvalue()).schema
    return [parquet.column(number).path for number in range(len(parquet))]
