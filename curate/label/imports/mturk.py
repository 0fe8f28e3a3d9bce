"""MTurk's batch results: a CSV with a line an assignment, `Input.*` what was asked, `Answer.*` what came back."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from curate.label.imports.answers import fields_of, group_of, number_of
from curate.label.imports.reading import COLUMNS, STATUSES, Hints, Reading, listing, named_column
from curate.label.imports.reading import number_of as seconds_of
from schemas.errors import UserError
from schemas.question import SECONDS

TOOL = "mturk"
NEEDED = ("HITId", "AssignmentId", "WorkerId")
_ORDER = ("picture", "answer", "seconds", "worker", "status", "time", "assignment", "hit", "note", "row")
_HASH = re.compile(r"[0-9a-f]{64}")
_PICTURE_NAMES = re.compile(r"(?i)image|picture|photo|img|foto|imagen|imagem")
_PLACE_NAMES = re.compile(r"(?i)url|file|path|key|src|source")
_PICTURE_FILE = re.compile(r"(?i)\.(?:jpe?g|png|webp|gif|avif|bmp|tiff?)(?:\?|$)")
_NOT_LABELS = re.compile(r"(?i)comment|feedback|coment|remark|suggest|time|seconds|submit|agent|browser|screen|email")
_LABEL_NAMES = re.compile(r"(?i)label|category|class|choice|answer|etiqueta|categor")


def read_mturk(frame: pd.DataFrame, path: Path, hints: Hints) -> Reading:
    """The answers of a results file, one row a picture of an assignment.

    Several pictures a HIT are told by the number at the end of a column's name (`Input.image_url_2`, `Answer.label_2`), or
    by answers that are called by an image_id. Raises UserError when it is not clear which column is the picture or the label.
    """
    missing = [name for name in NEEDED if name not in frame.columns]
    if missing:
        raise UserError(
            f"{path}: missing columns {', '.join(missing)}; found {listing(frame.columns)}. Is it a results file of MTurk?"
        )
    inputs = [name for name in frame.columns if name.startswith("Input.")]
    answers = [name for name in frame.columns if name.startswith("Answer.")]
    if not answers:
        raise UserError(
            f"{path}: has no Answer.* columns, so nobody's answers; download the results of the batch again"
        )
    columns = {name: frame[name].tolist() for name in frame.columns}
    sent = [_fields(columns, answers, row, path, str(where)) for row, where in enumerate(frame.index)]
    fields = Counter(name for one in sent for name in one)
    by_id = [name for name in fields if _HASH.fullmatch(name)]
    pictures = {} if by_id and not hints.image_column else _picture_columns(frame, inputs, path, hints)
    if by_id:
        pictures = {}
    labels = {} if by_id else _label_fields(fields, sent, set(pictures), path, hints)
    found: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    skipped: Counter[str] = Counter()
    for row, where in enumerate(frame.index):
        asked = (
            [(name, sent[row][name], sent[row].get(SECONDS + name)) for name in by_id if name in sent[row]]
            if by_id
            else _pairs(columns, pictures, labels, sent[row], row)
        )
        if not asked:
            skipped["assignments without a picture"] += 1
            continue
        whole = seconds_of(_at(columns, "WorkTimeInSeconds", row))
        same = (
            _at(columns, "WorkerId", row), _status(columns, row), _at(columns, "SubmitTime", row),
            _at(columns, "AssignmentId", row), _at(columns, "HITId", row), None, where,
        )  # fmt: skip
        for picture, answer, said in asked:
            seconds = seconds_of(said) if said else (None if whole is None else whole / len(asked))
            for name, value in zip(_ORDER, (picture, answer, seconds, *same), strict=True):
                found[name].append(value)
    return Reading(TOOL, path, pd.DataFrame(found, dtype=object), skipped)


def _at(columns: Mapping[str, list[Any]], name: str, row: int) -> str | None:
    value = columns[name][row] if name in columns else None
    return value.strip() or None if isinstance(value, str) else None


def _status(columns: Mapping[str, list[Any]], row: int) -> str:
    """Submitted, Approved or Rejected; a file filled in for upload (`Reject` with a reason) counts as judged."""
    said = _at(columns, "AssignmentStatus", row)
    if said == "Rejected" or _at(columns, "RejectionTime", row) or _at(columns, "Reject", row):
        return "Rejected"
    if said == "Approved" or _at(columns, "ApprovalTime", row) or _at(columns, "Approve", row):
        return "Approved"
    return said if said in STATUSES else said or "Submitted"


def _fields(columns: Mapping[str, list[Any]], answers: list[str], row: int, path: Path, where: str) -> dict[str, str]:
    """Field to answer of one assignment: from its columns, flattened or plain, and from the JSON in Answer.taskAnswers."""
    form: dict[str, Any] = {}
    for column in answers:
        value = columns[column][row]
        if not isinstance(value, str) or not value.strip():
            continue
        name = column.removeprefix("Answer.")
        if name == "taskAnswers":
            form |= _task_answers(value, path, where)
        elif name.endswith(".on"):
            form[name.removesuffix(".on")] = {"on": value}
        elif value.strip().lower() in ("true", "false") and "." in name:
            group, _, button = name.rpartition(".")
            form.setdefault(group, {})[button] = {"on": value}
        else:
            form[name.removesuffix(".label")] = value
    return fields_of(form)


def _task_answers(text: str, path: Path, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: {where}: Answer.taskAnswers is not readable as JSON ({error.msg})") from None
    parts = data if isinstance(data, list) else [data]
    return {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}


def _picture_columns(frame: pd.DataFrame, inputs: list[str], path: Path, hints: Hints) -> dict[int | None, str]:
    """Number of the picture to its Input column; None for the one picture of a HIT."""
    if hints.image_column:
        asked = hints.image_column
        name = asked if asked in frame.columns or f"Input.{asked}" not in frame.columns else f"Input.{asked}"
        numbered = {
            number_of(column): column
            for column in inputs
            if group_of(column) and column.removesuffix(group_of(column)) == name.removesuffix(group_of(name))
        }
        return dict(numbered) or {None: named_column(frame, name, path, "--image-column")}
    stems: dict[str, list[str]] = {}
    for column in inputs:
        stems.setdefault(column.removesuffix(group_of(column)), []).append(column)
    look = {stem for stem, names in stems.items() if _look_like_pictures(frame[names])}
    called = {stem for stem in stems if _PICTURE_NAMES.search(stem)}
    places = {stem for stem in stems if _PLACE_NAMES.search(stem)}
    best: set[str] = next(filter(None, (look & called, look, called, places, set(stems))), set())
    if len(best) == 1:
        names = stems[best.pop()]
        return {None: names[0]} if len(names) == 1 else {number_of(name): name for name in names}
    raise UserError(
        f"{path}: which column is the picture? It has {listing(inputs) or 'no Input.* columns'}; say --image-column NAME"
    )


def _look_like_pictures(columns: pd.DataFrame) -> bool:
    """Whether most values are files of pictures, or image_ids."""
    said = columns.head(50).stack().astype("str")
    return bool(len(said)) and bool((said.str.contains(_PICTURE_FILE) | said.str.fullmatch(_HASH)).mean() > 0.5)


def _label_fields(
    fields: Counter[str], sent: list[dict[str, str]], numbers: set[int | None], path: Path, hints: Hints
) -> dict[int | None, str]:
    """Number of the picture to the answer field that holds its label."""
    several = numbers != {None}
    names = sorted(fields)
    if hints.label_column:
        asked = hints.label_column.removeprefix("Answer.").removesuffix(".label")
        stem = asked.removesuffix(group_of(asked)) if several else asked
        names = [name for name in names if name == asked or (several and name.removesuffix(group_of(name)) == stem)]
        if not names:
            raise UserError(f"{path}: --label-column {asked}: no such answer; found {listing(sorted(fields))}")
    stems: dict[str, dict[int | None, str]] = {}
    for name in names:
        number = number_of(name)
        if not several:
            stems[name] = {None: name}
        elif number in numbers:
            stems.setdefault(name.removesuffix(group_of(name)), {})[number] = name
    if len(stems) > 1:
        stems = _best(stems, sent, hints)
    if len(stems) != 1:
        raise UserError(
            f"{path}: which answer is the label? It has {listing(f'Answer.{name}' for name in sorted(fields)) or 'none'}; "
            "say --label-column NAME"
        )
    return next(iter(stems.values()))


def _best(
    stems: dict[str, dict[int | None, str]], sent: list[dict[str, str]], hints: Hints
) -> dict[str, dict[int | None, str]]:
    """The stems that hold classes of the task most often; where none does, those that are called like labels."""
    share = {}
    for stem, names in stems.items():
        said = [one[name] for one in sent[:2000] for name in names.values() if name in one]
        share[stem] = sum(map(hints.is_class, said)) / max(1, len(said))
    top = max(share.values())
    if top > 0:
        return {stem: names for stem, names in stems.items() if share[stem] == top}
    kept = {stem: names for stem, names in stems.items() if not _NOT_LABELS.search(stem)}
    called = {stem: names for stem, names in kept.items() if _LABEL_NAMES.search(stem)}
    return called or kept


def _pairs(
    columns: Mapping[str, list[Any]],
    pictures: Mapping[int | None, str],
    labels: Mapping[int | None, str],
    sent: Mapping[str, str],
    row: int,
) -> list[tuple[str | None, str | None, str | None]]:
    """Picture, answer and seconds of each picture of an assignment; a place that the HIT left empty is none."""
    asked: list[tuple[str | None, str | None, str | None]] = []
    for number, column in sorted(pictures.items(), key=lambda item: item[0] or 0):
        picture = _at(columns, column, row)
        if picture is not None:
            asked.append((picture, sent.get(labels.get(number, "")), None))
    return asked
