"""Time of the whole 2-of-3 rule over a million votes, beside a plain pandas majority. Run: make bench"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from curate.label.aggregate import aggregate

IMAGES, WORKERS = 333_334, 500
CLASSES = [f"class{number}" for number in range(13)]


def votes(seed: int = 0) -> pd.DataFrame:
    """Three votes an image, shuffled, 64-character ids, 85 % right."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(IMAGES), 3)
    truth = rng.integers(len(CLASSES), size=IMAGES)[image]
    said = np.where(rng.random(len(image)) < 0.85, truth, rng.integers(len(CLASSES), size=len(image)))
    frame = pd.DataFrame(
        {
            "image_id": pd.Series(image).map(lambda n: f"{n:064x}"),
            "worker_id": pd.Series(rng.integers(WORKERS, size=len(image))).map(lambda n: f"A{n:05d}"),
            "label": np.array(CLASSES)[said],
        }
    )
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def majority(frame: pd.DataFrame) -> pd.Series:
    """What a user would write: the most frequent label of each image, ties by chance of the sort."""
    counts = frame.groupby(["image_id", "label"]).size().reset_index(name="n")
    return counts.sort_values("n").groupby("image_id")["label"].last()


def main() -> None:
    """Print CPU seconds of both and their ratio."""
    frame = votes()
    began = time.process_time()
    labels, _ = aggregate(frame, classes=CLASSES)
    ours = time.process_time() - began
    began = time.process_time()
    majority(frame)
    theirs = time.process_time() - began
    print(f"{len(frame):,} votes: the whole rule with its audit {ours:.1f} CPU s, pandas majority {theirs:.1f} CPU s")
    print(f"ratio {ours / theirs:.2f}; {labels['label'].notna().mean():.1%} labeled")


if __name__ == "__main__":
    sys.exit(main())
