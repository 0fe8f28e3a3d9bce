"""The commands that judge a model and take it away: verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A run folder, or a copy of its model files.")]


def register(app: typer.Typer) -> None:
    """Add `verify`."""
    app.command("verify")(verify_command)


def verify_command(
    bundle: BundleArgument,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Largest difference of a probability that passes.")
    ] = 1e-3,
) -> None:
    """Check that a bundle gives its expected outputs on its own ten pictures on this machine."""
    from train.bundle import verify

    typer.echo(verify(bundle, tolerance))
