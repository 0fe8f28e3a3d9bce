"""A picture of any table in text: rows, columns and what they mean, reasons for what does not count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from schemas.manifest import Manifest, read_manifest
from schemas.table import Table, read_parquet
from schemas.tables import MANIFEST, SPLIT_NAMES, TABLES

WIDTH = 80  # columns of a terminal that every line of a manifest's picture fits, short class names given
BAR = 20


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
    """Identity, splits as bars, counts by class and marketplace, agreement, reasons."""
    rows = manifest.rows
    split = rows["split"].fillna("no split yet")
    order = [name for name in (*SPLIT_NAMES, "no split yet") if (split == name).any()]
    lines = [*_identity(manifest), "", *_bars(split, order)]
    if rows["label"].notna().any():
        lines += [
            "",
            *_crossed(rows["label"].fillna("(no label)"), split, [*manifest.classes, "(no label)"], order, "class"),
        ]
    if rows["marketplace"].notna().any():
        each = rows.assign(split=split)[["marketplaces", "split"]].explode("marketplaces").dropna()
        names = sorted(each["marketplaces"].unique())
        lines += ["", *_crossed(each["marketplaces"], each["split"], names, order, "marketplace")]
        if len(each) > rows["marketplace"].notna().sum():
            lines.append("(a picture counts in every marketplace that shows it)")
    lines += ["", *_agreement(rows)]
    for name, what in (("chosen_by", "chosen"), ("dropped", "dropped"), ("split_reason", "why")):
        if rows[name].notna().any():
            lines.append(f"{what:<10}{_counts(rows[name])}")
    return lines


def _identity(manifest: Manifest) -> list[str]:
    """Which manifest it is, how it was made, what changed in its test."""
    info = manifest.info
    said = [f"task {manifest.task}", f"manifest {manifest.manifest_id}"]
    if made := info.get("made_by"):
        said.append(f"made by `{made}`")
    lines = [", ".join(said), f"parent {manifest.parent or 'none'}; pictures lie in {manifest.root}"]
    policy = info.get("split")
    if policy and "seed" in info:
        share = f"test {policy['test']:g} ({policy['balance']}), val {policy['val']:g}, seed {info['seed']}"
        versions = [f"{name} version {v['version']}" for name, v in info.get("versions", {}).items()]
        lines.append("; ".join([f"split {share}", *([", ".join(versions)] if versions else [])]))
    if fixed := info.get("fixed"):
        crossing = f", {fixed['crossing_groups']} groups cross it" if fixed["crossing_groups"] else ""
        lines.append(f"given split {fixed['file']}: {fixed['pictures']} pictures{crossing}")
    return lines


def _bars(split: pd.Series, order: Sequence[str]) -> list[str]:
    """One bar a split, the longest of full length."""
    n = {name: int((split == name).sum()) for name in order}
    most, wide = max(n.values(), default=1), max(map(len, order), default=0)
    return [
        f"{name:<{wide}}  {count:>7}  {100 * count / len(split):>5.1f} %  {_bar(count / most)}"
        for name, count in n.items()
    ]


def _bar(share: float, width: int = BAR) -> str:
    """A bar of eighths of a letter; whatever is there shows at least a sliver."""
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _crossed(down: pd.Series, across: pd.Series, rows: Sequence[str], columns: Sequence[str], name: str) -> list[str]:
    """Counts of one thing by split, with a bar for the size of each row; zeros are dots, so that gaps are seen."""
    table = pd.crosstab(down, across).reindex(index=list(rows), columns=list(columns), fill_value=0)
    table["all"] = table.sum(axis=1)
    sizes = table["all"].to_dict()
    most = max([1, *(n for row, n in sizes.items() if row != "(no label)")])
    heads = [name, *table.columns]
    cells = [[str(row), *(str(n) if n else "·" for n in table.loc[row])] for row in rows]
    total = ["all", *map(str, table.sum())]
    wide = [max(len(line[i]) for line in [heads, *cells, total]) for i in range(len(heads))]
    wide[0] = min(wide[0], 28)
    room = max(min(BAR, WIDTH - sum(wide) - 2 * len(wide)), 4)
    bars = ["" if row == "(no label)" else _bar(sizes[row] / most, room) for row in rows]
    return [
        f"{_cut(line[0], wide[0]):<{wide[0]}}  " + "  ".join(f"{cell:>{w}}" for cell, w in zip(line[1:], wide[1:], strict=True)) + (f"  {bar}" if bar else "")
        for line, bar in zip([heads, *cells, total], ["", *bars, ""], strict=True)
    ]  # fmt: skip


def _agreement(rows: pd.DataFrame) -> list[str]:
    """How far the people agreed on the labeled pictures: 3 of 3, 2 of 3, …"""
    labeled = rows[rows["label"].notna()]
    said = [f"{int(rows['label'].notna().sum())} of {len(rows)} pictures"]
    voted = labeled[labeled["n_votes"].notna() & (labeled["n_votes"] > 0)]
    if len(voted):
        pairs = voted["n_agree"].astype("str") + " of " + voted["n_votes"].astype("str")
        said += [f"{pair} agree {100 * n / len(voted):.1f} %" for pair, n in pairs.value_counts()[:4].items()]
    return [f"{'labeled':<10}{'; '.join(said)}"]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _counts(values: pd.Series, most: int = 6) -> str:
    counts = values.value_counts()
    more = f", {counts.iloc[most:].sum()} others" if len(counts) > most else ""
    return ", ".join(f"{n} {value}" for value, n in counts.iloc[:most].items()) + more
