"""Commands of the data set stage: split, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `split` and `show`."""
    app.command("split")(split_command)
    app.command("show")(show_command)


def split_command(
    seed: Annotated[
        int | None, typer.Option(help="Decides what is new; what is decided stays. Default: the task's.")
    ] = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Divide the labeled pictures into train, val and test; near twins and listings stay together."""
    from curate.dataset.manifest import rebuild_manifest
    from curate.dataset.split_tables import describe, split_workspace
    from curate.workspace import open_workspace
    from schemas.tables import SPLITS

    here = open_workspace(workspace)
    asked = here.task(task)
    path = here.of_task(asked.task, "splits")
    with here.lock("curate split"):
        cut = split_workspace(here, asked, seed)
        SPLITS.write(cut.rows, path)
        built = rebuild_manifest(here, asked, "curate split", seed=asked.split.seed if seed is None else seed)
        here.log("split", [here.of_task(asked.task, "labels")], [path, built.path], manifest_id=built.manifest_id)
    typer.echo(f"{describe(cut, seed)}\n{built.describe()}")


def show_command(file: Annotated[Path, typer.Argument(help="Any table of ours, or any Parquet file.")]) -> None:
    """Say what a table holds: rows, columns and what they mean, reasons; of a manifest also counts by split and class."""
    from curate.dataset.show import show

    typer.echo(show(file))
