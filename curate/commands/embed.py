"""Command of the clean stage that needs an image model: embed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.commands.clean import EngineOption, RayOption
from curate.commands.options import WorkspaceOption

if TYPE_CHECKING:
    from curate.clean.embed_model import Embedder
    from schemas.engine import Engine


def register(app: typer.Typer) -> None:
    """Add `embed`."""
    app.command("embed")(embed_command)


def embed_command(
    source: Annotated[
        str | None,
        typer.Argument(
            help="Folder or s3://bucket/prefix of Parquet files with `image` or `path`; default: the workspace's pictures."
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="With SOURCE: folder or s3://bucket/prefix for a file of the same name for each.")
    ] = None,
    root: Annotated[str, typer.Option(help="With SOURCE: what relative paths start from.")] = "",
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
    engine: EngineOption = "pool",
    ray: RayOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Give every new picture a vector, so that pictures can be compared by what they show (for `leaks` and `select`)."""
    from schemas.engine import Engine
    from schemas.errors import UserError

    if (source is None) != (out is None):
        raise UserError("partitions need both: curate embed SOURCE --out OUT; without either the workspace is embedded")
    where = Engine(engine, ray)
    if source is None or out is None:
        _embed_workspace(workspace, model, weights, side, where)
        return
    from curate.clean.embed_model import keep_loaded
    from curate.clean.partitions import embed_partitions

    done = embed_partitions(source, out, keep_loaded(_load(model, weights, side)), root, where)
    typer.echo(f"{sum(done.values())} pictures in {len(done)} partitions embedded -> {out}")


def _embed_workspace(
    workspace: Path | None, model: str, weights: Path | None, side: int | None, engine: Engine
) -> None:
    from curate.clean.embed import embed_workspace
    from curate.workspace import open_workspace
    from schemas.errors import Partial

    here = open_workspace(workspace)
    with here.lock("curate embed"):
        embedder = _load(model, weights, side)
        done = embed_workspace(here, embedder, engine)
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


def _load(model: str, weights: Path | None, side: int | None) -> Embedder:
    """The model, with a line about where it comes from."""
    from curate.clean.embed_model import load_embedder

    embedder = load_embedder(model, weights, side)
    typer.echo(
        f"{embedder.model_id} on {embedder.device}; weights: {embedder.source}, license {embedder.license}", err=True
    )
    return embedder
