"""Training runs in a report: read from their predictions alone, judged on the test pictures, compared without claiming more
than the intervals show.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.report.numbers import confusion, percent
from schemas.errors import TableError, UserError
from schemas.interval import wilson
from schemas.tables import PREDICTIONS

NAMES = {"resnet18": "ResNet18", "vit": "ViT", "semivit": "Semi-ViT"}


@dataclass(frozen=True)
class Run:
    """One training run, as its predictions file tells it."""

    name: str
    method: str
    rows: pd.DataFrame  # predictions of test pictures that have a label
    classes: list[str]
    manifest_id: str
    record: dict[str, Any]  # the run's own record; may be empty

    @property
    def right(self) -> int:
        """Test pictures whose first guess is right."""
        return int((self.rows["predicted"] == self.rows["label"]).sum())

    @property
    def n(self) -> int:
        """Test pictures."""
        return len(self.rows)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of Acc@1."""
        return wilson(self.right, self.n)

    @property
    def title(self) -> str:
        """Method and share of the labels, e.g. `ViT, 50 % of the labels`."""
        fraction = self.record.get("label_fraction")
        name = NAMES.get(self.method, self.method)
        return name if fraction is None or fraction == 1 else f"{name}, {percent(fraction)} of the labels"

    def metrics(self) -> dict[str, Any]:
        """Acc@1 with interval, Acc@5 (missing with five classes or fewer) and cross entropy, over the test pictures."""
        place = {key: i for i, key in enumerate(self.classes)}
        probs = np.array(self.rows["probs"].tolist(), np.float64)
        truth = self.rows["label"].map(place).to_numpy()
        own = probs[np.arange(self.n), truth]
        top = np.argsort(-probs, axis=1, kind="stable")[:, :5]
        low, high = self.interval
        return {
            "acc1": self.right / self.n,
            "low": low,
            "high": high,
            "acc5": float((top == truth[:, None]).any(axis=1).mean()) if len(self.classes) > 5 else None,
            "ce": float(-np.log(np.clip(own, 1e-12, None)).mean()),
        }


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs of some PREDICTIONS files (or run folders), in the paper's order: method, then share of the labels.

    Raises UserError for a file that is none, has no test picture with a label, or was made on another manifest than the
    first: one table compares only what was measured on the same data set.
    """
    runs = [_read(path / "predictions.parquet" if path.is_dir() else path) for path in paths]
    for run, path in zip(runs, paths, strict=True):
        if run.manifest_id != runs[0].manifest_id:
            raise UserError(
                f"{path}: made on manifest {run.manifest_id[:12]}, but {paths[0]} on {runs[0].manifest_id[:12]}; "
                "one report compares runs on one manifest. Train it again, or leave it out."
            )
    order = list(NAMES)
    return sorted(
        runs,
        key=lambda run: (
            order.index(run.method) if run.method in order else len(order),
            run.record.get("label_fraction", 1),
            run.name,
        ),
    )


def _read(path: Path) -> Run:
    rows = PREDICTIONS.read(path)
    meta = PREDICTIONS.metadata(path)
    record = json.loads(meta.get("consenso.run", "{}"))
    classes = json.loads(meta.get("consenso.classes", "null")) or record.get("classes")
    if not classes:
        raise TableError(f"{path}: carries no class list (pandas drops it); give the file as `train` wrote it")
    test = rows[(rows["split"] == "test") & rows["label"].notna()].reset_index(drop=True)
    if test.empty:
        raise UserError(f"{path}: has no prediction of a labeled test picture. Was it trained before `curate split`?")
    stray = sorted((set(test["label"]) | set(test["predicted"])) - set(classes))
    if stray:
        raise TableError(f"{path}: class {stray[0]!r} is not in the file's class list ({', '.join(classes)})")
    if (test["probs"].map(len) != len(classes)).any():
        raise TableError(f"{path}: column probs should hold {len(classes)} values, one for each class")
    name = str(test["run"].iloc[0])
    return Run(name, str(record.get("method") or name), test, list(classes), str(test["manifest_id"].iloc[0]), record)


def paper_table(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One line a run: method, labels it saw, Acc@1 with interval and count, Acc@5, cross entropy, weights, time."""
    lines = []
    for run in runs:
        counts = run.record.get("counts", {})
        model = run.record.get("model", {})
        seen = f"{counts['labeled']:,}" if "labeled" in counts else "–"
        if run.method == "semivit" and "unlabeled" in counts:
            seen += f" + {counts['unlabeled']:,} unlabeled"
        fraction = run.record.get("label_fraction")
        lines.append(
            {
                "method": NAMES.get(run.method, run.method),
                "fraction": "–" if fraction is None else percent(fraction),
                "seen": seen,
                "right": run.right,
                "n": run.n,
                "backbone": model.get("name", "–"),
                "weights": weights_of(run),
                "seed": run.record.get("seed", "–"),
                "minutes": run.record.get("wall_seconds", 0) / 60,
                **run.metrics(),
            }
        )
    return lines


def weights_of(run: Run) -> str:
    """What the run started from, as its record says it; `not recorded` where it does not."""
    return str(run.record.get("weights") or run.record.get("model", {}).get("weights") or "not recorded")


def notes(runs: Sequence[Run]) -> list[str]:
    """What a reader must know to read the table: chance, where the weights come from, and which order is really shown."""
    labels = runs[0].rows["label"].value_counts()
    k, n = len(runs[0].classes), runs[0].n
    found = [
        f"Chance is {percent(1 / k, 1)} ({k} classes); always saying {labels.index[0]} would be right in "
        f"{percent(labels.iloc[0] / n, 1)} of these {n} test pictures."
    ]
    if all(weights_of(run) == "random" for run in runs):
        found.append(
            "All models start from random weights, trained for minutes on a processor. The paper starts from weights learned "
            "on millions of pictures: its figures and these do not compare."
        )
    elif any(weights_of(run) == "random" for run in runs):
        found.append(
            "Some models start from random weights, others do not: that difference is part of every comparison."
        )
    return [*found, *_order(runs)]


def _order(runs: Sequence[Run]) -> list[str]:
    """Which of two runs is better, only where their intervals lie apart."""
    if len(runs) < 2:
        return []
    apart = []
    for a, b in combinations(runs, 2):
        above, below = (a, b) if a.interval[0] > b.interval[1] else (b, a)
        if above.interval[0] > below.interval[1]:
            apart.append(f"{above.title} is above {below.title}")
    if not apart:
        return ["All 95 % intervals overlap: this test does not show which model is better."]
    rest = " Other pairs overlap: their order is not shown." if len(apart) < len(runs) * (len(runs) - 1) / 2 else ""
    return [f"Where the 95 % intervals lie apart: {'; '.join(apart)}.{rest}"]


def per_class(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Right answers by class, a column a run."""
    lines = []
    for key in runs[0].classes:
        cells = []
        for run in runs:
            own = run.rows[run.rows["label"] == key]
            right = int((own["predicted"] == key).sum())
            low, high = wilson(right, len(own))
            cells.append(
                {
                    "right": right,
                    "n": len(own),
                    "share": right / len(own) if len(own) else 0.0,
                    "low": low,
                    "high": high,
                }
            )
        lines.append({"label": key, "cells": cells})
    return lines


def confusions(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A confusion matrix for each run."""
    return [
        {
            "title": run.title,
            "name": run.name,
            "matrix": confusion(run.rows["label"], run.rows["predicted"], run.classes),
        }
        for run in runs
    ]


def mistakes(run: Run, count: int = 14) -> list[dict[str, Any]]:
    """The test pictures that the run got wrong and was surest about."""
    wrong = run.rows[run.rows["predicted"] != run.rows["label"]].copy()
    wrong["sure"] = [float(max(probs)) for probs in wrong["probs"]]
    worst = wrong.sort_values(["sure", "image_id"], ascending=[False, True]).head(count)
    return [
        {"image_id": row.image_id, "label": row.label, "predicted": row.predicted, "sure": percent(row.sure)}  # type: ignore[arg-type]
        for row in worst.itertuples()
    ]
