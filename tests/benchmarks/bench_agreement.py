"""Agreement and worker records over three million votes; alpha beside crowd-kit's on fewer. Run: make bench"""

from __future__ import annotations

import sys
import time

import numpy as np
import pandas as pd

from curate.label.agreement import agreement, alpha, confusions, tally
from curate.label.ballots import ballots
from curate.label.workers import worker_table

WORKERS = 2000
CLASSES = [f"class{number:02d}" for number in range(13)]


def votes(images: int, seed: int = 0) -> pd.DataFrame:
    """Three votes an image, shuffled, 64-character ids, 85 % right, with times."""
    rng = np.random.default_rng(seed)
    image = np.repeat(np.arange(images), 3)
    truth = rng.integers(len(CLASSES), size=images)[image]
    said = np.where(rng.random(len(image)) < 0.85, truth, rng.integers(len(CLASSES), size=len(image)))
    # three different workers on each image: a repeated vote would count once for us and twice elsewhere
    worker = (rng.integers(WORKERS, size=images)[image] + 667 * (np.arange(len(image)) % 3)) % WORKERS
    frame = pd.DataFrame(
        {
            "image_id": pd.Series(image).map(lambda n: f"{n:064x}"),
            "worker_id": pd.Series(worker).map(lambda n: f"A{n:05d}"),
            "label": np.array(CLASSES)[said],
            "submitted_at": pd.Timestamp("2026-01-01", tz="UTC")
            + pd.to_timedelta(rng.integers(10**6, size=len(image)), unit="s"),
            "seconds": rng.random(len(image)) * 5,
        }
    )
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def main() -> None:
    """Print CPU seconds of each step, and alpha beside the library that a user would take."""
    frame = votes(1_000_000)
    took = {}
    took["read into arrays"], found = timed(lambda: ballots(frame, CLASSES))
    took["agreement"], _ = timed(lambda: agreement(found))
    took["confusions"], _ = timed(lambda: confusions(found))
    took["workers"], table = timed(lambda: worker_table(found, frame, task="t"))
    print(f"{len(frame):,} votes, {WORKERS} workers, {len(CLASSES)} classes, CPU s: " + ", ".join(
        f"{name} {seconds:.1f}" for name, seconds in took.items()))  # fmt: skip
    print(f"flags on {int((table['flags'].map(len) > 0).sum())} of {len(table)} equally honest workers")
    beside_crowd_kit(votes(50_000))


def beside_crowd_kit(frame: pd.DataFrame) -> None:
    """Alpha of both on the same votes; crowd-kit takes minutes where we take seconds, so on fewer."""
    try:
        from crowdkit.metrics.data import alpha_krippendorff
    except ImportError:
        print("crowd-kit is not installed: nothing to compare with")
        return
    answers = frame.rename(columns={"image_id": "task", "worker_id": "worker"})[["task", "worker", "label"]]
    ours, own = timed(lambda: alpha(tally(ballots(frame, CLASSES))))
    theirs, other = timed(lambda: alpha_krippendorff(answers))
    print(f"{len(frame):,} votes: alpha {own:.12f} in {ours:.2f} CPU s, crowd-kit {other:.12f} in {theirs:.2f} CPU s; ratio {theirs / ours:.0f}")  # fmt: skip


def timed(work):  # type: ignore[no-untyped-def]
    """CPU seconds of some work, and its result."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


if __name__ == "__main__":
    sys.exit(main())
