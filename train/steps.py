"""The two training steps, each whole: from pictures to a loss.

Every step draws its randomness from (seed, step) alone. So a run that was killed goes on bit for bit, and the order of two
runs on one machine never matters. A step may be taken in parts, one for each process or round of gradient accumulation: each
part mixes its own pictures, and the losses of the parts add up to the step's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.errors import UserError
from train.augment import Views
from train.data import Shuffled
from train.feed.ahead import Feed
from train.feed.pictures import Pictures
from train.mixup import draw_pairing, label_mixup, pseudo_mixup, soft_cross_entropy
from train.models import has_batch_norm
from train.recipe import Recipe, SemiSupervised
from train.teacher import Teacher
from train.transfer import moved


class Loss(NamedTuple):
    """What is minimized, and the numbers worth a line in the log."""

    total: Tensor
    parts: dict[str, Tensor]  # single numbers, averaged over steps
    guesses: Tensor | None = None  # how often the teacher guessed each class [K]
    labels: Tensor | None = None  # the share of each class among the labels [K]


@dataclass
class Labeled:
    """Labeled pictures without end, augmented and mixed."""

    pictures: Pictures
    positions: np.ndarray
    y: Tensor
    views: Views
    n_classes: int
    device: torch.device
    batches: Shuffled
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        self.feed = Feed(self.pictures, self.positions, self.batches, self.device)

    def draw(self, step: int, mix: bool, rng: torch.Generator, part: int = 0, parts: int = 1) -> tuple[Tensor, Tensor]:
        """Strong views [B, 3, S, S] and soft targets [B, K] of one step, or of one part of it."""
        recipe: Recipe = self.views.recipe
        rows, batch = self.feed.take(step, part, parts)
        return label_mixup(
            self.views.strong(batch, rng), moved(self.y[rows], self.device), self.n_classes, smoothing=recipe.smoothing, rng=rng,
            mixup=recipe.mixup if mix else 0, cutmix=recipe.cutmix if mix else 0,
        )  # fmt: skip


@dataclass
class SupervisedStep:
    """Cross entropy on labeled pictures: ResNet18, ViT, and stage 1 of Semi-ViT."""

    student: nn.Module
    labeled: Labeled
    seed: int

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> Loss:
        """The loss of one step; of one part of it, the share that the parts' sum is the step's loss of."""
        rng = seeded(self.seed, step, part, parts)
        x, target = self.labeled.draw(step, True, rng, part, parts)
        with says_too_few():
            logits = self.student(x)
        loss = soft_cross_entropy(logits, target).sum() / self.labeled.batches.batch_size
        return Loss(loss, {"loss": loss.detach()})

    def close(self) -> None:
        """End the threads that make its batches."""
        self.labeled.feed.close()


@dataclass
class SemiStep:
    """One step of Semi-ViT: the teacher guesses on the weak view, the student learns from mixed strong views."""

    student: nn.Module
    teacher: Teacher
    labeled: Labeled
    pool: np.ndarray  # positions of the unlabeled pictures
    pool_batches: Shuffled
    recipe: SemiSupervised
    seed: int
    separate: bool = field(init=False)
    feed: Feed = field(init=False)
    labels: Tensor = field(init=False)  # the share of each class, on the CPU [K]

    def __post_init__(self) -> None:
        counts = torch.bincount(self.labeled.y.cpu(), minlength=self.labeled.n_classes)
        self.labels = counts / counts.sum()
        self.feed = Feed(self.labeled.pictures, self.pool, self.pool_batches, self.labeled.device)
        # BatchNorm would mix the statistics of labeled and mixed pictures; without it one forward does the work of two.
        self.separate = has_batch_norm(self.student)

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> Loss:
        """The loss of one step; of one part of it, the share that the parts' sum is the step's loss of."""
        recipe, views, rng = self.recipe, self.labeled.views, seeded(self.seed, step, part, parts)
        x_labeled, y_labeled = self.labeled.draw(step, recipe.semi_mixup_labeled, rng, part, parts)

        _, unlabeled = self.feed.take(step, part, parts)
        teacher_probs = self.teacher(views.weak(unlabeled, rng)).float().softmax(dim=1)  # [U, K]
        pairing = draw_pairing(len(unlabeled), recipe.semi_cutmix, rng)
        mixed = pseudo_mixup(
            views.strong(unlabeled, rng), teacher_probs, pairing, recipe.threshold, recipe.smoothing
        )  # [U, 3, S, S], [U, K], [U]

        with says_too_few():
            logits_labeled, logits_mixed = self._student(x_labeled, mixed.x)
        loss_labeled = soft_cross_entropy(logits_labeled, y_labeled).sum() / self.labeled.batches.batch_size
        # the mean is over all pictures, also those that do not count: an unsure teacher means a weak pull
        loss_unlabeled = (
            soft_cross_entropy(logits_mixed, mixed.target) * mixed.sure
        ).sum() / self.pool_batches.batch_size
        loss = loss_labeled + self._weight(step) * loss_unlabeled

        # counted as a sum: bincount would wait for the device
        guesses = F.one_hot(teacher_probs.argmax(dim=1), teacher_probs.shape[1]).sum(dim=0)
        said = {
            "loss": loss,
            "loss_labeled": loss_labeled,
            "loss_unlabeled": loss_unlabeled,
            "sure": mixed.sure.sum() / self.pool_batches.batch_size,
        }
        return Loss(loss, {name: value.detach() for name, value in said.items()}, guesses, self.labels)

    def _student(self, x_labeled: Tensor, x_mixed: Tensor) -> tuple[Tensor, Tensor]:
        if self.separate:
            with still_statistics(self.student):
                logits_mixed = self.student(x_mixed)
            return self.student(x_labeled), logits_mixed
        logits = self.student(torch.cat([x_labeled, x_mixed]))
        return logits[: len(x_labeled)], logits[len(x_labeled) :]

    def close(self) -> None:
        """End the threads that make its batches."""
        self.labeled.feed.close()
        self.feed.close()

    def _weight(self, step: int) -> float:
        """lambda_u, grown over the first steps where the recipe says so."""
        grow = self.recipe.lambda_warmup * self.recipe.semi_steps
        return self.recipe.lambda_u * (min(1.0, step / grow) if grow else 1.0)


@contextmanager
def says_too_few() -> Iterator[None]:
    """BatchNorm cannot normalize one picture by itself; torch says so in the words of tensors."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "this model has BatchNorm, which needs two pictures or more in every part of a step; raise --set batch_size, "
            "semi_batch or mu, or lower accumulate"
        ) from error


@contextmanager
def still_statistics(model: nn.Module) -> Iterator[None]:
    """BatchNorm's running statistics stay as they are: mixed pictures look like no picture that is ever judged."""
    norms = [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    before = [part.momentum for part in norms]
    for part in norms:
        part.momentum = 0.0
    try:
        yield
    finally:
        for part, momentum in zip(norms, before, strict=True):
            part.momentum = momentum


def seeded(seed: int, step: int, part: int = 0, parts: int = 1) -> torch.Generator:
    """The random numbers of one step, or part of it; drop-path and dropout, which know only the global ones, get the same seed."""
    of = (seed, step) if parts == 1 else (seed, step, part)
    mixed = int(np.random.SeedSequence(of).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(mixed)
    return torch.Generator().manual_seed(mixed)
