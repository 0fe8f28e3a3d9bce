"""A recipe as a TOML file: what a run keeps, what a person edits and gives back with `--recipe file.toml`.

    method = "vit"
    epochs = 50.0  # passes over the labeled pictures, semi-vit
    …

A file may leave numbers out; they are then those of the method's default recipe.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.files import write_text

_FIELD = re.compile(r"    (\w+): [^=]+ = [^#]+?(?:#\s*(.*))?$")


def recipe_text(recipe: Any, method: str) -> str:
    """The recipe as TOML: the method, then every number with what it is and where its default comes from."""
    notes = field_notes(type(recipe))
    lines = [f"method = {json.dumps(method)}"]
    for field in fields(recipe):
        note = notes.get(field.name)
        lines.append(f"{field.name} = {_toml(getattr(recipe, field.name))}{f'  # {note}' if note else ''}")
    return "\n".join(lines) + "\n"


def write_recipe(recipe: Any, method: str, path: Path) -> None:
    """Write the recipe so that `--recipe path` repeats it."""
    write_text(path, recipe_text(recipe, method))


def read_changes(path: Path, method: str) -> list[str]:
    """What a recipe file says, as name=value changes to the method's default recipe, in its order.

    Raises UserError for a file that is no TOML, and for one of another method: its numbers would mean something else.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--recipe {path}: no such file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"--recipe {path}: cannot be read as TOML ({error})") from error
    of = given.pop("method", None)
    if of != method:
        said = f"is a recipe of {of}" if of else 'does not say of what method it is (method = "…")'
        raise UserError(f"--recipe {path}: {said}; this is {method}")
    for name, value in given.items():
        if not isinstance(value, str | int | float):
            raise UserError(f"--recipe {path}: {name} is {value!r}; a recipe holds numbers, texts and true or false")
    return [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in given.items()]


def field_notes(recipe: type) -> dict[str, str]:
    """What stands behind each number in the source: its meaning and where it comes from. Empty where there is no source."""
    notes: dict[str, str] = {}
    for part in reversed(recipe.__mro__[:-1]):
        try:
            lines = inspect.getsource(part).splitlines()
        except OSError:
            continue
        found = (_FIELD.match(line) for line in lines)
        notes |= {match[1]: (match[2] or "").strip() for match in found if match}
    return notes


def _toml(value: Any) -> str:
    if value is None:
        return '"none"'
    return json.dumps(value, ensure_ascii=False)
