from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from schemas.errors import UserError
from train.fit import Stage, fit, learning_rate
from train.run import Request, train
from train.steps import Loss

Make = Callable[..., Path]
Ask = Callable[..., Request]


def stage(steps: int = 4, **more: object) -> Stage:
    return Stage("stage2", steps, 0, 0.01, 0.0, 0.0, 1.0, 0.999, None, 2, 4, **more)  # type: ignore[arg-type]


@dataclass
class Said:
    """A step whose log says what a test wants; the loss is the weights' own size."""

    student: nn.Module
    sure: float = 1.0
    guesses: tuple[int, ...] = (1, 1, 1)
    labels: tuple[float, ...] = (0.4, 0.3, 0.3)
    broken: str = ""

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> Loss:
        size = sum(p.square().sum() for p in self.student.parameters())
        said = {"loss": size, "loss_labeled": size, "loss_unlabeled": size, "sure": torch.tensor(self.sure)}
        said = {name: torch.tensor(float("nan")) if name == self.broken else v.detach() for name, v in said.items()}
        return Loss(size, said, torch.tensor(self.guesses), torch.tensor(self.labels))  # type: ignore[arg-type]

    def close(self) -> None: ...


def test_the_rate_is_that_of_timms_cosine_schedule() -> None:
    from dataclasses import replace

    from timm.scheduler import CosineLRScheduler

    from train.fit import learning_rate

    planned = replace(stage(steps=50), warmup=7, min_lr=1e-4)
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": scale} for scale in (1.0, 0.25)]
    optimizer = torch.optim.SGD(groups, lr=planned.lr)
    timm = CosineLRScheduler(
        optimizer, t_initial=43, lr_min=1e-4, warmup_t=7, warmup_lr_init=0, warmup_prefix=True, t_in_epochs=False
    )
    for step in range(50):
        timm.step_update(step)
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([learning_rate(step, planned), 0.25 * learning_rate(step, planned)])


def said_by(step: Said, tmp_path: Path) -> list[str]:
    lines: list[str] = []
    fit(step.student, step, stage(), None, tmp_path / "c.pt", "x", say=lines.append)
    return lines


def test_a_collapsing_teacher_is_said_aloud_once(tmp_path: Path) -> None:
    (line,) = said_by(Said(nn.Linear(2, 2), guesses=(97, 2, 1)), tmp_path)
    assert line.startswith("warning: 97% of the teacher's guesses are one class, of the labels 40% (step 2): it is")


def test_a_teacher_that_guesses_one_class_as_often_as_people_do_is_nothing_to_say(tmp_path: Path) -> None:
    assert said_by(Said(nn.Linear(2, 2), guesses=(97, 2, 1), labels=(0.95, 0.03, 0.02)), tmp_path) == []


def test_a_teacher_that_is_never_sure_is_said_aloud_once(tmp_path: Path) -> None:
    (line,) = said_by(Said(nn.Linear(2, 2), sure=0.01), tmp_path)
    assert line.startswith("warning: only 1.0% of the unlabeled pairs count at step 2")


def test_a_teacher_of_many_minds_is_nothing_to_say(tmp_path: Path) -> None:
    assert said_by(Said(nn.Linear(2, 2)), tmp_path) == []


@pytest.mark.parametrize("name", ["loss_labeled", "loss_unlabeled"])
def test_what_is_no_longer_a_number_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"stage2: {name} is no longer a number before step 2, the weights still are"):
        said_by(Said(nn.Linear(2, 2), broken=name), tmp_path)


def test_the_weight_that_broke_is_named(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    with torch.no_grad():
        model[1].bias[0] = float("inf")
    with pytest.raises(UserError, match=r"so is 1\.bias \(1 of the weights\)"):
        said_by(Said(model, broken="loss_unlabeled"), tmp_path)


def test_stage_1_of_another_class_list_is_refused(make_manifest: Make, ask: Ask) -> None:
    two, three = make_manifest(("red", "green"), folder="two"), make_manifest(folder="three")
    train(ask(two, "vit", "epochs=1"))
    stage1 = two.parent / "runs" / "apron-vit-100-s0"
    with pytest.raises(UserError, match=r"its manifest is .*, this run's is "):
        train(ask(three, "semivit", "semi_steps=2", stage1=stage1))


def test_more_classes_than_labels_and_a_pool_smaller_than_a_batch_still_train(make_manifest: Make, ask: Ask) -> None:
    path = make_manifest(("red", "green", "blue", "sand"), train=1, val=1, test=1, unlabeled=1)
    record = train(ask(path, "semivit", "epochs=2", "semi_steps=2", "batch_size=64", "semi_batch=64", "mu=5"))
    assert record["counts"] == {"labeled": 4, "unlabeled": 4, "val": 4, "test": 4}
    assert record["test"]["acc5"] is None  # four classes: the best five are all there are


def test_weights_that_the_last_step_breaks_are_named_before_they_are_judged(tmp_path: Path) -> None:
    step = Said(nn.Linear(2, 2))
    with pytest.raises(UserError, match=r"weight \(2 of the weights\) is no longer a number after step 1"):
        fit(step.student, step, replace(stage(1), lr=float("inf")), None, tmp_path / "c.pt", "x")


def test_the_schedule_is_timms_cosine_step_by_step() -> None:
    from timm.scheduler import CosineLRScheduler

    ours = Stage("train", 50, 8, 0.01, 1e-5, 0.0, 1.0, 0.999, None, 2, 4)
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=ours.lr)
    timms = CosineLRScheduler(
        optimizer, t_initial=ours.steps - ours.warmup, lr_min=ours.min_lr, warmup_t=ours.warmup, warmup_lr_init=0,
        warmup_prefix=True, t_in_epochs=False,
    )  # fmt: skip
    for step in range(ours.steps):
        timms.step_update(step)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(learning_rate(step, ours), abs=1e-9), step
