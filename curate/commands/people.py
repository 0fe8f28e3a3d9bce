"""Commands about the people who answer: agreement, workers, workers exclude, workers restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from curate.commands.options import TaskOption, WorkspaceOption

if TYPE_CHECKING:
    import pandas as pd

    from curate.label.ballots import Ballots
    from schemas.task import Task


class _TableFirst(TyperGroup):
    """`curate workers [VOTES]` prints the table, as if `show` had been typed; `exclude` and `restore` are its commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `show` before everything that is neither a command nor a call for help."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add `agreement` and `workers [show] | exclude | restore`."""
    app.command("agreement")(agreement_command)
    workers = typer.Typer(
        cls=_TableFirst,
        help="What each worker's record shows; leave somebody's votes out, or take them back in. "
        "`curate workers [VOTES]` alone is `curate workers show`.",
    )
    app.add_typer(workers, name="workers")
    workers.command("show")(workers_command)
    workers.command("exclude")(exclude_command)
    workers.command("restore")(restore_command)


VotesArgument = Annotated[
    Path | None,
    typer.Argument(help="Parquet or CSV with image_id, worker_id, label; left out: the votes of the workspace."),
]
ClassesOption = Annotated[
    str | None, typer.Option(help="With VOTES: class keys in order, e.g. dots,plain; default: all found, sorted.")
]
SourceOption = Annotated[
    str | None, typer.Option(help="Only crowd, simulated or imported votes; they are never mixed.")
]
WorkerArgument = Annotated[str, typer.Argument(help="The worker_id, as `curate workers` lists it.")]


def agreement_command(
    votes: VotesArgument = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="With VOTES: where the agreement goes.")] = Path(
        "agreement.parquet"
    ),
    confused: Annotated[
        Path, typer.Option("--confusions", help="With VOTES: where the pairs of confused classes go.")
    ] = Path("confusions.parquet"),
    classes: ClassesOption = None,
    source: SourceOption = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Say how far people agree (alpha, kappa; by class and marketplace) and which classes they confuse."""
    from contextlib import nullcontext

    from curate.label.agreement import agreement, agreement_lines, confusions
    from curate.workspace import open_workspace
    from schemas.tables import AGREEMENT, APPEARANCES, CONFUSIONS

    here = None if votes else open_workspace(workspace)
    with here.lock("curate agreement") if here else nullcontext():
        asked = here.task(task) if here else None
        shown = None
        if here and asked:
            out, confused = here.of_task(asked.task, "agreement"), here.of_task(asked.task, "confusions")
            shown = APPEARANCES.read_if_there(here.table("appearances"))
        frame, found, _ = _read(votes, here, asked, classes, source, task, (out, confused))
        table, pairs = agreement(found, shown), confusions(found)
        AGREEMENT.write(table, out, _class_order(found))
        CONFUSIONS.write(pairs, confused, _class_order(found))
        if here:
            alpha = table["alpha"].iloc[0]
            here.log("agreement", outputs=[out, confused], votes=len(frame), alpha=None if alpha != alpha else alpha)
    where = [str(here.relative(path) if here else path) for path in (out, confused)]
    typer.echo("\n".join([*agreement_lines(table, pairs), "", f"-> {', '.join(where)}"]))


def workers_command(
    votes: VotesArgument = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="With VOTES: where the table goes.")] = Path(
        "workers.parquet"
    ),
    gold: Annotated[
        Path | None, typer.Option(help="With VOTES: CSV or Parquet with image_id,label of known pictures.")
    ] = None,
    classes: ClassesOption = None,
    source: SourceOption = None,
    most: Annotated[int, typer.Option("--most", min=0, help="Workers to print, the worst first; 0 prints all.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print all rows as JSON lines instead.")] = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Print and write each worker's record, worst first, with what looks wrong in it; nobody is excluded by it."""
    from contextlib import nullcontext

    from curate.crowd.gold import read_gold
    from curate.label.workers import as_json_lines, worker_lines, worker_table
    from curate.workspace import open_workspace
    from schemas.tables import EXCLUSIONS, HITS, WORKERS

    here = None if votes else open_workspace(workspace)
    with here.lock("curate workers") if here else nullcontext():
        asked = here.task(task) if here else None
        out = here.of_task(asked.task, "workers") if here and asked else out
        known = read_gold(gold) if gold else None
        frame, found, answers = _read(votes, here, asked, classes, source, task, (out,), known)
        table = worker_table(
            found,
            frame,
            task=asked.task if asked else task or (votes.stem if votes else ""),
            gold=answers,
            pass_mark=(asked.crowd.pass_mark if asked else 70) / 100,
            hits=HITS.read_if_there(here.of_task(asked.task, "hits")) if here and asked else None,
            excluded=_reasons(EXCLUSIONS.read_if_there(here.of_task(asked.task, "exclusions")), asked.task)
            if here and asked
            else None,
        )
        WORKERS.write(table, out, _class_order(found))
        if here:
            here.log("workers", outputs=[out], workers=len(table), flagged=int((table["flags"].map(len) > 0).sum()))
    said = [*worker_lines(table, most), f"-> {here.relative(out) if here else out}"]
    typer.echo("\n".join(as_json_lines(table) if as_json else said))


def exclude_command(
    worker: WorkerArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept and shown.")],
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Leave a worker's votes out; says what will change, and `curate aggregate` then does it."""
    import getpass

    from curate.label.ballots import ballots
    from curate.label.exclusions import check_known, effect, exclude
    from curate.workspace import now, open_workspace
    from schemas.tables import EXCLUSIONS, VOTES

    here = open_workspace(workspace)
    asked = here.task(task)
    path = here.of_task(asked.task, "exclusions")
    with here.lock("curate workers exclude"):
        votes = VOTES.read(here.of_task(asked.task, "votes"))
        check_known(worker, votes)
        there = EXCLUSIONS.read_if_there(path)
        rows = exclude(there, worker, task=asked.task, reason=reason, by=getpass.getuser(), at=now())
        change = effect(
            ballots(votes, asked.keys, _gold(here, asked), source=_one(votes, worker)),
            worker,
            agree=asked.crowd.agree,
            min_votes=asked.crowd.assignments.first,
        )
        EXCLUSIONS.write(rows, path)
        here.log("workers exclude", outputs=[path], worker_id=worker, reason=reason)
    typer.echo(
        f"{worker} is excluded from task {asked.task}: {change}. `curate aggregate` applies it -> {here.relative(path)}"
    )


def restore_command(worker: WorkerArgument, task: TaskOption = None, workspace: WorkspaceOption = None) -> None:
    """Take an exclusion back; says what will change, and `curate aggregate` then does it."""
    from curate.label.ballots import ballots
    from curate.label.exclusions import effect, restore
    from curate.workspace import open_workspace
    from schemas.tables import EXCLUSIONS, VOTES

    here = open_workspace(workspace)
    asked = here.task(task)
    path = here.of_task(asked.task, "exclusions")
    with here.lock("curate workers restore"):
        rows = restore(EXCLUSIONS.read_if_there(path), worker, task=asked.task)
        votes = VOTES.read_if_there(here.of_task(asked.task, "votes"))
        found = ballots(votes, asked.keys, _gold(here, asked), source=_one(votes, worker))
        change = effect(found, worker, agree=asked.crowd.agree, min_votes=asked.crowd.assignments.first, back=True)
        EXCLUSIONS.write(rows, path)
        here.log("workers restore", outputs=[path], worker_id=worker)
    typer.echo(
        f"{worker} is back in task {asked.task}: {change}. `curate aggregate` applies it -> {here.relative(path)}"
    )


def _read(
    votes: Path | None,
    here: Any,
    asked: Task | None,
    classes: str | None,
    source: str | None,
    task: str | None,
    outputs: tuple[Path, ...],
    gold: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, Ballots, dict[str, str]]:
    """The votes of a file or of the workspace, as they are and as arrays, and the known answers."""
    from curate.label.ballots import ballots
    from curate.label.votes import classes_of, read_votes
    from schemas.errors import UserError
    from schemas.tables import VOTES

    if asked is not None and (gold is not None or classes is not None):
        raise UserError("--gold and --classes go with a file of votes; a workspace has its own gold and classes")
    if asked is not None:
        path = here.of_task(asked.task, "votes")
        frame, keys, known = VOTES.read(path), list(asked.keys), _gold(here, asked)
    else:
        assert votes is not None
        if votes.resolve() in {path.resolve() for path in outputs}:
            raise UserError(f"{votes}: would be replaced by its own result; name another file with --out")
        path, frame = votes, read_votes(votes, task)
        keys = classes_of(frame, votes, classes)
        known = {} if gold is None else dict(zip(gold["image_id"], gold["label"], strict=True))
    found = ballots(frame, keys, known, source)
    if not len(found.image):
        raise UserError(f"{path}: none of {len(frame)} votes counts. Collect some with `curate hits collect`.")
    return frame, found, known


def _gold(here: Any, asked: Task) -> dict[str, str]:
    from schemas.tables import GOLD

    rows = GOLD.read_if_there(here.of_task(asked.task, "gold"))
    rows = rows[rows["task"] == asked.task]
    return dict(zip(rows["image_id"], rows["label"], strict=True))


def _reasons(exclusions: pd.DataFrame, task: str) -> dict[str, str]:
    rows = exclusions[exclusions["task"] == task]
    return dict(zip(rows["worker_id"], rows["reason"], strict=True))


def _one(votes: pd.DataFrame, worker: str) -> str | None:
    """The source of a worker's votes: what they are counted together with."""
    own = votes.loc[votes["worker_id"] == worker, "source"]
    return str(own.iloc[0]) if len(own) else None


def _class_order(found: Ballots) -> dict[str, str]:
    import json

    return {"consenso.classes": json.dumps(list(found.classes))}
