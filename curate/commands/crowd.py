"""Commands of the crowd server: serve, keys; and `simulate`, which stands beside them under `curate crowd`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.hits import simulate_command
from curate.commands.options import WorkspaceOption

if TYPE_CHECKING:
    from curate.crowd.server.pictures import Originals
    from curate.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add `crowd serve`, `crowd keys …` and `crowd simulate`."""
    crowd = typer.Typer(no_args_is_help=True, help="The crowd server of your own: run it, let requesters in.")
    keys = typer.Typer(no_args_is_help=True, help="Keys of requesters: they sign every request with one.")
    app.add_typer(crowd, name="crowd")
    crowd.command("serve")(serve_command)
    crowd.command("simulate")(simulate_command)
    crowd.add_typer(keys, name="keys")
    keys.command("issue")(issue_command)
    keys.command("list")(list_command)
    keys.command("revoke")(revoke_command)


DbOption = Annotated[
    str | None,
    typer.Option("--db", help="Database of the crowd, e.g. sqlite:///crowd.db; default: the workspace's crowd.db."),
]


def serve_command(
    db: DbOption = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need a key first.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="Port to listen on, 0 = a free one; default: the workspace's endpoint's, else 8055."
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(
            help="Where the original pictures are: a folder like a workspace's blobs/, or s3://bucket/prefix as in "
            "workspace.yaml (copies then go to display/ of the workspace, else of this folder). Default: the workspace's."
        ),
    ] = None,
    signup: Annotated[
        str | None,
        typer.Option(
            help="open: anybody who reaches it signs up by name; email: with a code sent by mail; closed: by invitation "
            "or panel alone. Default: open on loopback, else closed."
        ),
    ] = None,
    log: Annotated[str, typer.Option(help="json: a line of JSON a request on stderr; text: for people.")] = "json",
    forwarded_allow: Annotated[
        str | None,
        typer.Option(
            help="Addresses of the TLS proxy in front, e.g. 127.0.0.1; its X-Forwarded-For and -Proto are believed. Default: none."
        ),
    ] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Run the crowd: requesters reach it with any MTurk client, workers with a browser."""
    from curate.crowd.server.serve import serve
    from schemas.errors import UserError

    if signup not in (None, "open", "email", "closed"):
        raise UserError(f"--signup must be open, email or closed, got {signup!r}")
    if log not in ("json", "text"):
        raise UserError(f"--log must be json or text, got {log!r}")
    url, here = _place(db, workspace)
    originals = _originals(pictures, here)
    port = _port(db, workspace) if port is None else port
    serve(url, host, port, originals, signup, log, forwarded_allow)


def issue_command(
    name: Annotated[str, typer.Argument(help="Name of the requester; keys of one name share their HITs.")],
    db: DbOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Issue a key; its secret is shown this once."""
    from json import dumps

    from curate.crowd.server.keys import issue

    with open_crowd(db, workspace) as store:
        access_key_id, secret = issue(store, name)
    if json:
        typer.echo(dumps({"access_key_id": access_key_id, "secret_access_key": secret}))
    else:
        typer.echo(f"export AWS_ACCESS_KEY_ID={access_key_id}\nexport AWS_SECRET_ACCESS_KEY={secret}")


def list_command(db: DbOption = None, workspace: WorkspaceOption = None) -> None:
    """List the keys, without their secrets."""
    from curate.crowd.server.keys import listing

    with open_crowd(db, workspace) as store:
        found = listing(store)
    for key in found:
        state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "in use"
        typer.echo(f"{key.access_key_id}  {key.created_at:%Y-%m-%d %H:%M}  {state}  {key.requester}")
    if not found:
        typer.echo("no keys yet; make one with `curate crowd keys issue NAME`")


def revoke_command(
    access_key_id: Annotated[str, typer.Argument(help="Id of the key, as `curate crowd keys list` shows it.")],
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Revoke a key: it signs nothing from now on."""
    from curate.crowd.server.keys import revoke

    with open_crowd(db, workspace) as store:
        revoke(store, access_key_id)
    typer.echo(f"{access_key_id} revoked")


def _place(db: str | None, workspace: Path | None) -> tuple[str, Workspace | None]:
    """The database that was said, else the workspace's; and the workspace, where one is asked for."""
    from curate.workspace import open_workspace

    if db is not None and workspace is None:
        return db, None
    here = open_workspace(workspace)
    return db or here.crowd_url, here


def _originals(said: str | None, here: Workspace | None) -> Originals | None:
    """Where the server finds pictures: where it was told to look, else in the workspace."""
    from curate.crowd.server.pictures import Originals
    from schemas.errors import UserError
    from schemas.storage import is_remote, storage_at

    if said is None:
        return Originals(here.originals, here.display) if here else None
    if is_remote(said):
        return Originals((f"{storage_at(said).where}/blobs",), here.display if here else Path("display").absolute())
    folder = Path(said).absolute()
    if not folder.is_dir():
        raise UserError(f"--pictures {said}: no such folder")
    return Originals((folder,), folder.parent / "display")


def _port(db: str | None, workspace: Path | None) -> int:
    """The port at which the workspace's requests go out, else the usual one."""
    from urllib.parse import urlsplit

    from curate.workspace import DEFAULT_ENDPOINT, open_workspace

    endpoint = DEFAULT_ENDPOINT if db is not None and workspace is None else open_workspace(workspace).config.endpoint
    return urlsplit(endpoint).port or 8055


def open_crowd(db: str | None, workspace: Path | None) -> Any:
    """The crowd's store, closed at the end of a `with` block."""
    from contextlib import closing

    from curate.crowd.server.store import open_store

    return closing(open_store(_place(db, workspace)[0]))
