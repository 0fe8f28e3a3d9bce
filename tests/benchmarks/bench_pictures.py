"""CPU time of checking a picture, beside imagehash computing two hashes of it from a full decode. Run: make bench"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import imagehash
from PIL import Image

from curate.clean.measure import Limits, inspect_file
from curate.demo.market import draw_market

ROUNDS = 5


def pictures(folder: Path) -> list[Path]:
    """300 real photos where they are, else drawn ones."""
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    real = sorted((base / "clothing").rglob("*.jpg"))[:: max(1, 3409 // 300)]
    if not real:
        draw_market(folder, scale=0.3)
    print(f"{'real photos' if real else 'drawn pictures'}, {os.cpu_count()} cores")
    return real or sorted(folder.rglob("*.jpg"))


def cpu_ms(work: Callable[[Path], object], paths: list[Path]) -> float:
    """CPU milliseconds a picture."""
    began = time.process_time()
    for path in paths:
        work(path)
    return (time.process_time() - began) / len(paths) * 1000


def peer(path: Path) -> None:
    """What a user would write: two perceptual hashes, each from a full decode."""
    try:
        with Image.open(path) as image:
            imagehash.phash(image)
            imagehash.phash(image, hash_size=16)
    except OSError:
        pass  # the market has broken pictures


def main() -> None:
    """Print the median of interleaved rounds, and the ratio."""
    with tempfile.TemporaryDirectory() as folder:
        paths = pictures(Path(folder))
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(cpu_ms(lambda path: inspect_file((0, str(path), Limits())), paths))
            theirs.append(cpu_ms(peer, paths))
    print(f"curate check (both hashes, measures, broken files): {median(ours):.2f} CPU ms a picture")
    print(f"imagehash, the two hashes alone:                    {median(theirs):.2f} CPU ms a picture")
    print(f"ratio {median(theirs) / median(ours):.2f}")


if __name__ == "__main__":
    sys.exit(main())
