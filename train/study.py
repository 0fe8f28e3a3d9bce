"""A study: many runs from one TOML file, manifests x methods x label shares x pool sizes x seeds.

Each run has a folder of its own and is an ordinary run, so a study that was stopped or killed goes on where it was, and a run
that is finished is not repeated. Semi-ViT starts from the ViT run of the same manifest, share and seed.
"""

from __future__ import annotations

import difflib
import itertools
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from schemas.errors import Interrupted, Partial, UserError
from train import ranks
from train.estimate import in_words
from train.folder import state_of
from train.recipe import METHODS, SemiSupervised, Supervised, recipe_for
from train.run import Request, train

_GRID = ("manifests", "methods", "label_fractions", "unlabeled", "seeds")
_TOP = ("out", "recipe", "set", "unlabeled_base", "pictures", *METHODS, *_GRID, "grid")
_DEFAULTS: dict[str, list[Any]] = {
    "methods": list(METHODS),
    "label_fractions": [1.0],
    "unlabeled": ["all"],
    "seeds": [0],
}
_KINDS: dict[str, type | tuple[type, ...]] = {
    "manifests": str, "methods": str, "label_fractions": (int, float), "unlabeled": (str, int), "seeds": int, "set": str,
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """What a study file asks for: its runs in the order in which they are made, and where their reports go."""

    out: Path
    runs: list[Request]

    def states(self) -> dict[str, int]:
        """How many runs are done, unfinished and new."""
        states = [state_of(run.folder) for run in self.runs]
        return {name: states.count(name) for name in ("done", "unfinished", "new")}


def read_study(path: Path) -> Study:
    """The study that a TOML file describes; a wrong key, type or value is one line that names it."""
    try:
        asked = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `train study --example` prints one to begin with") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is not TOML ({error})") from error
    _check_keys(path, asked, _TOP)
    for method in METHODS:
        _check_keys(path, _table(path, asked, method), ("recipe", "set"), f"[{method}] ")
    home = path.resolve().parent
    out = home / str(asked.get("out", f"runs/{path.stem}"))
    grids = asked.get("grid", [{}])
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise UserError(f"{path}: grid must be tables, each begun by a line [[grid]]")
    cells: dict[Request, None] = {}  # a run that two grids ask for is made once
    for grid in grids:
        _check_keys(path, grid, _GRID, "[[grid]] ")
        for cell in _cells(path, asked, _DEFAULTS | asked | grid, home):
            cells[replace(cell, out=out / cell.name)] = None
    return Study(out, _with_stage1(path, asked, list(cells)))


def _cells(path: Path, asked: Mapping[str, Any], grid: Mapping[str, Any], home: Path) -> Iterator[Request]:
    """The runs of one grid, every combination; the pool's size concerns semivit alone."""
    lists = {name: _list(path, name, grid.get(name)) for name in _GRID}
    if unknown := set(lists["methods"]) - set(METHODS):
        raise UserError(f"{path}: methods: no method {min(unknown)}; there are {', '.join(METHODS)}")
    base, pictures = asked.get("unlabeled_base"), asked.get("pictures")
    for manifest, fraction, seed, method in itertools.product(
        *(lists[name] for name in ("manifests", "label_fractions", "seeds", "methods"))
    ):
        recipe, changes = _recipe_of(path, asked, method)
        one = Request(
            method, home / manifest, recipe, changes, float(fraction), seed=seed,
            pictures=home / pictures if pictures else None,
        )  # fmt: skip
        for unlabeled in lists["unlabeled"] if method == "semivit" else ["all"]:
            share = None if unlabeled == "all" else str(unlabeled)
            yield replace(one, unlabeled=share, unlabeled_base=base if share and share.endswith("%") else None)


def _recipe_of(path: Path, asked: Mapping[str, Any], method: str) -> tuple[str, tuple[str, ...]]:
    """The recipe's name and changes of a method: those for all, then its own; semivit's stage 1 is vit's, changes included."""
    own = _table(path, asked, method)
    tables = [asked, *([_table(path, asked, "vit")] if method == "semivit" else []), own]
    recipe = next((table["recipe"] for table in reversed(tables) if "recipe" in table), "default")
    changes = [change for table in tables for change in _list(path, "set", table.get("set", []))]
    if method != "semivit":  # what only Semi-ViT has may stand among the changes for all
        known = {name for name in SemiSupervised.__dataclass_fields__ if name not in Supervised.__dataclass_fields__}
        changes = [change for change in changes if change.partition("=")[0].strip() not in known]
    home = path.resolve().parent
    return str(home / recipe) if str(recipe).endswith(".toml") else str(recipe), tuple(changes)


def _with_stage1(path: Path, asked: Mapping[str, Any], cells: list[Request]) -> list[Request]:
    """The runs with Semi-ViT's after, and starting from, the ViT runs that they share stage 1 with; missing ones are added.

    Every method's recipe is made here, so that a wrong number is said before the first run.
    """
    recipes = {method: asdict(recipe_for(method, *_recipe_of(path, asked, method))) for method in METHODS}
    if any(recipes["semivit"][name] != value for name, value in recipes["vit"].items()):
        return cells  # another stage 1 than vit has: semivit trains its own
    recipe, changes = _recipe_of(path, asked, "vit")
    runs: dict[Path, Request] = {}
    for cell in cells:
        if cell.method == "semivit":
            first = replace(cell, method="vit", unlabeled=None, unlabeled_base=None, recipe=recipe, changes=changes)
            first = replace(first, out=cell.folder.parent / first.name)
            runs.setdefault(first.folder, first)
            cell = replace(cell, stage1=first.folder)
        runs.setdefault(cell.folder, cell)
    return list(runs.values())


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
    """One page (also as Markdown and JSON) for each manifest, about its runs that are finished; what was written, and the
    answer to what the study asks, as lines.
    """
    from train.report import answer, claim_text, report, write_report

    claims = []
    for task in dict.fromkeys(run.manifest.stem for run in study.runs):
        done = [run.folder for run in study.runs if run.manifest.stem == task and state_of(run.folder) == "done"]
        if not done:
            continue
        table = report(done)
        for ending in ("md", "json", "html"):
            write_report(table, study.out / f"{task}.{ending}")
        yield f"report -> {study.out / f'{task}.html'}"
        claims += table.claims
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


def example() -> str:
    """The paper's study as a file to begin with."""
    return (Path(__file__).parent / "studies" / "paper.toml").read_text(encoding="utf-8")


def study_lines(
    path: Path | None, dry_run: bool, show_example: bool, along: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """What `train study` says on stdout, as it happens: the example, the plan, or the reports of the finished runs."""
    if show_example:
        yield example().rstrip("\n")
        return
    if path is None:
        raise UserError("name the study's file, as in `train study study.toml`; --example prints one to begin with")
    ranks.alone("study")
    study = read_study(path)
    if dry_run:
        yield plan(study)
        return
    try:
        run_study(study, along=along)
    finally:  # also of a study that was stopped: what is there can be looked at
        yield from write_reports(study)
    yield f"{len(study.runs)} runs finished -> {study.out}"


def _check_keys(path: Path, given: Mapping[str, Any], known: Sequence[str], where: str = "") -> None:
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it may hold {', '.join(known)}"
            raise UserError(f"{path}: {where}{name}: no such key; {hint}")


def _table(path: Path, asked: Mapping[str, Any], method: str) -> Mapping[str, Any]:
    table = asked.get(method, {})
    if not isinstance(table, dict):
        raise UserError(f"{path}: {method} must be a table, begun by a line [{method}]")
    return table


def _list(path: Path, name: str, value: Any) -> list[Any]:
    """A list of the kind that the name asks for, not empty but for `set`."""
    kind = _KINDS[name]
    good = isinstance(value, list) and all(isinstance(v, kind) and not isinstance(v, bool) for v in value)
    if not good or (not value and name != "set"):
        words = "texts" if kind is str else "numbers" if kind != (str, int) else 'counts or shares like "50%"'
        raise UserError(f"{path}: {name} must be a list of {words}, got {value!r}")
    return list(value)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
