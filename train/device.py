"""Which device computes, and how a model is laid out there."""

from __future__ import annotations

import os

import torch
from torch import nn

from schemas.engine import cores
from train.models import has_batch_norm


def choose_device() -> torch.device:
    """The GPU if there is one, else the CPU with as many threads as this process has cores."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(cores(), 16))  # beyond, small models only wait for each other
    torch.set_flush_denormal(True)  # fading activations would otherwise cost a hundred times their worth
    return torch.device("cpu")


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """The same model, moved there. Convolutions run faster with the channels last, transformers alone do not care."""
    layout = torch.channels_last if has_batch_norm(model) else torch.contiguous_format
    return model.to(device).to(memory_format=layout)  # type: ignore[call-overload]
