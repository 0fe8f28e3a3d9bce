"""Commands that take in what you have: a catalogue, Amazon Berkeley Objects, a bucket, a Parquet of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def add_to(group: typer.Typer) -> None:
    """Add them to the group `import`."""
    group.command("feed")(import_feed_command)
    group.command("abo")(import_abo_command)
    group.command("s3")(import_s3_command)
    group.command("parquet")(import_parquet_command)


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
    manners = Manners(contact if contact is not None else here.config.contact, delay, allow_private=allow_private)
    ask = Ask(source, manners, mapped or (), marketplace, country, language, license, permission, refresh)
    if dry_run:
        for line in preview(ask):
            typer.echo(line)
        return
    with here.lock("curate import feed"):
        done = import_feed(here, ask)
        here.log("import feed", [source], [here.table("listings")], rows=done.counts.rows, new=done.counts.new)
    typer.echo(f"{finish(done)} -> {here.table('listings')}")


def import_abo_command(
    folder: Annotated[
        Path, typer.Argument(help="Folder of Amazon Berkeley Objects: listings/ and images/, or their tars.")
    ],
    product_type: Annotated[
        list[str] | None,
        typer.Option("--product-type", help="Only this one, e.g. CELLULAR_PHONE_CASE; may be repeated."),
    ] = None,
    small: Annotated[
        bool, typer.Option("--small", help="Pictures of images/small (256 px), not the originals.")
    ] = False,
    weak: Annotated[
        list[str] | None,
        typer.Option(help="Classes of what sellers say: pattern=map.yaml, style=…, color=…; may be repeated."),
    ] = None,
    permission: PermissionOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in Amazon Berkeley Objects from your disk: listings, pictures, license, weak labels. Nothing is fetched."""
    from curate.collect.abo import Ask, import_abo
    from curate.collect.outcome import finish
    from curate.collect.value_map import read_weak
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    ask = Ask(folder, tuple(product_type or ()), small, read_weak(weak or ()), permission)
    with here.lock("curate import abo"):
        done = import_abo(here, ask)
        here.log("import abo", [folder], [here.table("listings")], listings=done.counts.rows, pictures=done.pictures)
    for note in done.notes:
        typer.echo(note)
    typer.echo(f"{finish(done)} -> {here.table('listings')}")


def import_s3_command(
    where: Annotated[str, typer.Argument(metavar="S3://BUCKET/PREFIX", help="Pictures, flat or one folder a class.")],
    truth: Annotated[bool, typer.Option(help="Folder names are known classes of the task.")] = True,
    marketplace: Annotated[str | None, typer.Option(help="Name of the marketplace; default: the bucket's.")] = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in the pictures of a bucket, many at once; run again it goes on and reads only what is new or changed."""
    from curate.collect.bucket import import_bucket
    from curate.collect.outcome import finish
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    with here.lock("curate import s3"):
        done = import_bucket(here, where, task, truth, marketplace)
        here.log("import s3", [where], [here.table("pictures")], listings=done.counts.rows, pictures=done.pictures)
    typer.echo(f"{finish(done)} -> {here.table('pictures')}")


def import_parquet_command(
    where: Annotated[
        str,
        typer.Argument(metavar="FILE|FOLDER|S3://…", help="Parquet with a column of picture bytes, or {bytes, path}."),
    ],
    image_column: Annotated[str | None, typer.Option(help="Column of pictures; default: found by its bytes.")] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column of known classes, which become TRUTH of the task.")
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="YAML: what values of the label column are which class key.")
    ] = None,
    marketplace: Annotated[str, typer.Option(help="Name of the marketplace.")] = "local",
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in pictures from Parquet, as Hugging Face keeps them; labels become known classes (TRUTH)."""
    from curate.collect.outcome import finish
    from curate.collect.parquet import Ask, import_parquet
    from curate.collect.value_map import read_value_map
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    values = read_value_map(map_file) if map_file else None
    ask = Ask(where, image_column, label_column, task, marketplace, values)
    with here.lock("curate import parquet"):
        done = import_parquet(here, ask)
        here.log("import parquet", [where], [here.table("pictures")], listings=done.counts.rows, pictures=done.pictures)
    typer.echo(f"{finish(done)} -> {here.table('pictures')}")
