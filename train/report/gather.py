"""Finished runs, read from their folders and grouped by task."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from schemas.errors import UserError
from schemas.manifest import Manifest, read_manifest
from train.bundle import Bundle, open_bundle
from train.judge.compare import Answers, read_answers
from train.recipe import METHODS
from train.run import read_record

NAMES = {"resnet18": "ResNet18", "vit": "ViT", "semivit": "Semi-ViT"}


@dataclass(frozen=True)
class Run:
    """One finished run."""

    folder: Path
    record: dict[str, Any]
    metrics: dict[str, Any]  # test and val, as trained

    @property
    def name(self) -> str:
        """Of the run folder."""
        return self.record["run"]

    @property
    def method(self) -> str:
        """resnet18, vit or semivit."""
        return self.record["method"]

    @property
    def fraction(self) -> float:
        """Share of the train labels that it used."""
        return self.record["label_fraction"]

    @property
    def seed(self) -> int:
        """Of every random choice."""
        return self.record["seed"]

    @property
    def labels(self) -> int:
        """Labeled pictures that it learned from."""
        return self.record["counts"]["labeled"]

    @property
    def pool(self) -> int:
        """Unlabeled pictures that it learned from: none but for Semi-ViT."""
        return self.record["counts"]["unlabeled"] if self.method == "semivit" else 0

    @property
    def setup(self) -> str:
        """All that makes it what it is but the seed: runs that share it are seeds of one model."""
        record = self.record
        weights = record["model"]["weights"]
        return json.dumps(
            [self.method, float(self.fraction), self.pool, record["model"]["name"], weights, record["recipe"]]
        )

    @property
    def title(self) -> str:
        """Method, share of the labels, pool."""
        extra = f" + {self.pool} unlabeled" if self.pool else ""
        return f"{NAMES.get(self.method, self.method)}, {self.fraction:.0%} of the labels{extra}"

    @cached_property
    def answers(self) -> Answers:
        """What it said of the test pictures."""
        return read_answers(self.folder)

    @cached_property
    def bundle(self) -> Bundle | None:
        """Its model; None where the files are not there."""
        try:
            return open_bundle(self.folder)
        except UserError:
            return None


@dataclass(frozen=True)
class Task:
    """The runs of one task, all on one manifest, in the paper's order: method, then share of the labels."""

    name: str
    manifest_id: str
    classes: list[str]
    runs: list[Run]
    manifest: Manifest | None  # where it still lies where the runs read it

    @property
    def groups(self) -> list[list[Run]]:
        """The runs by what they are but the seed, in their order; a seed that stands there twice is a group of its own."""
        found: dict[tuple[str, int], list[Run]] = {}
        for run in self.runs:
            turn = 0
            while run.seed in {other.seed for other in found.get((run.setup, turn), [])}:
                turn += 1
            found.setdefault((run.setup, turn), []).append(run)
        return list(found.values())

    @cached_property
    def test(self) -> pd.DataFrame:
        """The manifest's test rows by image_id; empty without a manifest."""
        if self.manifest is None:
            return pd.DataFrame({"image_id": []}).set_index("image_id")
        return self.manifest.rows[self.manifest.rows["split"] == "test"].set_index("image_id")

    @property
    def best(self) -> Run:
        """The run with the highest accuracy on val; test has no say in it. Ties: the lower cross entropy there."""
        return max(self.runs, key=lambda run: (run.metrics["val"]["acc1"], -run.metrics["val"]["ce"]))

    def truth(self, run: Run) -> tuple[pd.Index, np.ndarray, np.ndarray]:
        """Test pictures of a run: ids, probabilities as trained [n, K], positions of the labels [n]."""
        rows = run.answers.rows
        place = {name: i for i, name in enumerate(self.classes)}
        return rows.index, run.answers.probs(rows.index), rows["label"].map(place).to_numpy()


def gather(folders: Sequence[Path]) -> list[Task]:
    """The runs by task; raises UserError for a folder without a finished run, and for a task on two manifests."""
    runs = [_read(Path(folder)) for folder in folders]
    tasks: dict[str, list[Run]] = {}
    for run in runs:
        tasks.setdefault(run.record["task"], []).append(run)
    return [_task(name, own) for name, own in tasks.items()]


def _read(folder: Path) -> Run:
    record = read_record(folder)
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}/metrics.json: cannot be read; train the run again with --fresh") from error
    if not metrics.get("test", {}).get("n"):
        raise UserError(f"{folder}: this run never read test (a trial of a search does not); leave it out")
    return Run(folder, record, metrics)


def _task(name: str, runs: list[Run]) -> Task:
    first = runs[0].record
    for run in runs[1:]:
        if run.record["manifest_id"] != first["manifest_id"]:
            raise UserError(
                f"{run.name} stands on manifest {run.record['manifest_id'][:8]}, {first['run']} on "
                f"{first['manifest_id'][:8]}; one table compares runs on one manifest"
            )
    order = {method: i for i, method in enumerate(METHODS)}
    known = sorted(runs, key=lambda run: (order.get(run.method, 9), run.fraction, run.pool, run.seed))
    return Task(name, first["manifest_id"], first["classes"], known, _manifest(runs))


def _manifest(runs: list[Run]) -> Manifest | None:
    """The manifest that the runs read, if one of its places still holds it."""
    for run in runs:
        path = Path(run.record["manifest"])
        try:
            manifest = read_manifest(path) if path.exists() else None
        except UserError:
            continue
        if manifest is not None and manifest.manifest_id == run.record["manifest_id"]:
            return manifest
    return None
