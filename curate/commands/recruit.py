"""Commands that recruit strangers: `curate recruit prolific create-study | submissions | approve | bonus | settle`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.commands.options import WorkspaceOption, YesOption

if TYPE_CHECKING:
    from contextlib import closing
    from decimal import Decimal

    from curate.crowd.recruit import Prolific


def register(app: typer.Typer) -> None:
    """Add `recruit prolific …`."""
    recruit = typer.Typer(no_args_is_help=True, help="Find strangers for your crowd, through a panel's own API.")
    prolific = typer.Typer(no_args_is_help=True, help="Prolific; its token stands in PROLIFIC_TOKEN.")
    app.add_typer(recruit, name="recruit")
    recruit.add_typer(prolific, name="prolific")
    prolific.command("create-study")(create_study_command)
    prolific.command("submissions")(submissions_command)
    prolific.command("approve")(approve_command)
    prolific.command("bonus")(bonus_command)
    prolific.command("settle")(settle_command)


BaseOption = Annotated[
    str, typer.Option("--api", envvar="PROLIFIC_API", help="Address of the API; change it for a test double.")
]
StudyArgument = Annotated[str, typer.Argument(help="The study's id, as create-study prints it.")]
API = "https://api.prolific.com"


def create_study_command(
    name: Annotated[str, typer.Option(help="Title of the study, as people see it.")],
    description: Annotated[str, typer.Option(help="What they will do.")],
    url: Annotated[str, typer.Option(help="The arrival address that `curate crowd panels add prolific` prints.")],
    completion_code: Annotated[str, typer.Option(help="The code of `curate crowd panels add --completion-code`.")],
    places: Annotated[int, typer.Option(help="How many people.")],
    minutes: Annotated[int, typer.Option(help="How long it takes.")],
    reward: Annotated[str, typer.Option(help="What each gets, in the account's currency, e.g. 1.50.")],
    publish: Annotated[bool, typer.Option("--publish", help="Open it to people; else it stays a draft.")] = False,
    yes: YesOption = False,
    api: BaseOption = API,
) -> None:
    """Create a study once, as a draft; with --publish also open it, after saying what it costs."""
    from curate.crowd import recruit

    study = recruit.Study(name, description, url, completion_code, places, minutes, _money(reward)).check()
    if publish:
        _ask(f"{places} people, {reward} each: {study.rewards:.2f} plus Prolific's fees. Publish?", yes)
    with _prolific(api) as prolific:
        made, new = recruit.create_study(prolific, study)
        state = recruit.publish(prolific, made["id"])["status"] if publish else made.get("status", "UNPUBLISHED")
    typer.echo(f"{made['id']}  {state.lower()}{'' if new else ', made before'}")


def submissions_command(study: StudyArgument, api: BaseOption = API) -> None:
    """List the submissions of a study."""
    from curate.crowd import recruit

    with _prolific(api) as prolific:
        found = recruit.submissions(prolific, study)
    for one in found:
        typer.echo(f"{one['id']}  {one['status'].lower():<16}{one.get('participant_id', one.get('participant', ''))}")
    typer.echo(
        f"{len(found)} submissions, {sum(one['status'] == 'AWAITING REVIEW' for one in found)} wait for approval"
    )


def approve_command(
    study: StudyArgument,
    submission: Annotated[
        list[str] | None, typer.Option("--submission", help="Only this one; may be given several times.")
    ] = None,
    yes: YesOption = False,
    api: BaseOption = API,
) -> None:
    """Approve the submissions that wait for it: their people are paid."""
    from curate.crowd import recruit

    with _prolific(api) as prolific:
        waiting = recruit.waiting(prolific, study, submission)
        if waiting:
            _ask(f"{len(waiting)} submissions wait for approval; approving pays their rewards. Approve?", yes)
        typer.echo(f"{recruit.approve(prolific, waiting)} approved")


def bonus_command(
    study: StudyArgument,
    file: Annotated[Path, typer.Argument(help="CSV with a line `id,amount` a person: participant or submission id.")],
    batch: Annotated[str, typer.Option(help="A name for these bonuses; a person is paid once in each.")] = "bonus",
    limit: Annotated[str, typer.Option(help="The most that may be spent, fees included.")] = "100.00",
    yes: YesOption = False,
    api: BaseOption = API,
    workspace: WorkspaceOption = None,
) -> None:
    """Pay bonuses, each once, after saying how many and how much."""
    from curate.crowd import recruit
    from curate.workspace import open_workspace

    asked = recruit.read_bonuses(file)
    with recruit.open_payments(open_workspace(workspace).root) as payments, _prolific(api) as prolific:
        left = payments.unpaid(study, batch, asked)
        if not left:
            typer.echo(f"nothing to pay: all {len(asked)} were paid in batch {batch!r}")
            return
        total = sum(bonus.amount for bonus in left)
        _ask(f"{len(left)} bonuses, {total:.2f} plus Prolific's fees ({len(asked) - len(left)} paid before). Pay?", yes)
        cost = payments.pay(prolific, study, batch, left, _money(limit))
    typer.echo(f"{len(left)} bonuses paid, {cost:.2f} with fees")


def settle_command(
    bulk_id: Annotated[str, typer.Argument(help="The bulk payment that was cut off.")],
    paid: Annotated[bool, typer.Option("--paid/--not-paid", help="What Prolific's page of the study says.")],
    workspace: WorkspaceOption = None,
) -> None:
    """Say whether a payment that was cut off was made, as Prolific shows it."""
    from curate.crowd import recruit
    from curate.workspace import open_workspace

    with recruit.open_payments(open_workspace(workspace).root) as payments:
        done = payments.settle(bulk_id, paid)
    typer.echo(f"{done} bonuses are {'paid' if paid else 'not paid; they can be paid again'}")


def _prolific(api: str) -> closing[Prolific]:
    from contextlib import closing

    from curate.crowd.recruit import Prolific

    return closing(Prolific(base=api))


def _money(text: str) -> Decimal:
    from curate.crowd.recruit import money

    return money(text)


def _ask(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True)
