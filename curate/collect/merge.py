"""New rows join a table that is there: what other commands filled in is kept, and nothing is doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

AT_ONCE = 5_000  # rows in memory when a table is joined a piece at a time


def add_rows(table: Table, path: Path, rows: pd.DataFrame) -> int:
    """Add the rows whose key is not there yet; rows that are there stay as they are. Returns how many were new."""
    import pandas as pd

    before = table.read_if_there(path)
    key = list(table.key)
    there = pd.MultiIndex.from_frame(before[key])
    new = rows[~pd.MultiIndex.from_frame(rows[key]).isin(there)]
    if len(new) or not path.exists():
        table.write(_joined(before, new), path)
    return len(new)


def replace_rows(table: Table, path: Path, rows: pd.DataFrame) -> int:
    """Add the rows, each in place of the one with its key, if there is one. Returns how many were new."""
    import pandas as pd

    before = table.read_if_there(path)
    key = list(table.key)
    there = pd.MultiIndex.from_frame(before[key])
    named = pd.MultiIndex.from_frame(rows[key])
    table.write(_joined(before[~there.isin(named)], rows), path)
    return int((~named.isin(there)).sum())


def _joined(before: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    frames = [frame.astype(object) for frame in (before, new) if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else before


def join_rows(
    table: Table,
    path: Path,
    rows: Iterable[Mapping[str, Any]],
    stays: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    why: Callable[[Mapping[str, Any]], str | None] | None = None,
) -> int:
    """Write the rows that are there and stay, then new ones, a piece at a time: memory is flat at any size.

    `stays` and `why` see a row's key; `why` says what `dropped` becomes where a row that stays has none. The caller promises
    that a new row has no key of one that stays. Returns how many were new. `rows` may be a generator: it is asked for its
    first row only after all that was there has passed `stays`.
    """
    count = 0

    def pieces() -> Iterator[pa.Table]:
        nonlocal count
        for piece in table.batches(path, rows=AT_ONCE):
            keys = piece.select(list(table.key)).to_pylist()
            kept = [stays(row) for row in keys]
            piece = piece if all(kept) else piece.filter(kept)
            if why is not None:
                piece = _dropped(piece, [why(row) for row, there in zip(keys, kept, strict=True) if there])
            yield piece
        remaining = iter(rows)
        while new := list(islice(remaining, AT_ONCE)):
            count += len(new)
            yield table.rows(new)

    table.write_batches(pieces(), path)
    return count


def _dropped(piece: pa.Table, reasons: list[str | None]) -> pa.Table:
    """The piece with these reasons where it has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at = piece.schema.get_field_index("dropped")
    field = piece.schema.field(at)
    return piece.set_column(at, field, pc.coalesce(piece.column(at), pa.array(reasons, field.type)))
