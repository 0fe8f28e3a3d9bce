"""Command of the data set stage that needs pictures, hashes and vectors at once: leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add `leaks`."""
    app.command("leaks")(leaks_command)


def leaks_command(
    manifest: Annotated[Path, typer.Argument(help="A manifest, in its workspace or beside its pictures.")],
    bits: Annotated[
        int,
        typer.Option(min=0, max=20, help="64-bit hashes at most so far apart are candidates; their pictures decide."),
    ] = 10,
    similarity: Annotated[
        float, typer.Option(min=0, max=1, help="Vectors at least so similar are listed as look-alikes, for a person.")
    ] = 0.92,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Vectors of the pictures; default: those of `curate embed`, where there are any."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the pairs as a table, such as leaks.parquet.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page that shows the pairs side by side.")] = None,
) -> None:
    """Prove that no test picture has a twin in train, val or unlabeled: exit 0; or list the twins: exit 1."""
    import json

    from curate.clean.rehash import hashes_of, mirrored_hashes
    from curate.dataset import leaks
    from curate.report.leaks import render
    from schemas.errors import Partial
    from schemas.files import write_text
    from schemas.manifest import read_manifest
    from schemas.tables import LEAKS, PICTURES

    read = read_manifest(manifest)
    rows = leaks.compared(read.rows, manifest)
    pictures = PICTURES.read_if_there(read.root / "pictures.parquet")
    vectors = embeddings or leaks.usual_vectors(read.root)
    asked = rows[rows["split"].isin(["test", "val"])]
    found = leaks.find_leaks(
        rows, hashes_of(read.root, rows, pictures), mirrored_hashes(read.root, asked), read.root, vectors,
        bits=bits, similarity=similarity,
    )  # fmt: skip
    if out:
        LEAKS.write(found.pairs, out, {"consenso.manifest_id": read.manifest_id})
    if html:
        write_text(html, render(found.pairs, read, leaks.facts(found)))
    typer.echo(json.dumps(leaks.as_json(found), ensure_ascii=False) if as_json else leaks.describe(found))
    for path in (out, html):
        if path and not as_json:
            typer.echo(f"-> {path}")
    if not found.leaks.empty:
        typer.echo(leaks.advice(manifest, read.root, out), err=True)
        raise typer.Exit(1)
    if found.unread:
        raise Partial(leaks.unread(found))
