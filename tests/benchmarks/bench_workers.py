"""Whom `curate workers` finds no better than chance on real votes, and how right they are. Needs CONSENSO_SHARED_DATA."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pandas as pd

from curate.label.ballots import ballots
from curate.label.flags import ENOUGH
from curate.label.workers import worker_table

SETS = ("labelme", "ms_music", "dog", "trec", "face", "sentiment_polarity_mturk")


def main() -> None:
    """One line a set: flagged workers, their accuracy and the others', and 2-of-3 with and without them."""
    folder = os.environ.get("CONSENSO_SHARED_DATA")
    if not folder:
        print("CONSENSO_SHARED_DATA names no folder with votes/: nothing measured")
        return
    for name in SETS:
        votes = pd.read_parquet(Path(folder) / "votes" / name / "votes.parquet").rename(columns={"task_id": "image_id"})
        truth = pd.read_parquet(Path(folder) / "votes" / name / "truth.parquet").set_index("task_id")["label"]
        classes = sorted(votes["label"].unique())
        table = worker_table(ballots(votes, classes), votes, task=name).set_index("worker_id")
        bad = [w for w, said in table["flags"].items() if any(flag.startswith("no better than") for flag in said)]
        fine = table.index[(table["flags"].map(len) == 0) & (table["n_votes"] >= ENOUGH)]
        print(
            f"{name}: {len(bad)} of {len(table)} no better than chance, right {accuracy(votes, truth, bad)}; without a flag "
            f"{accuracy(votes, truth, list(fine))}; 2-of-3 {rule(votes, truth)}, without them "
            f"{rule(votes[~votes['worker_id'].isin(bad)], truth)}"
        )


def accuracy(votes: pd.DataFrame, truth: pd.Series, workers: list[str]) -> str:
    """Share of right votes of some workers, on pictures whose truth is known."""
    own = votes[votes["worker_id"].isin(workers) & votes["image_id"].isin(truth.index)]
    return f"{(own['label'] == own['image_id'].map(truth)).mean():.1%} of {len(own):,}" if len(own) else "–"


def rule(votes: pd.DataFrame, truth: pd.Series) -> str:
    """Coverage and accuracy of two equal votes and more than half, over pictures whose truth is known."""
    counts = votes.groupby(["image_id", "label"]).size().rename("n").reset_index()
    total = counts["image_id"].map(votes["image_id"].value_counts())
    agreed = counts[(counts["n"] >= 2) & (2 * counts["n"] > total)].set_index("image_id")["label"]
    found = agreed.reindex(truth.index)
    return f"{found.notna().mean():.1%} labeled, {(found == truth)[found.notna()].mean():.1%} right"


if __name__ == "__main__":
    sys.exit(main())
