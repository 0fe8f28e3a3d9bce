"""Command of the clean stage that needs an image model: embed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `embed`."""
    app.command("embed")(embed_command)


def embed_command(
    model: Annotated[
        str,
        typer.Option(help="timm's name of the model. The default brings its ImageNet weights along (extra `select`)."),
    ] = "tf_efficientnet_lite0",
    weights: Annotated[
        Path | None,
        typer.Option(help="Weights of that model, .safetensors or .pth; default: the installed or published ones."),
    ] = None,
    side: Annotated[
        int | None,
        typer.Option(help="Side in pixels of the square that the model sees; default: 128, other models their own."),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Give every new picture a vector, so that pictures can be compared by what they show (for `leaks` and `select`)."""
    from curate.clean.embed import embed_workspace
    from curate.clean.embed_model import load_embedder
    from curate.workspace import open_workspace
    from schemas.errors import Partial

    here = open_workspace(workspace)
    with here.lock("curate embed"):
        embedder = load_embedder(model, weights, side)
        typer.echo(
            f"{embedder.model_id} on {embedder.device}; weights: {embedder.source}, license {embedder.license}",
            err=True,
        )
        done = embed_workspace(here, embedder)
        facts = {
            "model_id": embedder.model_id,
            "license": embedder.license,
            "new": done.new,
            "failed": len(done.failed),
        }
        here.log("embed", [here.table("pictures")], [done.path], **facts)
    typer.echo(done.describe())
    if done.failed:
        raise Partial(done.failures())
