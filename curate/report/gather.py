"""Everything a workspace knows about one task, read once; what is not there yet is an empty table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pandas as pd

from curate.workspace import Workspace
from schemas.manifest import Manifest, read_manifest
from schemas.table import Table
from schemas.tables import (
    AGREEMENT,
    APPEARANCES,
    CLUSTERS,
    CONFUSIONS,
    EXCLUSIONS,
    FAILURES,
    GOLD,
    HITS,
    LABELS,
    LISTINGS,
    PICTURES,
    SPLITS,
    TRUTH,
    VOTES,
    WORKERS,
)
from schemas.task import Task


@dataclass(frozen=True)
class Collection:
    """The tables of a workspace and one of its tasks, as they are now."""

    workspace: Workspace
    task: Task
    listings: pd.DataFrame
    pictures: pd.DataFrame
    appearances: pd.DataFrame
    failures: pd.DataFrame
    clusters: pd.DataFrame
    gold: pd.DataFrame
    truth: pd.DataFrame
    hits: pd.DataFrame
    votes: pd.DataFrame
    labels: pd.DataFrame
    splits: pd.DataFrame
    agreement: pd.DataFrame
    confusions: pd.DataFrame
    workers: pd.DataFrame
    exclusions: pd.DataFrame
    manifest: Manifest | None
    money: dict[str, float]  # dollars by kind of the ledger
    log: list[dict[str, Any]]  # what was done, oldest first

    @property
    def classes(self) -> list[str]:
        """Class keys in the task's order."""
        return [one.key for one in self.task.classes]

    @property
    def simulated(self) -> bool:
        """Whether the votes come from simulated workers."""
        return bool((self.votes["source"] == "simulated").any())


def gather(workspace: Workspace, task: Task) -> Collection:
    """Read all tables of the task; raises TableError for one that is damaged."""

    def shared(table: Table) -> pd.DataFrame:
        return table.read_if_there(workspace.table(table.name))

    def own(table: Table) -> pd.DataFrame:
        return table.read_if_there(workspace.of_task(task.task, table.name))

    newest = workspace.manifest(task.task)
    return Collection(
        workspace, task,
        listings=shared(LISTINGS), pictures=shared(PICTURES), appearances=shared(APPEARANCES), failures=shared(FAILURES),
        clusters=shared(CLUSTERS), gold=own(GOLD), truth=own(TRUTH), hits=own(HITS), votes=own(VOTES), labels=own(LABELS),
        splits=own(SPLITS), agreement=own(AGREEMENT), confusions=own(CONFUSIONS), workers=own(WORKERS), exclusions=own(EXCLUSIONS),
        manifest=read_manifest(newest) if newest.exists() else None,
        money=_money(workspace, task.task), log=_log(workspace),
    )  # fmt: skip


def _money(workspace: Workspace, task: str) -> dict[str, float]:
    """Dollars by kind of movement; empty where there is no ledger."""
    if not (workspace.root / "project.db").exists():
        return {}
    project = workspace.project()
    try:
        rows = project.execute(
            "SELECT kind, SUM(micro_usd) FROM ledger WHERE task = ? GROUP BY kind", (task,)
        ).fetchall()
    finally:
        project.close()
    return {kind: micro / 1e6 for kind, micro in rows}


def _log(workspace: Workspace) -> list[dict[str, Any]]:
    """Lines of log.jsonl; a torn last line is left out."""
    path = workspace.root / "log.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found
