"""A map from values as others write them to class keys: YAML, several values a key, or a key for each value."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from schemas.errors import UserError

_SHAPE = "dots: [Polka Dots, Lunares] (a key and its values), or Polka Dots: dots (a value and its key)"


def read_value_map(path: Path) -> dict[str, str]:
    """Class key by value, values made alike by `alike`. Raises UserError when a value is given two keys."""
    try:
        said = yaml.load(path.read_text(encoding="utf-8-sig"), _TextLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a YAML is expected: {_SHAPE}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())[:160]})") from error
    if not isinstance(said, dict) or not said:
        raise UserError(f"{path}: expected lines of {_SHAPE}")
    found: dict[str, str] = {}
    for name, value in said.items():
        pairs = [(one, name) for one in value] if isinstance(value, list) else [(name, value)]
        for raw, key in pairs:
            if not isinstance(raw, str) or not isinstance(key, str) or not key.strip():
                raise UserError(f"{path}: {name!r}: expected {_SHAPE}")
            if found.setdefault(alike(raw), key) != key:
                raise UserError(f"{path}: {raw!r} is given two keys, {found[alike(raw)]} and {key}; keep one")
    return found


def read_weak(given: Sequence[str]) -> dict[str, dict[str, str]]:
    """Value maps by attribute, from `pattern=map.yaml`."""
    found = {}
    for one in given:
        name, equals, path = one.partition("=")
        if not equals or not name or not path:
            raise UserError(f"--weak {one!r}: should look like pattern=map.yaml")
        found[name] = read_value_map(Path(path))
    return found


def alike(text: str) -> str:
    """A value without what people write in several ways: case, width, spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class _TextLoader(yaml.SafeLoader):
    """Everything is text: `no`, `on` and `1` are values too."""


def _text(loader: yaml.SafeLoader, node: Any) -> str:
    return str(node.value)


for _tag in ("bool", "int", "float", "null", "timestamp"):
    _TextLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _text)
