"""The `curate` command: pictures and people -> a manifest. Each stage's commands stand in `curate/commands/`."""

from __future__ import annotations

import typer

from curate.commands import (
    clean,
    collect,
    crowd,
    crowd_backup,
    dataset,
    demo,
    desk,
    embed,
    export,
    extract,
    forget,
    hits,
    label,
    layouts,
    leaks,
    pack,
    paying,
    people,
    people_of_crowd,
    recruit,
    report,
    select,
    storage,
    workspace,
)
from schemas.command import run

app = typer.Typer(
    name="curate",
    help="Collect product pictures, have people label them, and turn their answers into a data set.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

for stage in (
    workspace, storage, collect, extract, clean, embed, crowd, crowd_backup, people_of_crowd, recruit, layouts, hits, desk, label,
    people, paying, dataset, leaks, select, export, pack, forget, report, demo,
):  # fmt: skip
    stage.register(app)


def main() -> None:
    """Entry point of the `curate` script."""
    run(app, "curate")


if __name__ == "__main__":
    main()
