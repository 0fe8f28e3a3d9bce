"""Weights & Biases: a run of the project WANDB_PROJECT (`consenso`). WANDB_MODE=offline keeps it in RUN/wandb for `wandb sync`."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.trackers.told import About


class WandB:
    """Goes on under the same id. Online its server knows the last step and earlier ones are left out; offline each start
    writes a folder of its own that holds the run from its first row, so the newest is the whole of it."""

    def start(self, about: About) -> None:
        """The run that this folder had, else a new one."""
        import wandb

        given = about.remembered("wandb")
        if given is None:
            given = secrets.token_hex(4)
            about.remember("wandb", given)
        words = [f"{name}: {value}"[:64] for name, value in about.tags.items()]
        quiet = wandb.Settings(silent=True, console="off", disable_git=True)  # their lines would stand in our bar
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "consenso"), id=given, resume="allow", name=about.name,
            dir=str(about.folder), config=about.params, tags=words, settings=quiet, reinit="finish_previous",
        )  # fmt: skip
        self._stage, self._before, self._last = "", 0, 0

    def row(self, stage: str, step: int, values: dict[str, float]) -> None:
        """The values and the step of their stage; W&B counts steps through all stages, and knows none twice."""
        if stage != self._stage:
            self._stage, self._before = stage, self._before + self._last
        self._last = step
        told = {f"{stage}/{name}": value for name, value in {**values, "step": step}.items()}
        self._run.log(told, step=self._before + step)

    def end(self, metrics: dict[str, float], files: Sequence[Path]) -> None:
        """The result as the run's summary, and the files."""
        self._run.summary.update(metrics)
        for path in files:
            shutil.copy(path, self._run.dir)  # what lies there is part of the run
        self._run.finish()

    def stop(self) -> None:
        """It counts as failed until it goes on."""
        self._run.finish(exit_code=130)
