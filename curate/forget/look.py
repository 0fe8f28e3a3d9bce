"""What a plan would do, counted and named, for a person to read before it is done."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from curate.forget import databases, files, packs
from curate.forget.manifests import rewrite_manifest
from curate.forget.plan import Plan
from curate.forget.rows import Rows, table_of
from curate.forgotten import Forgotten
from curate.workspace import Workspace
from schemas.pack import SUMS
from schemas.tables import GOLD, MANIFEST

SHOWN = 8  # names of one kind that a person is told
CROWD = "crowd.db"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass
class Survey:
    """What a plan would do, for a person to read before it is done."""

    rows: Counter[str] = field(default_factory=Counter)  # by table
    manifests: list[str] = field(default_factory=list)
    packs: list[str] = field(default_factory=list)
    exports: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # what left the workspace, and what only others can do
    tests: list[str] = field(default_factory=list)  # entry tests that show one

    def lines(self, plan: Plan) -> list[str]:
        """As a person reads it."""
        said = [_some("goes", f"{len(plan.images)} pictures", [i[:12] for i in plan.images])]
        if plan.names:
            said.append(_some("goes", f"{len(plan.names)} listings", [f"{m}/{i}" for m, i in sorted(plan.names)]))
        if plan.shared:
            said.append(f"stays: {len(plan.shared)} pictures that other listings show too; --picture-too takes them")
        if plan.copies:
            some = [i[:12] for i in plan.copies]
            said.append(_some("stays", f"{len(plan.copies)} copies and near twins of them; --copies takes them", some))
        counted = [f"{count:,} {name}" for name, count in sorted(self.rows.items()) if count]
        said.append(f"rows: {', '.join(counted) or 'none'}")
        for what, named in (
            ("manifests rewritten", self.manifests), ("packs rewritten", self.packs), ("exports removed", self.exports),
            ("pages with pictures inside removed", self.reports), ("texts that name them, rewritten", self.texts),
        ):  # fmt: skip
            if named:
                said.append(_some(what, str(len(named)), named))
        for model in self.models:
            said.append(f"a model does not unlearn: {model}; train it again on the manifest of now")
        if self.rows["splits"]:
            said.append("ranks of the split have holes afterwards: `curate split` closes them")
        said += [f"{test}: make another with `curate qual create`" for test in self.tests]
        return [*said, *self.elsewhere]


def _some(what: str, count: str, named: Sequence[str]) -> str:
    more = ", …" if len(named) > SHOWN else ""
    return f"{what}: {count} ({', '.join(named[:SHOWN])}{more})" if named else f"{what}: {count}"


def look(workspace: Workspace, project: sqlite3.Connection, plan: Plan, forgotten: Forgotten) -> Survey:
    """Count what the plan would do, and note in the plan the files that only their present state shows. Writes nothing."""
    survey, rows, found = Survey(), Rows(plan, forgotten), files.walk(workspace)
    newest = {workspace.manifest(name) for name in workspace.tasks()}
    for path in found.tables:
        kind = table_of(path)
        if kind == MANIFEST.name:
            gone = rewrite_manifest(path, rows, plan, write=False)
            if gone is not None:
                plan.manifests[workspace.relative(path)] = MANIFEST.metadata(path).get("consenso.manifest_id", "")
                if path in newest:
                    plan.newest.append(plan.manifests[workspace.relative(path)])
                survey.rows["manifest rows"] += gone
        elif gone := rows.rewrite(path, write=False):
            survey.rows[kind or workspace.relative(path)] += gone
    survey.manifests = sorted(plan.manifests)
    for folder in found.packs:
        if packs.holds(folder, plan.images) or any((workspace.root / m).parent == folder for m in plan.manifests):
            survey.packs.append(workspace.relative(folder))
            if (folder / SUMS).exists():
                plan.packs.append(workspace.relative(folder))
    plan.exports = [workspace.relative(p) for p in files.exports_with(found.exports, plan, forgotten)]
    survey.exports = plan.exports
    survey.rows.update(databases.count_project(project, plan))
    texts = files.Texts(workspace, plan, forgotten)
    stores = databases.databases(workspace.root, found.others)
    for path in stores:
        survey.rows[f"values of {workspace.relative(path)}"] += databases.clean_database(path, forgotten, write=False)
    for path in found.others:
        if path not in stores and (texts.named(path) or texts.is_report(path)):
            survey.reports.append(workspace.relative(path))
        elif path not in stores and texts.rewritten(path) is not None:
            survey.texts.append(workspace.relative(path))
    survey.models = _models(workspace, plan)
    survey.tests = _tests(workspace, project, plan)
    survey.elsewhere = _elsewhere(workspace, project, plan)
    plan.rows = sum(survey.rows.values())
    return survey


def _models(workspace: Workspace, plan: Plan) -> list[str]:
    """Runs whose manifest held one of the pictures, and in which split."""
    paths = {each: path for path, each in plan.manifests.items()}
    found = []
    for record in sorted(workspace.root.rglob("run.json")):
        try:
            said: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        path = paths.get(str(said.get("manifest_id")))
        if path is None:
            continue
        held = pq.read_table(workspace.root / path, columns=["image_id", "split"]).to_pylist()
        splits = Counter(str(row["split"]) for row in held if row["image_id"] in set(plan.images))
        parts = ", ".join(f"{count} {split}" for split, count in sorted(splits.items()))
        if parts:
            found.append(f"{workspace.relative(record.parent)} had {parts} of {Path(path).stem}")
    return found


def _tests(workspace: Workspace, project: sqlite3.Connection, plan: Plan) -> list[str]:
    """Entry tests that ask about one of the pictures."""
    made = {row["task"] for row in project.execute("SELECT task FROM qualification")}
    found = []
    for task in sorted(made & set(workspace.tasks())):
        gold = GOLD.read_if_there(workspace.of_task(task, "gold"))
        shown = int((gold["image_id"].isin(plan.images) & (gold["use"] == "test")).sum())
        if shown:
            found.append(f"the entry test of task {task} shows {shown} of them")
    return found


def _elsewhere(workspace: Workspace, project: sqlite3.Connection, plan: Plan) -> list[str]:
    """What is out of reach: crowds elsewhere, and what earlier commands wrote outside of the workspace."""
    said = []
    asked = sorted(databases.endpoints(project, plan))
    here = (workspace.root / CROWD).exists()
    for endpoint in asked:
        if not (here and urlsplit(endpoint).hostname in LOOPBACK):
            said.append(f"out of reach: {endpoint} keeps HITs that name them; `curate hits delete` removes them there")
    log = workspace.root / "log.jsonl"
    made: dict[str, str] = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("command") in ("pack", "export", "report", "leaks", "crowd backup"):
            made |= {
                out: entry["command"]
                for out in entry.get("outputs", ())
                if Path(out).is_absolute() and Path(out).exists()
            }
    said += [
        f"out of reach: {path} was written by `curate {command}` and may hold them" for path, command in made.items()
    ]
    return said
