"""Checkpoints: everything a killed run needs to go on, written whole."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from schemas.errors import UserError
from schemas.files import whole

VERSION = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole: a reader finds the last one or this one, never a half."""
    with whole(path) as part:
        torch.save({"version": VERSION, **state}, part)


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

    with whole(path) as part:
        save_file({name: value.contiguous().cpu() for name, value in state.items()}, part, metadata)
