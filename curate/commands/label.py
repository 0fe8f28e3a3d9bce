"""Commands of the label stage: aggregate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `aggregate`."""
    app.command("aggregate")(aggregate_command)


def aggregate_command(
    votes: Annotated[
        Path | None,
        typer.Argument(help="Parquet or CSV with image_id, worker_id, label; left out: the votes of the workspace."),
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
    source: Annotated[
        str | None, typer.Option(help="Count only crowd, simulated or imported votes; they are never mixed.")
    ] = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Turn votes into labels: 2 of 3 must agree, the rest stay unlabeled and say why."""
    from curate.label import files

    if votes is not None:
        said = files.aggregate_file(votes, out, audit, classes, agree or 2, min_votes or 3, source, task)
    else:
        said = _in_workspace(workspace, task, agree, min_votes, source)
    typer.echo("\n".join(said))


def _in_workspace(
    workspace: Path | None, task: str | None, agree: int | None, min_votes: int | None, source: str | None
) -> list[str]:
    """Votes of a task to LABELS, to their own audit, and into the next manifest."""
    from curate.dataset.manifest import rebuild_manifest
    from curate.label.aggregate import Rule, aggregate_task, summary
    from curate.workspace import open_workspace
    from schemas.tables import GOLD, HITS, LABELS, VOTES

    here = open_workspace(workspace)
    asked = here.task(task)
    paths = {name: here.of_task(asked.task, name) for name in ("votes", "hits", "gold", "labels")}
    rule = Rule(tuple(asked.keys), agree or asked.crowd.agree, min_votes or asked.crowd.assignments.first)
    with here.lock("curate aggregate"):
        gold = GOLD.read_if_there(paths["gold"])
        hits = HITS.read_if_there(paths["hits"])
        votes = VOTES.read(paths["votes"])
        labels, audit = aggregate_task(votes, hits, gold, task=asked.task, rule=rule, source=source)
        VOTES.write(audit, paths["votes"])
        LABELS.write(labels, paths["labels"], rule.metadata())
        built = rebuild_manifest(here, asked, "curate aggregate")
        here.log(
            "aggregate",
            [paths["votes"], paths["hits"], paths["gold"]],
            [paths["labels"], built.path],
            labeled=int(labels["label"].notna().sum()),
            pictures=len(labels),
            manifest_id=built.manifest_id,
        )
    return [*summary(labels, audit, gold), f"labels -> {paths['labels']}", built.describe()]
