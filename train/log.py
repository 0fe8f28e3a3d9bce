"""What the steps of a training said since the last look, and what of it is worth a warning or the end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from schemas.errors import UserError
from train import ranks
from train.steps import Loss

if TYPE_CHECKING:
    from train.fit import Stage


class Log:
    """Means of what the steps said since the last look, and what is worth a warning."""

    def __init__(self, stage: Stage, student: nn.Module) -> None:
        self._stage, self._student = stage, student
        self._sums: dict[str, Tensor] = {}
        self._guesses: Tensor | None = None
        self._labels: Tensor | None = None
        self._n = 0
        self._warned: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"sums": self._sums, "guesses": self._guesses, "n": self._n, "warned": sorted(self._warned)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        mine = int(ranks.leads())  # the sums in a checkpoint are those of all processes together
        self._sums = {name: value * mine for name, value in state["sums"].items()}
        self._guesses, self._n = None if state["guesses"] is None else state["guesses"] * mine, state["n"]
        self._warned = set(state["warned"])

    def add(self, loss: Loss) -> None:
        """What one step said; nothing is read from the device."""
        for name, value in loss.parts.items():
            self._sums[name] = self._sums[name].to(value.device) + value if name in self._sums else value
        if (new := loss.guesses) is not None:
            self._guesses = new if self._guesses is None else self._guesses.to(new.device) + new
        self._labels = loss.labels
        self._n += 1

    def join(self) -> None:
        """The leader's sums become those of all processes, the others' zero: a checkpoint then holds everything."""
        if ranks.size() == 1:
            return
        self._sums = {name: ranks.total(value) * int(ranks.leads()) for name, value in self._sums.items()}
        self._guesses = None if self._guesses is None else ranks.total(self._guesses) * int(ranks.leads())

    def check(self, step: int) -> None:
        """Stop at once when a loss is no number any more, naming which; all processes at the same step."""
        self.join()
        sums = {name: ranks.share(float(value)) for name, value in self._sums.items()}
        bad = [name for name, value in sums.items() if name != "loss" and not math.isfinite(value)]
        bad = bad or [name for name, value in sums.items() if not math.isfinite(value)]
        if bad:
            broken = self._broken()
            where = f"so is {broken[0]} ({len(broken)} of the weights)" if broken else "the weights still are numbers"
            raise UserError(
                f"{self._stage.name}: {bad[0]} is no longer a number before step {step}, {where}; {self._advice}"
            )

    @property
    def _advice(self) -> str:
        return f"the learning rate ({self._stage.lr:g}) is probably too high: try half with --set, or --set clip_grad=1"

    def _broken(self) -> list[str]:
        """The weights that are no numbers any more."""
        known = dict(self._student.named_parameters())
        fine = torch.stack([torch.isfinite(value).all() for value in known.values()]).tolist()
        return [name for name, good in zip(known, fine, strict=True) if not good]

    def read(self, step: int) -> dict[str, float]:
        """The means since the last reading, over all processes; then it begins anew.

        Read before val is looked at: the last step can break the weights after a loss that still was a number.
        """
        self.check(step)
        if broken := self._broken():
            raise UserError(
                f"{self._stage.name}: {broken[0]} ({len(broken)} of the weights) is no longer a number after step {step}; "
                f"{self._advice}"
            )
        row = {name: ranks.share(float(value)) / self._n for name, value in self._sums.items()}
        self._guesses = ranks.share(self._guesses)
        if self._guesses is not None:
            shares = self._guesses.double() / self._guesses.sum()
            row["guess_entropy"] = float(-(shares * shares.clamp(min=1e-12).log()).sum() / math.log(len(shares)))
            row["guess_largest"] = float(shares.max())
            if self._labels is not None:
                row["guess_largest_labels"] = float(self._labels[int(shares.argmax())])
        self._sums, self._guesses, self._n = {}, None, 0
        return row

    def warnings(self, row: dict[str, Any]) -> list[str]:
        """Each said once: a teacher that guesses one class as the labels do not, a teacher that is never sure."""
        lines = {}
        guessed, labeled = row.get("guess_largest", 0), row.get("guess_largest_labels", 0)
        if guessed > 0.9 and 1 - guessed < (1 - labeled) / 3:
            lines["collapse"] = (
                f"warning: {guessed:.0%} of the teacher's guesses are one class, of the labels {labeled:.0%} "
                f"(step {row['step']}): it is collapsing; try a lower --set lambda_u or more labels"
            )
        if row.get("sure", 1) < 0.02:
            lines["unsure"] = (
                f"warning: only {row['sure']:.1%} of the unlabeled pairs count at step {row['step']}: the teacher is unsure; "
                "a lower --set threshold lets it speak"
            )
        new = [line for name, line in lines.items() if name not in self._warned]
        self._warned |= set(lines)
        return new
