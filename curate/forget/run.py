"""An order to forget, from the first look to the last byte.

First what is named is kept out and the whole plan is written down, in one transaction of project.db. Then each place is
cleaned, a file or a transaction at a time; all of it can be done again. The plan is deleted last, so a run that was killed
anywhere is taken up by the next one and ends as if nothing had happened.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable

from curate.crowd.crash import crash_point
from curate.database import transaction
from curate.forget import databases, files, packs
from curate.forget.look import look
from curate.forget.manifests import follow, ids_now, rewrite_manifest
from curate.forget.plan import Order, Plan, make_plan, pending, write_down
from curate.forget.rows import Rows, table_of
from curate.forgotten import IMAGE, LISTING, Forgotten, salt_of
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.progress import progress
from schemas.tables import FORGOTTEN, MANIFEST


def forget(
    workspace: Workspace,
    order: Order,
    ask: Callable[[list[str]], bool],
    say: Callable[[str], object],
    dry_run: bool = False,
) -> Plan | None:
    """Carry an order out, after `ask` has shown what goes and said yes; returns the plan that was done, None for none.

    A run that was killed is ended first, without asking again; with `dry_run` it is only spoken of. Raises UserError for what
    is not here, and while people may still answer a HIT that shows one of the pictures. The caller holds the workspace's lock.
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
    found = [path for path in tables if table_of(path) == MANIFEST.name]
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
        if table_of(path) != MANIFEST.name:
            rows.rewrite(path)
            crash_point("forget-table")


def _packs(workspace: Workspace, plan: Plan) -> None:
    for folder in files.walk(workspace).packs:
        manifests = [path for path in sorted(folder.glob("*.parquet")) if table_of(path) == MANIFEST.name]
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
