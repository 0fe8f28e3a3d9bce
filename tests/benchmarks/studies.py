"""What the studies on real pictures share: the two command lines, run as a person would type them, and what is in a folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"


def sha256(data: bytes) -> str:
    """A picture's image_id."""
    return hashlib.sha256(data).hexdigest()


def run(room: str, *words: object, cwd: Path) -> str:
    """`curate …` or `train …`; its result, or the end of the study with its message."""
    said = [room, *map(str, words)]
    print("$", *said, flush=True)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", f"{room}.cli", *said[1:]]
    ended = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path})
    print(ended.stdout, end="", flush=True)
    if ended.returncode:
        sys.exit(ended.returncode)
    return ended.stdout


def sets(**changes: object) -> list[str]:
    """Recipe changes as words of a command."""
    return [word for name, value in changes.items() for word in ("--set", f"{name}={value}")]


def accuracy(predictions: Path) -> tuple[int, int]:
    """Right answers and labeled pictures of the test, by a predictions file."""
    rows = pd.read_parquet(predictions, columns=["split", "label", "predicted"])
    test = rows[(rows["split"] == "test") & rows["label"].notna()]
    return int((test["label"] == test["predicted"]).sum()), len(test)
