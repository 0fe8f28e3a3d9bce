"""Where the time of a semi-supervised step goes: part by part, operation by operation, and how often it waits for the GPU."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.augment import Batch, Views
from train.fit import Stage, make_optimizer, update
from train.steps import SemiStep

REST = "mixup, losses, the rest"


def wait_for(device: torch.device) -> None:
    """Until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize()


class Clock:
    """Time since the last mark goes to the name of the next; the device is waited for at each, so nothing overlaps."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._last, self.spent = device, time.perf_counter(), dict[str, float]()

    def mark(self, name: str) -> None:
        """What went on until now was this."""
        wait_for(self._device)
        now = time.perf_counter()
        self.spent[name] = self.spent.get(name, 0.0) + now - self._last
        self._last = now

    def around(self, name: str, call: Callable[..., Any], before: str = REST) -> Callable[..., Any]:
        """The same call, its time noted."""

        def timed(*args: Any, **more: Any) -> Any:
            self.mark(before)
            result = call(*args, **more)
            self.mark(name)
            return result

        return timed


@dataclass(frozen=True)
class TimedViews(Views):
    """Views whose making is timed."""

    clock: Any = None

    def weak(self, batch: Batch, rng: torch.Generator) -> torch.Tensor:
        return self.clock.around("augmentation", super().weak)(batch, rng)

    def strong(self, batch: Batch, rng: torch.Generator) -> torch.Tensor:
        return self.clock.around("augmentation", super().strong)(batch, rng)


class Timed(nn.Module):
    """A model whose forward is timed."""

    def __init__(self, model: nn.Module, name: str, clock: Clock) -> None:
        super().__init__()
        self.model, self._forward = model, clock.around(name, model)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(x)


def sections(device: torch.device, step: SemiStep, stage: Stage, steps: int) -> dict[str, float]:
    """Seconds a step in each part of it."""
    clock = Clock(device)
    views = step.labeled.views
    timed = TimedViews(views.recipe, views.mean, views.std, clock)
    teacher = step.teacher
    student = step.student
    labeled = replace(step.labeled, views=timed)
    guess: Any = clock.around("teacher, forward", teacher)
    trial = replace(step, student=Timed(student, "student, forward", clock), teacher=guess, labeled=labeled)
    trial.separate = step.separate
    for feed in (trial.feed, labeled.feed):
        feed.take = clock.around("waiting for pictures", feed.take)  # type: ignore[method-assign]
    optimizer = make_optimizer(student, stage)
    teacher.update = clock.around("teacher's average (EMA)", teacher.update)  # type: ignore[method-assign]
    optimizer.step = clock.around("optimizer", optimizer.step, before="backward")  # type: ignore[method-assign]
    with closing(trial):
        for number in range(steps + 1):
            if number == 1:
                clock.spent.clear()
            clock.mark(REST)
            loss = clock.around(REST, trial)
            update(student, _Called(loss, trial), stage, number, optimizer, teacher)
    return {name: spent / steps for name, spent in clock.spent.items()}


class _Called:
    """A step as `update` takes it."""

    def __init__(self, call: Callable[..., Any], step: SemiStep) -> None:
        self.student, self.call, self.close = step.student, call, step.close

    def __call__(self, *args: int) -> Any:
        return self.call(*args)


def waits(device: torch.device, work: Callable[[], object]) -> str:
    """How often CUDA was waited for."""
    if device.type != "cuda":
        work()
        return "not measured on a CPU"
    with warnings.catch_warnings(record=True) as caught, waits_are_said():
        warnings.simplefilter("always")
        work()
    places = sorted({f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)})
    return f"{len(places)} {' '.join(places)}"


@contextmanager
def waits_are_said() -> Iterator[None]:
    """A warning for every operation that waits for the GPU."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def operations(device: torch.device, work: Callable[[], object]) -> None:
    """The ten operations that a step spends most in, as torch's profiler sees them."""
    cuda = device.type == "cuda"
    kinds = [torch.profiler.ProfilerActivity.CPU, *([torch.profiler.ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=kinds) as profile:
        work()
        wait_for(device)
    table = profile.key_averages().table(sort_by=f"self_{'cuda' if cuda else 'cpu'}_time_total", row_limit=10)
    print(table)
