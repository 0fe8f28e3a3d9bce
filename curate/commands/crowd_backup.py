"""Commands that carry a crowd's store away and back: `crowd backup`, `crowd restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.crowd import DbOption, open_crowd
from curate.commands.options import WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `backup` and `restore` to `curate crowd`."""
    crowd = next(group.typer_instance for group in app.registered_groups if group.name == "crowd")
    assert crowd is not None
    crowd.command("backup")(backup_command)
    crowd.command("restore")(restore_command)


def backup_command(
    file: Annotated[Path, typer.Argument(help="Where the backup goes; {time} in the name becomes the time.")],
    db: DbOption = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Keep only the newest N files that {time} has named, remove older ones.")
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write the whole store to one file, while the server runs. It restores into SQLite and PostgreSQL alike."""
    from curate.crowd.server.backup import back_up, dated, prune

    with open_crowd(db, workspace) as store:
        target = dated(file)
        rows = back_up(store, target)
    removed = prune(file, keep)
    typer.echo(f"{rows:,} rows -> {target}" + (f"; {removed} older removed" if removed else ""))


def restore_command(
    file: Annotated[Path, typer.Argument(help="A file that `curate crowd backup` wrote.")],
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Fill an empty database from a backup."""
    from curate.crowd.server.backup import restore

    with open_crowd(db, workspace) as store:
        rows = restore(store, file)
    typer.echo(f"{rows:,} rows restored from {file}")
