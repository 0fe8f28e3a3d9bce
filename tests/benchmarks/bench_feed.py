"""Pictures per CPU second that reach a training step, beside timm's loader on the same photos. Also: make bench-feed

One process, one thread, CPU seconds, medians of interleaved rounds. On a GPU the CPU's share of our way is the fetch alone: crops,
colors, RandAugment, erasing and normalization are the GPU's. Here they are counted too, batched on the CPU.

Run:  python tests/benchmarks/bench_feed.py [photos]
"""

from __future__ import annotations

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import timm.data
import torch
from bench_pack import manifest_of, photos
from PIL import Image, ImageOps

from curate.dataset.pack import pack, plan_pack
from schemas.pack import Format, open_pack
from train.augment import Views
from train.feed import decode
from train.feed.ahead import in_turn
from train.feed.load import load_pictures
from train.feed.pictures import Pictures
from train.recipe import recipe_for

ROUNDS, PASSES = 3, 4
BATCH, SIZE, SIDE = 64, 224, 256
CPU = torch.device("cpu")
POSTERIZE = ImageOps.posterize
STRONG = {"auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25, "color_jitter": 0}
WEAK = {"color_jitter": 0.4}


class Photos(torch.utils.data.Dataset):
    """Photos for timm's loader, decoded by Pillow each time, as its own data sets do."""

    transform: Callable[[Image.Image], torch.Tensor]

    def __init__(self, encoded: list[Path] | list[bytes]) -> None:
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        one = self.encoded[number]
        return self.transform(Image.open(io.BytesIO(one) if isinstance(one, bytes) else one).convert("RGB")), 0


def timm_loader(encoded: list[Path] | list[bytes], **augmentation: object) -> Callable[[], int]:
    """One pass of timm's plain loader.

    timm 1.0.31 sometimes asks for 0 bits of a posterized picture, which Pillow 13 refuses; it gets 1 here.
    """
    timm.data.auto_augment.ImageOps.posterize = lambda image, bits: POSTERIZE(image, max(1, bits))
    loader = timm.data.create_loader(
        Photos(encoded), SIZE, BATCH, is_training=True, use_prefetcher=False, interpolation="bicubic", num_workers=0,
        persistent_workers=False, device=CPU, **augmentation,  # type: ignore[arg-type]
    )  # fmt: skip
    return lambda: sum(len(x) for x, _ in loader)


def batches(pictures: Pictures) -> Iterator[object]:
    """PASSES of ours in random order, made ahead by a thread."""
    order = np.concatenate([np.random.default_rng(seed).permutation(len(pictures)) for seed in range(PASSES)])
    return in_turn(pictures, np.split(order, len(order) // BATCH), CPU)


def ours(pictures: Pictures, *views: str) -> Callable[[], int]:
    """One pass, with views made of each batch."""
    recipe = recipe_for("semivit", "default", [f"image_size={SIZE}"])
    make = Views(recipe, timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD)

    def work() -> int:
        for batch in batches(pictures):
            for view in views:
                getattr(make, view)(batch, torch.Generator().manual_seed(0))
        return PASSES * len(pictures)

    return work


def without_simplejpeg(work: Callable[[], int]) -> Callable[[], int]:
    """The same with Pillow alone."""

    def slow() -> int:
        fast, decode.has_simplejpeg = decode.has_simplejpeg, lambda: False  # type: ignore[assignment]
        try:
            return work()
        finally:
            decode.has_simplejpeg = fast

    return slow


def ways(paths: list[Path], folder: Path) -> dict[str, Callable[[], int]]:
    """What is measured."""
    manifest = manifest_of(paths, folder / "source")
    pack(plan_pack(manifest, Format(SIDE)), folder / "pack", workers=1)
    source = open_pack(folder / "pack")
    rows = pd.DataFrame({"image_id": [f"0-{path.stem}" for path in paths]})
    rows["path"] = ""
    memory, stream = (load_pictures(rows, source, SIDE, way)[0] for way in ("memory", "stream"))
    jpegs = [jpeg for _, jpeg, _ in source.read(rows["image_id"].tolist()) if jpeg]
    found: dict[str, Callable[[], int]] = {
        "fetch alone: decoded in memory": ours(memory),
        "fetch alone: streamed from the pack": ours(stream),
        "fetch alone: streamed, Pillow decodes": without_simplejpeg(ours(stream)),
        "peer: Pillow decodes the pack, nothing else": lambda: sum(
            np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).ndim == 3 for jpeg in jpegs
        ),
        "weak view too: in memory": ours(memory, "weak"),
        "weak view too: streamed": ours(stream, "weak"),
        "peer: timm's loader, weak, the pack's JPEGs": timm_loader(jpegs, **WEAK),
        "peer: timm's loader, weak, the photos": timm_loader(paths, **WEAK),
        "strong view too: in memory": ours(memory, "strong"),
        "strong view too: streamed": ours(stream, "strong"),
        "peer: timm's loader, strong, the pack's JPEGs": timm_loader(jpegs, **STRONG),
        "peer: timm's loader, strong, the photos": timm_loader(paths, **STRONG),
    }
    return found


def main() -> None:
    """Print pictures a CPU second and how often timm's loader, weak and strong in turn, could be run in the same time."""
    torch.set_num_threads(1)
    print(f"simplejpeg: {'installed' if decode.has_simplejpeg() else 'not installed, Pillow decodes everything'}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = photos(folder)[: int(sys.argv[1]) if len(sys.argv) > 1 else 192]
        paths = paths[: len(paths) // BATCH * BATCH]
        todo = ways(paths, folder)
        spent: dict[str, list[float]] = {name: [] for name in todo}
        for _ in range(ROUNDS):
            for name, work in todo.items():
                began = time.process_time()
                count = work()
                spent[name].append((time.process_time() - began) / count)
    rate = {name: 1 / statistics.median(times) for name, times in spent.items()}
    strong, weak = (rate[f"peer: timm's loader, {kind}, the photos"] for kind in ("strong", "weak"))
    print(f"{len(paths)} photos, batches of {BATCH}, {SIZE} px from a short side of {SIDE}; {os.cpu_count()} cores")
    for name, value in rate.items():
        low, high = 1 / max(spent[name]), 1 / min(spent[name])
        print(f"{name:46} {value:7.0f} pictures a CPU second ({low:.0f} to {high:.0f})")
    for name in ("decoded in memory", "streamed from the pack", "streamed, Pillow decodes"):
        fetch = rate[f"fetch alone: {name}"]
        both = 1 / (1 / strong + 1 / weak)
        print(
            f"{name}: {fetch / strong:.1f} times timm strong; of an unlabeled picture (weak and strong) {fetch / both:.1f} times"
        )


if __name__ == "__main__":
    main()
