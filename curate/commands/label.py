"""Commands of the label stage: aggregate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.options import TaskOption, WorkspaceOption
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.label.count import Filters
    from curate.label.methods import Wanted


def register(app: typer.Typer) -> None:
    """Add `aggregate`."""
    app.command("aggregate")(aggregate_command)


class RuleName(StrEnum):
    """What makes a label."""

    majority = "majority"
    plurality = "plurality"


class MethodName(StrEnum):
    """Models of workers that may stand in for the rule."""

    rule = "rule"
    dawid_skene = "dawid-skene"
    one_coin = "one-coin"
    mace = "mace"
    glad = "glad"
    crowdlab = "crowdlab"


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
    method: Annotated[
        MethodName, typer.Option(help="A model of workers instead of the rule; compare them on gold before you switch.")
    ] = MethodName.rule,
    smoothing: Annotated[
        float | None,
        typer.Option(help="With --method: imagined votes that keep workers with few votes from certainty."),
    ] = None,
    min_confidence: Annotated[float, typer.Option(help="With --method: a less probable class makes no label.")] = 0.0,
    predictions: Annotated[
        Path | None, typer.Option(help="With --method crowdlab: out-of-fold predictions, e.g. of `curate probe`.")
    ] = None,
    confusion: Annotated[
        Path | None, typer.Option(help="With --method: also write each worker's confusion matrix, Parquet or CSV.")
    ] = None,
    gold: Annotated[
        Path | None, typer.Option(help="With VOTES: image_id,label of pictures whose answer is known.")
    ] = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Turn votes into labels: 2 of 3 must agree, the rest stay unlabeled and say why."""
    from curate.label.count import Filters

    filters = Filters(source, endpoint, keep_rejected)
    numbers = {"agree": agree, "min_votes": min_votes, "first_k": first_k, "kind": rule.value}
    asked = (method, smoothing, min_confidence, predictions)
    if confusion and method in (MethodName.rule, MethodName.crowdlab):
        raise UserError(f"--confusion {confusion}: only a --method that models workers has confusion matrices")
    if votes is not None:
        said = _loose(votes, out, audit, classes, filters, task, numbers, asked, gold, confusion)
    else:
        said = _in_workspace(workspace, task, filters, inherit, numbers, asked, confusion)
    typer.echo("\n".join(said))


def _wanted(asked: tuple[MethodName, float | None, float, Path | None], classes: Sequence[str]) -> Wanted | None:
    """The model that is asked for; None = the rule."""
    from curate.label.methods import Wanted, read_predictions

    method, smoothing, min_confidence, predictions = asked
    if method is MethodName.rule:
        if smoothing is not None or min_confidence or predictions:
            raise UserError(
                "--smoothing, --min-confidence and --predictions go with --method, e.g. --method dawid-skene"
            )
        return None
    return Wanted(
        method.value, smoothing, min_confidence, read_predictions(predictions, classes) if predictions else None
    )


def _loose(
    votes: Path,
    out: Path,
    audit: Path | None,
    classes: str | None,
    filters: Filters,
    task: str | None,
    numbers: dict[str, Any],
    asked: tuple[MethodName, float | None, float, Path | None],
    gold: Path | None,
    confusion: Path | None,
) -> list[str]:
    """Votes of a file to a file of labels."""
    from curate.crowd.gold import read_gold
    from curate.label.files import Extra, aggregate_file
    from schemas.tables import PREDICTIONS

    known = read_gold(gold) if gold else None
    order = [key.strip() for key in classes.split(",")] if classes else []
    if asked[3] and not order:
        order = json.loads(PREDICTIONS.metadata(asked[3]).get("consenso.classes", "[]"))
    extra = Extra(
        _wanted(asked, order),
        {} if known is None else dict(zip(known["image_id"], known["label"], strict=True)),
        confusion,
    )
    numbers["agree"] = numbers["agree"] or 2
    return aggregate_file(votes, out, audit, ",".join(order) or None, filters, task, extra, **numbers)


def _in_workspace(
    workspace: Path | None,
    task: str | None,
    filters: Filters,
    inherit: bool,
    numbers: dict[str, Any],
    asked: tuple[MethodName, float | None, float, Path | None],
    confusion: Path | None,
) -> list[str]:
    """Votes of a task to LABELS, to their own audit, and into the next manifest."""
    from curate.dataset.manifest import rebuild_manifest
    from curate.label.methods import write_confusion
    from curate.label.tables import aggregate_workspace, rule_of
    from curate.workspace import open_workspace
    from schemas.tables import LABELS, VOTES

    here = open_workspace(workspace)
    one = here.task(task)
    paths = {name: here.of_task(one.task, name) for name in ("votes", "hits", "gold", "given", "labels")}
    with here.lock("curate aggregate"):
        wanted = _wanted(asked, one.keys)
        done = aggregate_workspace(here, one, rule_of(one, **numbers), filters, inherit, wanted)
        if len(done.votes):
            VOTES.write(done.votes, paths["votes"])
        LABELS.write(done.labels, paths["labels"], done.rule.metadata())
        built = rebuild_manifest(here, one, "curate aggregate")
        if confusion and done.model:
            write_confusion(done.model, one.keys, confusion)
        here.log(
            "aggregate",
            [path for name, path in paths.items() if name != "labels" and path.exists()],
            [paths["labels"], built.path],
            method=asked[0].value,
            labeled=int(done.labels["label"].notna().sum()),
            pictures=len(done.labels),
            manifest_id=built.manifest_id,
        )
    return [*done.said, f"labels -> {paths['labels']}", built.describe()]
