"""Options that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace", "-w", envvar="CURATE_WORKSPACE", help="Folder of the workspace; default: the one you stand in."
    ),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", "-t", help="Name of the task; not needed when there is only one.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", help="Seed of every random choice; the same seed gives the same result.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs money or reaches people.")]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint", envvar="CURATE_ENDPOINT", help="URL of the crowd to ask; default: the one in workspace.yaml."
    ),
]
