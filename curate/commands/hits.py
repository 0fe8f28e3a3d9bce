"""Commands of the requester: gold, the entry test, HITs, simulated workers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.options import EndpointOption, SeedOption, TaskOption, WorkspaceOption, YesOption, agree_first
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.crowd.requester import Requester
    from curate.crowd.rounds import Plan
    from curate.workspace import Workspace
    from schemas.task import Task


def register(app: typer.Typer) -> None:
    """Add `gold import`, `qual create` and `hits create | status`."""
    gold = typer.Typer(
        no_args_is_help=True, help="Pictures whose answer is known: for the entry test, and hidden in HITs."
    )
    qual = typer.Typer(no_args_is_help=True, help="The entry test that lets a worker in.")
    hits = typer.Typer(
        no_args_is_help=True, help="Ask people: make HITs, see how far they are, collect and judge answers."
    )
    app.add_typer(gold, name="gold")
    app.add_typer(qual, name="qual")
    app.add_typer(hits, name="hits")
    gold.command("import")(gold_import_command)
    qual.command("create")(qual_create_command)
    hits.command("create")(hits_create_command)
    hits.command("status")(hits_status_command)


PicturesOption = Annotated[
    str | None,
    typer.Option("--pictures-url", help="Where workers' browsers find pictures; default: ENDPOINT/picture."),
]


def gold_import_command(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet with image_id,label[,use,explanation].")],
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
) -> None:
    """Add pictures whose answer is known; without a `use` they fill the entry test first, the rest are hidden in HITs."""
    from curate.crowd.gold import add_gold, read_gold
    from curate.workspace import open_workspace
    from schemas.tables import GOLD, PICTURES

    here = open_workspace(workspace)
    asked = here.task(task)
    path = here.of_task(asked.task, "gold")
    with here.lock("curate gold import"):
        pictures = PICTURES.read(here.table("pictures"), ["image_id", "dropped"])
        gold = add_gold(read_gold(file), GOLD.read_if_there(path), pictures, asked, file.name)
        GOLD.write(gold, path)
        uses = gold.loc[gold["task"] == asked.task, "use"].value_counts().to_dict()
        here.log("gold import", inputs=[file], outputs=[path], uses=uses)
    said = ", ".join(f"{count} {use}" for use, count in sorted(uses.items(), reverse=True))
    typer.echo(f"gold of task {asked.task}: {said} -> {here.relative(path)}")


def qual_create_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    pictures_url: PicturesOption = None,
) -> None:
    """Make the entry test at the crowd, or find it there when it has been made."""
    from contextlib import closing

    from curate.crowd.qualification import create_test
    from curate.crowd.requester import Requester
    from curate.workspace import open_workspace
    from schemas.tables import GOLD

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    with here.lock("curate qual create"), closing(here.project()) as project:
        gold = GOLD.read(here.of_task(asked.task, "gold"))
        where = pictures_url or f"{requester.endpoint}/picture"
        identity, questions, new = create_test(requester, project, asked, gold, here.config.name, where)
        here.log(
            "qual create",
            inputs=[here.of_task(asked.task, "gold")],
            qualification_type_id=identity,
            questions=questions,
        )
    verb = "made" if new else "was there already"
    typer.echo(
        f"entry test of task {asked.task} {verb}: {questions} questions, pass mark {asked.crowd.pass_mark}% -> {identity}"
    )


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
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    seed: SeedOption = 0,
    yes: YesOption = False,
    endpoint: EndpointOption = None,
    pictures_url: PicturesOption = None,
) -> None:
    """Ask people about a random sample of pictures, or about what `curate select` chose; run again, it asks nothing twice."""
    from contextlib import closing

    from curate.crowd.qualification import requirement
    from curate.crowd.question import with_confused
    from curate.crowd.requester import Requester
    from curate.crowd.rounds import create
    from curate.crowd.tables import write_tables
    from curate.label.agreement import confused_with
    from curate.workspace import open_workspace
    from schemas.progress import progress
    from schemas.tables import CONFUSIONS

    here = open_workspace(workspace)
    asked = here.task(task)
    confused = confused_with(CONFUSIONS.read_if_there(here.of_task(asked.task, "confusions")))
    requester = Requester(endpoint or here.config.endpoint)
    with here.lock("curate hits create"), closing(here.project()) as project:
        if selection or file is not None:
            if images is not None:
                raise UserError("say --images N for a random sample or --selection for what was chosen, not both")
            planned = _plan_selection(here, asked, project, requester, file, seed)
        elif images is not None:
            planned = _plan_random(here, asked, project, requester, images, seed)
        else:
            raise UserError(
                "what shall be asked? Say --images N for a random sample, or --selection for what `curate select` chose"
            )
        requirements = requirement(project, asked, requester.endpoint)
        for line in planned.lines():
            typer.echo(line)
        if planned.nothing:
            write_tables(here, project, asked.task)
            typer.echo(f"nothing to make: {planned.done(asked.task)}")
            return
        agree_first(yes, f"Make {len(planned.new) + len(planned.waiting)} HITs at {requester.endpoint}?")
        where = pictures_url or f"{requester.endpoint}/picture"
        with progress(len(planned.waiting) + len(planned.new), "making HITs", " HIT") as bar:
            # the plan, and with it the name of each HIT, does not know the hints: they change with every answer
            hinted = with_confused(asked, confused)
            made = create(project, requester, hinted, planned, where, requirements, bar.update, here.config.name)
        outputs = write_tables(here, project, asked.task)
        here.log(
            "hits create",
            outputs=outputs,
            hits=made,
            pictures=planned.pictures,
            seed=seed,
            endpoint=requester.endpoint,
            selection=planned.selection,
        )
    typer.echo(f"{made} HITs made -> {here.relative(outputs[0])}")


def _plan_random(here: Workspace, task: Task, project: Any, requester: Requester, images: int, seed: int) -> Plan:
    """A random sample of `images` pictures in all."""
    from curate.crowd.rounds import plan
    from schemas.tables import CLUSTERS, GOLD, LABELS, PICTURES

    return plan(
        project,
        task,
        name=here.config.name,
        endpoint=requester.endpoint,
        wanted=images,
        seed=seed,
        pictures=PICTURES.read(here.table("pictures"), ["image_id", "dropped"]),
        clusters=CLUSTERS.read(here.table("clusters")),
        gold=GOLD.read_if_there(here.of_task(task.task, "gold")),
        labels=LABELS.read_if_there(here.of_task(task.task, "labels")),
    )


def _plan_selection(
    here: Workspace, task: Task, project: Any, requester: Requester, file: Path | None, seed: int
) -> Plan:
    """The pictures of a selection as the next round."""
    from curate.crowd.qualification import known_workers
    from curate.crowd.rounds import answered_before, plan_selection
    from schemas.tables import CLUSTERS, GOLD, PICTURES, SELECTION, VOTES

    path = file or here.of_task(task.task, "selection")
    selection = SELECTION.check(SELECTION.read(path))
    metadata = SELECTION.metadata(path)
    answered = answered_before(VOTES.read_if_there(here.of_task(task.task, "votes")), requester.endpoint)
    workers = {worker for who in answered.values() for worker in who}
    again = any(image_id in answered for image_id in selection["image_id"])
    return plan_selection(
        project,
        task,
        name=here.config.name,
        endpoint=requester.endpoint,
        selection=selection,
        where=here.relative(path),
        seed=seed,
        pictures=PICTURES.read(here.table("pictures"), ["image_id", "dropped"]),
        clusters=CLUSTERS.read(here.table("clusters")),
        gold=GOLD.read_if_there(here.of_task(task.task, "gold")),
        answered=answered,
        crowd=known_workers(project, requester, task, workers) if again else 0,
        last_round=int(metadata["consenso.round"]) if "consenso.round" in metadata else None,
    )


def hits_status_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures of the dashboard as one JSON line.")
    ] = False,
) -> None:
    """Say how far the HITs of a task are, what was answered, and what it cost."""
    import json
    from contextlib import closing

    from curate.crowd.figures import answers_an_hour, figures
    from curate.crowd.progress import describe
    from curate.crowd.requester import Requester
    from curate.workspace import open_workspace
    from schemas.tables import VOTES

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    with closing(here.project()) as project:
        if as_json:
            found = figures(project, requester, asked).as_dict()
            votes = VOTES.read_if_there(here.of_task(asked.task, "votes"))
            found |= {"votes": len(votes), "answers_an_hour": answers_an_hour(votes)}
            typer.echo(json.dumps(found))
            return
        for line in describe(project, requester, asked):
            typer.echo(line)


def simulate_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    workers: Annotated[int, typer.Option(help="How many simulated workers come.")] = 12,
    seed: SeedOption = 0,
    endpoint: EndpointOption = None,
    model: Annotated[Path | None, typer.Option(help="Error model to use, as an earlier run wrote it.")] = None,
    pace: Annotated[float, typer.Option(help="1 takes the time that people take, 0 none.", min=0)] = 0.0,
) -> None:
    """Let simulated workers take the entry test and answer the open HITs; their votes are marked simulated."""
    from contextlib import closing

    from curate.crowd import journal
    from curate.crowd.requester import check_endpoint
    from curate.crowd.simulate import Answerer, draw_workers, read_workers, simulate, take_seats, write_workers
    from curate.workspace import open_workspace
    from schemas.progress import progress
    from schemas.tables import TRUTH

    here = open_workspace(workspace)
    asked = here.task(task)
    where = check_endpoint(endpoint or here.config.endpoint)
    with closing(here.project()) as project:
        made = journal.entries(project, asked.task, where, "created")
    if not made:
        raise UserError(f"task {asked.task}: no HITs at {where}. Make some with `curate hits create --images N`")
    crowd = read_workers(model) if model else draw_workers(asked.keys, workers, seed)
    path = write_workers(crowd, here.root / asked.task / "simulated-workers.yaml")
    known = TRUTH.read_if_there(here.of_task(asked.task, "truth"))
    truth = dict(zip(known["image_id"], known["label"], strict=True))
    hit_types = {str(entry.hit_type_id) for entry in made}
    with closing(here.project()) as project:
        seats = take_seats(where, crowd, Answerer(seed, truth), journal.cookies(project, where, seed))
        journal.keep_cookies(project, where, seed, {seat.worker.name: seat.cookie for seat in seats})
    with progress(None, "simulated workers answer", " assignment") as bar:
        outcome = simulate(seats, hit_types, pace, bar.update)
    here.log("crowd simulate", outputs=[path], seed=seed, workers=len(crowd), answers=outcome.answers)
    for line in outcome.lines():
        typer.echo(line)
