"""Training the runs of a study one after another, and what it says on the way.

A study that was stopped or killed goes on where it was, and a run that is finished is not repeated.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from schemas.errors import Interrupted, Partial, UserError
from train import ranks
from train.estimate import in_words
from train.folder import state_of
from train.recipe import recipe_for
from train.request import Request
from train.run import train
from train.study.file import Study


def run_study(
    study: Study, say: Callable[[str], None] | None = None, along: Mapping[str, Any] | None = None
) -> list[Request]:
    """Train every run that is not finished, one after another; returns those that are.

    A run that fails is said, and the others go on; those that would start from it fail too. Raises Partial at the end when
    some failed, Interrupted at once when stopped.

    Args:
        along: what changes no result, by its name in a request: max_hours, log, price_per_hour.
    """
    say = say or _say
    failed: dict[Path, str] = {}
    began, trained = time.monotonic(), 0
    for number, run in enumerate(study.runs, 1):
        if state_of(run.folder) == "done":
            continue
        left = [one for one in study.runs[number - 1 :] if state_of(one.folder) != "done" and one.folder not in failed]
        ago = time.monotonic() - began
        rest = f", about {in_words(ago / trained * len(left))} left if the others are like these" if trained else ""
        say(f"[{number} of {len(study.runs)}] {run.name}: {len(left)} runs to go{rest}")
        try:
            if run.stage1 is not None and run.stage1 in failed:
                raise UserError(f"starts from {run.stage1.name}, which failed")
            train(replace(run, **(along or {})))
            trained += 1
        except Interrupted:
            raise
        except (UserError, MemoryError, torch.OutOfMemoryError) as error:
            failed[run.folder] = " ".join(str(error).split()) or type(error).__name__
            say(f"failed: {run.name}: {failed[run.folder]}")
    if failed:
        first = next(iter(failed))
        raise Partial(
            f"{len(study.runs) - len(failed)} of {len(study.runs)} runs are finished, {len(failed)} failed; the first is "
            f"{first.name}: {failed[first]}. The same command tries them again"
        )
    return study.runs


def write_reports(study: Study) -> Iterator[str]:
    """One page (also as Markdown and JSON) for each manifest about its runs that are finished, and one about all of them;
    what was written, and the answer to what the study asks, as lines.
    """
    from train.report import answer, claim_text, report, write_report

    done: dict[str, list[Path]] = {}
    for run in study.runs:
        if state_of(run.folder) == "done":
            done.setdefault(run.manifest.stem, []).append(run.folder)
    if len(done) > 1:
        done["all-tasks"] = [folder for folders in done.values() for folder in folders]
    claims: list[dict[str, Any]] = []
    for name, folders in done.items():
        table = report(folders)
        for ending in ("md", "json", "html"):
            write_report(table, study.out / f"{name}.{ending}")
        yield f"report -> {study.out / f'{name}.html'}"
        claims = table.claims  # the last page is about all of it
    yield from (claim_text(one) for one in claims)
    if claims:
        yield answer(claims)


def plan(study: Study) -> str:
    """Every run with its state and estimated time, measured on this machine with noise in place of pictures."""
    from train.estimate import recipe_seconds

    known: dict[str, float] = {}
    lines, left = [], 0.0
    for run in study.runs:
        state = state_of(run.folder)
        if state == "done":
            lines.append(f"done        {run.name}")
            continue
        recipe, classes, counts = _counts(run)
        key = repr((recipe, classes, counts, run.stage1 is None))
        if key not in known:
            known[key] = recipe_seconds(recipe, classes, counts, run.stage1 is not None)
        left += known[key]
        said = (
            f"{counts['labeled']} labeled, {counts['unlabeled']} unlabeled"
            if run.method == "semivit"
            else f"{counts['labeled']} labeled"
        )
        lines.append(f"{state.ljust(11)} {run.name}: {said}, about {in_words(known[key])}")
    states = ", ".join(f"{count} {name}" for name, count in study.states().items())
    lines.append(
        f"{len(study.runs)} runs: {states}; about {in_words(left)} on this machine, reading pictures aside -> {study.out}"
    )
    return "\n".join(lines)


def _counts(run: Request) -> tuple[Any, int, dict[str, int]]:
    """A run's recipe, number of classes and counts of pictures."""
    from schemas.manifest import read_manifest
    from train.data import choose
    from train.recipe import with_budget

    manifest = read_manifest(run.manifest)
    counts = choose(manifest, run.label_fraction, run.unlabeled, run.unlabeled_base).counts()
    recipe = with_budget(recipe_for(run.method, run.recipe, run.changes), counts["labeled"], counts["unlabeled"])
    return recipe, len(manifest.classes), counts


def study_lines(study: Study, dry_run: bool, along: Mapping[str, Any] | None = None) -> Iterator[str]:
    """What `train study` says on stdout, as it happens: the plan, or the reports of the finished runs."""
    ranks.alone("study")
    if dry_run:
        yield plan(study)
        return
    try:
        run_study(study, along=along)
    finally:  # also of a study that was stopped: what is there can be looked at
        yield from write_reports(study)
    yield f"{len(study.runs)} runs finished -> {study.out}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
