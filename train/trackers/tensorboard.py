"""TensorBoard: event files in RUN/tensorboard. `tensorboard --logdir shop/runs` shows all runs beside one another."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.trackers.told import About


class TensorBoard:
    """Writes the events anew at each start: files of a killed process lack what was not flushed, or hold steps that never were."""

    def start(self, about: About) -> None:
        """An empty folder of events."""
        from torch.utils.tensorboard import SummaryWriter

        folder = about.folder / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._params = {name: value if isinstance(value, bool | int | float) else str(value)
                        for name, value in about.params.items()}  # fmt: skip
        self._writer: Any = SummaryWriter(str(folder))
        lines = [f"| {name} | {value} |" for name, value in {**about.tags, **about.params}.items()]
        self._writer.add_text("run", "\n".join(["| name | value |", "|---|---|", *lines]))

    def row(self, stage: str, step: int, values: dict[str, float]) -> None:
        """One scalar a value, at once readable by whoever looks."""
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        self._writer.flush()

    def end(self, metrics: dict[str, float], files: Sequence[Path]) -> None:
        """The result beside the numbers that it was made with, as TensorBoard's HPARAMS page compares runs."""
        from torch.utils.tensorboard.summary import hparams

        for summary in hparams(self._params, metrics):
            self._writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value)
        self._writer.close()

    def stop(self) -> None:
        """Nothing is open any more."""
        self._writer.close()
