"""The task file: one question about a picture, its classes, who answers it, and how the data set is cut.

The same definition checks a file and publishes `schemas/task.schema.json`, which editors use to complete and check.
"""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import TaskError

Text = Annotated[
    dict[str, str], Field(description="language code (en, es, pt, …) to text; the first one is the default")
]
Key = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="permanent, lower case: votes and labels hold it")
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskClass(_Part):
    """One answer a person can give."""

    key: Key
    name: Text = Field(min_length=1)
    definition: Text = Field(default_factory=dict)
    hotkey: str | None = Field(
        None, pattern=r"^[a-z0-9]$", description="key on the labeling page; chosen for you when left out"
    )
    examples: list[str] = Field(default_factory=list, description="image_ids shown beside the definition")
    confused_with: list[Key] | None = Field(
        None,
        max_length=3,
        description="keys of classes that people take for this one, shown in the help; left out: as `curate agreement` finds",
    )


class Pictures(_Part):
    """Which pictures are worth asking about."""

    min_side_px: int = Field(
        64, ge=1, le=10_000, description="a shorter side below this drops the picture as too small"
    )
    max_megapixels: float = Field(50, gt=0, le=178, description="above this a picture is dropped unread")
    max_aspect: float = Field(4, gt=1, le=100, description="longer by shorter side above this drops it as odd shape")
    placeholder_listings: int = Field(
        20, ge=0, description="a picture that so many listings show is a placeholder and is dropped; 0 = never"
    )
    keep: list[Literal["odd shape", "animated", "text only", "low information", "placeholder"]] = Field(
        default_factory=list, description="kinds of pictures that count all the same"
    )
    near_bits: int = Field(
        10,
        ge=0,
        le=10,
        description="pictures within so many bits of pHash64, in some form, are compared as possible twins",
    )


class Assignments(_Part):
    """How many people see a picture: `first` at once, up to `up_to` where they disagree."""

    first: int = Field(3, ge=1, le=9)
    up_to: int = Field(3, ge=1, le=9)

    @model_validator(mode="before")
    @classmethod
    def _plain_number(cls, data: Any) -> Any:
        return {"first": data, "up_to": data} if isinstance(data, int) else data

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: Any) -> dict[str, Any]:
        """A plain number is allowed too."""
        return {"anyOf": [{"type": "integer", "minimum": 1, "maximum": 9}, handler(core)]}

    @model_validator(mode="after")
    def _ordered(self) -> Assignments:
        if self.up_to < self.first:
            raise ValueError(f"up_to ({self.up_to}) must be at least first ({self.first})")
        return self


class Crowd(_Part):
    """What people are asked for and paid."""

    assignments: Assignments = Field(
        default_factory=lambda: Assignments(first=3, up_to=3),
        description="a number, or first and up_to; the paper asks 3",
    )
    agree: int = Field(2, ge=1, le=9, description="equal votes that make a label, and more than half of all")
    reward_usd: float = Field(0.10, ge=0, le=100, description="for one assignment of a whole HIT")
    pictures_per_hit: int = Field(10, ge=1, le=50)
    gold_share: float = Field(
        0.1, ge=0, le=0.5, description="hidden known pictures in a HIT, as a share of its pictures"
    )
    test_questions: int = Field(10, ge=1, le=30, description="questions of the entry test")
    pass_mark: int = Field(70, ge=0, le=100, description="percent of the entry test that lets a worker in")
    retry_hours: float = Field(24, ge=0, le=24 * 365, description="wait before the entry test may be taken again")
    budget_usd: float = Field(100, ge=0, description="never exceeded: reservations, rewards, bonuses and fees together")
    fee_share: float = Field(0, ge=0, le=1, description="fee of the endpoint on each reward; our own server takes none")
    minutes: int = Field(30, ge=1, le=60 * 24, description="time a worker has for one HIT")
    lifetime_days: float = Field(7, gt=0, le=365, description="how long a HIT can be accepted")
    min_hourly_usd: float = Field(
        6.0, ge=0, description="`hits create` warns where the reward pays less an hour; 0 never warns"
    )
    seconds_per_picture: float = Field(
        5.0, gt=0, le=600, description="expected, until a pilot or votes have measured it"
    )
    gold_exposure: int = Field(
        10,
        ge=1,
        le=1000,
        description="most HITs in which one hidden gold picture stands, so the most often one worker sees it",
    )
    auto_approve_days: float = Field(3, ge=0, le=30, description="an answer nobody judged is approved after this")

    @model_validator(mode="after")
    def _reachable(self) -> Crowd:
        if self.agree > self.assignments.up_to:
            raise ValueError(f"agree ({self.agree}) can never be reached with {self.assignments.up_to} assignments")
        return self


class Split(_Part):
    """How labeled pictures are divided."""

    test: float = Field(
        0.1, ge=0, lt=1, description="share of the labeled pictures, same count per class as far as it goes"
    )
    val: float = Field(0.1, ge=0, lt=1, description="share of the labeled pictures, natural distribution")
    balance: Literal["capped", "strict", "natural"] = Field(
        "capped",
        description="capped: equal counts as far as max_test_share allows; strict: the smallest class decides; natural: as they come",
    )
    max_test_share: float = Field(0.3, gt=0, lt=1, description="at most this share of a class goes to test")
    fill_short: bool = Field(
        False, description="fill a class that is still short in val or test with pictures not chosen at random"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _room_for_train(self) -> Split:
        if self.test + self.val >= 1:
            raise ValueError(
                f"test ({self.test}) and val ({self.val}) leave nothing for train; their sum must be below 1"
            )
        return self


class ClassChange(_Part):
    """What became of classes when the class list changed."""

    version: int = Field(ge=2, description="the taxonomy_version that it led to")
    became: dict[Key, list[Key]] = Field(
        description="old key to its new key; several = the class was split, none = it is gone: its pictures are asked again"
    )


class Task(_Part):
    """One question about a picture."""

    schema_version: Literal[1] = 1
    task: Key = Field(description="name of the task, the file's own name")
    question: Text = Field(min_length=1)
    instructions: Text = Field(default_factory=dict, description="shown above the test and on demand")
    question_version: int = Field(1, ge=1, description="raise it when the words of the question change")
    taxonomy_version: int = Field(1, ge=1, description="raise it when the class list changes")
    classes: list[TaskClass] = Field(min_length=2, max_length=100)
    changes: list[ClassChange] = Field(
        default_factory=list, description="earlier class lists, oldest first; `curate task migrate` writes them"
    )
    pictures: Pictures = Field(default_factory=lambda: Pictures())
    crowd: Crowd = Field(default_factory=lambda: Crowd())
    split: Split = Field(default_factory=lambda: Split())

    @model_validator(mode="after")
    def _distinct(self) -> Task:
        for what, values in (
            ("key", [c.key for c in self.classes]),
            ("hotkey", [c.hotkey for c in self.classes if c.hotkey]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"classes: {what} {twice[0]!r} is used twice; every class needs its own")
        for one in self.classes:
            others = {c.key for c in self.classes} - {one.key}
            if stray := [key for key in one.confused_with or [] if key not in others]:
                raise ValueError(f"classes: {one.key}: confused_with {stray[0]!r} is not the key of another class")
        return self

    @property
    def keys(self) -> list[str]:
        """Class keys in order: the order of every list of probabilities."""
        return [c.key for c in self.classes]

    def dump(self) -> str:
        """The task as YAML, with the schema named in its first line for editors."""
        body = self.model_dump(mode="json", exclude_none=True)
        head = f"# The task file. Every key is explained in {SCHEMA_NAME}, which editors can use to check it.\n"
        return head + yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=110)


SCHEMA_NAME = "schemas/task.schema.json"


def json_schema() -> str:
    """The published JSON Schema of the task file, made from the definition above."""
    schema = Task.model_json_schema()
    return (
        json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2, ensure_ascii=False)
        + "\n"
    )


def read_task(path: Path) -> Task:
    """Read and check a task file; raises TaskError with one line per fault: key, value found, what is allowed."""
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TaskError(f"{path}: no such task file. Make one with `curate task add`.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise TaskError(f"{path}: is not readable as YAML: {detail}") from error
    if not isinstance(data, dict):
        raise TaskError(
            f"{path}: a task file holds keys and values (task, question, classes, …), found {type(data).__name__}"
        )
    return parse_task(data, str(path))


def parse_task(data: dict[str, Any], where: str) -> Task:
    """Check task data that came from `where`; raises TaskError as `read_task` does."""
    try:
        return Task.model_validate(data)
    except ValidationError as error:
        lines = [_explain(fault, data) for fault in error.errors()]
        raise TaskError(f"{where}: " + f"\n  {where}: ".join(lines)) from error


def _explain(fault: Any, data: Any) -> str:
    """One fault as: key: value is not allowed: what is."""
    where = ".".join(str(part) for part in fault["loc"])
    kind = fault["type"]
    if kind == "missing":
        return f"{where}: is missing"
    if kind == "extra_forbidden":
        allowed = _allowed_keys(fault["loc"][:-1])
        close = difflib.get_close_matches(str(fault["loc"][-1]), allowed, 1)
        hint = f"did you mean {close[0]}?" if close else f"allowed here: {', '.join(allowed)}"
        return f"{where}: unknown key; {hint}"
    message = re.sub(r"^(Value error, |Input )", "", fault["msg"])
    if kind == "value_error":
        return f"{where}: {message}" if where else message
    return f"{where}: {_short(fault.get('input'))} is not allowed: {message}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _allowed_keys(location: tuple[Any, ...]) -> list[str]:
    """Keys that the part of the task file at `location` knows."""
    parts: dict[str, type[_Part]] = {
        "changes": ClassChange,
        "classes": TaskClass,
        "pictures": Pictures,
        "crowd": Crowd,
        "split": Split,
        "assignments": Assignments,
    }
    names = [part for part in location if isinstance(part, str)]
    return list((parts.get(names[-1], Task) if names else Task).model_fields)
