"""Task files: the ones that come with the tool, and new ones from a list of class keys."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.files import write_text
from schemas.task import Task, parse_task, read_task


def shipped() -> list[str]:
    """Names of the task files that come with the tool."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def _folder() -> Path:
    return Path(str(files("curate"))) / "task_files"


def make_task(name: str, classes: list[str] | None = None) -> Task:
    """A shipped task by name, or a new one with the given class keys and every policy at its default."""
    if classes is None:
        if name not in shipped():
            raise UserError(
                f"task {name!r} does not come with the tool ({', '.join(shipped())} do); give its classes: --classes dots,stripes,plain"
            )
        return read_task(_folder() / f"{name}.yaml")
    keys = [key.strip() for key in classes]
    return parse_task(
        {
            "task": name,
            "question": {
                "en": f"Which {name} is this?",
                "es": f"¿Qué {name} es?",
                "pt": f"Qual {name} é?",
            },
            "classes": [
                {"key": key, "name": {"en": key.replace("-", " ").replace("_", " ").capitalize()}} for key in keys
            ],
        },
        f"--classes {','.join(keys)}",
    )


def add_task(workspace: Workspace, task: Task) -> Path:
    """Write a task file into the workspace; raises UserError rather than touch one that is there."""
    path = workspace.root / "tasks" / f"{task.task}.yaml"
    if path.exists():
        raise UserError(f"{path}: exists already; edit it, or choose another name")
    write_text(path, task.dump())
    return path
