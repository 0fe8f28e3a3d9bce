"""Commands with pages for the requester: desk (the dashboard), adjudicate (disputes), gold label."""

from __future__ import annotations

import getpass
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.commands.options import (
    BrowserOption,
    ByOption,
    EndpointOption,
    JsonOption,
    PortOption,
    SeedOption,
    TaskOption,
    WorkspaceOption,
)
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.crowd.desk.facts import Facts
    from curate.pages.pen import Pen
    from curate.workspace import Workspace
    from schemas.question import TaskPage
    from schemas.task import Task

COLLECT_S = 600  # how long reading answers may take


def register(app: typer.Typer) -> None:
    """Add `desk`, `adjudicate` and `gold label`."""
    app.command("desk")(desk_command)
    app.command("adjudicate")(adjudicate_command)
    gold = {group.name: group.typer_instance for group in app.registered_groups}["gold"]
    assert gold is not None
    gold.command("label")(gold_label_command)


SourceOption = Annotated[
    str | None, typer.Option(help="Count only crowd, simulated or imported votes; they are never mixed.")
]


def desk_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    endpoint: EndpointOption = None,
    source: SourceOption = None,
    by: ByOption = None,
    port: PortOption = 0,
    no_browser: BrowserOption = False,
    as_json: JsonOption = False,
) -> None:
    """Open the dashboard: answers, spend, agreement, workers, disputes; approve, reject, bonus, block. Ctrl-C ends it."""
    from curate.crowd.desk.deck import Disputes
    from curate.crowd.desk.facts import disputes
    from curate.crowd.desk.room import Crowd, Room
    from curate.crowd.desk.serve import serve
    from curate.crowd.requester import Requester
    from curate.pages.pen import Pen
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    requester = Requester(endpoint or here.config.endpoint)
    requester.balance_usd()  # a wrong key or address is said now, not on the page
    facts, pen = _facts(here, asked, source), Pen(here)
    facts()  # so are votes of several sources
    deck = Disputes(pen, asked, facts, lambda: disputes(facts(), asked), by or getpass.getuser(), blind=False)
    crowd = Crowd(requester, facts, lambda: _collect(here, asked, requester.endpoint))
    serve(Room(here, asked, pen, deck, _page(here, asked), crowd), port, as_json, not no_browser)


def adjudicate_command(
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    blind: Annotated[bool, typer.Option("--blind", help="Show the votes only after you have chosen.")] = False,
    recheck: Annotated[
        str | None,
        typer.Option(
            "--recheck",
            help="Decide about the pictures of a CSV or Parquet file with image_id, or `all` labeled ones, instead.",
        ),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Print the disputes and their votes as JSON lines.")] = False,
    source: SourceOption = None,
    by: ByOption = None,
    port: PortOption = 0,
    no_browser: BrowserOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show an expert the pictures whose votes do not agree; an expert's label wins, and `curate aggregate` says so."""
    from curate.crowd.desk.deck import Disputes
    from curate.pages.pen import Pen
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    facts = _facts(here, asked, source)
    deck = Disputes(Pen(here), asked, facts, _to_decide(asked, facts, recheck), by or getpass.getuser(), blind)
    if listing:
        typer.echo("\n".join(_dispute_lines(deck, facts)))
        return
    if not deck.cards():
        typer.echo("nothing to decide: no picture has all its votes without agreement", err=as_json)
        return
    _decide(here, asked, deck, deck.pen, port, as_json, no_browser)
    typer.echo("next: curate aggregate (expert labels win over votes)", err=as_json)


def gold_label_command(
    count: Annotated[
        int, typer.Option("--n", "-n", help="Random pictures to label in all, those done before among them.")
    ],
    use: Annotated[
        str | None,
        typer.Option(
            "--use", help="test, hidden or practice; left out: the entry test is filled first, the rest is hidden."
        ),
    ] = None,
    workspace: WorkspaceOption = None,
    task: TaskOption = None,
    seed: SeedOption = 0,
    by: ByOption = None,
    port: PortOption = 0,
    no_browser: BrowserOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label random pictures yourself, on the page that workers see: they become gold. Run again, it goes on."""
    from contextlib import closing

    from curate.crowd import journal
    from curate.crowd.desk.deck import GoldToBe
    from curate.crowd.gold import USES
    from curate.pages.pen import Pen
    from curate.workspace import open_workspace
    from schemas.tables import CLUSTERS, PICTURES

    if use is not None and use not in USES:
        raise UserError(f"--use {use!r} is not allowed; it can be {', '.join(USES)}")
    here = open_workspace(workspace)
    asked = here.task(task)
    with closing(here.project()) as project:
        asked_before = journal.asked(journal.entries(project, asked.task))
    pictures = PICTURES.read(here.table("pictures"), ["image_id", "dropped"])
    clusters = CLUSTERS.read_if_there(here.table("clusters"))
    pen, name = Pen(here), by or getpass.getuser()
    deck = GoldToBe(pen, asked, pictures, clusters, asked_before, count, use or "", name, seed)
    _decide(here, asked, deck, pen, port, as_json, no_browser)
    decided = deck.decided()
    done = sum(image_id in decided for image_id in deck.cards())
    typer.echo(f"{done} of {len(deck.cards())} pictures are gold. {_after_gold(here, asked)}", err=as_json)


def _after_gold(here: Workspace, task: Task) -> str:
    """How the gold of a task is used so far, and what comes next."""
    from schemas.tables import GOLD

    gold = GOLD.read_if_there(here.of_task(task.task, "gold"))
    uses = gold.loc[gold["task"] == task.task, "use"].value_counts()
    said = ", ".join(f"{count} {use}" for use, count in uses.items()) or "none"
    missing = task.crowd.test_questions - int(uses.get("test", 0))
    if missing > 0:
        return f"In all: {said}; the entry test asks {task.crowd.test_questions}, {missing} are missing: label more"
    return f"In all: {said}. Next: curate qual create"


def _decide(here: Workspace, task: Task, deck: Any, pen: Pen, port: int, as_json: bool, no_browser: bool) -> None:
    """The pages of a deck alone."""
    from curate.crowd.desk.room import Room
    from curate.crowd.desk.serve import serve

    serve(Room(here, task, pen, deck, _page(here, task)), port, as_json, not no_browser)


def _page(here: Workspace, task: Task) -> TaskPage:
    """The task as the labeling page shows it, with what classes are confused with; pictures come from the desk itself."""
    from curate.crowd.question import task_page, with_confused
    from curate.label.agreement import confused_with
    from schemas.tables import CONFUSIONS

    confused = confused_with(CONFUSIONS.read_if_there(here.of_task(task.task, "confusions")))
    return task_page(with_confused(task, confused), ["0" * 64], "/picture")


def _collect(here: Workspace, task: Task, endpoint: str) -> str:
    """Run `curate hits collect` as a command of its own; returns what it said."""
    words = ["hits", "collect", "--workspace", str(here.root), "--task", task.task, "--endpoint", endpoint]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "curate.cli", *words],
        capture_output=True,
        text=True,
        timeout=COLLECT_S,
        check=False,
    )
    if done.returncode:
        raise UserError(
            (done.stderr.strip().splitlines() or ["curate hits collect failed"])[-1].removeprefix("error: ")
        )
    return done.stdout.strip().splitlines()[0]


def _facts(here: Workspace, task: Task, source: str | None) -> Callable[[], Facts]:
    """What the answers say now; worked out anew only when a table it depends on has changed."""
    import threading

    paths = [here.of_task(task.task, name) for name in ("votes", "hits", "gold", "exclusions")]
    lock = threading.Lock()
    held: dict[tuple[int, ...], Facts] = {}

    def facts() -> Facts:
        with lock:
            state = tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)
            if state not in held:
                found = _work_out(here, task, source)
                held.clear()
                held[state] = found
            return held[state]

    return facts


def _work_out(here: Workspace, task: Task, source: str | None) -> Facts:
    """Labels, workers and agreement of a task, as `aggregate`, `workers` and `agreement` would write them."""
    from curate.crowd.desk.facts import Facts
    from curate.label.agreement import agreement
    from curate.label.ballots import ballots
    from curate.label.count import Filters
    from curate.label.tables import aggregate_workspace, rule_of
    from curate.label.workers import worker_table
    from schemas.tables import EXCLUSIONS, GOLD, HITS, LABELS, VOTES, WORKERS

    votes = VOTES.read_if_there(here.of_task(task.task, "votes"))
    excluded = EXCLUSIONS.read_if_there(here.of_task(task.task, "exclusions"))
    own = excluded[excluded["task"] == task.task]
    reasons = dict(zip(own["worker_id"], own["reason"], strict=True))
    if votes.empty:
        return Facts(votes, LABELS.empty(), WORKERS.empty(), None, reasons)
    done = aggregate_workspace(here, task, rule_of(task), Filters(source))
    votes = done.votes
    gold = GOLD.read_if_there(here.of_task(task.task, "gold"))
    known = dict(zip(gold["image_id"], gold["label"], strict=True))
    found = ballots(votes, task.keys, known, source)
    workers = worker_table(
        found, votes, task=task.task, gold=known, pass_mark=task.crowd.pass_mark / 100,
        hits=HITS.read_if_there(here.of_task(task.task, "hits")), excluded=reasons,
    )  # fmt: skip
    alpha = agreement(found)["alpha"].iloc[0]
    return Facts(votes, done.labels, workers, None if alpha != alpha else float(alpha), reasons)


def _to_decide(task: Task, facts: Callable[[], Facts], recheck: str | None) -> Callable[[], list[str]]:
    """The pictures to decide: what is in dispute, or those that shall be looked at again."""
    from curate.crowd.desk.facts import disputes

    if recheck is None:
        return lambda: disputes(facts(), task)
    labels = facts().labels
    labeled = [str(image_id) for image_id in labels.loc[labels["label"].notna(), "image_id"]]
    wanted = labeled if recheck == "all" else _image_ids(Path(recheck))
    stray = sorted(set(wanted) - set(facts().labels["image_id"]))
    if stray:
        raise UserError(
            f"--recheck {recheck}: {len(stray)} of {len(wanted)} pictures were never asked about, first {stray[0][:12]}…"
        )
    return lambda: wanted


def _image_ids(path: Path) -> list[str]:
    """The image_id column of a CSV or Parquet file, each once, in order."""
    import pandas as pd

    from schemas.table import read_parquet

    try:
        frame = read_parquet(path).to_pandas() if path.suffix == ".parquet" else pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise UserError(f"--recheck {path}: cannot be read: {str(error).splitlines()[0]}") from error
    if "image_id" not in frame.columns:
        raise UserError(f"--recheck {path}: has no column image_id; found {', '.join(map(str, frame.columns[:8]))}")
    return list(dict.fromkeys(str(value) for value in frame["image_id"].dropna()))


def _dispute_lines(deck: Any, facts: Callable[[], Facts]) -> list[str]:
    """A JSON object for each picture to decide: its votes, and the expert's label where there is one."""
    import json
    from dataclasses import asdict

    from curate.crowd.desk.facts import said

    cards, decided = deck.cards(), deck.decided()
    votes = said(facts(), cards)
    return [
        json.dumps(
            {"image_id": i, "expert": decided.get(i), "votes": [asdict(one) for one in votes[i]]}, ensure_ascii=False
        )
        for i in cards
    ]
