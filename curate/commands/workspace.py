"""Commands of the workspace itself: init, task add, status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def register(app: typer.Typer) -> None:
    """Add `init`, `task add`, `task check`, `task migrate` and `status`."""
    tasks = typer.Typer(no_args_is_help=True, help="The task files: question, classes, crowd and split policy.")
    app.command("init")(init_command)
    app.add_typer(tasks, name="task")
    tasks.command("add")(task_add_command)
    tasks.command("check")(task_check_command)
    tasks.command("migrate")(task_migrate_command)
    app.command("status")(status_command)


TemplateArgument = Annotated[
    str, typer.Option("--task", "-t", help="A shipped task (apron), or a new name together with --classes.")
]
ClassesOption = Annotated[
    str | None, typer.Option("--classes", help="Class keys of a new task, e.g. dots,stripes,plain.")
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="A value of the task file, e.g. --set crowd.reward_usd=0.2; may be repeated."),
]


def init_command(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    task: TemplateArgument = "apron",
    classes: ClassesOption = None,
    settings: SettingsOption = None,
    contact: Annotated[str, typer.Option(help="Your e-mail or page; the crawler says it to every site.")] = "",
    endpoint: Annotated[
        str | None,
        typer.Option(envvar="CURATE_ENDPOINT", help="URL of the crowd; default: your own server on this machine."),
    ] = None,
    storage: Annotated[
        str,
        typer.Option(help="Where original pictures are kept: s3://bucket/prefix; default: in the workspace."),
    ] = "",
) -> None:
    """Make a workspace with its first task file."""
    from curate.storage_move import usable
    from curate.tasks import add_task, make_task
    from curate.workspace import DEFAULT_ENDPOINT, Config, create_workspace

    made = make_task(task, classes.split(",") if classes else None, settings or ())
    name = folder.absolute().name
    kept = usable(storage) if storage else ""
    config = Config(name=name, contact=contact, endpoint=endpoint or DEFAULT_ENDPOINT, storage=kept)
    workspace = create_workspace(folder, config)
    path = add_task(workspace, made)
    workspace.log("init", outputs=[path])
    if kept and next(workspace.storage.names("blobs/"), None):
        typer.echo(f"{kept} holds pictures already; if they are another workspace's, give this one a prefix of its own")
    typer.echo(f"{folder} made with task {made.task} ({len(made.classes)} classes) -> {path}")
    typer.echo(f"next: read {path}, then `cd {folder}` and `curate scrape URL` or `curate import folder DIR`")


def task_add_command(
    task: TemplateArgument,
    classes: ClassesOption = None,
    settings: SettingsOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Add a task file to the workspace."""
    from curate.tasks import add_task, make_task
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    path = add_task(here, make_task(task, classes.split(",") if classes else None, settings or ()))
    here.log("task add", outputs=[path])
    typer.echo(f"task {task} added -> {path}")


def task_check_command(file: Annotated[Path, typer.Argument(help="A task file.")]) -> None:
    """Say whether a task file is right, or what is wrong: key, value, what is allowed."""
    from schemas.task import read_task

    task = read_task(file)
    typer.echo(
        f"{file}: fine. {task.task}: {len(task.classes)} classes, {task.crowd.assignments.first} answers a picture"
    )


def task_migrate_command(
    file: Annotated[
        Path, typer.Argument(metavar="MAP", help="YAML, `polka: dots` or `checks: [gingham, tartan]`, or CSV old,new.")
    ],
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Change a task's class list: rename, merge and split classes; votes, gold and known labels follow."""
    from curate.label.taxonomy import migrate_workspace, read_map
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    with here.lock("curate task migrate"):
        done = migrate_workspace(here, asked, read_map(file))
        here.log("task migrate", [file], [done.path], taxonomy_version=done.task.taxonomy_version)
    typer.echo("\n".join(done.lines()))


def status_command(workspace: WorkspaceOption = None) -> None:
    """Say what exists, what is open, what was spent, and what comes next."""
    from curate.status import describe
    from curate.workspace import open_workspace

    typer.echo(describe(open_workspace(workspace)))
