"""Where the originals are kept: storage move."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.commands.options import WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `storage move`."""
    storage = typer.Typer(no_args_is_help=True, help="Where original pictures are kept: this folder, or S3.")
    app.add_typer(storage, name="storage")
    storage.command("move")(move_command)


def move_command(
    where: Annotated[
        str, typer.Argument(metavar="PLACE", help="s3://bucket/prefix, or `.` for the folder of the workspace.")
    ],
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the old copies once all is moved; default: leave them.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Copy every original to another place, check each, and name the new place in the tables; killed, it goes on."""
    from curate.dataset.manifest import rebuild_manifest
    from curate.storage_move import move, plan_move, usable
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    with here.lock("curate storage move"):
        plan = plan_move(here, usable(where))
        typer.echo(plan.describe())
        done = move(plan, remove)
        here = open_workspace(here.root)
        built = [
            rebuild_manifest(here, here.task(name), "curate storage move")
            for name in here.tasks()
            if here.manifest(name).exists()
        ]
        here.log("storage move", outputs=[here.table("pictures"), *(one.path for one in built)], **done.facts())
    typer.echo(done.describe())
    for one in built:
        typer.echo(one.describe())
    done.raise_if_partial()
