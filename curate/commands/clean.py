"""Commands of the clean stage: check, hash, dedup."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Literal

import typer

from curate.commands.options import BrowserOption, ByOption, JsonOption, PortOption, WorkspaceOption

EngineOption = Annotated[
    Literal["pool", "daft"],
    typer.Option(help="Who does the work: processes of this machine, or Daft (the extra `scale`)."),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        help="Address of a Ray cluster for Daft, such as head:6379 (ray://head:10001 from outside); every machine must see the files."
    ),
]


def register(app: typer.Typer) -> None:
    """Add `check`, `hash` and `dedup`."""
    app.command("check")(check_command)
    app.command("hash")(hash_command)
    app.command("dedup")(dedup_command)


def check_command(
    again: Annotated[bool, typer.Option("--again", help="Look at every picture anew, not only at new ones.")] = False,
    engine: EngineOption = "pool",
    ray: RayOption = None,
    blur: Annotated[
        bool, typer.Option("--blur", help="Decode all pixels and fill the column blur; slower, for JPEGs by far.")
    ] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Open every new picture, measure and hash it, and drop with a reason what does not count."""
    from curate.clean.check import check_workspace, describe
    from curate.workspace import open_workspace
    from schemas.engine import Engine

    here, where = open_workspace(workspace), Engine(engine, ray)
    with here.lock("curate check"):
        looked, pictures = check_workspace(here, again, blur, where)
        path = here.table("pictures")
        here.log(
            "check", [path], [path, here.table("looks")], looked=looked, kept=int(pictures["dropped"].isna().sum())
        )
    typer.echo(f"{looked} pictures checked; {describe(pictures)} -> {path}")


def hash_command(
    source: Annotated[
        str, typer.Argument(help="Folder or s3://bucket/prefix of Parquet files with `image` or `path`.")
    ],
    out: Annotated[str, typer.Option(help="Folder or s3://bucket/prefix for a file of the same name for each.")],
    root: Annotated[str, typer.Option(help="What relative paths start from.")] = "",
    engine: EngineOption = "pool",
    ray: RayOption = None,
) -> None:
    """Check and hash pictures in Parquet partitions, without a workspace: a partition in, a partition out."""
    from curate.clean.partitions import hash_partitions
    from schemas.engine import Engine

    done = hash_partitions(source, out, root, engine=Engine(engine, ray))
    typer.echo(f"{sum(done.values())} pictures in {len(done)} partitions hashed -> {out}")


def dedup_command(
    again: Annotated[
        bool, typer.Option("--again", help="Forget the pairs and clusters there are and begin anew; decisions stay.")
    ] = False,
    same: Annotated[
        Path | None,
        typer.Option(help="The table of `curate leaks --out`: its twins are the same, whatever their hashes say."),
    ] = None,
    link: Annotated[
        str,
        typer.Option(help="star: a member is near the cluster's representative; complete: near every member."),
    ] = "star",
    cap: Annotated[
        int, typer.Option(min=2, help="Hashes that more pictures than this share are not compared but listed.")
    ] = 10_000,
    review: Annotated[
        bool,
        typer.Option("--review", help="Open a page where you merge or separate what is not certain. Ctrl-C ends it."),
    ] = False,
    by: ByOption = None,
    port: PortOption = 0,
    no_browser: BrowserOption = False,
    as_json: JsonOption = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Put pictures that look the same into clusters; people are asked about one of each."""
    from curate.clean.decisions import decide_same
    from curate.clean.review.serve import review_pairs
    from curate.clean.tables import dedup_workspace, describe, describe_conflicts, describe_skipped
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    if review:
        decided = review_pairs(here, by or getpass.getuser(), port, as_json, not no_browser)
        typer.echo(f"{decided}. Next: curate dedup", err=as_json)
        return
    with here.lock("curate dedup"):
        if same:
            typer.echo(f"{decide_same(here, same)} pairs decided to be the same -> {here.table('decisions')}")
        done = dedup_workspace(here, again, link, cap)
        path = here.table("clusters")
        here.log(
            "dedup",
            [here.table("pictures"), here.table("looks"), *([same] if same else [])],
            [path, *(here.table(name) for name in ("pairs", "skipped", "label_conflicts"))],
            pictures=done.clusters.pictures,
            unverified=done.clusters.unverified,
        )
    typer.echo(f"{describe(done.clusters)} -> {path}")
    for said, name in ((describe_skipped(done.skipped), "skipped"), (describe_conflicts(done.conflicts), "label_conflicts")):  # fmt: skip
        if said:
            typer.echo(f"{said} -> {here.table(name)}")
