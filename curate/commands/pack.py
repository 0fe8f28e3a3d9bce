"""The command that puts a data set into one folder that travels: pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `pack`."""
    app.command("pack")(pack_command)


def pack_command(
    manifest: Annotated[
        Path | None, typer.Argument(help="The manifest, e.g. apron.parquet; default: the newest of the task.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Folder of the pack; default: <task>-pack in the workspace, else beside the manifest."
        ),
    ] = None,
    side: Annotated[
        int, typer.Option("--side", min=16, max=4096, help="Short side in pixels; smaller pictures stay as they are.")
    ] = 256,
    quality: Annotated[int, typer.Option("--quality", min=50, max=100, help="JPEG quality.")] = 90,
    splits: Annotated[
        str | None, typer.Option("--splits", help="Only these, e.g. train,val; default: train,val,test,unlabeled.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Folder that the manifest's paths start from; default: its workspace."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; default: one a core.")] = None,
    check: Annotated[
        Path | None, typer.Option("--check", metavar="DIR", help="Only check a pack: sums, pictures, a sample opened.")
    ] = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write a manifest, its pictures as small JPEGs and their checksums into one folder: all that travels to `train`."""
    from curate.dataset.pack import manifest_to_pack, pack, plan_pack
    from curate.dataset.pack_check import check_pack
    from schemas.manifest import picture_root
    from schemas.pack import Format

    if check is not None:
        typer.echo(check_pack(check).describe())
        return
    source, here = manifest_to_pack(manifest, task, workspace)
    plan = plan_pack(source, Format(side, quality), splits.split(",") if splits else None, pictures)
    done = pack(plan, out or picture_root(source) / f"{plan.task}-pack", workers)
    if here is not None:
        here.log("pack", [source], [done.folder], **done.facts())
    typer.echo(done.describe())
    done.raise_if_partial()
