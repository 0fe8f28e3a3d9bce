"""The report as one HTML page, plots and pictures inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from schemas.interval import wilson
from schemas.progress import progress
from train.judge.calibrate import at_temperature
from train.report import whole
from train.report.claim import answer, points, said
from train.report.details import confused
from train.report.figures import accuracy_plot, coverage_plot, reliability_plot
from train.report.gallery import Shown, looks
from train.report.gather import Task

LOOKS = 4  # sure and right pictures, and as many mistakes, whose places are lit


def render(report: whole.Report) -> str:
    """The whole page as text."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    pages.filters["percent"] = lambda value, digits=1: f"{100 * value:.{digits}f} %"
    bar = progress(len(report.tasks), "reading pictures", " tasks")
    tasks = []
    for task, found in zip(report.tasks, report.details, strict=True):
        tasks.append(_task(task, found, report))
        bar.update()
    bar.close()
    return pages.get_template("report.html").render(
        report=report,
        title=f"{report.tasks[0].name}: runs compared" if len(tasks) == 1 else "Runs compared",
        several=len(tasks) > 1,
        tasks=tasks,
        table1=[whole.table1_cells(row) for row in report.table1],
        table2=[_with_range(row, whole.table2_cells(row)) for row in report.table2],
        table3=[_with_range(row, whole.table3_cells(row)) for row in report.table3],
        heads=(whole.TABLE1_HEAD, whole.TABLE2_HEAD, whole.TABLE3_HEAD),
        answer=answer(report.claims),
        claims=[{**one, "points": points(one), "said": said(one)} for one in report.claims],
        pairs=[(pair, whole.pair_text(pair)) for pair in report.pairs],
        confused=confused,
    )


def _with_range(row: dict[str, Any], cells: list[str]) -> dict[str, Any]:
    return {"row": row, "cells": cells, "low": row["acc1_low"], "high": row["acc1_high"], "at": row["acc1"]}


def _task(task: Task, found: dict[str, Any], report: whole.Report) -> dict[str, Any]:
    """What the page shows of one task."""
    shown = Shown(task, report.pictures)
    rows = [row for row in report.table2 if row["task"] == task.name]
    largest = max((max(row) for row in found["confusion"]), default=1) or 1
    return {
        "name": task.name,
        "found": found,
        "classes": task.classes,
        "best": task.best,
        "accuracy": accuracy_plot(rows) if len(rows) > 1 else "",
        "reliability": reliability_plot(found["reliability"]),
        "coverage": coverage_plot(found["curve"], found["coverage"]),
        "groups": [
            (title, _ranges(found[name])) for title, name in _GROUPS if len(found[name]) > 1 or name == "per_class"
        ],
        "largest": largest,
        "mistakes": [{**one, "picture": shown(one["image_id"])} for one in found["mistakes"]],
        "looks": _looks(task, found, shown),
    }


_GROUPS = (("Class", "per_class"), ("Marketplace", "per_marketplace"), ("Votes", "per_agreement"))


def _ranges(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**row, "low": wilson(row["right"], row["n"])[0], "high": wilson(row["right"], row["n"])[1]} for row in rows
    ]


def _looks(task: Task, found: dict[str, Any], shown: Shown) -> list[dict[str, Any]]:
    """A few right answers, one a class, and the worst mistakes, with the places that decided them."""
    bundle = task.best.bundle
    if bundle is None or task.manifest is None:
        return []
    ids, probs, truth = task.truth(task.best)
    confidence = at_temperature(probs, bundle.temperature).max(axis=1)
    guess = probs.argmax(axis=1)
    right: dict[int, int] = {}
    for i in sorted(range(len(truth)), key=lambda i: (-confidence[i], ids[i])):
        if guess[i] == truth[i]:
            right.setdefault(int(truth[i]), i)
    rows = [
        {
            "image_id": str(ids[i]),
            "label": task.classes[k],
            "predicted": task.classes[k],
            "confidence": float(confidence[i]),
        }
        for k, i in list(right.items())[:LOOKS]
    ]
    return looks(bundle, shown, [*rows, *found["mistakes"][:LOOKS]])
