"""Commands that ask people and end the asking: `hits create | pilot | stop | extend | delete`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.options import EndpointOption, SeedOption, TaskOption, WorkspaceOption, YesOption, agree_first
from schemas.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.adaptive import Crowd
    from curate.crowd.question import Place
    from curate.crowd.requester import Requester
    from curate.crowd.rounds import Plan
    from curate.workspace import Workspace
    from schemas.task import Task

PicturesOption = Annotated[
    str | None,
    typer.Option(
        "--pictures-url",
        help="Where workers' browsers find pictures, an address or s3://bucket/prefix; default: ENDPOINT/picture.",
    ),
]


def register(hits: typer.Typer) -> None:
    """Add the commands to `curate hits`."""
    hits.command("create")(hits_create_command)
    hits.command("pilot")(hits_pilot_command)
    hits.command("stop")(hits_stop_command)
    hits.command("extend")(hits_extend_command)
    hits.command("delete")(hits_delete_command)


@dataclass(frozen=True)
class Asking:
    """What every command here needs, opened."""

    here: Workspace
    task: Task
    project: Any
    requester: Requester

    def read(self, table: Any) -> pd.DataFrame:
        """A table of the task, empty where it is not there yet."""
        found: pd.DataFrame = table.read_if_there(self.here.of_task(self.task.task, table.name))
        return found

    def write_tables(self) -> list[Path]:
        """Write HITS and LEDGER as the journal and the ledger have them; returns their paths."""
        from curate.crowd.tables import write_tables

        return write_tables(self.here, self.project, self.task.task)

    def facts(self, seed: int) -> dict[str, Any]:
        """What every plan is made from."""
        from schemas.tables import CLUSTERS, GOLD, PICTURES

        return {
            "name": self.here.config.name,
            "endpoint": self.requester.endpoint,
            "seed": seed,
            "pictures": PICTURES.read(self.here.table("pictures"), ["image_id", "dropped"]),
            "clusters": CLUSTERS.read(self.here.table("clusters")),
            "gold": self.read(GOLD),
        }


@contextmanager
def _opened(command: str, workspace: Path | None, task: str | None, endpoint: str | None) -> Iterator[Asking]:
    """The workspace, locked, with its journal and its crowd."""
    from contextlib import closing

    from curate.crowd.requester import Requester
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    with here.lock(f"curate hits {command}"), closing(here.project()) as project:
        yield Asking(here, asked, project, requester)


# -- create and pilot -------------------------------------------------------------------------------------------------


def hits_create_command(
    file: Annotated[
        Path | None, typer.Argument(help="With --selection: another selection than the task's selection.parquet.")
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", "-n", help="Random pictures that shall be asked about in all.")
    ] = None,
    selection: Annotated[
        bool, typer.Option("--selection", help="Ask what `curate select` chose, as the next round.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="With --images: ask once more about pictures that have their label.")
    ] = False,
    up_to: Annotated[
        int | None, typer.Option(help="Ask up to so many people where they differ; default: the task's assignments.")
    ] = None,
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    seed: SeedOption = 0,
    yes: YesOption = False,
    endpoint: EndpointOption = None,
    pictures_url: PicturesOption = None,
) -> None:
    """Ask people: random pictures, what `curate select` chose, and whatever collected answers left open. Asks nothing twice."""
    if again and images is None:
        raise UserError("--again needs --images N: how many labeled pictures shall be asked about once more")
    if (selection or file is not None) and (images is not None or up_to is not None):
        raise UserError(
            "say --images N for a random sample or --selection for what was chosen, not both; --up-to goes with neither"
        )
    with _opened("create", workspace, task, endpoint) as asking:
        if selection or file is not None:
            plans = [_plan_selection(asking, file, seed)]
        else:
            plans = _plans(asking, images, again, up_to, seed)
        _make(asking, plans, yes, pictures_url, seed, "create")


def _plans(asking: Asking, images: int | None, again: bool, up_to: int | None, seed: int) -> list[Plan]:
    """New pictures where a number is said, then what the answers so far left open."""
    from curate.crowd import journal
    from curate.crowd.adaptive import plan_again, plan_lacking
    from curate.crowd.rounds import plan
    from schemas.tables import LABELS, VOTES

    facts, votes, labels = asking.facts(seed), asking.read(VOTES), asking.read(LABELS)
    plans: list[Plan] = []
    if images is not None and again:
        plans.append(
            plan_again(asking.project, asking.task, wanted=images, labels=labels, crowd=_crowd(asking, votes), **facts)
        )
    elif images is not None:
        plans.append(plan(asking.project, asking.task, wanted=images, labels=labels, **facts))
    elif not journal.entries(asking.project, asking.task.task):
        raise UserError(
            "what shall be asked? Say --images N for a random sample, or --selection for what `curate select` chose"
        )
    beside = [entry for made in plans for entry in made.new]
    lacking = plan_lacking(
        asking.project, asking.task, votes=votes, crowd=_crowd(asking, votes), up_to=up_to, beside=beside, **facts
    )
    if plans:
        lacking = replace(lacking, waiting=[], left=lacking.left - plans[0].cost)
    return [*plans, lacking]


def _plan_selection(asking: Asking, file: Path | None, seed: int) -> Plan:
    """The pictures of a selection as the next round."""
    from curate.crowd.rounds import plan_selection
    from schemas.tables import SELECTION, VOTES

    path = file or asking.here.of_task(asking.task.task, "selection")
    selection = SELECTION.check(SELECTION.read(path))
    metadata = SELECTION.metadata(path)
    crowd = _crowd(asking, asking.read(VOTES), set(selection["image_id"]))
    return plan_selection(
        asking.project,
        asking.task,
        selection=selection,
        where=asking.here.relative(path),
        answered=crowd.answered,
        crowd=crowd.size,
        last_round=int(metadata["consenso.round"]) if "consenso.round" in metadata else None,
        **asking.facts(seed),
    )


def _crowd(asking: Asking, votes: pd.DataFrame, wanted: set[str] | None = None) -> Crowd:
    """Who answered what at this endpoint; how many may work is asked only where one of `wanted` was answered before."""
    from curate.crowd.adaptive import Crowd
    from curate.crowd.qualification import known_workers
    from curate.crowd.rounds import answered_before
    from schemas.tables import EXCLUSIONS

    excluded = asking.read(EXCLUSIONS)
    answered = answered_before(votes, asking.requester.endpoint)
    workers = {worker for who in answered.values() for worker in who}
    ask = bool(answered) if wanted is None else any(image_id in answered for image_id in wanted)
    size = known_workers(asking.project, asking.requester, asking.task, workers) if ask else 0
    shut = frozenset(excluded.loc[excluded["task"] == asking.task.task, "worker_id"])
    return Crowd(answered, shut, size)


def _make(asking: Asking, plans: Sequence[Plan], yes: bool, pictures_url: str | None, seed: int, command: str) -> None:
    """Say what is planned, ask, make it, and write HITS and LEDGER."""
    from curate.crowd import budget, prices
    from curate.crowd.making import create
    from curate.crowd.qualification import practice_ids, practice_of, requirement
    from curate.crowd.question import with_confused
    from curate.label.agreement import confused_with
    from schemas.progress import progress
    from schemas.tables import CLUSTERS, CONFUSIONS, GOLD, VOTES

    here, task, requester = asking.here, asking.task, asking.requester
    requirements = requirement(asking.project, task, requester.endpoint)
    votes = asking.read(VOTES)
    for planned in plans:
        for line in [*planned.lines(), *prices.lines(planned, task, votes)]:
            typer.echo(line)
    plans = [planned for planned in plans if not planned.nothing] or list(plans[:1])
    if plans[0].nothing:
        asking.write_tables()
        typer.echo(f"nothing to make: {plans[0].done(task.task)}")
        return
    cost, left = sum(planned.cost for planned in plans), budget.left(asking.project, task)
    if cost > left:
        raise UserError(budget.too_little(task, cost, left))
    hits = sum(len(planned.new) + len(planned.waiting) for planned in plans)
    agree_first(yes, f"Make {hits} HITs at {requester.endpoint}?")
    gold, clusters = asking.read(GOLD), CLUSTERS.read(here.table("clusters"))
    shown = [i for planned in plans for entry in (*planned.waiting, *planned.new) for i in entry.image_ids]
    shown += [i for c in task.classes for i in c.examples] + practice_ids(gold, clusters, task)
    place = picture_place(here, asking.project, requester.endpoint, pictures_url, task, shown)
    # the plan, and with it the name of each HIT, does not know the hints: they change with every answer
    hinted = with_confused(task, confused_with(asking.read(CONFUSIONS)))
    practice = practice_of(gold, clusters, task, place)
    made, refused = 0, []
    with progress(hits, "making HITs", " HIT") as bar:
        for planned in plans:
            done = create(
                asking.project, requester, hinted, planned, place, requirements, bar.update, here.config.name, practice
            )
            made += done.count
            refused += done.lines()
    outputs = asking.write_tables()
    here.log(
        f"hits {command}",
        outputs=outputs,
        hits=made,
        pictures=sum(planned.pictures for planned in plans),
        seed=seed,
        endpoint=requester.endpoint,
        selection=plans[0].selection,
    )
    for line in refused:
        typer.echo(line)
    if refused and not made:
        raise UserError("no HIT was made")
    typer.echo(f"{made} HITs made -> {here.relative(outputs[0])}")


def hits_pilot_command(
    images: Annotated[
        int | None, typer.Option("--images", "-n", help="Random pictures that the pilot shall ask about in all.")
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Say what the pilot's collected answers tell.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Let the pilot's votes count like all others.")] = False,
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    seed: SeedOption = 0,
    yes: YesOption = False,
    endpoint: EndpointOption = None,
    pictures_url: PicturesOption = None,
) -> None:
    """Try a task out on a few pictures before the round that counts: its votes do not count unless they are kept."""
    from curate.crowd.rounds import plan
    from schemas.tables import LABELS

    if (images is not None) + report + keep != 1:
        raise UserError("say one of --images N (ask), --report (what the answers tell), --keep (let them count)")
    with _opened("pilot", workspace, task, endpoint) as asking:
        if images is not None:
            labels = asking.read(LABELS)
            planned = plan(
                asking.project, asking.task, wanted=images, labels=labels, purpose="pilot", **asking.facts(seed)
            )
            _make(asking, [planned], yes, pictures_url, seed, "pilot")
        elif report:
            _pilot_report(asking)
        else:
            _pilot_keep(asking)


def _pilot_report(asking: Asking) -> None:
    from curate.crowd import pilot
    from curate.crowd.rounds import plan
    from curate.label.agreement import alpha, confusions, tally
    from curate.label.ballots import ballots
    from schemas.tables import GOLD, HITS, LABELS, VOTES

    votes = pilot.of_pilot(asking.read(VOTES), asking.read(HITS))
    if votes.empty:
        raise UserError(
            f"task {asking.task.task}: no answers of a pilot. Ask with `curate hits pilot --images 100`, "
            "then read the answers with `curate hits collect`"
        )
    gold = asking.read(GOLD)
    counted = votes.assign(dropped=votes["dropped"].mask(votes["dropped"] == "pilot", None))
    found = ballots(counted, asking.task.keys, dict(zip(gold["image_id"], gold["label"], strict=True)))
    pairs = confusions(found)
    agreed = pilot.Agreement(
        alpha(tally(found)),
        [
            (str(a), str(b), int(n))
            for a, b, n in zip(pairs["class_a"], pairs["class_b"], pairs["n_images"], strict=True)
        ],
    )
    full = plan(asking.project, asking.task, wanted=1, labels=asking.read(LABELS), **asking.facts(0))
    typer.echo("\n".join(pilot.report(votes, asking.task, gold, agreed, full.candidates)))


def _pilot_keep(asking: Asking) -> None:
    from curate.crowd import journal, pilot
    from schemas.tables import VOTES

    here, task = asking.here, asking.task.task
    votes = asking.read(VOTES)
    hits = journal.keep_pilot(asking.project, task)
    freed = pilot.kept(votes, {entry.hit_id or "" for entry in journal.entries(asking.project, task)})
    outputs = asking.write_tables()
    if len(votes):
        outputs.append(VOTES.write(freed, here.of_task(task, "votes")))
    here.log("hits pilot --keep", outputs=outputs, hits=len(hits))
    count = int(votes["dropped"].eq("pilot").sum())
    typer.echo(f"{count} votes of the pilot count from now on; `curate aggregate` makes labels of them")


# -- stop, extend, delete ---------------------------------------------------------------------------------------------

RoundOption = Annotated[int | None, typer.Option("--round", help="Only the HITs of this round.")]


def hits_stop_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    round_number: RoundOption = None,
    yes: YesOption = False,
) -> None:
    """End open HITs now: nobody new can begin, who is at work may finish and is paid, answers are kept."""
    from curate.crowd.ending import running, stop, stop_lines
    from schemas.progress import progress

    with _opened("stop", workspace, task, endpoint) as asking:
        found = running(asking.project, asking.requester, asking.task, round_number)
        if not found:
            typer.echo("nothing to stop: no HIT is open")
            return
        typer.echo("\n".join(stop_lines(found, asking.project)))
        agree_first(yes, f"End {len(found)} HITs?")
        with progress(len(found), "ending", " HIT") as bar:
            gone = stop(asking.project, asking.requester, found, bar.update)
        outputs = asking.write_tables()
        asking.here.log("hits stop", outputs=outputs, hits=len(found), answers=gone)
    typer.echo(f"{len(found)} HITs ended; `curate hits collect` reads what comes in still")


def hits_extend_command(
    hours: Annotated[
        float | None, typer.Option(help="Keep open HITs open for so many hours from now at least.", min=0.1, max=8760)
    ] = None,
    assignments: Annotated[
        int | None, typer.Option(help="Let so many workers in all answer each open HIT.", min=1)
    ] = None,
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    round_number: RoundOption = None,
    yes: YesOption = False,
) -> None:
    """Keep HITs open longer, or ask more workers, within the budget; the same call again changes nothing."""
    from datetime import timedelta

    from curate.crowd import budget
    from curate.crowd.ending import longer, running, to_move, to_widen, widen, widen_cost
    from curate.workspace import now

    if hours is None and assignments is None:
        raise UserError("say --hours H (longer) or --assignments N (more workers), or both")
    with _opened("extend", workspace, task, endpoint) as asking:
        found = running(asking.project, asking.requester, asking.task, round_number)
        until = now() + timedelta(hours=hours or 0)
        moved = to_move(found, until) if hours else []
        few = to_widen(found, assignments) if assignments else []
        if not moved and not few:
            typer.echo("nothing to extend: no open HIT ends earlier or has room for fewer workers")
            return
        if moved:
            typer.echo(f"{len(moved)} HITs stay open until {until:%Y-%m-%d %H:%M} UTC")
        if few and assignments:
            cost = widen_cost(asking.project, few, assignments)
            typer.echo(
                f"{len(few)} HITs are asked of {assignments} workers in all: {budget.dollars(cost)} more at most"
            )
        agree_first(yes, "Go ahead?")
        if assignments:
            widen(asking.project, asking.requester, asking.task, few, assignments)
        if hours:
            longer(asking.requester, found, until)
        outputs = asking.write_tables()
        asking.here.log("hits extend", outputs=outputs, moved=len(moved), widened=len(few))
    typer.echo(f"{len(moved)} HITs stay open longer, {len(few)} have room for more workers")


def hits_delete_command(
    workspace: WorkspaceOption = None, task: TaskOption = None, endpoint: EndpointOption = None, yes: YesOption = False
) -> None:
    """Dispose of HITs at the crowd whose answers are collected and judged; everything that was collected stays here."""
    from curate.crowd.ending import deletable, delete
    from schemas.progress import progress

    with _opened("delete", workspace, task, endpoint) as asking:
        fine, kept = deletable(asking.project, asking.requester, asking.task)
        for entry, why in kept[:5]:
            typer.echo(f"HIT {entry.hit_id} cannot be deleted: {why}")
        if len(kept) > 5:
            typer.echo(f"and {len(kept) - 5} more cannot")
        if not fine:
            if kept:
                raise UserError(f"none of {len(kept)} HITs can be deleted yet")
            typer.echo("nothing to delete")
            return
        typer.echo(f"{len(fine)} HITs are disposed of at {asking.requester.endpoint}; their votes stay here")
        agree_first(yes, f"Delete {len(fine)} HITs?")
        with progress(len(fine), "deleting", " HIT") as bar:
            gone = delete(asking.project, asking.requester, fine, bar.update)
        asking.here.log("hits delete", hits=gone)
    typer.echo(f"{gone} HITs deleted")


# -- shared with hits.py ----------------------------------------------------------------------------------------------


def picture_place(
    here: Workspace, project: Any, endpoint: str, pictures_url: str | None, task: Task, image_ids: Sequence[str]
) -> Place:
    """Where workers' browsers find these pictures; for S3 they are put there first."""
    if not (pictures_url or "").startswith("s3://"):
        return pictures_url.rstrip("/") if pictures_url else f"{endpoint}/picture"
    from urllib.parse import urlsplit

    from curate.s3 import Bucket, lifetime
    from schemas.progress import progress
    from schemas.tables import PICTURES

    seconds = lifetime(task.crowd.lifetime_days * 86400, task.crowd.minutes * 60)
    bucket = Bucket(str(pictures_url))
    parts = urlsplit(endpoint)
    if told := bucket.check(f"{parts.scheme}://{parts.netloc}"):
        typer.echo(told)
    if bucket.temporary:
        typer.echo("WARNING: this S3 key is a temporary one: addresses end with it, however long they are signed for")
    pictures = PICTURES.read(here.table("pictures"), ["image_id", "blob"])
    originals = {i: here.original(blob) for i, blob in zip(pictures["image_id"], pictures["blob"], strict=True)}
    with progress(len(image_ids), "pictures to S3", " picture") as bar:
        keys = bucket.upload(project, originals, image_ids, bar.update)
    return lambda image_id: bucket.address(keys[image_id], seconds)
