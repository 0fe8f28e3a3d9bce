"""Options and the one question that several commands share, so that one name means one thing everywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from schemas.errors import UserError

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

PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Port on this machine to listen on; 0 = a free one.")
]
BrowserOption = Annotated[
    bool, typer.Option("--no-browser", help="Only print the address; do not open it in a browser.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON line with the address, for scripts.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who decides; default: your name on this machine.")]


def agree_first(yes: bool, question: str) -> None:
    """Go on when a person says yes; raises UserError when they do not, or when nobody is there to ask."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError("nothing was done: this costs money or reaches people, so it asks first; say --yes to go ahead")
    if not typer.confirm(question):
        raise UserError("nothing was done")
