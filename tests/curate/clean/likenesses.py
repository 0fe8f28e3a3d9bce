"""A workspace with pictures that are alike in every way there is, checked and deduped by the real commands."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from typer.testing import CliRunner

from curate.cli import app
from curate.collect.folder import import_folder
from curate.workspace import Workspace


def photo(seed: int, size: tuple[int, int] = (300, 400)) -> Image.Image:
    """A picture with shapes and fine structure, like no other seed's."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        Image.fromarray(rng.integers(0, 255, (n * 4 // 3, n, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for n in (6, 60)
    )
    return Image.blend(coarse, fine, 0.3)


def recolored(image: Image.Image) -> Image.Image:
    """In other colors, as bright in every place."""
    y, cb, cr = image.convert("YCbCr").split()
    return Image.merge("YCbCr", (y, cr, cb)).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "smaller": lambda image: image.resize((150, 200), Image.Resampling.LANCZOS),
    "padded": lambda image: ImageOps.expand(image, (60, 20), "white"),
    "mirrored": ImageOps.mirror,
    "cropped": lambda image: image.crop((18, 24, 282, 376)),
    "mirrored and padded": lambda image: ImageOps.expand(ImageOps.mirror(image), (60, 20), "white"),
    "darker": lambda image: image.point(lambda value: int(value * 0.75)),
    "recolored": recolored,
    "gray": lambda image: image.convert("L").convert("RGB"),
}


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=88)
    path.write_bytes(file.getvalue())


def fill(workspace: Workspace, folder: Path) -> dict[str, str]:
    """Import for each change a photo and its changed copy, check and dedup; returns image_id by file name."""
    import hashlib

    for seed, (name, change) in enumerate(CHANGES.items()):
        save(photo(seed), folder / f"{name}.jpg")
        save(change(photo(seed)), folder / f"{name} copy.jpg")
    import_folder(workspace, folder)
    for command in ("check", "dedup"):
        CliRunner().invoke(app, [command, "--workspace", str(workspace.root)], catch_exceptions=False)
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jpg")}


@contextmanager
def review(workspace: Workspace) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The review in a process of its own; its address and the process. Ended by SIGTERM, with code 0, where it still runs."""
    command = [sys.executable, "-m", "curate.cli", "dedup", "--review", "--json", "--by", "Ana"]
    process = subprocess.Popen(
        command, cwd=workspace.root, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield json.loads(line)["url"], process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
