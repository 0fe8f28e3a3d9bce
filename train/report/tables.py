"""The paper's tables: 1 the data, 2 methods and label shares, 3 the unlabeled pool; and the tests between runs."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

from schemas.interval import wilson
from train.compare import compare_answers
from train.report.gather import NAMES, Run, Task

FEW = 6  # runs of a task up to which every two are tested


def table1(tasks: list[Task]) -> list[dict[str, Any]]:
    """One row a task: classes, pictures of each split, versions of val and test."""
    return [_data(task) for task in tasks]


def _data(task: Task) -> dict[str, Any]:
    most = max(task.runs, key=lambda run: run.fraction)
    counts = most.record["counts"]
    row = {
        "task": task.name, "classes": len(task.classes), "train": counts["labeled"], "val": counts["val"],
        "test": counts["test"], "unlabeled": counts["unlabeled"], "exact": most.fraction == 1,
        "versions": {}, "manifest_id": task.manifest_id,
    }  # fmt: skip
    versions = most.record.get("split_versions", {})
    if task.manifest is not None:
        rows = task.manifest.rows[task.manifest.rows["dropped"].isna()]
        row |= {split: int((rows["split"] == split).sum()) for split in ("train", "val", "test", "unlabeled")}
        row |= {"exact": True}
        versions = task.manifest.info.get("versions", versions)
    row["versions"] = {split: one.get("version") for split, one in versions.items()}
    return row


def table2(task: Task) -> list[dict[str, Any]]:
    """One row for each method, label share and pool: the mean over its seeds, with the interval that the test size gives."""
    groups = itertools.groupby(task.runs, key=lambda run: (run.method, run.fraction, run.pool))
    return [_group(task, list(runs)) for _, runs in groups]


def _group(task: Task, runs: list[Run]) -> dict[str, Any]:
    test = [run.metrics["test"] for run in runs]
    n = test[0]["n"]
    right = statistics.mean(one["right"] for one in test)
    low, high = wilson(round(right), n)
    mean = {key: statistics.mean(one[key] for one in test) for key in ("acc1", "macro", "ce", "ece")}
    top5 = None if test[0]["acc5"] is None else statistics.mean(one["acc5"] for one in test)
    return {
        "task": task.name, "method": runs[0].method, "name": NAMES.get(runs[0].method, runs[0].method),
        "label_fraction": runs[0].fraction, "labels": runs[0].labels, "unlabeled": runs[0].pool, "n": n,
        "right": right, "acc1_low": low, "acc1_high": high, "acc5": top5, **mean,
        "seeds": [run.seed for run in runs],
        "spread": statistics.stdev(one["acc1"] for one in test) if len(runs) > 1 else None,
        "minutes": statistics.mean(run.record["wall_seconds"] for run in runs) / 60,
        "cost": _cost([run.record.get("usage") for run in runs]),
        "runs": [run.name for run in runs],
    }  # fmt: skip


def _cost(usages: list[dict[str, Any] | None]) -> dict[str, Any] | None:
    """What a run cost in the mean: hours, and dollars where each run's hour had a price; None where a run did not count."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < len(usages):
        return None
    money = [usage["cost_usd"] for usage in known if usage["cost_usd"] is not None]
    devices = sorted({usage["device"] for usage in known})
    return {
        "device_hours": statistics.mean(usage["device_hours"] for usage in known), "device": " and ".join(devices),
        "cost_usd": statistics.mean(money) if len(money) == len(known) else None,
    }  # fmt: skip


def table3(task: Task, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Semi-ViT with the same labels and several pools, each tested against the smallest; empty where there is one pool."""
    of = {run.name: run for run in task.runs}
    found = []
    semi = [row for row in rows if row["method"] == "semivit"]
    for fraction in sorted({row["label_fraction"] for row in semi}):
        own = [row for row in semi if row["label_fraction"] == fraction]
        for row in own if len(own) > 1 else ():
            pair = None if row is own[0] else compare_answers(of[own[0]["runs"][0]].answers, of[row["runs"][0]].answers)
            found.append({**row, "times": row["unlabeled"] / own[0]["unlabeled"], "against_smallest": pair})
    return found


def pairs(task: Task) -> list[dict[str, Any]]:
    """Tests between runs of the same seed: every two where there are few, else those that a reader asks for.

    Those are: two methods with the same labels; one method with all labels and with fewer; Semi-ViT with fewer labels
    against ViT with all.
    """
    chosen = [(a, b) for a, b in itertools.combinations(task.runs, 2) if len(task.runs) <= FEW or _asked_for(a, b)]
    return [_pair(a, b) for a, b in chosen]


def _pair(a: Run, b: Run) -> dict[str, Any]:
    return {"a": a.name, "b": b.name, "title_a": a.title, "title_b": b.title, "seeds": [a.seed, b.seed],
            "kind": "labels" if a.fraction != b.fraction else "method", **_renamed(compare_answers(a.answers, b.answers))}  # fmt: skip


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("a", "b")}


def _asked_for(a: Run, b: Run) -> bool:
    if a.seed != b.seed:
        return False
    same_labels = a.fraction == b.fraction and a.method != b.method
    fewer = a.method == b.method and 1 in (a.fraction, b.fraction) and a.fraction != b.fraction
    less_for_more = {(a.method, a.fraction < 1), (b.method, b.fraction < 1)} == {("semivit", True), ("vit", False)}
    return same_labels or fewer or less_for_more


def run_rows(task: Task) -> list[dict[str, Any]]:
    """One row a run, from its own files."""
    keys = ("n", "right", "acc1", "acc1_low", "acc1_high", "acc5", "macro", "ce", "ece", "chance")
    return [
        {
            "task": task.name, "run": run.name, "method": run.method, "name": NAMES.get(run.method, run.method),
            "label_fraction": run.fraction, "labels": run.labels, "unlabeled": run.pool, "seed": run.seed,
            "wall_seconds": run.record["wall_seconds"], "usage": run.record.get("usage"), "test_reads": run.record.get("test_reads", 1),
            "val_acc1": run.metrics["val"]["acc1"], **{key: run.metrics["test"][key] for key in keys},
        }
        for run in task.runs
    ]  # fmt: skip
