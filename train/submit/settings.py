"""Where a training goes: what a person wrote as flags, else in submit.toml, else the default here."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from schemas.errors import UserError
from schemas.manifest import picture_root

FILE = "submit.toml"
EXAMPLE = """\
# Read by `train submit` in the folder where it is run, else in the workspace. Flags win. No secrets: keys come from the environment.

[sagemaker]
role = "arn:aws:iam::123456789012:role/consenso-training"  # may read and write the bucket, pull the image, write logs
bucket = "s3://my-bucket/consenso"                         # in the region of the jobs
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/consenso-train:latest"  # docs/submit.md says how to make it
instance_type = "ml.g5.2xlarge"
# instance_count = 1
# region = "us-east-1"            # default: that of your AWS configuration
# max_run_hours = 24              # the job is stopped then; sent again, it goes on
# spot = true                     # cheaper; interrupted jobs go on from their last checkpoint
# max_wait_hours = 48             # spot: waiting and training together
# volume_gb = 100
# parallel = 2                    # trainings of a search at a time
# price_per_hour = 1.50           # of one instance, as your bill has it: then the most that it can cost is said
# subnets = ["subnet-0123456789abcdef0"]
# security_groups = ["sg-0123456789abcdef0"]
# kms_key = ""                    # encrypts volume and output
# environment = { HF_HUB_OFFLINE = "1" }
# tags = { team = "aprons" }

[slurm]
# nodes = 1
# gpus_per_node = 1               # processes on each node; 0 = one process on each, without a GPU
# cpus_per_node = 16
# memory = "64G"                  # of each node
# time = "24:00:00"
# partition = "gpu"
# account = "vision"
# qos = ""
# signal_seconds = 300            # the job is told this long before its end, writes a checkpoint and queues again
# restarts = 50                   # times that it queues again by itself
# python = "/shared/venv/bin/python"  # default: the one that runs `train submit`
# setup = ["module load cuda"]    # lines before the training
"""


@dataclass(frozen=True)
class SageMaker:
    """Where and on what SageMaker trains."""

    role: str = ""
    bucket: str = ""
    image: str = ""
    instance_type: str = ""
    instance_count: int = 1
    region: str = ""
    max_run_hours: float = 24.0
    spot: bool = False
    max_wait_hours: float | None = None  # None = twice max_run_hours
    volume_gb: int = 100
    parallel: int = 2
    price_per_hour: float | None = None
    subnets: list[str] = field(default_factory=list)
    security_groups: list[str] = field(default_factory=list)
    kms_key: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slurm:
    """What an sbatch file asks the cluster for."""

    nodes: int = 1
    gpus_per_node: int = 1
    cpus_per_node: int | None = None
    memory: str = ""
    time: str = "24:00:00"
    partition: str = ""
    account: str = ""
    qos: str = ""
    signal_seconds: int = 300
    restarts: int = 50
    python: str = ""
    setup: list[str] = field(default_factory=list)


_S = TypeVar("_S", SageMaker, Slurm)


def settings(kind: type[_S], flags: Mapping[str, Any], manifest: Path, config: Path | None = None) -> _S:
    """The section of submit.toml that `kind` names, with the flags that were given in place of what stands there."""
    section = kind.__name__.lower()
    path = config or next((p for p in (Path(FILE), picture_root(manifest) / FILE) if p.is_file()), None)
    said = _section(path, section) if path is not None else {}
    hints = typing.get_type_hints(kind)
    for name, value in said.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            hint = f"did you mean {near[0]}?" if near else f"names: {', '.join(hints)}"
            raise UserError(f"{path}: [{section}] has no {name}; {hint}")
        if not _is(value, hints[name]):
            raise UserError(f"{path}: [{section}] {name} must be {_words(hints[name])}, got {value!r}")
    given = {name: value for name, value in flags.items() if value is not None and name in hints}
    made = kind(**{**said, **given})
    for f in fields(kind):
        value = getattr(made, f.name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value < (f.name == "nodes"):
            raise UserError(f"{f.name} must be {'1 or more' if f.name == 'nodes' else '0 or more'}, got {value}")
    return made


def _section(path: Path, section: str) -> dict[str, Any]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"--config {path}: no such file; `train submit --example` prints one to begin with") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path}: cannot be read as TOML ({error})") from error
    strange = set(found) - {"sagemaker", "slurm"}
    if strange:
        raise UserError(f"{path}: has no section [{sorted(strange)[0]}]; sections: sagemaker, slurm")
    part = found.get(section, {})
    if not isinstance(part, dict):
        raise UserError(f"{path}: {section} must be a section, begun by a line [{section}]")
    return part


def _is(value: Any, hint: Any) -> bool:
    """Whether a value of a TOML file has the annotated type; a whole number is a number, true is none."""
    if isinstance(hint, types.UnionType):
        return any(_is(value, part) for part in typing.get_args(hint))
    inner = typing.get_args(hint)
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(_is(one, inner[0]) for one in value)
    if typing.get_origin(hint) is dict:
        return isinstance(value, dict) and all(_is(one, inner[1]) for one in value.values())
    if hint in (int, float):
        return isinstance(value, int if hint is int else int | float) and not isinstance(value, bool)
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """The annotated type in a person's words."""
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return names.get(hint, "a list of texts" if typing.get_origin(hint) is list else "a table of texts")
