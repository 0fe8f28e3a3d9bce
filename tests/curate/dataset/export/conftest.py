from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from curate.cli import app
from schemas.command import exit_code
from schemas.manifest import Manifest

sys.path.insert(0, str(Path(__file__).parent))
from fruit import encoded, noise, save

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture
def odd(tmp_path: Path) -> Manifest:
    """Five pictures that are hard to hand on: turned by EXIF, transparent, animated, WebP, and a plain one; one unlabeled."""
    turned = Image.new("RGB", (40, 20), "red")
    turned.paste("blue", (20, 0, 40, 20))  # upright, after a quarter turn: red above, blue below
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = Image.new("RGBA", (30, 30), (0, 0, 0, 0))
    frames = [Image.new("RGB", (24, 24), color) for color in ("green", "yellow")]
    votes = [{"pseudonym": "w1", "label": "zebra"}, {"pseudonym": "w2", "label": "zebra"}]
    about = {"n_votes": 2, "n_agree": 2, "label_probs": [1.0, 0.0, 0.0], "votes": votes, "marketplace": "mx",
             "marketplaces": ["br", "mx"], "listing_id": "=1+1", "chosen_by": "random"}  # fmt: skip
    return save(
        tmp_path / "fruit",
        [
            {"bytes": encoded(turned, exif=exif, quality=95), "path": "a/turned.jpg", "label": "zebra", "split": "train",
             "width_px": 20, "height_px": 40, **about},
            {"bytes": encoded(clear, "PNG"), "path": "a/clear.png", "label": "apple", "split": "train"},
            {"bytes": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "path": "b/two.gif",
             "label": "apple", "split": "test"},
            {"bytes": encoded(noise(1), "WEBP"), "path": "b/web.webp", "label": "zebra", "split": "val"},
            {"bytes": encoded(noise(2)), "path": "b/plain.jpg", "split": "unlabeled", "unlabeled_rank": 0.5},
        ],
    )  # fmt: skip


@pytest.fixture
def shop(root: Path, tmp_path: Path) -> Path:
    """A workspace as the commands leave it."""
    return Path(shutil.copytree(root / "sample_data" / "shop", tmp_path / "shop"))


@dataclass(frozen=True)
class Said:
    stdout: str
    stderr: str


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Said]:
    """Runs `curate …` in a folder; checks its exit code and returns what it said."""

    def run(*arguments: object, cwd: Path = tmp_path, code: int = 0) -> Said:
        capsys.readouterr()
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
        ended = exit_code(app, "curate")
        said = Said(*capsys.readouterr())
        assert ended == code, said
        return said

    return run


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `curate …` as a process of its own; what still runs at the end of the test is killed."""
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    started = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "curate.cli", *map(str, arguments)], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
