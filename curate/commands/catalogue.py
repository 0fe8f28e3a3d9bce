"""Commands that take in what you have: a catalogue, Amazon Berkeley Objects, a bucket, a Parquet of pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from curate.commands.options import WorkspaceOption


def add_to(group: typer.Typer) -> None:
    """Add them to the group `import`."""
    group.command("feed")(import_feed_command)


MarketplaceOption = Annotated[str | None, typer.Option(help="Name of the marketplace.")]
LicenseOption = Annotated[str | None, typer.Option(help="License of texts and pictures, kept with every listing.")]
PermissionOption = Annotated[str | None, typer.Option(help="Why you may use them, kept with every listing.")]


def import_feed_command(
    source: Annotated[
        str,
        typer.Argument(metavar="FILE|URL", help="Catalogue: CSV, TSV, JSON lines or Parquet, each also gzipped."),
    ],
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="Which column is what, and what separates many values in one: listing_id=sku,image_urls=images(;).",
        ),
    ] = None,
    marketplace: Annotated[
        str | None, typer.Option(help="Its name; default: the column of it, the host of the links, the file's name.")
    ] = None,
    country: Annotated[str | None, typer.Option(help="Country where rows do not say it, e.g. MX.")] = None,
    language: Annotated[str | None, typer.Option(help="Language where rows do not say it, e.g. es-MX.")] = None,
    license: LicenseOption = None,
    permission: PermissionOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what each column is taken for and three listings; write nothing.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask again for pictures that failed for good, e.g. with HTTP 404.")
    ] = False,
    delay: Annotated[float, typer.Option(help="Seconds between two requests to a host; 0 only on this machine.")] = 0.5,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Allow addresses of private networks.")
    ] = False,
    contact: Annotated[str | None, typer.Option(help="Whom a site may write to; default: from workspace.yaml.")] = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in a catalogue you own: its rows are listings, only their pictures are fetched; run again it goes on."""
    from curate.collect.feed import Ask, finish, import_feed, preview
    from curate.collect.fetch import Manners
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    manners = Manners(contact if contact is not None else here.config.contact, delay, allow_private)
    ask = Ask(source, manners, mapped or (), marketplace, country, language, license, permission, refresh)
    if dry_run:
        for line in preview(ask):
            typer.echo(line)
        return
    with here.lock("curate import feed"):
        done = import_feed(here, ask)
        here.log("import feed", [source], [here.table("listings")], rows=done.counts.rows, new=done.counts.new)
    typer.echo(f"{finish(done)} -> {here.table('listings')}")
