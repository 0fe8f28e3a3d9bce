"""Pictures in a report: mistakes as they are, and where a model looks."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from schemas.errors import UserError
from schemas.pack import Pack
from schemas.picture import as_seen, open_picture
from schemas.storage import place_of, read_place
from train.augment import padded
from train.bundle import Bundle
from train.data import picture_source
from train.feed.decode import decode
from train.report.gather import Task

THUMB_PX = 150
COPIES, NOISE = 12, 0.15  # SmoothGrad's noisy copies, and their noise in standard deviations of the normalized pixels


class Shown:
    """The pictures of a task by image_id, as data: addresses; each is read once, one that cannot be read is empty."""

    def __init__(self, task: Task, pictures: Path | None) -> None:
        self._source: Path | Pack | None = None
        if task.manifest is not None:
            try:
                self._source = picture_source(task.manifest, pictures)
            except UserError:  # a report without pictures is better than none
                self._source = None if pictures is None else pictures
        rows = task.test
        self._paths = dict(zip(rows.index, rows["path"], strict=True)) if task.manifest is not None else {}
        self._made: dict[str, str] = {}

    def bytes(self, image_id: str) -> bytes | None:
        """The picture's file."""
        try:
            if isinstance(self._source, Pack):
                return self._source.jpeg(image_id)
            if self._source is None or image_id not in self._paths:
                return None
            return read_place(place_of(self._source, self._paths[image_id]))
        except (OSError, UserError):
            return None

    def __call__(self, image_id: str) -> str:
        """A small copy, or "" where it cannot be read."""
        if image_id not in self._made:
            data = self.bytes(image_id)
            self._made[image_id] = _small(data) if data is not None else ""
        return self._made[image_id]


def _small(data: bytes) -> str:
    try:
        with open_picture(data) as opened:
            opened.draft("RGB", (2 * THUMB_PX, 2 * THUMB_PX))
            seen = as_seen(opened)
    except (OSError, ValueError, SyntaxError):
        return ""
    seen.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.LANCZOS)
    return _address(seen)


def _address(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=75, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def looks(bundle: Bundle, shown: Shown, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where the model looks for its answer to some pictures: what it saw, and the same with the decisive places glowing."""
    model = bundle.build()
    found = []
    for row in rows:
        data = shown.bytes(row["image_id"])
        pixels = decode(data, bundle.side_px) if data is not None else ""
        if isinstance(pixels, str):
            continue
        x = bundle.views.plain(padded([pixels]))
        heat = saliency(model, x)
        found.append({**row, "seen": _address(_image(bundle, x)), "heat": _address(_lit(_image(bundle, x), heat))})
    return found


def saliency(model: nn.Module, x: Tensor) -> np.ndarray:
    """How much each place decides the model's answer, 0 to 1: SmoothGrad (arXiv 1706.03825) of the answer's log-probability.

    The mean size of the gradient over noisy copies of one picture [1, 3, S, S]. Works for any network; its weights are frozen.
    [S, S]
    """
    model.requires_grad_(False)  # LeViT keeps what it makes of its weights for the next picture, with its graph
    noise = torch.randn(COPIES, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    copies = (x + NOISE * noise).requires_grad_(True)
    with torch.enable_grad():
        answer = int(model(x).argmax())
        model(copies).log_softmax(dim=1)[:, answer].sum().backward()
    assert copies.grad is not None
    size = x.shape[-1]
    heat = copies.grad.abs().sum(dim=1, keepdim=True).mean(dim=0, keepdim=True)  # [1, 1, S, S]
    width = 2 * max(1, size // 28) + 1
    for _ in range(3):  # three boxes are nearly a bell
        heat = F.avg_pool2d(F.pad(heat, [width // 2] * 4, mode="replicate"), width, stride=1)
    low, high = np.quantile(heat.numpy(), [0.2, 0.99])
    return np.clip((heat[0, 0].numpy() - low) / max(high - low, 1e-12), 0, 1)


def _image(bundle: Bundle, x: Tensor) -> Image.Image:
    """What the model saw, as a picture."""
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (bundle.views.mean, bundle.views.std))
    pixels = ((x[0] * std + mean).clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels).resize((THUMB_PX, THUMB_PX), Image.Resampling.BICUBIC)


def _lit(image: Image.Image, heat: np.ndarray) -> Image.Image:
    """The picture pale and gray, with the decisive places glowing: seen on dark and on light things alike."""
    gray = image.convert("L").convert("RGB")
    pale = Image.blend(gray, Image.new("RGB", image.size, "white"), 0.5)
    glow = Image.blend(gray, Image.new("RGB", image.size, (235, 70, 10)), 0.75)
    mask = Image.fromarray((255 * heat).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    return Image.composite(glow, pale, mask)
