"""Task files: the ones that come with the tool, and new ones from a list of class keys."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import yaml

from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.files import write_text
from schemas.task import Task, parse_task, read_task


def shipped() -> list[str]:
    """Names of the task files that come with the tool."""
    return sorted(path.name.removesuffix(".yaml") for path in _folder().iterdir() if path.name.endswith(".yaml"))


def _folder() -> Path:
    return Path(str(files("curate"))) / "task_files"


def make_task(name: str, classes: list[str] | None = None, settings: Sequence[str] = ()) -> Task:
    """A shipped task by name, or a new one with the given class keys and every policy at its default.

    `settings` are `part.key=value` pairs, e.g. `crowd.reward_usd=0.2`, checked as the task file is.
    """
    task = _plain_task(name, classes)
    return override(task, settings) if settings else task


def override(task: Task, settings: Sequence[str]) -> Task:
    """The task with some values changed, each given as `part.key=value`."""
    data = task.model_dump(mode="json", exclude_none=True)
    for setting in settings:
        path, found, value = setting.partition("=")
        *parents, last = path.split(".")
        place = data
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None  # type: ignore[assignment]
        if not found or not isinstance(place, dict):
            raise UserError(f"--set {setting}: expected part.key=value, e.g. crowd.reward_usd=0.2 or split.test=0.2")
        place[last] = yaml.safe_load(value)
    return parse_task(data, f"--set {' '.join(settings)}")


def _plain_task(name: str, classes: list[str] | None) -> Task:
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
