"""The model that turns pictures into vectors: any of timm's, with ImageNet weights that install as a package by default."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schemas import packaged_weights
from schemas.errors import MissingExtra, UserError
from schemas.hub import hub_answers

DEFAULT_MODEL = packaged_weights.MODEL
DEFAULT_SIDE = 128  # of the default model: within 2 points of 224 px in a linear probe, at 3.5 times the speed
VERSION = "p1"  # of how pictures are prepared; vectors of different preparation never compare


@dataclass(frozen=True)
class Asked:
    """A model by name, as it is handed to other processes and machines, and the identity they must find."""

    name: str
    weights: str | None  # a path that every machine sees; None = the installed package's or timm's published ones
    side: int  # pixels
    model_id: str


@dataclass(frozen=True)
class Embedder:
    """A model without its head, ready to be called; its identity; its license."""

    model: Any
    model_id: str  # name, hash of the weights, preparation
    license: str
    source: str  # where the weights came from
    side: int  # pixels
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: str
    asked: Asked  # how another process comes by the same one

    @property
    def batch(self) -> int:
        """Pictures at once: few on a CPU, whose cache is small."""
        return 16 if self.device == "cpu" else 256

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Unit vectors float32 [n, d] of pictures uint8 [n, side, side, 3], rounded to half precision's eleven bits."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255
            mean, std = (torch.tensor(v, device=self.device).view(1, -1, 1, 1) for v in (self.mean, self.std))
            x = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
            found = torch.nn.functional.normalize(self.model(x).float().flatten(1), dim=1).cpu().numpy()
        return _eleven_bits(found)


def _eleven_bits(values: np.ndarray) -> np.ndarray:
    """float32 values rounded to eleven significant bits; unlike float16, small ones keep theirs too."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def load_embedder(name: str = DEFAULT_MODEL, weights: Path | None = None, side: int | None = None) -> Embedder:
    """The model with its weights: from `weights`, else the installed package's, else timm's published ones.

    Args:
        name: timm's name of the model.
        weights: a .safetensors or .pth file of that model; a head in it is not needed.
        side: pixels of the square that the model sees; None = its own, of the default model DEFAULT_SIDE.
    Raises UserError, within seconds also when offline, for an unknown model, a missing file, and weights that do not fit.
    """
    if side is not None and not 32 <= side <= 1024:
        raise UserError(f"--side must be between 32 and 1024 pixels, got {side}")
    if weights is not None and not weights.is_file():
        raise UserError(f"--weights {weights}: no such file")
    if weights is None and name != DEFAULT_MODEL and not _can_be_had():
        raise UserError(_NOT_HERE.format(name=name))  # before torch and timm take their seconds to load
    import torch
    from timm.data.config import resolve_model_data_config

    model = _create(name, side)
    config: Any = resolve_model_data_config(model)
    side = side or (DEFAULT_SIDE if name == DEFAULT_MODEL else int(config["input_size"][-1]))
    if weights is not None:
        state, source, license_ = _from_file(weights), str(weights), "of your file"
        _fit(model, state, name, f"--weights {weights}")
    elif name == DEFAULT_MODEL:
        path = packaged_weights.find_file()
        if path is None:
            raise MissingExtra("select", f"{packaged_weights.PACKAGE} (weights of the default model)")
        _fit(model, packaged_weights.read_weights(path), name, str(path))
        source, license_ = f"package {packaged_weights.PACKAGE}, {path.name}", packaged_weights.LICENSE
    else:
        model, source, license_ = _published(name, side)
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + np.ascontiguousarray(value.numpy()).tobytes())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = model.eval().to(device, memory_format=torch.channels_last)
    identity = f"{name}@{digest.hexdigest()[:12]}/{side}px-{VERSION}"
    asked = Asked(name, str(weights.resolve()) if weights else None, side, identity)
    return Embedder(model, identity, license_, source, side, tuple(config["mean"]), tuple(config["std"]), device, asked)


_LOADED: dict[Asked, Embedder] = {}


def loaded(asked: Asked) -> Embedder:
    """The model that was asked for, loaded once a process. Raises UserError where this machine has other weights."""
    if asked not in _LOADED:
        found = load_embedder(asked.name, Path(asked.weights) if asked.weights else None, asked.side)
        if found.model_id != asked.model_id:
            raise UserError(
                f"{socket.gethostname()}: has {found.model_id} where {asked.model_id} was asked for; the weights and the packages "
                "must be the same on every machine"
            )
        _LOADED.clear()
        _LOADED[asked] = found
    return _LOADED[asked]


def keep_loaded(embedder: Embedder) -> Asked:
    """Let `loaded` give this one in this process."""
    _LOADED[embedder.asked] = embedder
    return embedder.asked


def _create(name: str, side: int | None, **loading: Any) -> Any:
    """timm's model without its head."""
    import timm

    try:
        if side is not None:
            with contextlib.suppress(TypeError):  # convolutional networks take any size and know no img_size
                return timm.create_model(name, num_classes=0, img_size=side, **loading)
        return timm.create_model(name, num_classes=0, **loading)
    except (RuntimeError, ValueError, AssertionError) as error:
        if "nknown model" in str(error) or "nvalid pretrained tag" in str(error):
            near = ", ".join(timm.list_models(f"*{name.split('.')[0][:8]}*")[:4]) or "none"
            raise UserError(f"--model {name}: timm has no such model; near: {near}") from error
        raise UserError(f"--model {name}: cannot be made ({' '.join(str(error).split())[:200]})") from error


def _from_file(path: Path) -> dict[str, Any]:
    """Named tensors of a weights file; nothing in it can run code."""
    from timm.models import load_state_dict

    try:
        state: dict[str, Any] = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each have their own exceptions
        said = " ".join(str(error).split()).split(". ")[0][:120] or type(error).__name__
        raise UserError(f"--weights {path}: cannot be read as .safetensors or .pth weights ({said})") from error
    return state


def _fit(model: Any, state: dict[str, Any], name: str, where: str) -> None:
    """Put the tensors into the model; each of the model's must be there and fit. Heads that it has no use for are left."""
    import sys

    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        state = convert(state, model) if convert else state
        missing, unexpected = model.load_state_dict(state, strict=False)
    except (RuntimeError, KeyError, TypeError, AttributeError, ValueError) as error:
        said = " ".join(str(error).split())[:160]
        raise UserError(f"{where}: its weights do not fit {name} ({said}); saved from another model?") from error
    stray = [key for key in unexpected if not re.match(r"(.*_)?(head|fc|classifier)(_dist)?\b", key)]
    if missing or stray:
        what = (
            f"{len(missing)} tensors are missing, such as {missing[0]}"
            if missing
            else f"it has no place for {stray[0]}"
        )
        raise UserError(f"{where}: its weights do not fit {name} ({what}); saved from another model?")


_NOT_HERE = (
    "--model {name}: its weights are not on this machine and the model hub cannot be reached. Give a file with "
    f"--weights FILE (.safetensors or .pth), or leave --model out: {DEFAULT_MODEL} brings its weights along"
)


def _can_be_had() -> bool:
    """False when no published weights can be here: the hub does not answer, and nothing was ever fetched from it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    kept = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch")) / "hub" / "checkpoints"
    fetched = any(Path(HF_HUB_CACHE).glob("models--*")) or any(kept.glob("*"))
    return fetched or hub_answers()


def _published(name: str, side: int) -> tuple[Any, str, str]:
    """The model with timm's published weights, from this machine's cache or the hub; their place and license."""
    import timm

    if not hub_answers():
        from huggingface_hub import constants

        constants.HF_HUB_OFFLINE = True  # a missing file is an answer at once, not a minute of retries
    published: Any = timm.models.get_pretrained_cfg(name)
    try:
        model = _create(name, side, pretrained=True)
    except Exception as error:  # the hub's client has many exceptions
        raise UserError(_NOT_HERE.format(name=name)) from error
    return model, str(published.hf_hub_id or published.url or name), str(published.license or "unknown")
