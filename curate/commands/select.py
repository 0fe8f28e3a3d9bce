"""Commands that close the loop: probe (what a simple model thinks) and select (what to ask next)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.options import EndpointOption, SeedOption, TaskOption, WorkspaceOption
from schemas.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from curate.dataset.candidates import Fits
    from curate.workspace import Workspace
    from schemas.task import Task


def register(app: typer.Typer) -> None:
    """Add `probe` and `select`."""
    app.command("probe")(probe_command)
    app.command("select")(select_command)


def probe_command(
    folds: Annotated[int, typer.Option(help="Parts of the labeled pictures; each is predicted from the others.")] = 5,
    embeddings: Annotated[
        Path | None, typer.Option(help="Vectors of the pictures; default: what `curate embed` wrote.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: probe.parquet of the task.")] = None,
    seed: SeedOption = 0,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Predict every picture with a linear model on embeddings that was never taught it: what `curate select` goes by."""
    import json

    from curate.dataset.probe import probe
    from curate.embeddings import iter_vectors, model_of
    from curate.workspace import open_workspace
    from schemas.manifest import read_manifest
    from schemas.progress import progress
    from schemas.tables import PREDICTIONS

    here = open_workspace(workspace)
    asked = here.task(task)
    vectors = embeddings or here.table("embeddings")
    path = out or here.of_task(asked.task, "probe")
    with here.lock("curate probe"):
        manifest = read_manifest(here.manifest(asked.task))
        model = model_of(vectors)
        with progress(folds, "teaching the probe", " fold") as bar:
            probed = probe(
                manifest.rows,
                lambda: iter_vectors(vectors, model),
                classes=manifest.classes,
                task=asked.task,
                manifest_id=manifest.manifest_id,
                embedding_id=model,
                folds=folds,
                seed=seed,
                step=bar.update,
            )
        record = {"made_by": "curate probe", "embeddings": model, "folds": folds, "seed": seed}
        metadata = {"consenso.classes": json.dumps(manifest.classes), "consenso.run": json.dumps(record)}
        PREDICTIONS.write(probed.rows, path, metadata)
        here.log("probe", [manifest.path, vectors], [path], manifest_id=manifest.manifest_id, right=probed.right)
    typer.echo("\n".join([*probed.lines(), f"predictions -> {here.relative(path)}"]))


def select_command(
    purpose: Annotated[
        str,
        typer.Option(
            "--for",
            help="label: pictures without a label; recheck: labels that are likely wrong; workers: people who guess.",
        ),
    ],
    images: Annotated[int | None, typer.Option("--images", "-n", help="Budget: so many pictures.")] = None,
    votes: Annotated[int | None, typer.Option(help="Budget: so many answers about them.")] = None,
    usd: Annotated[float | None, typer.Option(help="Budget: so many dollars, hidden gold and fees included.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="PREDICTIONS of a model; default: what `curate probe` wrote, if it did.")
    ] = None,
    by: Annotated[str, typer.Option(help="label: what is uncertain, by margin or entropy.")] = "margin",
    random_share: Annotated[
        float, typer.Option(help="label: share drawn at random; only these may later be tested on.")
    ] = 0.1,
    min_per_class: Annotated[
        int, typer.Option(help="label: first what is likely of a class that has fewer labels than this.")
    ] = 0,
    per_marketplace: Annotated[
        int | None, typer.Option(help="label: at most so many of one marketplace, random ones aside.")
    ] = None,
    diverse_share: Annotated[
        float, typer.Option(help="label: share of the rest that is unlike anything asked so far, by embeddings.")
    ] = 0.0,
    spread: Annotated[
        bool, typer.Option("--spread/--no-spread", help="label: take uncertain pictures that differ, by embeddings.")
    ] = True,
    split: Annotated[str, typer.Option(help="recheck: labels of train, val or test.")] = "train",
    at_random: Annotated[bool, typer.Option("--at-random", help="recheck: in random order, without a model.")] = False,
    whole: Annotated[
        list[str] | None, typer.Option("--class", help="recheck: this whole class; may be repeated.")
    ] = None,
    ask: Annotated[int | None, typer.Option(help="recheck: new workers for each; default: the task's.")] = None,
    below: Annotated[
        float | None, typer.Option(help="workers: who is surely worse than this, 0 to 1; default: the pass mark.")
    ] = None,
    embeddings: Annotated[
        Path | None, typer.Option(help="Vectors of the pictures; default: what `curate embed` wrote, if it did.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Default: selection.parquet, or weak-workers.csv, of the task.")
    ] = None,
    seed: SeedOption = 0,
    endpoint: EndpointOption = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Choose what to ask people next, within a budget; `curate hits create --selection` then asks it."""
    from curate.dataset.select import Wish
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    if purpose == "workers":
        _select_workers(here, asked, below, out)
        return
    if purpose not in ("label", "recheck"):
        raise UserError(f"--for must be label, recheck or workers, got {purpose!r}")
    wish = Wish(by, random_share, min_per_class, per_marketplace, diverse_share, spread, seed)
    recheck = {
        "ask": ask or asked.crowd.assignments.first,
        "split": split,
        "at_random": at_random,
        "whole": whole or [],
    }
    budget = {"--images": images, "--votes": votes, "--usd": usd}
    with here.lock("curate select"):
        typer.echo(
            "\n".join(
                _select(
                    here,
                    asked,
                    purpose,
                    budget,
                    predictions,
                    embeddings,
                    wish,
                    recheck,
                    out,
                    seed,
                    endpoint or here.config.endpoint,
                )
            )
        )


def _select(
    here: Workspace,
    task: Task,
    purpose: str,
    budget: dict[str, Any],
    predictions: Path | None,
    embeddings: Path | None,
    wish: Any,
    recheck: dict[str, Any],
    out: Path | None,
    seed: int,
    endpoint: str,
) -> list[str]:
    """Read the tables, choose, write SELECTION, and say what was chosen and what it costs."""
    from contextlib import closing

    from curate.crowd import budget as money
    from curate.crowd import journal
    from curate.crowd.rounds import answered_before, cost, last_of, usable_gold
    from curate.dataset.candidates import Rule, pool
    from curate.dataset.recheck import select_to_recheck
    from curate.dataset.select import select_to_label
    from curate.workspace import now
    from schemas.tables import (
        APPEARANCES,
        CLUSTERS,
        GOLD,
        HITS,
        LABELS,
        PICTURES,
        SELECTION,
        SPLITS,
        VOTES,
    )

    name = task.task
    with closing(here.project()) as project:
        before = journal.entries(project, name)
        left = money.left(project, task)
    pictures = PICTURES.read(here.table("pictures"), ["image_id", "dropped"])
    gold = GOLD.read_if_there(here.of_task(name, "gold"))
    hits = HITS.read_if_there(here.of_task(name, "hits"))
    votes = VOTES.read_if_there(here.of_task(name, "votes"))
    clusters = CLUSTERS.read(here.table("clusters"))
    candidates = pool(
        pictures,
        clusters,
        APPEARANCES.read_if_there(here.table("appearances")),
        LABELS.read_if_there(here.of_task(name, "labels")),
        SPLITS.read_if_there(here.of_task(name, "splits")),
        gold,
        hits,
        votes,
        lifetime_days=task.crowd.lifetime_days,
        now=now(),
        pending=journal.asked([entry for entry in before if entry.state == "pending"]),
    )
    answered = answered_before(votes, endpoint.rstrip("/"))
    crowd = len({worker for who in answered.values() for worker in who})
    hidden = len(usable_gold(pictures, gold, name, clusters))

    def price(rows: pd.DataFrame) -> int:
        return cost(rows, task, hidden, answered, crowd, len(before))

    fits = _within(budget, price)
    rule = Rule(task.keys, task.crowd.agree, task.crowd.assignments.first)
    modeled = purpose == "label" or not (recheck["at_random"] or recheck["whole"] or recheck["split"] != "train")
    known, notes = _predictions(here, task, predictions) if modeled else (None, [])
    if purpose == "label":
        vectors = _vectors(embeddings or here.table("embeddings"), embeddings is not None)
        chosen = select_to_label(candidates, hits, rule, wish, fits, task=name, predictions=known, vectors=vectors)
    else:
        chosen = select_to_recheck(candidates, rule, fits, task=name, predictions=known, seed=seed, **recheck)
    path = out or here.of_task(name, "selection")
    SELECTION.write(chosen.rows, path, {"consenso.round": str(last_of(before))})
    total = price(chosen.rows)
    here.log("select", outputs=[path], purpose=purpose, pictures=len(chosen.rows), seed=seed, usd=total / money.MICRO)
    shown = f"{money.dollars(total)} at most with hidden gold and fees; the budget has {money.dollars(left)} left"
    said = f" {here.relative(path)}" if out else ""
    return [*chosen.lines(), *notes, shown, f"next: curate hits create --selection{said}"]


def _within(budget: dict[str, Any], price: Any) -> Fits:
    """The one budget that was given, as a test that rows pass; raises UserError for none, several, or less than nothing."""
    given = {name: value for name, value in budget.items() if value is not None}
    if len(given) != 1:
        said = "none" if not given else " and ".join(given)
        raise UserError(f"give one budget: --images N, --votes N or --usd X; got {said}")
    name, value = next(iter(given.items()))
    if value <= 0:
        raise UserError(f"{name} must be more than 0, got {value}")
    if name == "--images":
        return lambda rows: len(rows) <= value
    if name == "--votes":
        return lambda rows: int(rows["assignments"].sum()) <= value
    return lambda rows: price(rows) <= round(value * 1_000_000)


def _predictions(here: Workspace, task: Task, given: Path | None) -> tuple[pd.DataFrame | None, list[str]]:
    """The predictions of a model that fit this task as it is, with notes; None where there are none."""
    import json

    from curate.dataset.candidates import check_predictions
    from schemas.tables import MANIFEST, PREDICTIONS

    path = given or here.of_task(task.task, "probe")
    if given is None and not path.exists():
        return None, []
    frame = PREDICTIONS.read(path)
    classes = json.loads(PREDICTIONS.metadata(path).get("consenso.classes", "null"))
    manifests = [MANIFEST.metadata(m).get("consenso.manifest_id", "") for m in here.manifests(task.task)]
    notes = check_predictions(
        frame, classes, where=here.relative(path), task=task.task, classes=task.keys, manifests=manifests
    )
    return frame, [f"by {here.relative(path)}", *notes]


def _vectors(path: Path, given: bool) -> Any:
    """A reader of embeddings; None where there are none and none were named."""
    from curate.embeddings import model_of, read_vectors

    if not given and not path.exists():
        return None
    model = model_of(path)
    return lambda image_ids: read_vectors(path, image_ids, model)[:2]


def _select_workers(here: Workspace, task: Task, below: float | None, out: Path | None) -> None:
    """Print the workers who are surely worse than a bound, and write them as CSV."""
    from curate.dataset.weak_workers import select_workers
    from schemas.files import write_text
    from schemas.tables import WORKERS

    path = out or here.root / task.task / "weak-workers.csv"
    bound = below if below is not None else task.crowd.pass_mark / 100
    with here.lock("curate select"):
        workers = WORKERS.read(here.of_task(task.task, "workers"))
        weak = select_workers(workers, bound)
        write_text(path, weak[["worker_id", "reason"]].to_csv(index=False))
        here.log("select", outputs=[path], purpose="workers", workers=len(weak), below=bound)
    for row in weak.itertuples():
        typer.echo(f"{row.worker_id}  {row.n_votes} votes  {row.reason}")
    typer.echo(f"{len(weak)} of {len(workers)} workers are surely below {100 * bound:g} % -> {here.relative(path)}")
    if len(weak):
        typer.echo("next: look at their answers; `curate workers exclude WORKER --reason TEXT` leaves one out")
