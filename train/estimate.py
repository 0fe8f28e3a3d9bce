"""How long a stage will take, from a few real steps on a copy of the model."""

from __future__ import annotations

import copy
import dataclasses
import time

from torch import nn

from train.data import Shuffled
from train.fit import Stage, make_optimizer, update
from train.steps import SemiStep, SupervisedStep
from train.teacher import Teacher

Step = SupervisedStep | SemiStep


def stage_seconds(step: Step, stage: Stage, n_val: int) -> float:
    """Seconds that the whole stage will take, its looks at val included. The model itself is not touched."""
    per_step = _seconds_a_step(step, stage)
    looks = stage.steps / stage.eval_every
    return stage.steps * per_step + looks * per_step * n_val / stage.images / 3  # forward is a third of a step


def _seconds_a_step(step: Step, stage: Stage) -> float:
    """Measured on whole batches where that is quick, else on two labeled pictures and scaled up."""
    few = min(2, step.labeled.batches.batch_size)
    scaled = _measure(_with_batch(step, few), stage, 2) * step.labeled.batches.batch_size / few
    return _measure(step, stage, 3) if scaled < 10 else scaled


def _measure(step: Step, stage: Stage, times: int) -> float:
    """Seconds of the quickest of some real steps (views, loss, backward, optimizer, teacher) after one that warms up.

    The quickest, because a busy machine makes single steps many times too slow and none too fast.
    """
    student: nn.Module = copy.deepcopy(step.student)
    teacher = None
    trial: Step = dataclasses.replace(step, student=student)
    if isinstance(trial, SemiStep):
        teacher = Teacher(student, 0.9)
        trial = dataclasses.replace(trial, teacher=teacher)
    optimizer = make_optimizer(student, stage)
    spent = []
    for number in range(times + 1):
        began = time.perf_counter()
        update(student, trial, stage, number, optimizer, teacher).total.item()  # reading it waits for the device
        spent.append(time.perf_counter() - began)
    return min(spent[1:])


def _with_batch(step: Step, few: int) -> Step:
    """The same step on fewer pictures."""
    labeled = step.labeled
    share = few / labeled.batches.batch_size
    less = dataclasses.replace(labeled, batches=Shuffled(labeled.batches.n, few, 0))
    if isinstance(step, SemiStep):
        pool = Shuffled(step.pool_batches.n, max(2, round(step.pool_batches.batch_size * share)), 0)
        return dataclasses.replace(step, labeled=less, pool_batches=pool)
    return dataclasses.replace(step, labeled=less)


def in_words(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"{round(seconds)} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
