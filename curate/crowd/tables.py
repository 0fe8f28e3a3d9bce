"""HITS and LEDGER as files: what the journal and the ledger in project.db say, for everybody who reads tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.crowd import budget, journal
from schemas.tables import HITS, LEDGER

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.workspace import Workspace
    from schemas.table import Table

PIECE = 20_000  # rows in memory at once


def write_tables(here: Workspace, project: sqlite3.Connection, task: str) -> list[Path]:
    """Write both tables of a task; returns their paths. Memory does not grow with them."""
    hits, ledger = here.of_task(task, "hits"), here.of_task(task, "ledger")
    HITS.write_batches(_pieces(HITS, journal.hit_rows(journal.each(project, task))), hits)
    LEDGER.write_batches(_pieces(LEDGER, budget.ledger_rows(project, task)), ledger)
    return [hits, ledger]


def _pieces(table: Table, rows: Iterable[dict[str, Any]]) -> Iterator[pa.Table]:
    stream = iter(rows)
    while piece := list(islice(stream, PIECE)):
        yield table.rows(piece)
