from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from train.augment import Batch, Views
from train.data import Shuffled
from train.feed.pictures import InMemory
from train.mixup import draw_pairing, pseudo_mixup, soft_cross_entropy
from train.recipe import SemiSupervised, recipe_for
from train.steps import Labeled, SemiStep, SupervisedStep, seeded, still_statistics
from train.teacher import Teacher

SETTINGS = ["pretrained=false", "image_size=8", "semi_batch=4", "mu=2", "semi_steps=10", "semi_mixup_labeled=false"]


class Linear(nn.Module):
    """The smallest classifier of pictures; it remembers what it was shown."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.head = nn.Linear(3, classes)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.head(x.mean(dim=(2, 3)))


class Marked(Views):
    """Views that say which they are: weak ones are 0 everywhere, strong ones 1."""

    def weak(self, batch: Batch, rng: torch.Generator) -> Tensor:
        return torch.zeros(len(batch), 3, 8, 8)

    def strong(self, batch: Batch, rng: torch.Generator) -> Tensor:
        return torch.ones(len(batch), 3, 8, 8)


def some_pictures(n: int) -> InMemory:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, n * 10 * 12 * 3, dtype=np.uint8)
    sizes = np.array([(10, 12)] * n, dtype=np.int64)
    return InMemory(pixels, np.arange(n) * 360, sizes, {str(i): i for i in range(n)})


def semi_step(views: type[Views] = Views, changes: list[str] | None = None, model: nn.Module | None = None) -> SemiStep:
    recipe = recipe_for("semivit", "default", [*SETTINGS, *(changes or [])])
    assert isinstance(recipe, SemiSupervised)
    torch.manual_seed(0)
    student = model or Linear()
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    view = views(recipe, (0.5,) * 3, (0.5,) * 3)
    labeled = Labeled(some_pictures(16), np.arange(6), y, view, 3, torch.device("cpu"), Shuffled(6, 4, 0))
    return SemiStep(student, Teacher(student, 0.9), labeled, np.arange(6, 16), Shuffled(10, 8, 1), recipe, seed=0)


def test_the_teacher_sees_the_weak_view_and_the_student_the_strong_one() -> None:
    step = semi_step(Marked)
    student: Any = step.student
    teacher: Any = step.teacher.model
    step(0)
    assert all(x.eq(0).all() for x in teacher.seen)
    assert all(x.eq(1).all() for x in student.seen)
    assert sum(len(x) for x in teacher.seen) == 8
    assert sum(len(x) for x in student.seen) == 12


def test_the_loss_is_the_labeled_part_plus_lambda_times_the_mean_over_all_unlabeled_pictures() -> None:
    step = semi_step()
    # by hand, from the same random numbers
    rng = seeded(0, 3)
    x, y = step.labeled.draw(3, mix=False, rng=rng)
    unlabeled = step.labeled.pictures.batch(step.pool[step.pool_batches.batch(3)])
    probs = step.teacher(step.labeled.views.weak(unlabeled, rng)).softmax(1)
    drawn = draw_pairing(8, 0.5, rng)
    confidence = probs.max(dim=1).values
    threshold = torch.maximum(confidence, confidence[drawn.partner]).median().item() + 1e-6
    mixed = pseudo_mixup(step.labeled.views.strong(unlabeled, rng), probs, drawn, threshold, 0.1)
    assert 0 < mixed.sure.sum() < 8  # some count and some do not, else this shows nothing
    each = soft_cross_entropy(step.student(mixed.x), mixed.target)
    by_hand = soft_cross_entropy(step.student(x), y).mean() + 5 * (each * mixed.sure).sum() / 8
    loss = dataclasses.replace(step, recipe=dataclasses.replace(step.recipe, threshold=threshold))(3)
    assert loss.total.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_a_teacher_that_is_never_sure_gives_a_loss_of_zero_and_finite_gradients() -> None:
    step = semi_step(changes=["threshold=1"])
    loss = step(0)
    loss.total.backward()
    assert loss.parts["loss_unlabeled"] == 0
    assert loss.total.item() == pytest.approx(loss.parts["loss_labeled"].item())
    gradients = [p.grad for p in step.student.parameters()]
    assert all(g is not None and torch.isfinite(g).all() for g in gradients)


def test_no_gradient_reaches_the_teacher() -> None:
    step = semi_step()
    step(0).total.backward()
    assert all(p.grad is None for p in step.teacher.model.parameters())


def test_with_batch_norm_labeled_and_mixed_pictures_go_in_two_forwards_else_in_one() -> None:
    class Normed(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.norm(x))

    one, two = semi_step(), semi_step(model=Normed())
    one(0)
    two(0)
    assert [len(x) for x in one.student.seen] == [12]  # type: ignore[union-attr]
    assert [len(x) for x in two.student.seen] == [8, 4]  # type: ignore[union-attr]


def test_mixed_pictures_leave_the_running_statistics_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3))
    model.train()
    with still_statistics(model):
        shown = model(torch.rand(4, 3, 5, 5) + 7)
    assert model[0].running_mean.eq(0).all()
    assert shown.mean().abs() < 1e-5  # normalized by its own batch all the same
    model(torch.rand(4, 3, 5, 5) + 7)
    assert model[0].running_mean.gt(0.5).all()


def test_a_step_is_a_function_of_its_number_and_the_seed() -> None:
    step = semi_step()
    assert step(5).total.item() == step(5).total.item()
    assert step(5).total.item() != step(6).total.item()
    assert dataclasses.replace(step, seed=1)(5).total.item() != step(5).total.item()


def test_lambda_grows_from_zero_where_the_recipe_says_so() -> None:
    step = semi_step(changes=["threshold=0", "lambda_warmup=0.5"])
    first, last = step(0), step(5)
    assert first.total.item() == pytest.approx(first.parts["loss_labeled"].item())
    assert last.total.item() == pytest.approx((last.parts["loss_labeled"] + 5 * last.parts["loss_unlabeled"]).item())


def test_a_supervised_step_is_plain_cross_entropy_on_augmented_pictures() -> None:
    semi = semi_step()
    step = SupervisedStep(semi.student, semi.labeled, seed=0)
    assert step(0).total.item() > 0
    assert set(step(0).parts) == {"loss"}


def test_the_parts_of_a_step_add_up_to_it_and_each_mixes_its_own_pictures() -> None:
    step = semi_step(Marked, ["threshold=0", "rand_ops=0"])
    whole = step(2)
    parts = [step(2, part, 3) for part in range(3)]
    assert [len(x) for x in step.student.seen[1:]] == [2 + 3, 1 + 3, 1 + 2]  # type: ignore[union-attr]
    # every strong view is the same, so labeled losses do not depend on how the pictures are mixed
    added = sum(part.parts["loss_labeled"].item() for part in parts)
    assert added == pytest.approx(whole.parts["loss_labeled"].item(), rel=1e-5)
    assert sum(part.parts["sure"].item() for part in parts) == pytest.approx(1)
    assert sum(int(part.guesses.sum()) for part in parts if part.guesses is not None) == 8
    assert step(2, 1, 3).total.item() == parts[1].total.item() != step(3, 1, 3).total.item()


def test_bf16_is_close_to_fp32_and_is_used_where_asked_for() -> None:
    import timm

    from train.fit import uses_bf16

    losses = {}
    for kind in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        model = timm.create_model("test_vit", num_classes=3, img_size=24, patch_size=8)
        recipe = ["image_size=24", "threshold=0"]
        step = semi_step(changes=recipe, model=model)
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
            loss = step(0)
        loss.total.backward()
        losses[kind] = (loss.total.item(), model.head.weight.grad.clone())
    assert losses[torch.bfloat16][0] == pytest.approx(losses[torch.float32][0], rel=0.02)
    assert losses[torch.bfloat16][0] != losses[torch.float32][0]
    near = torch.nn.functional.cosine_similarity(*(g.flatten() for _, g in losses.values()), dim=0)
    assert near > 0.99
    said = {(p, d): uses_bf16(p, d) for p in ("auto", "bf16", "fp32") for d in ("cpu", "cuda")}
    assert [key for key, value in said.items() if value] == [("auto", "cuda"), ("bf16", "cpu"), ("bf16", "cuda")]
