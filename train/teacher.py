"""The teacher: an average of the student over the last steps, never trained itself, always judging calmly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Teacher:
    """An exponential moving average (EMA) of the student that answers in evaluation mode.

    It starts as an exact copy: no warm-up, so the first pseudo-labels are those of stage 1. Parameters and float buffers
    (BatchNorm's running statistics) are averaged, counters copied.
    """

    def __init__(self, student: nn.Module, decay: float) -> None:
        from timm.utils.model_ema import ModelEmaV3

        self._average = ModelEmaV3(student, decay=decay)
        self.model: nn.Module = self._average.module.requires_grad_(False)

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """The teacher's logits. [B, K]"""
        assert not self.model.training, "the teacher never trains: dropout and drop-path stay off"
        return self.model(x)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move every value by 1 - decay toward the student's."""
        self._average.update(student)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.model.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up averaged weights again, exactly: resuming never restarts the average."""
        self.model.load_state_dict(state)
