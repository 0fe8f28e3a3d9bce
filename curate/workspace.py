"""A workspace is one collection with one or more tasks: where its files are, who is writing, and what was done.

shop/
  workspace.yaml          name, contact, crowd endpoint
  tasks/apron.yaml        question, classes, crowd policy, split policy
  listings.parquet pictures.parquet appearances.parquet clusters.parquet …    shared by all tasks
  apron/votes.parquet apron/labels.parquet apron/splits.parquet apron/manifests/apron-0001.parquet …
  apron.parquet           the newest manifest of the task
  blobs/ project.db crowd.db runs/ reports/ log.jsonl
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from schemas import __version__
from schemas.errors import UserError
from schemas.files import write_text

if TYPE_CHECKING:
    import sqlite3

    from schemas.storage import Storage
    from schemas.task import Task

FILE = "workspace.yaml"
DEFAULT_ENDPOINT = "http://127.0.0.1:8055"


class Config(BaseModel):
    """What workspace.yaml says. Secrets never stand here: they come from the environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    contact: str = Field("", description="e-mail or page of who collects; goes into the crawler's user agent")
    endpoint: str = Field(
        DEFAULT_ENDPOINT, description="crowd that answers: any server that speaks MTurk's requester protocol"
    )
    storage: str = Field(
        "",
        pattern=r"^(s3://[^/\s]+\S*)?$",
        description="where original pictures are kept: s3://bucket/prefix; empty = here",
    )


@dataclass(frozen=True)
class Workspace:
    """One collection on disk. Making this object touches nothing."""

    root: Path
    config: Config

    # shared by all tasks
    def table(self, name: str) -> Path:
        """Path of a table that all tasks share: listings, pictures, appearances, clusters, decisions, failures."""
        return self.root / f"{name}.parquet"

    def of_task(self, task: str, name: str) -> Path:
        """Path of a table of one task: gold, truth, hits, votes, labels, splits, selection."""
        return self.root / task / f"{name}.parquet"

    def manifest(self, task: str) -> Path:
        """The newest manifest of a task."""
        return self.root / f"{task}.parquet"

    def manifests(self, task: str) -> list[Path]:
        """All numbered manifests of a task, oldest first."""
        return sorted((self.root / task / "manifests").glob(f"{task}-[0-9]*.parquet"))

    def next_manifest(self, task: str) -> Path:
        """Where the next numbered manifest goes."""
        built = self.manifests(task)
        number = int(built[-1].stem.rsplit("-", 1)[1]) + 1 if built else 1
        return self.root / task / "manifests" / f"{task}-{number:04d}.parquet"

    @property
    def storage(self) -> Storage:
        """Where the original bytes are kept: this folder, or the bucket that workspace.yaml names."""
        from schemas.storage import storage_at

        return storage_at(self.config.storage or self.root)

    def original(self, blob: str) -> Path | str:
        """The place of a picture's original bytes, by the column `blob`."""
        from schemas.storage import place_of

        return place_of(self.root, blob)

    @property
    def blobs(self) -> Path:
        """Folder of original bytes, by sha256."""
        return self.root / "blobs"

    @property
    def originals(self) -> tuple[Path | str, ...]:
        """Where original bytes may be, by sha256: the folder here, and the bucket where there is one."""
        return (self.blobs, *([f"{self.storage.where}/blobs"] if self.config.storage else []))

    @property
    def display(self) -> Path:
        """Folder of the copies that people are shown; they can be made again."""
        return self.root / "display"

    @property
    def runs(self) -> Path:
        """Folder of training runs, where this workspace keeps them."""
        return self.root / "runs"

    @property
    def crowd_url(self) -> str:
        """Database of the crowd server that is embedded in this workspace."""
        return f"sqlite:///{self.root / 'crowd.db'}"

    def project(self) -> sqlite3.Connection:
        """project.db: frontier, HIT journal, budget."""
        from curate.project import open_project

        return open_project(self.root / "project.db")

    def tasks(self) -> list[str]:
        """Names of the tasks, sorted."""
        return sorted(path.stem for path in (self.root / "tasks").glob("*.yaml"))

    def task(self, name: str | None = None) -> Task:
        """The task file called `name`, or the only one there is. Raises UserError when that is not clear."""
        from schemas.errors import TaskError
        from schemas.task import read_task

        names = self.tasks()
        if name is None:
            if len(names) != 1:
                found = ", ".join(names) or "none"
                raise UserError(
                    f"{self.root}: which task? Tasks here: {found}. Say --task NAME, or make one with `curate task add`."
                )
            name = names[0]
        if name not in names:
            raise UserError(f"{self.root}: no task {name!r}; tasks here: {', '.join(names) or 'none'}")
        path = self.root / "tasks" / f"{name}.yaml"
        task = read_task(path)
        if task.task != name:
            raise TaskError(
                f"{path}: task: {task.task!r} is not allowed: the file is called {name}.yaml, so it must be {name!r}"
            )
        return task

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Hold the workspace for one writing command; a second one is told who holds it. Freed even by kill -9."""
        path = self.root / ".lock"
        with path.open("a+") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                handle.seek(0)
                holder = handle.read().strip() or "another command"
                raise UserError(
                    f"{self.root}: is being written by {holder}; wait for it to end, or stop it, and run this again"
                ) from None
            handle.truncate(0)
            handle.write(
                f"`{command}` (process {os.getpid()}, {getpass.getuser()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC)"
            )
            handle.flush()
            try:
                yield
            finally:
                handle.truncate(0)

    def log(
        self, command: str, inputs: Sequence[Path | str] = (), outputs: Sequence[Path | str] = (), **facts: Any
    ) -> None:
        """Add a line to log.jsonl: who, when, version, command, inputs, outputs, and the counts worth keeping."""
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": getpass.getuser(),
            "version": __version__,
            "command": command,
            "inputs": [self.relative(path) for path in inputs],
            "outputs": [self.relative(path) for path in outputs],
            **facts,
        }
        with (self.root / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")

    def relative(self, path: Path | str) -> str:
        """A path as the workspace writes it down: relative where it lies inside."""
        full = Path(path).absolute()
        return full.relative_to(self.root).as_posix() if full.is_relative_to(self.root) else str(path)


def create_workspace(root: Path, config: Config) -> Workspace:
    """Make a workspace folder; raises UserError when there is one already."""
    root = Path(root).absolute()
    if (root / FILE).exists():
        raise UserError(f"{root}: is a workspace already; add a task with `curate task add`")
    if root.exists() and not root.is_dir():
        raise UserError(f"{root}: is a file; a workspace is a folder")
    for folder in ("tasks", "blobs", "runs", "reports"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    write_config(root, config)
    return Workspace(root, config)


def write_config(root: Path, config: Config) -> None:
    """Write workspace.yaml whole."""
    head = "# One collection of pictures. Secrets (AWS_ACCESS_KEY_ID, …) come from the environment, never from here.\n"
    write_text(root / FILE, head + yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True))


def open_workspace(start: Path | None = None) -> Workspace:
    """The workspace at `start`, or the nearest one at or above the current folder."""
    here = Path(start or Path.cwd()).absolute()
    for folder in (here,) if start else (here, *here.parents):
        if (folder / FILE).exists():
            return Workspace(folder, _read_config(folder / FILE))
    said = f"{here}: no {FILE} here" if start else f"{here}: neither here nor above is a {FILE}"
    raise UserError(f"{said}. Make a workspace with `curate init DIR`, or name one with --workspace DIR.")


def _read_config(path: Path) -> Config:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Config.model_validate(data or {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not readable as YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])) or "(whole file)"
        known = ", ".join(Config.model_fields)
        raise UserError(f"{path}: {key}: {fault['msg']}; known keys: {known}") from error


def now() -> datetime:
    """The time, in UTC, to the microsecond that tables keep."""
    return datetime.now(UTC)
