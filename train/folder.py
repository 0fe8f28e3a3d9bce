"""A run's folder: one process at a time, one run for good, and whether that run is finished."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import UserError


class Busy(UserError):
    """Another process is training this run."""


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a finished run, or one line about why not."""
    path = Path(folder) / "run.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        unfinished = (Path(folder) / "started.json").exists()
        said = "the run is unfinished; start it again with the same command" if unfinished else "no run.json there"
        raise UserError(f"{folder}: {said}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, NotADirectoryError) as error:
        raise UserError(f"{path}: is not the record of a run ({error})") from error


def state_of(folder: Path) -> str:
    """Whether a run folder is `done`, `unfinished` or `new`."""
    if (folder / "run.json").exists():
        return "done"
    return "unfinished" if (folder / "started.json").exists() else "new"


@contextmanager
def run_folder(folder: Path, fresh: bool, resume: bool = False) -> Iterator[Path]:
    """The run folder, made and held for this process alone; of several that train one run, by the leader for all."""
    from train import ranks  # torch is not needed to look into a folder

    if not ranks.leads():
        yield folder
        return
    if resume and (fresh or state_of(folder) == "new"):
        why = "--fresh would forget it" if fresh else "the folder holds no run; leave --resume out to begin one"
        raise UserError(f"--resume {folder}: {why}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; a run is a folder")
    held = {entry.name for entry in folder.iterdir()} - {".lock"} if folder.exists() else set()
    strange = held and not held & {"run.json", "started.json"}
    if strange:
        raise UserError(f"--out {folder}: holds other files and no run; name an empty folder or a new one")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{folder}: another process is training this run") from None
        if fresh:
            for entry in folder.iterdir():
                if entry.name != ".lock":
                    shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        yield folder


def finished(folder: Path, identity: str) -> dict[str, Any] | None:
    """The record of this very run if it is finished; UserError when the folder holds another one."""
    started = folder / "started.json"
    done = json.loads((folder / "run.json").read_text()) if (folder / "run.json").exists() else None
    found = done or (json.loads(started.read_text()) if started.exists() else None)
    if found is not None and found["fingerprint"] != identity:
        raise UserError(
            f"{folder}: holds another run (other recipe, data or seed); choose --out, or --fresh to replace it"
        )
    return done


@contextmanager
def says_full_disk(folder: Path) -> Iterator[None]:
    """A file that the disk has no room for is a person's affair: one line, and the run goes on once there is room."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise UserError(
            f"{folder}: cannot be written ({os.strerror(error.errno)}); make room, then the same command goes on"
        ) from error
