"""Commands of the requester: gold, the entry test, HITs, simulated workers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands import asking
from curate.commands.asking import PicturesOption
from curate.commands.options import EndpointOption, SeedOption, TaskOption, WorkspaceOption
from schemas.errors import UserError


def register(app: typer.Typer) -> None:
    """Add `gold import`, `qual create`, `hits status`, and `hits` of asking.py."""
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
    asking.register(hits)
    hits.command("status")(hits_status_command)


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
        if (pictures_url or "").startswith("s3://"):
            raise UserError(
                f"--pictures-url {pictures_url}: the entry test stays, and a presigned address lives 7 days at most. "
                "Let the crowd show the test's pictures: leave --pictures-url out, or name a https:// address that stays"
            )
        place = (pictures_url or f"{requester.endpoint}/picture").rstrip("/")
        identity, questions, new = create_test(requester, project, asked, gold, here.config.name, place)
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
