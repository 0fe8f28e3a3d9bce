from __future__ import annotations

import torch
from torch import nn

from train.teacher import Teacher


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.LazyLinear(2))


def student() -> nn.Module:
    model = small()
    model(torch.rand(2, 3, 8, 8))  # the lazy layer takes its shape
    return model


def test_the_teacher_starts_as_an_exact_copy_and_shares_no_memory() -> None:
    model = student()
    teacher = Teacher(model, 0.9)
    for name, value in model.state_dict().items():
        assert torch.equal(teacher.state_dict()[name], value)
        assert teacher.state_dict()[name].data_ptr() != value.data_ptr()


def test_an_update_moves_every_weight_and_every_running_statistic_by_a_tenth() -> None:
    model = student()
    teacher = Teacher(model, 0.9)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
        model[1].running_mean.add_(10)
        model[1].num_batches_tracked.fill_(7)
    teacher.update(model)
    after = teacher.state_dict()
    assert torch.allclose(after["0.weight"], before["0.weight"] + 0.1)
    assert torch.allclose(after["1.running_mean"], before["1.running_mean"] + 1)
    assert after["1.num_batches_tracked"] == 7


def test_the_first_update_does_not_copy_the_student() -> None:
    model = student()
    teacher = Teacher(model, 0.999)
    with torch.no_grad():
        model[0].weight.add_(1)
    teacher.update(model)
    assert (teacher.model[0].weight - model[0].weight).abs().min() > 0.99


def test_the_teacher_never_trains_whatever_the_student_does() -> None:
    model = student()
    teacher = Teacher(model, 0.9)
    model.train()
    teacher.update(model)
    assert not any(part.training for part in teacher.model.modules())
    x = torch.rand(4, 3, 8, 8)
    statistics = teacher.model[1].running_mean.clone()
    assert torch.equal(teacher(x), teacher(x))  # dropout is off
    assert torch.equal(teacher.model[1].running_mean, statistics)
    assert not teacher(x).requires_grad


def test_a_teacher_taken_up_again_is_the_same() -> None:
    model = student()
    first = Teacher(model, 0.5)
    with torch.no_grad():
        model[0].weight.add_(1)
    first.update(model)
    second = Teacher(model, 0.5)
    second.load_state_dict(first.state_dict())
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
