"""A request against botocore's own description of the service: what AWS would refuse is said here, before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from schemas.errors import UserError


def check_request(operation: str, request: dict[str, Any]) -> None:
    """Raise UserError when the request lacks, misspells or oversizes something. `operation` as in CreateTrainingJob."""
    from botocore.validate import ParamValidator

    shape = _service().operation_model(operation).input_shape
    report = ParamValidator().validate(request, shape)
    faults = [" ".join(report.generate_report().split())] if report.has_errors() else list(_faults("", request, shape))
    if faults:
        raise UserError(f"{operation}: {faults[0]}")


def instance_types() -> list[str]:
    """The instance types that this botocore knows for training; AWS may have newer ones."""
    shape: Any = _service().shape_for("TrainingInstanceType")
    return list(shape.enum)


@cache
def _service() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("sagemaker")


def _faults(where: str, value: Any, shape: Any) -> Iterator[str]:
    """What ParamValidator leaves to the service: the longest, the pattern, the words that are allowed."""
    if shape.type_name == "structure":
        for name, part in value.items():
            yield from _faults(f"{where}.{name}".lstrip("."), part, shape.members[name])
        return
    if shape.type_name == "list":
        yield from _size(where, len(value), "entries", shape)
        for part in value:
            yield from _faults(where, part, shape.member)
    elif shape.type_name == "map":
        yield from _size(where, len(value), "entries", shape)
        for key, part in value.items():
            yield from _faults(f"{where} {key!r}", key, shape.key)
            yield from _faults(f"{where} {key!r}", part, shape.value)
    elif shape.type_name == "string":
        yield from _size(where, len(value), "characters", shape)
        pattern = shape.metadata.get("pattern")
        if (
            pattern and "\\p{" not in pattern and not re.fullmatch(pattern, value)
        ):  # \p{L}: Python's re has no such classes
            yield f"{where} is {value!r}, which does not look like {pattern}"
        if shape.enum and shape.name != "TrainingInstanceType" and value not in shape.enum:
            yield f"{where} is {value!r}; choose {', '.join(shape.enum)}"
    elif shape.type_name in ("integer", "long", "float", "double"):
        yield from _size(where, value, "", shape)


def _size(where: str, found: float, what: str, shape: Any) -> Iterator[str]:
    most = shape.metadata.get("max")
    if most is not None and found > most:
        yield (
            f"{where} has {found} {what}, at most {most} are allowed" if what else f"{where} is {found}, at most {most}"
        )
