"""What a person changes in a recipe: `name=value` as a value of the right type, and every number checked before it is used."""

from __future__ import annotations

import difflib
import types
import typing
from dataclasses import asdict
from typing import Any

from schemas.errors import UserError

_R = typing.TypeVar("_R")


def parse(recipe: type, change: str) -> tuple[str, Any]:
    """`name=value` as the field's name and a value of its type. UserError for a name or a type that the recipe has not."""
    name, equals, text = change.partition("=")
    name = name.strip()
    hints = typing.get_type_hints(recipe)
    if not equals:
        raise UserError(f"--set {change}: write it as name=value, for example --set epochs=20")
    if name not in hints:
        near = difflib.get_close_matches(name, hints, 1)
        hint = f"did you mean {near[0]}?" if near else f"names: {', '.join(hints)}"
        raise UserError(f"--set {name}: this recipe has no such name; {hint}")
    try:
        return name, _cast(text.strip(), hints[name])
    except ValueError:
        raise UserError(f"--set {name}={text}: {name} is {_type_name(hints[name])}, got {text!r}") from None


def _cast(text: str, hint: Any) -> Any:
    """The text as a value of the annotated type."""
    if isinstance(hint, types.UnionType):
        if text.lower() == "none":
            return None
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    return hint(text)


def _type_name(hint: Any) -> str:
    """The annotated type in a person's words."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint, "a number or none")


_AT_LEAST_ONE = (
    "accumulate",
    "decoder_width",
    "decoder_depth",
    "decoder_heads",
    "image_size",
    "batch_size",
    "eval_every",
    "semi_steps",
    "semi_batch",
)
_SHARES = (
    "mask",
    "flip",
    "erase",
    "recolor",
    "drop_path",
    "threshold",
    "semi_cutmix",
    "semi_warmup",
    "lambda_warmup",
    "ema_decay",
)
_POSITIVE_SHARES = ("crop_pct", "crop_scale", "layer_decay", "semi_layer_decay", "ema_horizon")
_POSITIVE = ("epochs", "semi_epochs", "base_lr", "semi_base_lr", "mu", "clip_grad")
_WORDS = {"budget": ("steps", "epochs"), "precision": ("auto", "bf16", "fp32")}


def check(recipe: _R) -> _R:
    """The recipe (a dataclass) itself when every number can be trained with, else UserError naming the first that cannot."""
    values: dict[str, Any] = asdict(recipe)  # type: ignore[call-overload]
    rules = [
        (_AT_LEAST_ONE, lambda v: v >= 1, "must be 1 or more"),
        (_SHARES, lambda v: 0 <= v <= 1, "must be between 0 and 1"),
        (_POSITIVE_SHARES, lambda v: 0 < v <= 1, "must be above 0 and at most 1"),
        (_POSITIVE, lambda v: v > 0, "must be above 0"),
        (("smoothing",), lambda v: 0 <= v < 1, "must be at least 0 and below 1"),
        (("rand_magnitude",), lambda v: 0 <= v <= 10, "must be between 0 and 10"),
    ]
    for names, good, said in rules:
        for name in names:
            if values.get(name) is not None and not good(values[name]):
                raise UserError(f"{name} {said}, got {values[name]}")
    for name, words in _WORDS.items():
        if values.get(name, words[0]) not in words:
            raise UserError(f"{name} must be {' or '.join(words)}, got {values[name]}")
    numbers = {name: v for name, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    for name, value in numbers.items():
        if not value >= 0:  # also catches what is no number
            raise UserError(f"{name} must not be negative, got {value}")
        if value == float("inf"):
            raise UserError(f"{name} must be finite, got {value}")
    return recipe


def model_arguments(model_args: str) -> dict[str, Any]:
    """A recipe's `model_args` as keyword arguments: numbers become numbers, the rest stays text."""
    arguments: dict[str, Any] = {}
    for part in filter(None, (piece.strip() for piece in model_args.split(","))):
        name, equals, text = part.partition("=")
        if not equals:
            raise UserError(f"model_args: {part!r} should be name=value, as in patch_size=4")
        arguments[name.strip()] = _number_or_text(text.strip())
    return arguments


def _number_or_text(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
