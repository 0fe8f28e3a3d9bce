"""Small data sets and models that train in seconds."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from schemas.manifest import write_manifest
from train.request import Request

TINY = [
    "pretrained=false", "image_size=24", "drop_path=0", "layer_decay=1", "crop_scale=0.6", "rand_ops=0", "erase=0",
    "mixup=0", "cutmix=0", "batch_size=16", "warmup_epochs=1", "base_lr=0.06", "eval_every=10",
]  # fmt: skip
TINY_RESNET = [*TINY, "model=test_resnet"]
TINY_VIT = [*TINY, "model=test_vit", "model_args=patch_size=8"]
TINY_SEMI = [*TINY_VIT, "semi_layer_decay=1", "semi_batch=8", "mu=2", "semi_base_lr=0.03", "semi_mixup_labeled=false"]

COLORS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210), "sand": (200, 180, 120)}


@pytest.fixture
def tiny() -> dict[str, list[str]]:
    """Changes that make each method's default recipe train in a second."""
    return {"resnet18": TINY_RESNET, "vit": TINY_VIT, "semivit": TINY_SEMI}


@pytest.fixture
def ask() -> Callable[..., Request]:
    """A function that asks for a tiny run: manifest, method, further changes."""

    def make(manifest: Path, method: str, *changes: str, **more: Any) -> Request:
        tiny = {"resnet18": TINY_RESNET, "vit": TINY_VIT, "semivit": TINY_SEMI}[method]
        return Request(method, manifest, changes=(*tiny, *changes), **more)

    return make


def picture(color: tuple[int, int, int], rng: np.random.Generator, size: tuple[int, int] = (30, 36)) -> bytes:
    """A JPEG of one noisy color."""
    pixels = np.clip(np.array(color) + rng.normal(0, 25, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def draw_manifest(
    root: Path,
    classes: tuple[str, ...] = ("red", "green", "blue"),
    train: int = 12,
    val: int = 5,
    test: int = 6,
    unlabeled: int = 8,
    split: bool = True,
    odd: bool = False,
) -> Path:
    """Draw pictures of some colors into a folder and write their manifest: counts per class and split.

    With `odd` every fifth picture has the color of the next class: mistakes that nobody can avoid.
    """
    root.mkdir()
    rng = np.random.default_rng(7)
    rows = []
    for name in classes:
        for where, count in {"train": train, "val": val, "test": test, "unlabeled": unlabeled}.items():
            for number in range(count):
                shown = classes[(classes.index(name) + 1) % len(classes)] if odd and number % 5 == 4 else name
                data = picture(COLORS[shown], rng)
                image_id = hashlib.sha256(data).hexdigest()
                (root / f"{image_id}.jpg").write_bytes(data)
                rows.append(
                    {
                        "image_id": image_id,
                        "path": f"{image_id}.jpg",
                        "label": None if where == "unlabeled" else name,
                        "split": where if split else None,
                        "label_rank": rng.random() if where == "train" else None,
                        "unlabeled_rank": rng.random() if where == "unlabeled" else None,
                        "marketplace": "east" if number % 2 else "west",
                        "marketplaces": ["east", "west"] if number % 3 == 0 else ["east" if number % 2 else "west"],
                        "listing_id": f"{name}-{where}-{number // 2}",
                        "n_votes": None if where == "unlabeled" else 3,
                        "n_agree": None if where == "unlabeled" else 2 + number % 2,
                    }
                )
    (root / "workspace.yaml").write_text("name: shop\n")
    write_manifest(pd.DataFrame(rows), [root / "apron.parquet"], task="apron", classes=list(classes))
    return root / "apron.parquet"


@pytest.fixture
def make_manifest(tmp_path: Path) -> Callable[..., Path]:
    """A function that draws pictures of some colors and writes their manifest: counts per class and split."""

    def make(*arguments: Any, folder: str = "shop", **counts: Any) -> Path:
        return draw_manifest(tmp_path / folder, *arguments, **counts)

    return make


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop with three small runs, trained once for all tests; never to be changed, take `shop` for that."""
    from train.run import train

    path = draw_manifest(tmp_path_factory.mktemp("trained") / "shop", odd=True)  # what is all right tests little
    train(Request("vit", path, changes=(*TINY_VIT, "epochs=6")))
    train(Request("vit", path, changes=(*TINY_VIT, "epochs=6"), label_fraction=0.5))
    train(Request("resnet18", path, changes=(*TINY_RESNET, "epochs=3")))
    return path.parent


@pytest.fixture
def shop(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of the shop with its runs: apron-vit-100-s0, apron-vit-50-s0, apron-resnet18-100-s0."""
    copy = Path(shutil.copytree(trained_once, tmp_path / "shop"))
    for record in copy.glob("runs/*/run.json"):
        record.write_text(record.read_text().replace(str(trained_once), str(copy)))
    return copy
