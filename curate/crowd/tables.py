"""HITS and LEDGER as files: what the journal and the ledger in project.db say, for everybody who reads tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from curate.crowd import budget, journal
from schemas.tables import HITS, LEDGER

if TYPE_CHECKING:
    from curate.workspace import Workspace


def write_tables(here: Workspace, project: sqlite3.Connection, task: str) -> list[Path]:
    """Write both tables of a task; returns their paths."""
    return [
        HITS.write(journal.hits_table(journal.entries(project, task)), here.of_task(task, "hits")),
        LEDGER.write(budget.ledger(project, task), here.of_task(task, "ledger")),
    ]
