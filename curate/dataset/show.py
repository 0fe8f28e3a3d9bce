"""A picture of any table in text: rows, columns and what they mean, reasons for what does not count."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa

from schemas.manifest import Manifest, read_manifest
from schemas.table import Table, read_parquet
from schemas.tables import MANIFEST, SPLIT_NAMES, TABLES


def show(path: Path) -> str:
    """What the file holds, as text. Raises TableError for a file that is missing, cut off, or of a newer version."""
    table = read_parquet(Path(path))
    kind = _kind(table)
    lines = [f"{path}: {kind.name if kind else 'a table of somebody else'}, {table.num_rows} rows"]
    if kind is MANIFEST:
        return "\n".join([*lines, *_manifest(read_manifest(Path(path)))])
    if kind:
        table = kind.read_arrow(Path(path))
    lines += ["", *_columns(table, kind)]
    for name in ("dropped", "split_reason"):
        if name in table.column_names and table[name].null_count < table.num_rows:
            lines += ["", f"{name}: {_counts(table[name].to_pandas())}"]
    return "\n".join(lines)


def _kind(table: pa.Table) -> Table | None:
    """Which table of ours it says it is, or has the columns of."""
    said = (table.schema.metadata or {}).get(b"consenso.table", b"").decode()
    named = next((kind for kind in TABLES if kind.name == said), None)
    # a file that pandas wrote has lost its name; only the manifest is told by its columns, since people pass it on
    return named or (MANIFEST if set(MANIFEST.names) <= set(table.column_names) else None)


def _columns(table: pa.Table, kind: Table | None) -> list[str]:
    """Name, type, missing values and meaning of every column."""
    comments = {column.name: column.comment for column in kind.columns} if kind else {}
    rows = [(f.name, str(f.type), table[f.name].null_count, comments.get(f.name, "")) for f in table.schema]
    wide = max((len(name) for name, *_ in rows), default=0)
    kinds = max((min(len(what), 28) for _, what, *_ in rows), default=0)
    missing = [f"{n} missing" if n else "" for _, _, n, _ in rows]
    gone = max(map(len, missing), default=0)
    return [
        f"  {name:{wide}}  {what[:28]:{kinds}}  {none:>{gone}}  {comment}".rstrip()
        for (name, what, _, comment), none in zip(rows, missing, strict=True)
    ]


def _manifest(manifest: Manifest) -> list[str]:
    """Identity, and counts by split and class, split and marketplace."""
    rows = manifest.rows
    split = rows["split"].fillna("no split yet")
    order = [name for name in (*SPLIT_NAMES, "no split yet") if (split == name).any()]
    made = manifest.info.get("made_by", "")
    lines = [
        f"task {manifest.task}, manifest {manifest.manifest_id}, made by `{made}`"
        if made
        else f"task {manifest.task}, manifest {manifest.manifest_id}",
        f"parent {manifest.parent or 'none'}; pictures lie in {manifest.root}",
        f"classes: {', '.join(manifest.classes)}",
        "",
        _crossed(rows["label"].fillna("(no label)"), split, [*manifest.classes, "(no label)"], order, "class"),
    ]
    if rows["marketplace"].notna().any():
        each = rows.assign(split=split)[["marketplaces", "split"]].explode("marketplaces").dropna()
        names = sorted(each["marketplaces"].unique())
        table = _crossed(each["marketplaces"], each["split"], names, order, "marketplace")
        lines += ["", "a picture counts in every marketplace that shows it:", table]
    for name in ("dropped", "split_reason"):
        if rows[name].notna().any():
            lines += ["", f"{name}: {_counts(rows[name])}"]
    return lines


def _crossed(down: pd.Series, across: pd.Series, rows: list[str], columns: list[str], name: str) -> str:
    table = pd.crosstab(down, across).reindex(index=rows, columns=columns, fill_value=0)
    table["all"] = table.sum(axis=1)
    table.loc["all"] = table.sum()
    return table.rename_axis(index=name, columns=None).to_string()


def _counts(values: pd.Series) -> str:
    return ", ".join(f"{n} {value}" for value, n in values.value_counts().items())
