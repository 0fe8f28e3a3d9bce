"""Commands for answers and money: collect, review, approve, reject, bonuses, blocks, payouts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.options import EndpointOption, TaskOption, WorkspaceOption, YesOption, agree_first
from curate.commands.people import WorkerArgument
from schemas.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.collect import Collected
    from curate.crowd.requester import Requester
    from curate.crowd.review import Verdict
    from curate.workspace import Workspace
    from schemas.task import Task

TRIES = 10  # failures in a row after which `--watch` gives up


def register(app: typer.Typer) -> None:
    """Add `hits collect | review | approve | reject`, `workers block | unblock` and `pay bonus | owed | export | mark`."""
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    hits, workers = groups["hits"], groups["workers"]
    assert hits is not None
    assert workers is not None
    hits.command("collect")(collect_command)
    hits.command("review")(review_command)
    hits.command("approve")(approve_command)
    hits.command("reject")(reject_command)
    workers.command("block")(block_command)
    workers.command("unblock")(unblock_command)
    pay = typer.Typer(no_args_is_help=True, help="What workers are due: bonuses, what is owed, payouts.")
    app.add_typer(pay, name="pay")
    pay.command("bonus")(bonus_command)
    pay.command("owed")(owed_command)
    pay.command("export")(export_command)
    pay.command("mark")(mark_command)


SimulatedOption = Annotated[bool, typer.Option("--simulated", help="Of simulated workers, who get no money.")]
AssignmentsArgument = Annotated[list[str], typer.Argument(help="Assignment ids, as VOTES have them.")]


def collect_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    again: Annotated[bool, typer.Option("--again", help="Also read HITs that were complete before.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on reading until all answers are in; a line for each change.")
    ] = False,
    every: Annotated[float, typer.Option("--every", min=0.05, help="With --watch: seconds between two looks.")] = 30.0,
) -> None:
    """Read the answers that have come in; run it as often as you like."""
    from curate.crowd.requester import Requester
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    found, votes = _collect(here, asked, requester, again)
    typer.echo(f"{found.line()}, {votes} votes in all -> {here.relative(here.of_task(asked.task, 'votes'))}")
    if watch:
        _follow(found, every, lambda: _collect(here, asked, requester, if_new=True))


def _collect(
    here: Workspace,
    task: Task,
    requester: Requester,
    again: bool = False,
    if_new: bool = False,
) -> tuple[Collected, int]:
    """One collection and its tables, with `if_new` only where it brought something; returns it, and the votes in all."""
    from contextlib import closing

    from curate.crowd.collect import collect
    from curate.crowd.tables import write_tables
    from curate.crowd.votes import write_votes
    from schemas.progress import progress

    path = here.of_task(task.task, "votes")
    with here.lock("curate hits collect"), closing(here.project()) as project:
        with progress(None, "reading answers", " HIT") as bar:
            found = collect(project, requester, task, again, bar.update)
        if if_new and found.nothing:
            return found, 0
        votes = write_votes(project, task, path, again)
        outputs = [path, *write_tables(here, project, task.task)]
        here.log("hits collect", outputs=outputs, hits=found.hits, new=found.new, votes=votes)
    return found, votes


def _follow(found: Collected, every: float, look: Callable[[], tuple[Collected, int]]) -> None:
    """Look again and again until nothing more can come in. A crowd that does not answer is asked again, TRIES times."""
    failures = 0
    while found.open:
        time.sleep(every)
        try:
            found, _ = look()
        except UserError as error:
            failures += 1
            if failures == TRIES:
                raise
            print(f"{error}; looking again in {every:g} s", file=sys.stderr)
            continue
        failures = 0
        if not found.nothing:
            typer.echo(
                f"{time.strftime('%H:%M:%S')}  {found.line()}; {found.assignments} in all, {found.open} HITs open"
            )
    typer.echo("all answers are in; `curate hits review` judges them")


def review_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    reject_below: Annotated[
        float,
        typer.Option(
            help="Reject workers whose share of right answers on hidden gold is under this; 0 rejects nobody."
        ),
    ] = 0.0,
    agreement_below: Annotated[
        float, typer.Option(help="Reject workers who agree less often than this with the majority of the others.")
    ] = 0.0,
    seconds_below: Annotated[
        float, typer.Option(help="Reject workers whose median time for a picture is under this many seconds.")
    ] = 0.0,
    reason: Annotated[str, typer.Option("--reason", help="Your own words, added to the reason of a rejection.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen to each worker; do nothing.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Approve the collected assignments, and reject those of workers whose record is below a limit; shows it first."""
    from contextlib import closing

    from curate.crowd.requester import Requester
    from curate.crowd.review import Limits, judge, plan_lines, table_lines
    from curate.workspace import open_workspace
    from schemas.tables import VOTES

    limits = Limits(reject_below, agreement_below, seconds_below)
    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    with here.lock("curate hits review"), closing(here.project()) as project:
        votes = VOTES.read(here.of_task(asked.task, "votes"))
        mine = votes[votes["endpoint"] == requester.endpoint]
        records = _records(here, asked, mine)
        verdicts = judge(mine, records, limits, reason)
        if verdicts and (dry_run or any(verdict.reason for verdict in verdicts)):
            typer.echo("\n".join(table_lines(verdicts, records)))
        typer.echo("\n".join(plan_lines(verdicts)))
        if not verdicts or dry_run:
            return
        agree_first(yes, f"Judge {len(verdicts)} assignments?")
        said = _carry_out(here, project, requester, asked, verdicts, "hits review")
    typer.echo(said)


def _records(here: Workspace, task: Task, votes: pd.DataFrame) -> pd.DataFrame:
    """WORKERS of these votes: people are measured among people, simulated ones among their like."""
    import pandas as pd

    from curate.label.ballots import ballots
    from curate.label.workers import worker_table
    from schemas.tables import GOLD, WORKERS

    gold = GOLD.read_if_there(here.of_task(task.task, "gold"))
    gold = gold[gold["task"] == task.task]
    known = dict(zip(gold["image_id"], gold["label"], strict=True))
    found = [WORKERS.empty()]
    for source, own in votes.groupby("source"):
        frame = own.reset_index(drop=True)
        found.append(worker_table(ballots(frame, task.keys, known, str(source)), frame, task=task.task, gold=known))
    return pd.concat([table for table in found if len(table)] or found, ignore_index=True)


def _carry_out(
    here: Workspace,
    project: Any,
    requester: Requester,
    task: Task,
    verdicts: list[Verdict],
    command: str,
    override: bool = False,
) -> str:
    """Judge, write the tables, and say what became of it."""
    from collections import Counter

    from curate.crowd.review import review
    from curate.crowd.tables import write_tables
    from curate.crowd.votes import write_votes
    from schemas.progress import progress

    path = here.of_task(task.task, "votes")
    with progress(len(verdicts), "judging", " assignment") as bar:
        statuses = review(project, requester, task, verdicts, bar.update, override)
    write_votes(project, task, path)
    counts = dict(sorted(Counter(statuses.values()).items()))
    here.log(command, outputs=[path, *write_tables(here, project, task.task)], counts=counts)
    return ", ".join(f"{count} {status.lower()}" for status, count in counts.items()) + f" -> {here.relative(path)}"


def approve_command(
    assignments: AssignmentsArgument,
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    override: Annotated[
        bool, typer.Option("--override", help="Also approve what was rejected in the last 30 days.")
    ] = False,
    yes: YesOption = False,
) -> None:
    """Approve assignments by their ids."""
    _judge_named(workspace, task, endpoint, assignments, None, yes, override)


def reject_command(
    assignments: AssignmentsArgument,
    reason: Annotated[str, typer.Option("--reason", help="What was wrong; the worker reads it.")],
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    yes: YesOption = False,
) -> None:
    """Reject assignments by their ids, with a reason that the worker reads."""
    from curate.crowd.review import checked_reason

    _judge_named(workspace, task, endpoint, assignments, checked_reason(reason), yes)


def _judge_named(
    workspace: Path | None,
    task: str | None,
    endpoint: str | None,
    assignments: list[str],
    reason: str | None,
    yes: bool,
    override: bool = False,
) -> None:
    from contextlib import closing

    from curate.crowd.requester import Requester
    from curate.crowd.review import named
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    verb = "approve" if reason is None else "reject"
    with here.lock(f"curate hits {verb}"), closing(here.project()) as project:
        verdicts = named(project, asked, assignments, reason)
        agree_first(yes, f"{verb.capitalize()} {len(verdicts)} assignments?")
        said = _carry_out(here, project, requester, asked, verdicts, f"hits {verb}", override)
    typer.echo(said)


def block_command(
    worker: WorkerArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; for you alone, the worker does not read it.")],
    workspace: WorkspaceOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Keep a worker out of all your work from now on; answers that are there stay (`workers exclude` leaves them out)."""
    from curate.crowd.requester import Requester
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    requester = Requester(endpoint or here.config.endpoint)
    requester.block(worker, reason)
    here.log("workers block", worker_id=worker, reason=reason, endpoint=requester.endpoint)
    typer.echo(f"{worker} gets no more of your work at {requester.endpoint}; `curate workers unblock {worker}` ends it")


def unblock_command(
    worker: WorkerArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept.")] = "",
    workspace: WorkspaceOption = None,
    endpoint: EndpointOption = None,
) -> None:
    """Let a worker in again who was blocked."""
    from curate.crowd.requester import Requester
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    requester = Requester(endpoint or here.config.endpoint)
    requester.unblock(worker, reason)
    here.log("workers unblock", worker_id=worker, reason=reason, endpoint=requester.endpoint)
    typer.echo(f"{worker} may take your work at {requester.endpoint} again")


def bonus_command(
    worker: Annotated[str | None, typer.Argument(help="The worker_id; left out with --from.")] = None,
    usd: Annotated[str, typer.Option("--usd", help="How much, e.g. 1.50.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="What for; the worker reads it.")] = "",
    assignment: Annotated[
        str, typer.Option("--assignment", help="The assignment it is for; default: the worker's first one.")
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--from", help="CSV with worker_id, usd, reason and perhaps assignment_id.")
    ] = None,
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    yes: YesOption = False,
) -> None:
    """Pay workers something on top; the same bonus is never paid twice, however often it is asked for."""
    from contextlib import closing

    from curate.crowd import bonus as bonuses
    from curate.crowd.budget import check, dollars
    from curate.crowd.requester import Requester
    from curate.crowd.tables import write_tables
    from curate.workspace import open_workspace
    from schemas.progress import progress

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    with here.lock("curate pay bonus"), closing(here.project()) as project:
        if (worker is None) == (file is None):
            raise UserError("who gets a bonus? Name a WORKER with --usd and --reason, or a CSV file with --from")
        if file is not None:
            wanted = bonuses.read_bonuses(project, requester.endpoint, asked, file)
        else:
            wanted = [bonuses.bonus(project, requester.endpoint, asked, str(worker), usd, reason, assignment)]
        new = bonuses.unpaid(project, here.config.name, asked, wanted)
        total = sum(bonuses.cost(asked, one).total for one in new)
        typer.echo(f"{len(new)} bonuses, {dollars(total)} with fees; {len(wanted) - len(new)} were paid before")
        if not new:
            return
        check(project, asked, total - bonuses.reserved(project, here.config.name, asked, new))
        agree_first(yes, f"Pay {dollars(total)}?")
        try:
            with progress(len(new), "paying", " bonus") as bar:
                for one in new:
                    bonuses.pay(project, requester, here.config.name, asked, one)
                    bar.update(1)
        finally:
            outputs = write_tables(here, project, asked.task)
        here.log("pay bonus", outputs=outputs[1:], bonuses=len(new), usd=total / 1_000_000)
    typer.echo(f"{len(new)} bonuses paid -> {here.relative(outputs[1])}")


def owed_command(workspace: WorkspaceOption = None, simulated: SimulatedOption = False) -> None:
    """List what each worker is due in all tasks: earned and bonuses, less what has been paid."""
    from contextlib import closing

    from curate.crowd.payout import dues, owed_lines
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    with closing(here.project()) as project:
        typer.echo("\n".join(owed_lines(dues(project, simulated))))


def export_command(
    file: Annotated[Path, typer.Argument(help="Where the payout goes, as CSV.")],
    workspace: WorkspaceOption = None,
    simulated: SimulatedOption = False,
) -> None:
    """Write what is owed as a payout batch: pay it, then `curate pay mark` it."""
    from contextlib import closing

    from curate.crowd.budget import dollars
    from curate.crowd.payout import dues, export
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    with here.lock("curate pay export"), closing(here.project()) as project:
        batch, amounts = export(here.root, file, dues(project, simulated))
        here.log("pay export", outputs=[file], batch=batch, workers=len(amounts))
    typer.echo(f"batch {batch}: {len(amounts)} workers, {dollars(sum(amounts.values()))} -> {file}")


def mark_command(
    batch: Annotated[str, typer.Argument(help="The batch's id, or its file; rows that were not paid may be removed.")],
    workspace: WorkspaceOption = None,
    tell: Annotated[bool, typer.Option("--tell", help="Also send each worker a message at the crowd.")] = False,
    endpoint: EndpointOption = None,
) -> None:
    """Note that a payout was paid; marking again changes nothing."""
    from contextlib import closing

    from curate.crowd.budget import dollars
    from curate.crowd.payout import mark, read_batch, tasks_of, tell_paid
    from curate.crowd.requester import Requester
    from curate.crowd.tables import write_tables
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    with here.lock("curate pay mark"), closing(here.project()) as project:
        identity, wanted = read_batch(here.root, batch)
        new = mark(project, identity, wanted)
        outputs = [write_tables(here, project, task)[1] for task in tasks_of(project, identity)]
        here.log("pay mark", outputs=outputs, batch=identity, workers=len(new))
    before = len(wanted) - len(new)
    typer.echo(
        f"batch {identity}: {len(new)} workers marked as paid, {dollars(sum(new.values()))}"
        + (f"; {before} were marked before" if before else "")
    )
    if tell and new:
        missed = tell_paid(Requester(endpoint or here.config.endpoint), identity, new)
        typer.echo(f"{len(new) - len(missed)} workers told" + (f"; not reached: {', '.join(missed)}" if missed else ""))
