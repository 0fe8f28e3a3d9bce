"""What all trackers are told, and that none of them ever stops a training.

A run that goes on is told from its first row again: after a kill a tracker may know more steps than the checkpoint, or fewer.
Each leaves out what it has, so no step is missing or there twice.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import UserError
from schemas.files import write_text

NAMES = {"tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "Weights & Biases"}
AGAIN = 600.0  # seconds until a tracker that failed is tried once more


@dataclass(frozen=True)
class About:
    """A run as a tracker shows it: its name, its folder, every number that it was made with, and words to find it by."""

    name: str
    folder: Path
    params: dict[str, Any]
    tags: dict[str, str]

    def remembered(self, tracker: str) -> str | None:
        """The id that a tracker gave this run at an earlier start."""
        return self._ids().get(tracker)

    def remember(self, tracker: str, given: str) -> None:
        """Keep the id for a later start."""
        write_text(self.folder / "trackers.json", json.dumps({**self._ids(), tracker: given}))

    def _ids(self) -> dict[str, str]:
        path = self.folder / "trackers.json"
        return json.loads(path.read_text()) if path.exists() else {}


class Tracker(Protocol):
    """One vendor. Whatever it raises is a warning."""

    def start(self, about: About) -> None:
        """Begin, or go on with, the run of this folder."""

    def row(self, stage: str, step: int, values: dict[str, float]) -> None:
        """A point of the curve; one that is told a second time is left out."""

    def end(self, metrics: dict[str, float], files: Sequence[Path]) -> None:
        """The run is finished: its result, and the small files of its folder."""

    def stop(self) -> None:
        """The run was stopped or has failed; it may go on another time."""


def asked_for(asked: Sequence[str] | None) -> tuple[str, ...]:
    """The trackers to tell: those asked for, none for `none`, and by default TensorBoard where it is installed.

    Raises UserError for a name that is none, and for a tracker that is not installed.
    """
    if asked is None:
        return ("tensorboard",) if _installed("tensorboard") else ()
    wrong = [name for name in asked if name not in NAMES and name != "none"]
    if wrong or ("none" in asked and len(asked) > 1):
        raise UserError(f"--log {wrong[0] if wrong else 'none'}: choose {', '.join(NAMES)}, or none of them by `none`")
    for name in asked:
        if name != "none" and not _installed(name):
            raise UserError(f"--log {name} needs {NAMES[name]}: pip install 'consenso[track]'")
    return tuple(dict.fromkeys(name for name in asked if name != "none"))


def named(asked: Sequence[str] | None) -> tuple[str, ...] | None:
    """What `--log` said, checked at once; None where it said nothing."""
    return None if not asked else asked_for(asked) or ("none",)


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def made(name: str) -> Tracker:
    """A tracker by its name; its packages are imported when it starts."""
    if name == "tensorboard":
        from train.trackers.tensorboard import TensorBoard

        return TensorBoard()
    if name == "mlflow":
        from train.trackers.mlflow import MLflow

        return MLflow()
    from train.trackers.wandb import WandB

    return WandB()


class Trackers:
    """Those of one run, told one after another. One that fails is a warning; it is tried again now and then, and at the end."""

    def __init__(
        self, about: About, trackers: dict[str, Tracker], say: Callable[[str], None], again: float = AGAIN
    ) -> None:
        self._about, self._trackers, self._say, self._again = about, trackers, say, again
        self._rows: list[tuple[str, int, dict[str, float]]] = []
        self._failed: dict[str, float] = {}  # when
        self._warned: set[str] = set()
        for name in trackers:
            self._do(name, lambda tracker: tracker.start(about))

    def row(self, stage: str, row: dict[str, Any]) -> None:
        """A row of the curve as fit makes it: `step` and values."""
        step, values = row["step"], numbers({name: value for name, value in row.items() if name != "step"})
        self._rows.append((stage, step, values))
        for name in self._trackers:
            if name not in self._failed:
                self._do(name, lambda tracker: tracker.row(stage, step, values))
            elif time.monotonic() - self._failed[name] > self._again:
                self._restart(name)

    def end(self, metrics: dict[str, Any], files: Sequence[Path]) -> None:
        """The run is finished and its folder written."""
        there = [path for path in files if path.exists()]
        for name in self._trackers:
            if name not in self._failed or self._restart(name):
                self._do(name, lambda tracker: tracker.end(numbers(metrics), there))
            if name in self._failed:
                self._say(f"warning: {NAMES.get(name, name)} does not have the whole of this run")
        self._trackers = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *_: object) -> None:
        """Without `end` before, the run was stopped."""
        for name in self._trackers:
            if name not in self._failed:
                self._do(name, lambda tracker: tracker.stop())

    def _restart(self, name: str) -> bool:
        """Tell everything again from the start; whether that went well."""

        def all_again(tracker: Tracker) -> None:
            tracker.start(self._about)
            for stage, step, values in self._rows:
                tracker.row(stage, step, values)

        self._failed.pop(name, None)
        self._do(name, all_again)
        return name not in self._failed

    def _do(self, name: str, work: Callable[[Tracker], None]) -> None:
        try:
            work(self._trackers[name])
        except Exception as error:  # each vendor has its own, and none is worth a training
            self._failed[name] = time.monotonic()
            if name not in self._warned:
                said = " ".join(str(error).split())[:200] or type(error).__name__
                self._say(f"warning: {NAMES.get(name, name)} takes no more of this run ({said}); training goes on")
                self._warned.add(name)


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Those values that are numbers."""
    kept = {name: value for name, value in values.items() if isinstance(value, int | float)}
    return {name: float(value) for name, value in kept.items() if not isinstance(value, bool) and math.isfinite(value)}
