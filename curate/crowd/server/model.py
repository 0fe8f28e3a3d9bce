"""MTurk's service model as botocore ships it: which operations there are and what each input must look like.

boto3 itself checks only types, required members and minima; `max`, `pattern` and `enum` are left to the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from curate.crowd.server.errors import BadInput
from schemas.errors import UserError

TARGET = "MTurkRequesterServiceV20170117."
_NUMBERS = {"integer": 2**31, "long": 2**63}


@cache
def service_model() -> Any:
    """The model of the requester service, from the installed botocore."""
    from botocore.exceptions import UnknownServiceError
    from botocore.session import get_session

    try:
        return get_session().get_service_model("mturk")
    except UnknownServiceError as error:
        raise UserError(
            "the installed botocore no longer knows the service mturk; install an older one: pip install 'boto3<2'"
        ) from error


@cache
def operation_names() -> frozenset[str]:
    """The names of all 39 operations."""
    return frozenset(service_model().operation_names)


def check_input(operation: str, data: Any) -> dict[str, Any]:
    """The input as the model knows it: unknown members and nulls left out. Raises BadInput for the first fault."""
    shape = service_model().operation_model(operation).input_shape
    checked = _structure(shape, data, "")
    assert isinstance(checked, dict)
    return checked


def check_output(operation: str, data: dict[str, Any]) -> None:
    """Raise BadInput for the first fault of a reply; unlike in an input, a member that the model does not know is one."""
    shape = service_model().operation_model(operation).output_shape
    for stray in _stray(shape, data, ""):
        raise BadInput(f"{stray}: the model knows no such member, or it is null")
    _structure(shape, data, "")


def _stray(shape: Any, value: Any, where: str) -> Iterator[str]:
    """The members that are null or not in the model, by their paths."""
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, item in value.items():
            if item is None or name not in shape.members:
                yield _join(where, name)
            else:
                yield from _stray(shape.members[name], item, _join(where, name))
    elif shape.type_name == "list" and isinstance(value, list):
        for number, item in enumerate(value):
            yield from _stray(shape.member, item, f"{where}[{number}]")


def _check(shape: Any, value: Any, where: str) -> Any:
    match shape.type_name:
        case "structure":
            return _structure(shape, value, where)
        case "list":
            return _list(shape, value, where)
        case "string":
            return _string(shape, value, where)
        case "integer" | "long":
            return _number(shape, value, where)
        case "boolean":
            return _typed(isinstance(value, bool), value, where, "true or false")
        case "timestamp":
            return _timestamp(value, where)
        case other:
            raise BadInput(f"{where}: a value of type {other} is not supported")


def _structure(shape: Any, value: Any, where: str) -> dict[str, Any]:
    _typed(isinstance(value, dict), value, where or "the request", "an object")
    found = {name: value[name] for name in shape.members if value.get(name) is not None}
    for name in shape.required_members:
        if name not in found:
            raise BadInput(f"{_join(where, name)}: is required")
    return {name: _check(shape.members[name], item, _join(where, name)) for name, item in found.items()}


def _list(shape: Any, value: Any, where: str) -> list[Any]:
    _typed(isinstance(value, list), value, where, "a list")
    _length(shape, len(value), where, "entries")
    return [_check(shape.member, item, f"{where}[{number}]") for number, item in enumerate(value)]


def _string(shape: Any, value: Any, where: str) -> str:
    _typed(isinstance(value, str), value, where, "a string")
    _length(shape, len(value), where, "characters")
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern.removeprefix("^").removesuffix("$"), value):
        raise BadInput(f"{where}: {_short(value)} does not match the pattern {pattern}")
    if shape.enum and value not in shape.enum:
        raise BadInput(f"{where}: {_short(value)} is not one of {', '.join(shape.enum)}")
    return value


def _number(shape: Any, value: Any, where: str) -> int:
    whole = isinstance(value, int) and not isinstance(value, bool)
    _typed(whole and abs(value) < _NUMBERS[shape.type_name], value, where, "a whole number")
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and value < low) or (high is not None and value > high):
        raise BadInput(f"{where}: {value} is not between {low} and {high}")
    return int(value)


def _timestamp(value: Any, where: str) -> float:
    """Seconds since 1970; clients send an epoch number, some an ISO text."""
    if isinstance(value, str):
        from botocore.utils import parse_timestamp

        try:
            return float(parse_timestamp(value).timestamp())
        except ValueError:
            raise BadInput(f"{where}: {_short(value)} is not a time") from None
    _typed(isinstance(value, int | float) and not isinstance(value, bool), value, where, "a time")
    return float(value)


def _length(shape: Any, length: int, where: str, unit: str) -> None:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if (low is not None and length < low) or (high is not None and length > high):
        raise BadInput(f"{where}: has {length} {unit}; allowed are {low or 0} to {high}")


def _typed(right: bool, value: Any, where: str, wanted: str) -> Any:
    if not right:
        raise BadInput(f"{where}: {_short(value)} is not {wanted}")
    return value


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
