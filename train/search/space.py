"""Where a search looks: the numbers of a recipe that it may change, and the values that each may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from schemas.errors import UserError
from train.recipe import SemiSupervised


@dataclass(frozen=True)
class Axis:
    """The values that one number of the recipe may take: from low to high, or one of some choices."""

    low: float = 0.0
    high: float = 0.0
    log: bool = False
    choices: tuple[Any, ...] = ()
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether the recipe's own value lies on it."""
        if self.choices:
            return value in self.choices
        return value is not None and self.low <= value <= self.high


def space_around(recipe: Any) -> dict[str, Axis]:
    """The axes around a recipe: rates within a factor of 8, the others over what people use."""
    axes = {
        "weight_decay": Axis(0.005, 0.3, log=True), "drop_path": Axis(0.0, 0.3), "crop_scale": Axis(0.08, 0.8),
        "smoothing": Axis(0.0, 0.3),
    }  # fmt: skip
    if isinstance(recipe, SemiSupervised):
        rate = recipe.semi_base_lr
        return axes | {
            "semi_base_lr": Axis(rate / 8, rate * 8, log=True), "threshold": Axis(0.3, 0.95),
            "lambda_u": Axis(0.5, 10.0, log=True), "ema_horizon": Axis(0.01, 0.4, log=True),
            "semi_layer_decay": Axis(0.5, 1.0), "semi_mixup_labeled": Axis(choices=(True, False)),
        }  # fmt: skip
    return axes | {
        "base_lr": Axis(recipe.base_lr / 8, recipe.base_lr * 8, log=True), "layer_decay": Axis(0.5, 1.0),
        "mixup": Axis(0.0, 1.0),
    }  # fmt: skip


def parse_axis(text: str, recipe: Any) -> tuple[str, Axis]:
    """`name=low..high`, `name=low..high:log` or `name=a|b|c` as a name of the recipe and its axis."""
    name, equals, values = text.partition("=")
    name = name.strip()
    if not equals or not hasattr(recipe, name):
        raise UserError(
            f"--space {text}: write name=low..high, name=low..high:log or name=a|b, with a name of the recipe"
        )
    kind = type(getattr(recipe, name))
    try:
        if "|" in values:
            return name, Axis(choices=tuple(_value(part.strip(), kind) for part in values.split("|")))
        span, _, scale = values.partition(":")
        low, high = (float(part) for part in span.split(".."))
        axis = Axis(low, high, scale == "log", whole=kind is int)
    except ValueError:
        raise UserError(f"--space {text}: {values!r} is neither low..high (then perhaps :log) nor a|b|c") from None
    if kind in (bool, str):
        raise UserError(
            f"--space {text}: {name} is {'true or false' if kind is bool else 'text'}; write its values as a|b"
        )
    if scale not in ("", "log") or low >= high or (axis.log and low <= 0):
        raise UserError(f"--space {text}: low must be below high, and above 0 for :log")
    return name, axis


def _value(text: str, kind: type) -> Any:
    return text.lower() == "true" if kind is bool else kind(text)
