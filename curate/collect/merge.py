"""New rows join a table that is there: what other commands filled in is kept, and nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from schemas.table import Table


def add_rows(table: Table, path: Path, rows: pd.DataFrame) -> int:
    """Add the rows whose key is not there yet; rows that are there stay as they are. Returns how many were new."""
    before = table.read_if_there(path)
    key = list(table.key)
    there = pd.MultiIndex.from_frame(before[key])
    new = rows[~pd.MultiIndex.from_frame(rows[key]).isin(there)]
    if len(new) or not path.exists():
        table.write(joined(before, new), path)
    return len(new)


def replace_rows(table: Table, path: Path, rows: pd.DataFrame) -> int:
    """Add the rows, each in place of the one with its key, if there is one. Returns how many were new."""
    before = table.read_if_there(path)
    key = list(table.key)
    there = pd.MultiIndex.from_frame(before[key])
    named = pd.MultiIndex.from_frame(rows[key])
    table.write(joined(before[~there.isin(named)], rows), path)
    return int((~named.isin(there)).sum())


def joined(before: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Both, one below the other; types are the table's to set."""
    frames = [frame.astype(object) for frame in (before, new) if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else before
