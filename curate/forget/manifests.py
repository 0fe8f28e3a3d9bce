"""Manifests that were built lose their rows and get the id of what they hold now; what names them by id follows.

A manifest says in its info what it was: `"forgotten": {"rows": 2, "manifest_ids": [the id it had, …]}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.manifest import counts_of
from curate.forget.plan import Plan
from curate.forget.rows import Rows
from schemas.files import clear_killed, whole
from schemas.manifest import manifest_id
from schemas.tables import MANIFEST

if TYPE_CHECKING:
    import pyarrow as pa

ID, PARENT, INFO = "consenso.manifest_id", "consenso.parent", "consenso.info"


def rewrite_manifest(path: Path, rows: Rows, plan: Plan, write: bool = True) -> int | None:
    """Take the rows out of one manifest; returns how many, None where the manifest stays as it is."""
    table = MANIFEST.read_arrow(path)
    kept = rows.changed(table, MANIFEST.name)
    if kept is table:
        return None
    gone = table.num_rows - kept.num_rows
    if write:
        meta = _text(table)
        was = meta.get(ID)
        if was:
            meta[ID] = manifest_id(kept, meta.get("consenso.task", path.stem), json.loads(meta["consenso.classes"]))
            meta[INFO] = json.dumps(_info(json.loads(meta.get(INFO, "{}")), table, kept, was, was in plan.newest))
        _write(kept, path, meta)
    return gone


def _info(info: dict[str, Any], before: pa.Table, after: pa.Table, was: str, newest: bool) -> dict[str, Any]:
    """What the manifest says of itself, with its counts as they are now. Of the newest build, val and test get another version."""
    known = info.get("forgotten", {"rows": 0, "manifest_ids": []})
    count = before.num_rows - after.num_rows
    info = {**info, "forgotten": {"rows": known["rows"] + count, "manifest_ids": [*known["manifest_ids"], was]}}
    rows = MANIFEST.to_frame(after)
    if "counts" in info:
        info["counts"] = counts_of(rows)
    if newest and "versions" in info:
        split = MANIFEST.to_frame(before)["split"]
        info["versions"] = {
            name: _raised(version, int((split == name).sum()), int((rows["split"] == name).sum()))
            for name, version in info["versions"].items()
        }
    return info


def _raised(version: dict[str, int], before: int, after: int) -> dict[str, int]:
    if before == after:
        return version
    left = before - after
    return {"version": version["version"] + 1, "pictures": after, "added": 0, "relabeled": 0, "left": left}


def ids_now(paths: Iterable[Path]) -> dict[str, str]:
    """Of every id that a manifest had before, the one that it has now."""
    found = {}
    for path in paths:
        meta = MANIFEST.metadata(path)
        for was in json.loads(meta.get(INFO, "{}")).get("forgotten", {}).get("manifest_ids", []):
            found[was] = meta[ID]
    return found


def follow(path: Path, ids: Mapping[str, str]) -> None:
    """Let a manifest name its parent, and any other table the manifest it was made on, by the id of now."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    schema = pq.read_schema(path)
    meta = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if key != b"ARROW:schema"}
    key = PARENT if meta.get("consenso.table") == MANIFEST.name else ID
    changed = meta.get(key) in ids
    column = "manifest_id" in schema.names
    if column:
        changed = changed or bool(
            set(pc.unique(pq.read_table(path, columns=["manifest_id"])["manifest_id"]).to_pylist()) & set(ids)
        )
    if not changed:
        return
    meta |= {key: ids[meta[key]]} if meta.get(key) in ids else {}
    table = pq.read_table(path)
    if column:
        import pyarrow as pa

        values = [ids.get(each, each) for each in table["manifest_id"].to_pylist()]
        at = table.column_names.index("manifest_id")
        table = table.set_column(at, table.schema.field(at), pa.array(values, table.schema.field(at).type))
    _write(table, path, meta)


def _text(table: pa.Table) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}


def _write(table: pa.Table, path: Path, meta: Mapping[str, str]) -> None:
    import pyarrow.parquet as pq

    clear_killed(path)
    with whole(path) as part:
        pq.write_table(table.replace_schema_metadata(dict(meta)), part, compression="zstd")
