"""An order to forget, from the first look to the last byte.

First what is named is kept out and the whole plan is written down, in one transaction of project.db. Then each place is
cleaned, a file or a transaction at a time; all of it can be done again. The plan is deleted last, so a run that was killed
anywhere is taken up by the next one and ends as if nothing had happened.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.crowd.crash import crash_point
from curate.database import transaction
from curate.forget import databases, files, packs
from curate.forget.manifests import follow, ids_now, rewrite_manifest
from curate.forget.plan import Order, Plan, make_plan, pending, write_down
from curate.forget.rows import Rows, kind_of, opened
from curate.forgotten import IMAGE, LISTING, Forgotten, salt_of
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.pack import SUMS
from schemas.progress import progress
from schemas.tables import FORGOTTEN, GOLD, MANIFEST

SHOWN = 8  # names of one kind that a person is told
CROWD = "crowd.db"


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


def forget(
    workspace: Workspace,
    order: Order,
    ask: Callable[[list[str]], bool],
    say: Callable[[str], object],
    dry_run: bool = False,
) -> Plan | None:
    """Carry an order out, after `ask` has shown what goes and said yes; returns the plan that was done, None for none.

    A run that was killed is ended first, without being asked about again; with `dry_run` that is all that is said. Raises UserError for what is not here, and while
    people may still answer a HIT that shows one of the pictures. Call it while holding the workspace's lock.
    """
    with databases.project_of(workspace) as project:
        if (unfinished := pending(project)) is not None:
            if dry_run:
                say(
                    f"what was begun at {unfinished.at[:19]} is not done yet: {_what(unfinished)}; without --dry-run it is"
                )
                return None
            say(f"going on with what was begun at {unfinished.at[:19]}: {_what(unfinished)}")
            carry_out(workspace, project, unfinished)
            done: Plan | None = unfinished
        elif not order:
            raise UserError("say what to forget: --listing MARKETPLACE/ID, --image ID or --seller NAME")
        else:
            done = None
        if not order:
            return done
        plan = make_plan(workspace, project, order)
        if not plan:
            return done
        _refuse_while_open(workspace, project, plan)
        forgotten = _as_if(project, plan)
        survey = look(workspace, project, plan, forgotten)
        if not ask(survey.lines(plan)):
            return done
        with transaction(project):
            write_down(project, plan)
        crash_point("forget-planned")
        carry_out(workspace, project, plan)
        return plan


def _what(plan: Plan) -> str:
    return f"{len(plan.images)} pictures, {len(plan.names)} listings, {len(plan.sellers)} sellers"


def _refuse_while_open(workspace: Workspace, project: sqlite3.Connection, plan: Plan) -> None:
    for (task, endpoint), count in databases.open_hits(workspace, project, plan).items():
        raise UserError(
            f"{count} HITs of task {task} that show it are open at {endpoint}: `curate hits stop --task {task}` ends them, then "
            f"`curate hits collect --task {task}` brings in what was answered; after that run this again"
        )


def _as_if(project: sqlite3.Connection, plan: Plan) -> Forgotten:
    """What is forgotten once the plan is done."""
    salt = salt_of(project)
    known = Forgotten.read(project)
    hashes = {kind: set(there) for kind, there in known.hashes.items()}
    for kind, each in plan.hashes(salt):
        hashes.setdefault(kind, set()).add(each)
    return Forgotten(salt, hashes)


def look(workspace: Workspace, project: sqlite3.Connection, plan: Plan, forgotten: Forgotten) -> Survey:
    """Count what the plan would do, and note in the plan the files that only their present state shows. Writes nothing."""
    survey, rows, found = Survey(), Rows(plan, forgotten), files.walk(workspace)
    newest = {workspace.manifest(name) for name in workspace.tasks()}
    for path in found.tables:
        kind = _kind(path)
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


def _kind(path: Path) -> str:
    with opened(path) as file:
        return kind_of(file.schema_arrow)


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
    if asked and not (workspace.root / CROWD).exists():
        said.append(
            f"out of reach: {', '.join(asked)} keeps the HITs that name them; `curate hits delete` removes them there"
        )
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


def carry_out(workspace: Workspace, project: sqlite3.Connection, plan: Plan) -> None:
    """Do what is written down, all of it, whatever of it was done before."""
    forgotten = Forgotten.read(project)
    steps: list[tuple[str, Callable[[], object]]] = [
        ("crawl", lambda: databases.clean_project(project, plan, forgotten)),
        ("parts", lambda: files.clear_parts(workspace)),
        ("manifests", lambda: _manifests(workspace, plan, forgotten)),
        ("tables", lambda: _tables(workspace, plan, forgotten)),
        ("packs", lambda: _packs(workspace, plan)),
        ("exports", lambda: _exports(workspace, plan)),
        ("databases", lambda: _databases(workspace, forgotten)),
        ("texts", lambda: _texts(workspace, plan, forgotten)),
        ("bytes", lambda: _bytes(workspace, plan)),
        ("list", lambda: _list(workspace, project, plan)),
    ]
    with progress(len(steps), "forgetting") as bar:
        for name, step in steps:
            bar.set_postfix_str(name, refresh=False)
            crash_point(f"forget-before-{name}")
            try:
                step()
            except OSError as error:
                raise UserError(
                    f"{workspace.root}: cannot be written ({error}); run the same command again to go on"
                ) from error
            bar.update()
    with transaction(project):
        project.execute("DELETE FROM forgetting WHERE name = 'plan'")
    crash_point("forget-done")
    databases.emptied(project)


def _manifests(workspace: Workspace, plan: Plan, forgotten: Forgotten) -> None:
    rows, tables = Rows(plan, forgotten), files.walk(workspace).tables
    found = [path for path in tables if _kind(path) == MANIFEST.name]
    for path in found:
        rewrite_manifest(path, rows, plan)
        crash_point("forget-manifest")
    ids = ids_now(found)
    for path in tables:
        follow(path, ids)
        crash_point("forget-followed")


def _tables(workspace: Workspace, plan: Plan, forgotten: Forgotten) -> None:
    rows = Rows(plan, forgotten)
    for path in files.walk(workspace).tables:
        if _kind(path) != MANIFEST.name:
            rows.rewrite(path)
            crash_point("forget-table")


def _packs(workspace: Workspace, plan: Plan) -> None:
    for folder in files.walk(workspace).packs:
        manifests = [path for path in sorted(folder.glob("*.parquet")) if _kind(path) == MANIFEST.name]
        packs.rewrite_pack(folder, set(plan.images), workspace.relative(folder) in plan.packs, manifests)
        crash_point("forget-pack")


def _exports(workspace: Workspace, plan: Plan) -> None:
    for name in plan.exports:
        if (workspace.root / name).exists():
            shutil.rmtree(workspace.root / name)
        crash_point("forget-export")


def _databases(workspace: Workspace, forgotten: Forgotten) -> None:
    for path in databases.databases(workspace.root, files.walk(workspace).others):
        databases.clean_database(path, forgotten)
        crash_point("forget-database")


def _texts(workspace: Workspace, plan: Plan, forgotten: Forgotten) -> None:
    texts, others = files.Texts(workspace, plan, forgotten), files.walk(workspace).others
    stores = set(databases.databases(workspace.root, others))
    for path in others:
        if path not in stores:
            files.apply(path, texts)
            crash_point("forget-text")


def _bytes(workspace: Workspace, plan: Plan) -> None:
    workspace.storage.sweep("blobs/")
    for _ in files.remove_bytes(workspace, plan):
        crash_point("forget-bytes")


def _list(workspace: Workspace, project: sqlite3.Connection, plan: Plan) -> None:
    """What is forgotten as a table, and a line of the log that names hashes only; said once, however often it is done."""
    import pandas as pd

    rows = [dict(row) for row in project.execute("SELECT * FROM forgotten ORDER BY forgotten_at, kind, hash")]
    path = workspace.table("forgotten")
    FORGOTTEN.write(FORGOTTEN.frame({**r, "forgotten_at": pd.Timestamp(r["forgotten_at"])} for r in rows), path)
    crash_point("forget-listed")
    log = workspace.root / "log.jsonl"
    if log.exists() and f'"begun": "{plan.at}"' in log.read_text(encoding="utf-8"):
        return
    salt = salt_of(project)
    named = {kind: [each for k, each in plan.hashes(salt) if k == kind] for kind in (IMAGE, LISTING)}
    workspace.log(
        "forget",
        outputs=[path],
        begun=plan.at,
        by=plan.by,
        pictures=named[IMAGE],
        listings=named[LISTING],
        rows=plan.rows,
    )
