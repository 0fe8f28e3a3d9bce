"""What is to be trained elsewhere: parsed by the command that would train it here, and checked as it would check it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError

if TYPE_CHECKING:
    from schemas.manifest import Manifest
    from schemas.pack import Pack
    from train.request import Request
    from train.search.space import Axis

COMMANDS = ("resnet18", "vit", "semivit", "pretrain", "search")


@dataclass(frozen=True)
class Asked:
    """A command with its options: their values by name, and which of them a person wrote."""

    command: str
    values: Mapping[str, Any]
    written: frozenset[str]
    flags: Mapping[str, str]  # option name to how it is written: --label-fraction

    @property
    def method(self) -> str:
        """What is trained: the command, or what a search is about."""
        return str(self.values.get("method", self.command))

    @property
    def seeds(self) -> int:
        """How many seeds, each a run of its own."""
        return int(self.values.get("seeds", 1))

    def words(self, **changed: Any) -> list[str]:
        """The options that were written, or are changed here, as words of a command line; None leaves one out."""
        found: list[str] = []
        for name, flag in self.flags.items():
            value = changed.get(name, self.values[name] if name in self.written else None)
            if value is None or value is False:
                continue
            for one in value if isinstance(value, list | tuple) else [value]:
                found += [flag] if one is True else [flag, str(one)]
        return found


@dataclass(frozen=True)
class Checked:
    """What was asked, found to be trainable."""

    asked: Asked
    requests: tuple[Request, ...]  # one a seed; of a search the run that it is around
    recipe: Any  # as it was asked for: a budget in epochs is not yet one in steps
    manifest: Manifest
    source: Path | Pack
    rows: Any  # image_id and path of every picture that is read
    space: Mapping[str, Axis]  # of a search, else empty


def parse(words: Sequence[str]) -> Asked:
    """The words after the settings, as `train` itself would read them; a wrong option is the usage error it would be there."""
    import typer.main

    from train.cli import app

    name = words[0] if words else ""
    if name not in COMMANDS:
        got = f"got {name!r}; " if name else ""
        raise UserError(f"{got}after the settings name what to train, then its own options: {', '.join(COMMANDS)}")
    command: Any = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    context = command.make_context(f"train {name}", list(words[1:]))
    said = {option.name for option in command.params if context.get_parameter_source(option.name).name == "COMMANDLINE"}
    flags = {option.name: max(option.opts, key=len) for option in command.params}
    return Asked(name, dict(context.params), frozenset(said), flags)


def request_of(asked: Asked) -> Request:
    """The run that it asks for; of a search, the one that it is around."""
    from train.request import Request, for_search
    from train.trackers.told import named

    values = {name: value for name, value in asked.values.items() if name in Request.__dataclass_fields__}
    if "log" in values:
        values["log"] = named(values["log"])
    budget = asked.values.get("budget")
    values["changes"] = (*(asked.values.get("changes") or ()), *([f"budget={budget}"] if budget else []))
    if asked.command == "search":
        return replace(for_search(**values), blind=True)
    return Request(**{"method": asked.command, **values})


def check(asked: Asked) -> Checked:
    """All that can be known before a picture is read or a model made. Raises the UserError that training here would."""
    from train.data import check_source
    from train.models import check_model
    from train.seeds import of_seeds

    for name in ("fresh", "resume"):
        if asked.values.get(name):
            raise UserError(f"--{name}: what is submitted goes on by itself after each stop; leave --{name} out")
    request = request_of(asked)
    if request.weights is not None and not request.weights.is_file():
        raise UserError(f"--weights {request.weights}: no such file")
    recipe, manifest, source, rows, classes = (_pretraining if asked.command == "pretrain" else _training)(request)
    check_model(recipe, classes)
    check_source(source, manifest, rows["image_id"].tolist(), round(recipe.image_size / recipe.crop_pct))
    space = _space(asked, recipe) if asked.command == "search" else {}
    return Checked(asked, tuple(of_seeds(request, asked.seeds)), recipe, manifest, source, rows, space)


def _training(request: Request) -> tuple[Any, Manifest, Path | Pack, Any, int]:
    import pandas as pd

    from train.recipe import recipe_for
    from train.run import checked, stage1_record
    from train.stages import stages_of

    recipe, manifest, chosen, source = checked(request)
    if request.stage1 is not None:
        stage1_record(request.stage1, request, recipe, manifest)
    stages_of(recipe, len(chosen.labeled), len(chosen.pool), request.stage1 is not None)
    rows = pd.concat([chosen.labeled, chosen.pool, chosen.val, chosen.test])
    return (
        recipe_for(request.method, request.recipe, request.changes),
        manifest,
        source,
        rows,
        len(chosen.classes),
    )


def _pretraining(request: Request) -> tuple[Any, Manifest, Path | Pack, Any, int]:
    from schemas.manifest import read_manifest
    from train.data import picture_source
    from train.pretrain import pictures_without_labels
    from train.recipe import pretraining_for

    recipe = pretraining_for(request.recipe, request.changes)
    manifest = read_manifest(request.manifest)
    rows = pictures_without_labels(manifest)
    return recipe, manifest, picture_source(manifest, request.pictures), rows, 0


def _space(asked: Asked, recipe: Any) -> dict[str, Axis]:
    """The axes of a search; the ends of each must be numbers that can be trained with."""
    from train.recipe_changes import check as check_recipe
    from train.search.space import parse_axis, space_around

    space = dict(parse_axis(text, recipe) for text in asked.values["space"] or ()) or space_around(recipe)
    for name, axis in space.items():
        for value in axis.choices or (axis.low, axis.high):
            check_recipe(replace(recipe, **{name: value}))
    return space


def recipe_words(recipe: Any) -> dict[str, str]:
    """Every number of a recipe as text that `--set` reads; what is empty or none is left to recipe.toml."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in asdict(recipe).items()
        if value is not None and value != ""
    }
