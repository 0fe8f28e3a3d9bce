"""Commands of the data set stage: split, validate, show."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `split`, `validate` and `show`."""
    app.command("split")(split_command)
    app.command("validate")(validate_command)
    app.command("show")(show_command)


def split_command(
    seed: Annotated[
        int | None, typer.Option(help="Decides what is new; what is decided stays. Default: the task's.")
    ] = None,
    balance: Annotated[
        Literal["capped", "strict", "natural"] | None,
        typer.Option(
            help="Classes in the test: capped (equal as far as max_test_share allows), strict (the smallest class decides), "
            "natural (as they come). Default: the task's."
        ),
    ] = None,
    fill_short: Annotated[
        bool | None,
        typer.Option(
            "--fill-short/--random-only",
            help="Fill a class that is still short in val or test with pictures not chosen at random. Default: the task's.",
        ),
    ] = None,
    fixed: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet with image_id (or path) and split: a given split; the rest is decided around it."
        ),
    ] = None,
    allow_crossing: Annotated[
        bool, typer.Option("--allow-crossing", help="Keep a given split though groups cross it; the manifest says so.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would come out, write nothing.")] = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Divide the labeled pictures into train, val and test; near twins and listings stay together."""
    from curate.dataset.manifest import rebuild_manifest
    from curate.dataset.split_tables import Asked, describe, split_workspace
    from curate.workspace import open_workspace
    from schemas.tables import SPLITS

    here = open_workspace(workspace)
    of = here.task(task)
    asked = Asked(seed, balance, fill_short, fixed, allow_crossing)
    if dry_run:
        typer.echo(f"{describe(split_workspace(here, of, asked))}\nnothing was written (--dry-run)")
        return
    path = here.of_task(of.task, "splits")
    with here.lock("curate split"):
        decided = split_workspace(here, of, asked)
        SPLITS.write(decided.cut.rows, path)
        built = rebuild_manifest(here, of, "curate split", **decided.facts())
        inputs = [here.of_task(of.task, "labels"), *([fixed] if fixed else [])]
        here.log("split", inputs, [path, built.path], manifest_id=built.manifest_id)
    typer.echo(f"{describe(decided)}\n{built.describe()}")


def validate_command(
    file: Annotated[Path, typer.Argument(help="A manifest, or any table that a command of ours wrote.")],
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Also look whether every picture file is there.")
    ] = False,
) -> None:
    """Explain all that is wrong with a manifest, in words and rows; exit 1 when there are errors, warnings do not fail."""
    from curate.dataset.validate import validate

    checked = validate(file, pictures)
    typer.echo(checked.describe())
    raise typer.Exit(1 if checked.errors else 0)


def show_command(file: Annotated[Path, typer.Argument(help="Any table of ours, or any Parquet file.")]) -> None:
    """Say what a table holds: rows, columns and what they mean, reasons; of a manifest also counts by split and class."""
    from curate.dataset.show import show

    typer.echo(show(file))
