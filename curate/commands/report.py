"""Commands of the report stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import SeedOption, TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `report`."""
    app.command("report")(report_command)


def report_command(
    predictions: Annotated[
        list[Path] | None,
        typer.Option("--predictions", "-p", help="predictions.parquet of a training run, or its folder; repeat it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the page goes; default: report.html in the workspace.")
    ] = None,
    seed: SeedOption = 0,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Write one HTML page with everything: pictures, clusters, people's answers, the data set, the models."""
    from curate.report.gather import gather
    from curate.report.models import read_runs
    from curate.report.page import render
    from curate.workspace import now, open_workspace
    from schemas.files import write_text

    here = open_workspace(workspace)
    runs = read_runs(predictions or [])
    page = render(gather(here, here.task(task)), runs, now(), seed)
    target = out or here.root / "report.html"
    write_text(target, page)
    here.log("report", inputs=list(predictions or []), outputs=[target], runs=len(runs))
    typer.echo(f"{len(page) / 1000:,.0f} kB, {len(runs)} runs -> {target}")
