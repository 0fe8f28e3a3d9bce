"""Commands of HIT layouts: pages with places to fill in, under `curate crowd layouts`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.crowd import DbOption, open_crowd
from curate.commands.options import WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `crowd layouts …`."""
    crowd = next(group.typer_instance for group in app.registered_groups if group.name == "crowd")
    assert crowd is not None
    layouts = typer.Typer(
        no_args_is_help=True, help="HIT layouts: pages with ${places}, for CreateHIT with HITLayoutId."
    )
    crowd.add_typer(layouts, name="layouts")
    layouts.command("add")(add_command)
    layouts.command("list")(list_command)
    layouts.command("show")(show_command)


def add_command(
    name: Annotated[str, typer.Argument(help="Name of the layout, for people.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.html", help="The page; ${name} is a place to fill in.")],
    requester: Annotated[str, typer.Option(help="Whose layout it is: the name that `keys issue` was given.")],
    frame_height: Annotated[int, typer.Option(min=0, help="Height of its frame in pixels; 0 = the window.")] = 0,
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Keep a page as a layout; prints its HITLayoutId."""
    from curate.crowd.server.layouts import add
    from schemas.errors import UserError

    try:
        html = file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is not UTF-8 text (byte {error.start})") from error
    with open_crowd(db, workspace) as store:
        typer.echo(add(store, requester, name, html, frame_height))


def list_command(db: DbOption = None, workspace: WorkspaceOption = None) -> None:
    """List the layouts with their places."""
    from curate.crowd.server.layouts import listing

    with open_crowd(db, workspace) as store:
        found = listing(store)
    for layout in found:
        places = ", ".join(layout.parameters) or "no places"
        typer.echo(
            f"{layout.layout_id}  {layout.created_at:%Y-%m-%d %H:%M}  {layout.requester}  {layout.name}: {places}"
        )
    if not found:
        typer.echo("no layouts yet; keep one with `curate crowd layouts add NAME FILE.html --requester NAME`")


def show_command(
    layout: Annotated[str, typer.Argument(help="Its HITLayoutId, or its name (the newest of that name).")],
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Print a layout's page."""
    from curate.crowd.server.layouts import find

    with open_crowd(db, workspace) as store:
        typer.echo(find(store, layout).html, nl=False)
