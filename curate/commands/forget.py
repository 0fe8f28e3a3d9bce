"""The command that makes a workspace forget: forget."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from curate.commands.options import ByOption, WorkspaceOption
from schemas.errors import UserError


def register(app: typer.Typer) -> None:
    """Add `forget`."""
    app.command("forget")(forget_command)


def forget_command(
    listing: Annotated[
        list[str] | None,
        typer.Option("--listing", metavar="MARKETPLACE/ID", help="A listing with the pictures that only it shows."),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="ID", help="A picture, wherever it is shown; may be repeated."),
    ] = None,
    seller: Annotated[
        list[str] | None, typer.Option("--seller", metavar="NAME", help="All listings of a seller, also later ones.")
    ] = None,
    picture_too: Annotated[bool, typer.Option("--picture-too", help="Also pictures that other listings show.")] = False,
    copies: Annotated[bool, typer.Option("--copies", help="Also exact copies, and near twins in one cluster.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the hash, so name nobody in it.")] = None,
    by: ByOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: nothing of it comes back.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Remove pictures, listings or a seller everywhere, and keep them out: a salted hash is all that stays."""
    import getpass

    from curate.forget.plan import Order
    from curate.forget.run import forget
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    order = Order(image or (), listing or (), seller or (), copies, picture_too, by or getpass.getuser(), reason)

    def ask(lines: list[str]) -> bool:
        typer.echo("\n".join(lines))
        return not dry_run and _agreed(yes)

    with here.lock("curate forget"):
        done = forget(here, order, ask, typer.echo, dry_run)
    if dry_run:
        typer.echo("nothing was done (--dry-run)")
    elif done is None:
        typer.echo("nothing to do: it is forgotten already")
    else:
        typer.echo(
            f"forgotten: {len(done.images)} pictures, {len(done.names)} listings, {len(done.sellers)} sellers; "
            f"what keeps them out -> {here.table('forgotten')}"
        )


def _agreed(yes: bool) -> bool:
    """Whether a person says yes; raises UserError when they do not, or when nobody is there to ask."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UserError(
            "nothing was done: what is forgotten does not come back, so it asks first; say --yes to go ahead"
        )
    if not typer.confirm("Forget this for good?"):
        raise UserError("nothing was done")
    return True
