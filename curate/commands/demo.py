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
        Path, typer.Option("--out", help="Folder for everything: the workspace, the runs, report.html.")
    ] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="The same story, small.")] = False,
    images: Annotated[
        Path | None, typer.Option("--images", help="A folder of class folders with your own pictures.")
    ] = None,
    seed: SeedOption = 0,
) -> None:
    """Listings to trained models on this machine: a drawn marketplace, a real crowd server, simulated workers."""
    from curate.demo.story import tell_story

    report = tell_story(out, quick, images, seed)
    typer.echo(f"open {report}")
