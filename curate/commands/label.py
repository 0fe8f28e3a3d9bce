"""Commands of the label stage: aggregate."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption

if TYPE_CHECKING:
    from curate.label.count import Filters


def register(app: typer.Typer) -> None:
    """Add `aggregate`."""
    app.command("aggregate")(aggregate_command)


class RuleName(StrEnum):
    """What makes a label."""

    majority = "majority"
    plurality = "plurality"


def aggregate_command(
    votes: Annotated[
        Path | None,
        typer.Argument(
            help="Parquet or CSV with image_id, worker_id, label, or a folder of Parquet parts; "
            "left out: the votes of the workspace."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="With VOTES: where the labels go.")] = Path("labels.parquet"),
    audit: Annotated[
        Path | None, typer.Option(help="With VOTES: also write every vote with the reason why it did not count.")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="With VOTES: class keys in order, e.g. dots,plain; default: all found, sorted.")
    ] = None,
    agree: Annotated[
        int | None, typer.Option(min=1, help="Equal votes that make a label; default: the task's, else 2.")
    ] = None,
    min_votes: Annotated[
        int | None,
        typer.Option(min=1, help="Fewer votes than this make no label; default: the task's assignments, else 3."),
    ] = None,
    first_k: Annotated[
        int | None, typer.Option("--first-k", min=1, help="Count only the first so many answers of a picture.")
    ] = None,
    rule: Annotated[
        RuleName, typer.Option(help="majority: more than half must agree; plurality: more than any other class.")
    ] = RuleName.majority,
    source: Annotated[
        str | None, typer.Option(help="Count only crowd, simulated or imported votes; they are never mixed.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="Count only votes of this crowd; a sandbox never counts beside it.")
    ] = None,
    keep_rejected: Annotated[
        bool, typer.Option("--keep-rejected", help="Count answers of rejected assignments too.")
    ] = False,
    inherit: Annotated[
        bool,
        typer.Option("--inherit", help="In a workspace: near twins nobody was asked about take their cluster's label."),
    ] = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Turn votes into labels: 2 of 3 must agree, the rest stay unlabeled and say why."""
    from curate.label.count import Filters
    from curate.label.files import aggregate_file

    filters = Filters(source, endpoint, keep_rejected)
    if votes is not None:
        said = aggregate_file(
            votes, out, audit, classes, filters, task,
            agree=agree or 2, min_votes=min_votes, first_k=first_k, kind=rule.value,
        )  # fmt: skip
    else:
        said = _in_workspace(workspace, task, filters, inherit, agree, min_votes, first_k, rule.value)
    typer.echo("\n".join(said))


def _in_workspace(
    workspace: Path | None, task: str | None, filters: Filters, inherit: bool, *rule: object
) -> list[str]:
    """Votes of a task to LABELS, to their own audit, and into the next manifest."""
    from curate.dataset.manifest import rebuild_manifest
    from curate.label.tables import aggregate_workspace, rule_of
    from curate.workspace import open_workspace
    from schemas.tables import LABELS, VOTES

    here = open_workspace(workspace)
    asked = here.task(task)
    paths = {name: here.of_task(asked.task, name) for name in ("votes", "hits", "gold", "given", "labels")}
    with here.lock("curate aggregate"):
        done = aggregate_workspace(here, asked, rule_of(asked, *rule), filters, inherit)  # type: ignore[arg-type]
        if len(done.votes):
            VOTES.write(done.votes, paths["votes"])
        LABELS.write(done.labels, paths["labels"], done.rule.metadata())
        built = rebuild_manifest(here, asked, "curate aggregate")
        here.log(
            "aggregate",
            [path for name, path in paths.items() if name != "labels" and path.exists()],
            [paths["labels"], built.path],
            labeled=int(done.labels["label"].notna().sum()),
            pictures=len(done.labels),
            manifest_id=built.manifest_id,
        )
    return [*done.said, f"labels -> {paths['labels']}", built.describe()]
