"""How long a stage will take, from a few real steps on a copy of the model."""

from __future__ import annotations

import copy
import dataclasses
import time
from contextlib import closing
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from train.augment import Views
from train.data import Shuffled
from train.feed.pictures import InMemory
from train.fit import Stage, make_optimizer, update
from train.recipe import Recipe, SemiSupervised
from train.stages import stages_of
from train.steps import Labeled, SemiStep, SupervisedStep
from train.teacher import Teacher
from train.text import counted

Step = SupervisedStep | SemiStep


def stage_seconds(step: Step, stage: Stage, n_val: int) -> float:
    """Seconds that the whole stage will take, its looks at val included. The model itself is not touched."""
    per_step = _seconds_a_step(step, stage)
    looks = stage.steps / stage.eval_every
    return stage.steps * per_step + looks * per_step * n_val / stage.images / 3  # forward is a third of a step


def recipe_seconds(recipe: Recipe, n_classes: int, counts: dict[str, int], stage1_given: bool = False) -> float:
    """Seconds that a run will take on this machine once its pictures are read, measured on noise instead of pictures.

    Args:
        counts: pictures of `labeled`, `unlabeled`, `val`.
    """
    from train.models import build_model

    model, facts = build_model(replace(recipe, pretrained=False), n_classes, 0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    views = Views(recipe, facts.mean, facts.std)
    seconds = 0.0
    for stage in stages_of(recipe, counts["labeled"], counts["unlabeled"], stage1_given):
        semi = isinstance(recipe, SemiSupervised) and stage.name == "stage2"
        batch = min(
            recipe.semi_batch if isinstance(recipe, SemiSupervised) and semi else recipe.batch_size, counts["labeled"]
        )
        pictures = _noise(stage.images, round(recipe.image_size / recipe.crop_pct))
        y = torch.arange(batch) % n_classes
        labeled = Labeled(pictures, np.arange(batch), y, views, n_classes, device, Shuffled(batch, batch, 0))
        step: Step = SupervisedStep(model, labeled, 0)
        if isinstance(recipe, SemiSupervised) and semi:
            n = stage.images - batch
            pool = np.arange(batch, stage.images)
            step = SemiStep(model, Teacher(model, 0.9), labeled, pool, Shuffled(n, n, 1), recipe, 0)
        seconds += stage_seconds(step, stage, counts["val"])
    return seconds


def _noise(n: int, side: int) -> InMemory:
    """Pictures of noise, 4 to 3."""
    sizes = np.array([(side, side * 4 // 3)] * n, dtype=np.int64)
    one = int(sizes[0].prod()) * 3
    pixels = np.random.default_rng(0).integers(0, 255, one, dtype=np.uint8)  # all of them the same noise
    return InMemory(pixels, np.zeros(n, dtype=np.int64), sizes, {})


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
    stage = replace(stage, accumulate=1)
    teacher = None
    trial: Step = dataclasses.replace(step, student=student)
    if isinstance(trial, SemiStep):
        teacher = Teacher(student, 0.9)
        trial = dataclasses.replace(trial, teacher=teacher)
    optimizer = make_optimizer(student, stage)
    spent = []
    with closing(trial):
        for number in range(times + 1):
            began = time.perf_counter()
            update(student, trial, stage, number, optimizer, teacher).total.item()  # reading it waits for the device
            spent.append(time.perf_counter() - began)
    return max(min(spent[1:]), _feeding(trial))


def _feeding(step: Step) -> float:
    """Seconds to make the pictures of one step: the steps measured found theirs made ahead, a long run cannot be faster."""
    pictures, labeled = step.labeled.pictures, step.labeled
    wanted = [labeled.positions[labeled.batches.batch(0)]]
    if isinstance(step, SemiStep):
        wanted.append(step.pool[step.pool_batches.batch(0)])
    began = time.perf_counter()
    for positions in wanted if pictures.makes_ahead else []:
        pictures.batch(positions)
    return time.perf_counter() - began


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
    if seconds < 90:
        return counted(max(1, round(seconds)), "second")
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} hours"
    return f"{round(seconds / 86400)} days"
