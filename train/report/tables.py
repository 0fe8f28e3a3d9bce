"""The paper's tables: 1 the data, 2 methods and label shares, 3 the unlabeled pool; and the tests between runs."""

from __future__ import annotations

import itertools
import statistics
from typing import Any

from schemas.interval import wilson
from train.judge.compare import compare_answers, without_seed
from train.report.gather import NAMES, Run, Task

FEW = 6  # models of a task up to which every two are tested


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
    """One row for each method, label share, pool and recipe: the mean over its seeds, with the interval of the mean count."""
    groups = task.groups
    return [_group(task, runs, _mark(runs, groups)) for runs in groups]


def _mark(runs: list[Run], groups: list[list[Run]]) -> str:
    """What tells a row from others of the same method, labels and pool: how its runs are named. Empty where it is alone."""
    alike = [others for others in groups if others[0].title == runs[0].title]
    if len(alike) == 1:
        return ""
    stems = [without_seed(others[0].name) for others in alike]
    stem = without_seed(runs[0].name)
    return f" ({stem})" if stems.count(stem) == 1 else f" ({runs[0].name})"


def _group(task: Task, runs: list[Run], mark: str) -> dict[str, Any]:
    test = [run.metrics["test"] for run in runs]
    n = test[0]["n"]
    right = statistics.mean(one["right"] for one in test)
    low, high = wilson(round(right), n)
    mean = {key: statistics.mean(one[key] for one in test) for key in ("acc1", "macro", "ce", "ece")}
    top5 = None if test[0]["acc5"] is None else statistics.mean(one["acc5"] for one in test)
    name = NAMES.get(runs[0].method, runs[0].method) + mark
    return {
        "task": task.name, "method": runs[0].method, "name": name,
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
        if len({row["unlabeled"] for row in own}) < 2:
            continue
        smallest = [of[name].answers for name in own[0]["runs"]]
        for row in own:
            pair = None if row is own[0] else compare_answers(smallest, [of[name].answers for name in row["runs"]])
            found.append({**row, "times": row["unlabeled"] / own[0]["unlabeled"], "against_smallest": pair})
    return found


def pairs(task: Task) -> list[dict[str, Any]]:
    """Tests between models, all seeds of each together: every two where there are few, else those that a reader asks for.

    Those are: two methods with the same labels; one method with all labels and with fewer; Semi-ViT with fewer labels
    against ViT with all.
    """
    groups = task.groups
    chosen = [(a, b) for a, b in itertools.combinations(groups, 2) if len(groups) <= FEW or _asked_for(a[0], b[0])]
    return [_pair(a, b, groups) for a, b in chosen]


def _pair(a: list[Run], b: list[Run], groups: list[list[Run]]) -> dict[str, Any]:
    found = compare_answers([run.answers for run in a], [run.answers for run in b])
    title_a, title_b = (runs[0].title + _mark(runs, groups) for runs in (a, b))
    kind = "labels" if a[0].fraction != b[0].fraction else "method"
    return {"title_a": title_a, "title_b": title_b, "kind": kind, **found}


def _asked_for(a: Run, b: Run) -> bool:
    same_labels = a.fraction == b.fraction and (a.method != b.method or a.pool == b.pool)
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
