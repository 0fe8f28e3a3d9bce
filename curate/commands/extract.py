"""The command that shows what is read from a saved product page: extract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add `extract`."""
    app.command("extract")(extract_command)


def extract_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.html[.gz]", help="A saved page.")],
    url: Annotated[str, typer.Option(help="Where the page came from: relative addresses and site rules go by it.")],
    site: Annotated[
        Path | None, typer.Option(help="Site rules (YAML) to try, before those that come with the tool.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with every picture and source.")] = False,
) -> None:
    """Show the product that a saved page tells of, field by field, with where each came from."""
    from curate.collect.extract import extract, page_url, read_file, say
    from curate.collect.site import rules_for

    address = page_url(url)
    rules = rules_for(address, site)
    typer.echo(say(extract(read_file(file), address, site=rules), as_json))
