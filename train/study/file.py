"""A study's file: manifests x methods x label shares x pool sizes x seeds, as the runs that it asks for. Reads without torch.

Each run has a folder of its own and is an ordinary run. Semi-ViT starts from the ViT run of the same manifest, share and seed.
"""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from train.folder import state_of
from train.recipe import METHODS, SemiSupervised, Supervised, recipe_for
from train.request import Request

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

    def models(self) -> list[Request]:
        """A run for each model that is to be begun from weights of its own."""
        new = [run for run in self.runs if run.stage1 is None and state_of(run.folder) == "new"]
        return list({(run.method, run.recipe, run.changes): run for run in new}.values())


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


def example() -> str:
    """The paper's study as a file to begin with."""
    return (Path(__file__).parent / "paper.toml").read_text(encoding="utf-8")


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
