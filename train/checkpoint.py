"""Checkpoints: everything a killed run needs to go on, written whole."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from schemas.errors import UserError
from schemas.files import whole

VERSION = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole: a reader finds the last one or this one, never a half."""
    save_tensors(path, {"version": VERSION, **state})


def save_tensors(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values whole. A disk that is full is an OSError that says so."""
    with whole(path) as part, _as_disk_error(), part.open("wb") as file:  # torch's own writer says not why it failed
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint at `path`, None when there is none; tensors and plain values only, so a file cannot run code."""
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
        raise UserError(f"{path}: is no checkpoint of this program; delete it, or start over with --fresh") from error
    if state.get("version") != VERSION:
        raise UserError(f"{path}: was written by another version of this program; start over with --fresh")
    return state


def save_weights(path: Path, state: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Write weights as safetensors, which hold no code, whole."""
    from safetensors.torch import save_file

    with whole(path) as part, _as_disk_error():
        save_file({name: value.contiguous().cpu() for name, value in state.items()}, part, metadata)


@contextmanager
def _as_disk_error() -> Iterator[None]:
    """What torch and safetensors make of an OSError, as that OSError again."""
    try:
        yield
    except Exception as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        if number := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise
