"""A step never waits for the device: on a GPU each wait costs what the CPU could have prepared meanwhile.

Tensors on the `meta` device hold no values, so whatever would read one back raises here, without a GPU. Copies to the device
are watched besides: each must be one that the CPU does not wait for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from train.augment import Batch, Views, padded
from train.augment.erase import erase
from train.data import Shuffled
from train.feed.pictures import Pictures
from train.recipe import SemiSupervised, recipe_for
from train.steps import Labeled, SemiStep
from train.teacher import Teacher
from train.transfer import Blocks, constant, moved

META = torch.device("meta")


class Waits(TorchDispatchMode):
    """Notes every copy between CPU and device that the CPU waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = str(func)
        if name.startswith("aten._to_copy"):
            crossed = isinstance(args[0], Tensor) and args[0].device != result.device
            if crossed and not kwargs.get("non_blocking"):
                self.found.append(name)
        if name.startswith("aten.copy_") and args[0].device != args[1].device and args[1].dim():
            self.found.append(name)
        return result


class Elsewhere(Pictures):
    """Pictures on the device already, as far as a tensor without values is anywhere."""

    makes_ahead = False

    def batch(self, positions: np.ndarray, blocks: Blocks | None = None) -> Batch:
        return padded([np.zeros((40, 50, 3), np.uint8)] * len(positions))


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mean(dim=(2, 3)))


@contextmanager
def watched() -> Iterator[Waits]:
    with Waits() as waits:
        yield waits


@pytest.mark.parametrize("mix", ["mixup=0.8", "mixup=0"])
def test_a_whole_semi_supervised_step_reads_nothing_back_and_waits_for_no_copy(mix: str) -> None:
    # noise of erased boxes comes from a generator of the device, which `meta` has none of
    changes = ["image_size=32", "drop_path=0", "pretrained=false", "erase=0", "recolor=0.5", "cutmix=1", mix]
    recipe = recipe_for("semivit", "default", changes)
    assert isinstance(recipe, SemiSupervised)
    student = Linear().to(META)
    views = Views(recipe, (0.5,) * 3, (0.5,) * 3)
    pictures = Elsewhere(np.full((30, 2), 40), {})
    labeled = Labeled(pictures, np.arange(8), torch.arange(8) % 5, views, 5, META, Shuffled(8, 8, 0))
    teacher = Teacher(Linear(), 0.9)  # timm makes a generator for it, which `meta` has none of
    teacher.model.to(META)
    step = SemiStep(student, teacher, labeled, np.arange(8, 30), Shuffled(22, 20, 1), recipe, seed=0)
    constants_are_there(views)
    with watched() as waits:
        for number in range(3):
            step(number).total.backward()
    assert waits.found == []


def test_boxes_are_erased_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoGenerator:
        def __init__(self, device: torch.device) -> None: ...
        def manual_seed(self, seed: int) -> None: ...

    rng = torch.Generator().manual_seed(0)
    monkeypatch.setattr("train.augment.erase.torch.Generator", NoGenerator)  # `meta` has none
    with watched() as waits:
        erased = erase(torch.empty(6, 3, 32, 32, device=META), 1.0, rng)
    assert erased.device == META
    assert waits.found == []


def constants_are_there(views: Views) -> None:
    """The first step copies numbers that never change; only the later ones count."""
    batch = padded([np.zeros((40, 50, 3), np.uint8)] * 64).to(META)
    for seed in range(3):
        views.strong(batch, torch.Generator().manual_seed(seed))
        views.weak(batch, torch.Generator().manual_seed(seed))


def test_a_copy_that_would_be_waited_for_is_noticed() -> None:
    with watched() as waits:
        torch.rand(3).to(META)
        moved(torch.rand(3), META)
    assert len(waits.found) == 1
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.rand(3).to(META).max().item()


def test_numbers_that_never_change_are_copied_once() -> None:
    assert constant((0.5, 0.25), META) is constant((0.5, 0.25), META)
    assert constant((0.5, 0.25), torch.device("cpu")).tolist() == [0.5, 0.25]
