"""Commands of the collect stage: scrape, import folder, import truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands import catalogue, imports
from curate.commands.options import TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `scrape` and `import …`."""
    group = typer.Typer(no_args_is_help=True, help="Take in pictures, votes and labels that you have already.")
    app.command("scrape")(scrape_command)
    app.add_typer(group, name="import")
    group.command("folder")(import_folder_command)
    group.command("truth")(import_truth_command)
    catalogue.add_to(group)
    imports.add_to(group)


def scrape_command(
    start: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL|FILE]",
            help="A page, sitemap or feed of a site; or a file: URLs one a line, a sitemap, CSV, JSON lines, Parquet."
            " Left out: where the rules of --site begin.",
        ),
    ] = None,
    delay: Annotated[float, typer.Option(help="Seconds between two requests to a host; 0 only on this machine.")] = 0.5,
    connections: Annotated[int, typer.Option(min=1, max=16, help="To a host at the same time.")] = 2,
    rate_limit: Annotated[
        str | None, typer.Option(metavar="SPEED", help="Bytes a second of all hosts together, such as 5MB/s.")
    ] = None,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow addresses of private networks.")
    ] = False,
    max_listings: Annotated[int | None, typer.Option(min=1, help="Stop at so many listings; the rest waits.")] = None,
    max_images: Annotated[
        int | None,
        typer.Option("--max-images-per-listing", min=1, help="Of each listing only the first pictures; default: all."),
    ] = None,
    depth: Annotated[
        int, typer.Option(min=0, help="Links to follow from a start page; further pages of a list are free.")
    ] = 2,
    contact: Annotated[str | None, typer.Option(help="Whom a site may write to; default: from workspace.yaml.")] = None,
    marketplace: Annotated[str | None, typer.Option(help="Name of the marketplace, instead of what pages say.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Look at lists, listings and pictures again, by conditional requests.")
    ] = False,
    site: Annotated[
        list[Path] | None,
        typer.Option(
            "--site", metavar="RULES.yaml", help="Rules of a site (docs/extract.md), before the shipped ones."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what robots.txt says and the first listings; write nothing.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Collect product listings and all their pictures from sites that allow it; run again it goes on where it was."""
    from curate.collect.extract import reader
    from curate.collect.fetch import Manners
    from curate.collect.pace import rate_of
    from curate.collect.plan import Plan, rules_of, starts_of
    from curate.collect.preview import preview
    from curate.collect.scrape import finish, scrape
    from curate.collect.site import read_site
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    own = [read_site(file) for file in site or ()]
    contact = contact if contact is not None else here.config.contact
    manners = Manners(
        contact,
        delay,
        connections=connections,
        bytes_per_second=rate_of(rate_limit) if rate_limit else None,
        allow_private=allow_private,
    )
    plan = Plan(
        manners, max_listings, depth, marketplace, refresh, max_images, starts_of(own), rules_of(own), reader(own)
    )
    if dry_run:
        for line in preview(start, plan):
            typer.echo(line)
        return
    with here.lock("curate scrape"):
        done = scrape(here, start, plan)
        counts = {"listings": done.listings, "pictures": done.pictures, "failures": done.failures}
        begun = start or ", ".join(plan.start)
        here.log("scrape", [], [here.table("listings"), here.table("pictures")], start=begun, **counts)
    typer.echo(f"{finish(done)} -> {here.table('listings')}")


def import_folder_command(
    folder: Annotated[Path, typer.Argument(help="Folder of pictures, flat or one folder a class.")],
    link: Annotated[bool, typer.Option("--link", help="Hard-link the originals instead of copying them.")] = False,
    truth: Annotated[bool, typer.Option(help="Folder names are known classes of the task.")] = True,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in a folder of pictures; the names of class folders become known labels (TRUTH)."""
    from curate.collect.folder import describe, import_folder
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    with here.lock("curate import folder"):
        done = import_folder(here, folder, task, truth, link)
        here.log("import folder", [folder], [here.table("pictures")], pictures=done.pictures, new=done.new)
    typer.echo(f"{describe(done)} -> {here.table('pictures')}")


def import_truth_command(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with the columns image_id and label.")],
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in known labels from a file; only scoring and simulated workers read them."""
    from curate.collect.merge import replace_rows
    from curate.collect.truth import read_truth
    from curate.workspace import open_workspace
    from schemas.tables import PICTURES, TRUTH

    here = open_workspace(workspace)
    asked = here.task(task)
    with here.lock("curate import truth"):
        pictures = PICTURES.read(here.table("pictures"), ["image_id"])["image_id"]
        found = read_truth(file, asked.task, asked.keys, pictures)
        path = here.of_task(asked.task, "truth")
        replace_rows(TRUTH, path, found.rows)
        here.log("import truth", [file], [path], labels=len(found.rows), unknown=found.unknown)
    left = f"; {found.unknown} rows are of pictures not in this workspace" if found.unknown else ""
    bare = f"; {found.empty} rows have no label" if found.empty else ""
    typer.echo(f"{len(found.rows)} known labels{left}{bare} -> {path}")
