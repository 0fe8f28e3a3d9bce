"""Commands about who gets into the crowd: invitations, panels, consent, people; they stand under `curate crowd`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.crowd import DbOption, open_crowd
from curate.commands.options import WorkspaceOption, YesOption

if TYPE_CHECKING:
    from curate.crowd.server.persons import Person


def register(app: typer.Typer) -> None:
    """Add the commands to `curate crowd`."""
    crowd = next(group.typer_instance for group in app.registered_groups if group.name == "crowd")
    assert crowd is not None
    crowd.command("invite")(invite_command)
    crowd.command("invitations")(invitations_command)
    crowd.command("uninvite")(uninvite_command)
    crowd.command("people")(people_command)
    crowd.command("merge-workers")(merge_command)
    crowd.command("forget")(forget_command)
    panels = typer.Typer(no_args_is_help=True, help="Where strangers are recruited: Prolific, Connect, any other.")
    crowd.add_typer(panels, name="panels")
    panels.command("add")(add_panel_command)
    panels.command("list")(list_panels_command)
    panels.command("codes")(panel_codes_command)
    panels.command("close")(close_panel_command)
    consent = typer.Typer(no_args_is_help=True, help="The words that people accept before any work.")
    crowd.add_typer(consent, name="consent")
    consent.command("set")(set_consent_command)
    consent.command("show")(show_consent_command)
    consent.command("unset")(unset_consent_command)


UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="Address at which people reach the server; default: the workspace's endpoint."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
WorkerArgument = Annotated[str, typer.Argument(help="The worker_id, as `curate crowd people` lists it.")]


def invite_command(
    note: Annotated[str, typer.Option(help="For whom the link is; the list of invitations shows it.")] = "",
    uses: Annotated[int, typer.Option(help="How many people may come with the link.")] = 1,
    days: Annotated[int, typer.Option(help="How long the link is good.")] = 14,
    worker: Annotated[
        str | None, typer.Option(help="Let this worker_id in again, on a new device; nobody new comes with the link.")
    ] = None,
    end_sessions: Annotated[
        bool, typer.Option("--end-sessions", help="With --worker: sign the lost device out now.")
    ] = False,
    url: UrlOption = None,
    db: DbOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Make a link that lets somebody in; it is shown this once."""
    from curate.crowd.server import invitations
    from schemas.errors import UserError

    if end_sessions and not worker:
        raise UserError("--end-sessions: say whose with --worker A…")
    base = _base(url, db, workspace)
    with open_crowd(db, workspace) as store:
        code = invitations.invite(store, note or (f"again {worker}" if worker else ""), uses, days, worker)
        if worker and end_sessions:
            invitations.end_sessions(store, worker)
    link = f"{base}/invited/{code}"
    _print({"url": link}, json, link)


def invitations_command(db: DbOption = None, json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """List the invitations, without their codes."""
    from dataclasses import asdict

    from curate.crowd.server.invitations import listing

    with open_crowd(db, workspace) as store:
        found = listing(store)
    lines = [
        f"{one.name}  {one.state:<8}{one.uses} left  until {one.expires_at:%Y-%m-%d %H:%M}  {one.note}"
        f"{f'  (for {one.worker_id})' if one.worker_id else ''}"
        for one in found
    ]
    rows = [{**asdict(one), "expires_at": one.expires_at.isoformat()} for one in found]
    _print(rows, json, *(lines or ["no invitations yet; make one with `curate crowd invite --note NAME`"]))


def uninvite_command(
    invitation: Annotated[
        str, typer.Argument(help="The invitation, as `curate crowd invitations` names it, or its link.")
    ],
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Revoke an invitation; who came with it stays."""
    from curate.crowd.server.invitations import revoke

    with open_crowd(db, workspace) as store:
        revoke(store, invitation)
    typer.echo("the link lets nobody in any more")


def add_panel_command(
    name: Annotated[str, typer.Argument(help="prolific, connect, or a name of your own; it stands in the address.")],
    worker_parameter: Annotated[
        str | None, typer.Option(help="Query parameter that names the person, e.g. PROLIFIC_PID.")
    ] = None,
    study_parameter: Annotated[str | None, typer.Option(help="Query parameter of the study.")] = None,
    session_parameter: Annotated[str | None, typer.Option(help="Query parameter of the person's submission.")] = None,
    completion_url: Annotated[
        str | None, typer.Option(help="Where people go when done; may hold {code}, {worker}, {study}, {session}.")
    ] = None,
    completion_code: Annotated[
        str | None, typer.Option(help="One code for all, from the panel; default: one per worker, made here.")
    ] = None,
    min_assignments: Annotated[int, typer.Option(help="HITs to send in before somebody is done.")] = 1,
    url: UrlOption = None,
    db: DbOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Let people of a panel in, or change how; prints the arrival address to paste there."""
    from curate.crowd.server import panels

    given = {
        "worker_parameter": worker_parameter,
        "study_parameter": study_parameter,
        "session_parameter": session_parameter,
        "completion_url": completion_url,
        "completion_code": completion_code,
    }
    base = _base(url, db, workspace)
    with open_crowd(db, workspace) as store:
        row = panels.add(store, name, given, min_assignments)
    address = panels.arrival_url(base, row)
    _print({"panel": name, "arrival_url": address, "completion_url": row.completion_url}, json, address)


def list_panels_command(db: DbOption = None, json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """List the panels with how many people came from each, and how many are done."""
    from curate.crowd.server.panels import listing

    with open_crowd(db, workspace) as store:
        found = listing(store)
    lines = [
        f"{row.panel}  {'closed' if row.closed_at else 'open'}  {row.came} came, {row.left} done  by {row.worker_parameter}"
        for row in found
    ]
    _print(
        [row._asdict() for row in found], json, *(lines or ["no panels yet; add one with `curate crowd panels add`"])
    )


def panel_codes_command(
    name: Annotated[str, typer.Argument(help="The panel.")],
    db: DbOption = None,
    json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """List who came from a panel with what they sent in and their completion code, as CSV: for paying them there."""
    from curate.crowd.server import panels, settings

    with open_crowd(db, workspace) as store:
        rows = panels.codes(store, settings.secret(store), name)
    names = ("panel_worker", "worker_id", "study", "session", "submitted", "code", "left")
    body = [",".join("" if row[key] is None else str(row[key]) for key in names) for row in rows]
    _print(rows, json, ",".join(names), *body)


def close_panel_command(
    name: Annotated[str, typer.Argument(help="The panel.")], db: DbOption = None, workspace: WorkspaceOption = None
) -> None:
    """Let nobody new arrive from a panel; who came stays."""
    from curate.crowd.server.panels import close

    with open_crowd(db, workspace) as store:
        close(store, name)
    typer.echo(f"panel {name} is closed")


def set_consent_command(
    file: Annotated[Path, typer.Argument(help="The text: plain, or Markdown with headings, lists and paragraphs.")],
    version: Annotated[str, typer.Option(help="Of the text; a new one asks everybody again.")],
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Ask everybody to accept a text before any work."""
    from curate.crowd.server.consent import set_text
    from schemas.errors import UserError

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as text ({error})") from error
    with open_crowd(db, workspace) as store:
        made = set_text(store, text, version)
    typer.echo(f"version {made.version} is asked for from now on (sha256 {made.text_hash[:12]}…)")


def show_consent_command(db: DbOption = None, workspace: WorkspaceOption = None) -> None:
    """Print the text that is asked for, and how many people accepted it."""
    from curate.crowd.server.consent import accepted, current

    with open_crowd(db, workspace) as store:
        held = current(store)
        count = accepted(store, held.version) if held else 0
    typer.echo(f"version {held.version}, accepted by {count}\n\n{held.text}" if held else "no consent is asked for")


def unset_consent_command(db: DbOption = None, workspace: WorkspaceOption = None) -> None:
    """Ask for no consent any more; what was accepted stays known."""
    from curate.crowd.server.consent import unset

    with open_crowd(db, workspace) as store:
        unset(store)
    typer.echo("no consent is asked for from now on")


def people_command(db: DbOption = None, json: JsonOption = False, workspace: WorkspaceOption = None) -> None:
    """List everybody: how they came, what they sent in, and who looks like somebody else."""
    from dataclasses import asdict

    from curate.crowd.server.persons import listing

    with open_crowd(db, workspace) as store:
        found = listing(store)
    rows = [{**asdict(person), "joined_at": person.joined_at.isoformat()} for person in found]
    _print(rows, json, *([line for person in found for line in _lines(person)] or ["nobody has come yet"]))


def _lines(person: Person) -> list[str]:
    state = "simulated" if person.simulated else person.came_by
    merged = f"  = {person.merged_into}" if person.merged_into else ""
    head = (
        f"{person.worker_id:<18}{person.submitted:>6} sent  {person.joined_at:%Y-%m-%d}  {state}  {person.name}{merged}"
    )
    return [head, *(f"{'':<18}  ! {flag}" for flag in person.flags)]


def merge_command(
    worker: Annotated[str, typer.Argument(help="The worker_id that stays.")],
    other: Annotated[str, typer.Argument(help="The worker_id that becomes the same person.")],
    yes: YesOption = False,
    db: DbOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Make two accounts one person; it cannot be undone."""
    from curate.crowd.server.persons import merge

    if not yes:
        typer.confirm(f"{other} becomes {worker} for good. Go on?", abort=True)
    with open_crowd(db, workspace) as store:
        into, gone, twice = merge(store, worker, other)
    typer.echo(f"{gone} is {into} now; on {twice} HITs both had answered, and count as one person from now on")


def forget_command(
    worker: WorkerArgument, yes: YesOption = False, db: DbOption = None, workspace: WorkspaceOption = None
) -> None:
    """Erase a person: name, e-mail, devices, addresses, panel id, messages. The answers stay under the worker_id."""
    from curate.crowd.server.persons import facts, forget

    with open_crowd(db, workspace) as store:
        known = facts(store, worker)
        if not yes:
            typer.confirm(
                f"Erase {known['name']} ({worker}, {known['submitted']} HITs sent)? It is for good.", abort=True
            )
        ids = forget(store, worker)
    typer.echo(f"{', '.join(ids)}: erased; the answers stay. Backups made before still hold the person")


def _print(data: Any, as_json: bool, *lines: str) -> None:
    from json import dumps

    for line in [dumps(data, ensure_ascii=False)] if as_json else lines:
        typer.echo(line)


def _base(url: str | None, db: str | None, workspace: Path | None) -> str:
    """The server's address in links."""
    from urllib.parse import urlsplit

    from curate.workspace import DEFAULT_ENDPOINT, open_workspace
    from schemas.errors import UserError

    if url is None:
        url = DEFAULT_ENDPOINT if db is not None and workspace is None else open_workspace(workspace).config.endpoint
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UserError(f"--url {url!r} is no address; it should look like https://crowd.example.org")
    return url.rstrip("/")
