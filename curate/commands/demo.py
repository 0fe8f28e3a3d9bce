"""The whole story in one command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import SeedOption


def register(app: typer.Typer) -> None:
    """Add `demo`."""
    app.command("demo")(demo_command)


def demo_command(
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for everything: workspace, runs, report; default: demo, or study."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The same story, small.")] = False,
    images: Annotated[
        Path | None, typer.Option("--images", help="A folder of class folders with your own pictures.")
    ] = None,
    study: Annotated[
        bool, typer.Option("--study", help="The paper's study, 27 + 3 runs on three drawn tasks: a night on one CPU.")
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Listings to trained models on this machine: a drawn marketplace, a real crowd server, simulated workers."""
    from curate.demo.study import tell

    for page in tell(out, quick, images, study, seed):
        typer.echo(f"open {page}")
