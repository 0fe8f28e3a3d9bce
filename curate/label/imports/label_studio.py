"""Label Studio's exports: JSON (tasks with all their annotations), JSON-MIN and CSV (a record an annotation)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.label.imports.answers import text_of
from curate.label.imports.reading import Hints, Reading, listing, rows_of
from curate.label.imports.reading import number_of as seconds_of
from schemas.errors import UserError

TOOL = "label-studio"
_MIN = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
_PICTURE_NAMES = ("image", "img", "picture", "photo", "image_url", "url", "imagen", "imagem", "foto")
_PICTURE_FILE = re.compile(r"(?i)\.(jpe?g|png|webp|gif|avif|bmp|tiff?)(\?|$)")
EMPTY = "annotations without a choice"


def looks_like(data: Any) -> bool:
    """Whether a JSON document is one of Label Studio's exports."""
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, Mapping):
        return False
    return ("data" in first and bool({"annotations", "completions", "predictions"} & set(first))) or (
        "annotation_id" in first or ("annotator" in first and "lead_time" in first)
    )


def read_label_studio(data: Any, path: Path, hints: Hints) -> Reading:
    """The choices of every annotation, one row an annotation; predictions are no answers and stay out.

    Raises UserError when a task holds several pictures or several questions and no option says which.
    """
    tasks = data if isinstance(data, list) else [data]
    if not all(isinstance(task, Mapping) for task in tasks) or not tasks:
        raise UserError(f"{path}: holds no tasks; export the project as JSON or JSON-MIN")
    if not any("data" in task for task in tasks):
        return _read_min(tasks, path, hints)
    skipped: Counter[str] = Counter()
    found = list(_annotations(tasks, skipped))
    control = _control(found, path, hints)
    image = _image_key([task.get("data", {}) for task in tasks], path, hints)
    rows = []
    for task, annotation, choices, row in found:
        answer = choices.get(control) if control else None
        if answer is None:
            skipped[EMPTY] += 1
            continue
        rows.append(
            {
                "picture": _text(task.get("data", {}).get(image)),
                "worker": _worker(annotation.get("completed_by")),
                "answer": answer,
                "status": "Submitted",
                "time": annotation.get("created_at") or annotation.get("updated_at"),
                "seconds": seconds_of(annotation.get("lead_time")),
                "assignment": _assignment(annotation.get("id"), annotation.get("created_at")),
                "hit": f"ls-task-{task['id']}" if "id" in task else None,
                "row": row,
            }
        )
    return Reading(TOOL, path, rows_of(rows), skipped)


def _annotations(
    tasks: list[Mapping[str, Any]], skipped: Counter[str]
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], dict[str, str], str]]:
    """Each annotation that was finished, with its task, its choices by control, and what a message calls it."""
    for place, task in enumerate(tasks, start=1):
        annotations = task.get("annotations") or task.get("completions") or []
        if not annotations:
            skipped["tasks without annotations"] += 1
        for number, annotation in enumerate(annotations, start=1):
            if not isinstance(annotation, Mapping):
                skipped["annotations that are only a number (export them as JSON, in full)"] += 1
                continue
            row = f"task {task.get('id', place)}, annotation {annotation.get('id', number)}"
            if annotation.get("was_cancelled") or annotation.get("skipped"):
                skipped["annotations that were skipped (was_cancelled)"] += 1
                continue
            choices: dict[str, str] = {}
            for result in annotation.get("result") or []:
                if str(result.get("type", "")).lower() == "choices" and (said := text_of(result.get("value"))):
                    choices[str(result.get("from_name", ""))] = said
            yield task, annotation, choices, row


def _control(found: list[Any], path: Path, hints: Hints) -> str | None:
    """The control of the labeling interface that asks the question; None where nobody chose anything."""
    said: dict[str, list[str]] = {}
    for _, _, choices, _ in found:
        for name, answer in choices.items():
            said.setdefault(name, []).append(answer)
    if hints.label_column:
        if hints.label_column not in said:
            raise UserError(
                f"{path}: --label-column {hints.label_column}: no such control; found {listing(sorted(said))}"
            )
        return hints.label_column
    if len(said) <= 1:
        return next(iter(said), None)
    share = {name: sum(map(hints.is_class, answers)) / len(answers) for name, answers in said.items()}
    best = [name for name in share if share[name] == max(share.values())]
    if len(best) > 1:
        raise UserError(f"{path}: which choice is the label? It has {listing(sorted(said))}; say --label-column NAME")
    return best[0]


def _image_key(data: list[Mapping[str, Any]], path: Path, hints: Hints) -> str:
    """Which field of the tasks' data holds the picture."""
    keys = {key: None for one in data for key in one if isinstance(one[key], str)}
    if hints.image_column:
        if hints.image_column not in keys:
            raise UserError(f"{path}: --image-column {hints.image_column}: no such field; found {listing(keys)}")
        return hints.image_column
    looks = [
        key for key in keys if all(_PICTURE_FILE.search(one[key]) for one in data[:50] if isinstance(one.get(key), str))
    ]
    called = [key for name in _PICTURE_NAMES for key in keys if key.lower() == name]
    both = [key for key in called if key in looks]
    if both or called[:1]:
        return (both or called)[0]
    if len(looks) == 1 or len(keys) == 1:
        return (looks or list(keys))[0]
    raise UserError(
        f"{path}: which field is the picture? Its tasks have {listing(keys) or 'none'}; say --image-column NAME"
    )


def _read_min(records: list[Mapping[str, Any]], path: Path, hints: Hints) -> Reading:
    """JSON-MIN and CSV: the task's data and the answers stand side by side in one flat record."""
    fields = {key: None for record in records for key in record if key not in _MIN}
    label = _min_label(records, list(fields), path, hints)
    image = _image_key([{k: v for k, v in one.items() if k in fields and k != label} for one in records], path, hints)
    skipped: Counter[str] = Counter()
    rows = []
    for place, record in enumerate(records, start=1):
        answer = text_of(record.get(label))
        if answer is None:
            skipped[EMPTY] += 1
            continue
        rows.append(
            {
                "picture": _text(record.get(image)),
                "worker": _worker(record.get("annotator")),
                "answer": answer,
                "status": "Submitted",
                "time": record.get("created_at") or record.get("updated_at"),
                "seconds": seconds_of(record.get("lead_time")),
                "assignment": _assignment(record.get("annotation_id"), record.get("created_at")),
                "hit": f"ls-task-{record['id']}" if "id" in record else None,
                "row": f"record {place}",
            }
        )
    return Reading(TOOL, path, rows_of(rows), skipped)


def _min_label(records: list[Mapping[str, Any]], fields: list[str], path: Path, hints: Hints) -> str:
    if hints.label_column:
        if hints.label_column not in fields:
            raise UserError(f"{path}: --label-column {hints.label_column}: no such field; found {listing(fields)}")
        return hints.label_column
    said = {name: [text for one in records if (text := text_of(one.get(name)))] for name in fields}
    share = {name: sum(map(hints.is_class, texts)) / len(texts) for name, texts in said.items() if texts}
    best = [name for name in share if share[name] == max(share.values()) > 0]
    if len(best) == 1:
        return best[0]
    called = [name for name in fields if name.lower() in ("choice", "choices", "label", "class", "category", "answer")]
    if len(called) == 1:
        return called[0]
    raise UserError(f"{path}: which field is the label? It has {listing(fields) or 'none'}; say --label-column NAME")


def _worker(by: Any) -> str | None:
    """Who annotated: a number, an e-mail, or an object with both, of which the short exports keep the e-mail."""
    if isinstance(by, Mapping):
        by = by.get("email") or by.get("id")
    return _text(by)


def _assignment(identifier: Any, created_at: Any) -> str | None:
    """An annotation's id, made unlike that of another installation by when it was made; the same in JSON and JSON-MIN."""
    if identifier is None:
        return None
    moment = re.sub(r"\D", "", str(created_at or ""))[:20]
    return f"ls-{identifier}-{moment}" if moment else f"ls-{identifier}"


def _text(value: Any) -> str | None:
    return None if value is None or str(value).strip() == "" else str(value).strip()
