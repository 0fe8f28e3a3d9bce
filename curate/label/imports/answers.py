"""One label out of what a form sent: crowd-form JSON, its flattened columns, plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SEVERAL = "|"  # between the classes of an answer that names more than one


def fields_of(answer: Mapping[str, Any]) -> dict[str, str]:
    """Field to chosen text of a form's JSON: classifiers, radio buttons, select boxes and plain inputs alike.

    `{"category": {"label": "Dots"}}` and `{"pattern": {"dots": {"on": true}, "plain": {"on": false}}}` both hold one
    answer. Radio buttons that belong to no group are found by their `on`.
    """
    found: dict[str, str] = {}
    loose: dict[str, dict[str, Any]] = {}
    for name, value in answer.items():
        if isinstance(value, Mapping) and set(value) == {"on"}:
            loose.setdefault(group_of(name), {})[name] = value
            continue
        text = text_of(value)
        if text is not None:
            found[name] = text
    for group, buttons in loose.items():
        chosen = [_without(name, group) for name, value in buttons.items() if is_on(value["on"])]
        if chosen:
            found[f"choice{group}"] = SEVERAL.join(chosen)
    return found


def text_of(value: Any) -> str | None:
    """The one text that a field holds, several joined by `|`; None where it holds no choice."""
    if isinstance(value, Mapping):
        if "label" in value:
            return text_of(value["label"])
        for key in ("labels", "choices"):
            if isinstance(value.get(key), list):
                return SEVERAL.join(map(str, value[key])) or None
        on = [name for name, state in value.items() if is_on(state.get("on") if isinstance(state, Mapping) else state)]
        return SEVERAL.join(on) or None
    if isinstance(value, list):
        return SEVERAL.join(str(part) for part in value) or None
    if value is None or isinstance(value, bool) or value != value:
        return None
    return str(value).strip() or None


def is_on(value: Any) -> bool:
    """Whether a radio button or a check box was chosen, as JSON and as CSV say it."""
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def group_of(name: str) -> str:
    """The number at the end of a field's name with what joins it, which says which picture it is about; '' without one."""
    bare = name.rstrip("0123456789")
    if bare == name:
        return ""
    stem = bare.rstrip("_-.")
    return name[len(stem) :] if stem else name


def number_of(name: str) -> int | None:
    """The number at the end of a field's name."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits) if digits else None


def _without(name: str, group: str) -> str:
    return name[: len(name) - len(group)] if group else name
