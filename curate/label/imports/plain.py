"""A plain table, a line a vote or a label, its columns called as people call them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from curate.label.imports.reading import Hints, Reading, column_of, listing, named_column
from curate.label.imports.reading import number_of as seconds_of
from schemas.errors import UserError

TOOL = "csv"
NAMES = {
    "picture": ("image_id", "image", "picture", "image_url", "picture_url", "url", "path", "file", "filename", "file_name",
                "image_path", "source-ref", "imagen", "imagem", "foto", "archivo", "arquivo"),
    "worker": ("worker_id", "worker", "annotator", "annotator_id", "completed_by", "user", "user_id", "labeler", "rater",
               "anotador", "trabajador", "trabalhador"),
    "answer": ("label", "answer", "class", "category", "choice", "class_key", "etiqueta", "clase", "classe", "categoria",
               "categoría"),
    "status": ("assignment_status",),
    "time": ("submitted_at", "submit_time", "created_at", "timestamp", "answered_at", "time", "date", "fecha"),
    "seconds": ("seconds", "work_time_in_seconds", "lead_time", "duration", "segundos"),
    "assignment": ("assignment_id", "annotation_id", "vote_id"),
    "hit": ("hit_id", "task_id"),
    "note": ("note", "comment", "nota"),
}  # fmt: skip
_NEEDED = {"picture": "--image-column", "answer": "--label-column"}


def read_plain(frame: pd.DataFrame, path: Path, hints: Hints, voters: bool = True) -> Reading:
    """A row an answer. Raises UserError when the picture, the label or (for votes) the worker has no column.

    A table of ours that says its votes are simulated is refused: real and simulated votes never mix.
    """
    skipped: Counter[str] = Counter()
    if "task" in frame.columns and (of_task := frame["task"].astype("str") == hints.task).any():
        skipped["rows of other tasks"] += int((~of_task).sum())
        frame = frame[of_task]
    columns = {what: column_of(frame, names) for what, names in NAMES.items()}
    for what, option in _NEEDED.items():
        asked = hints.image_column if what == "picture" else hints.label_column
        if asked:
            columns[what] = named_column(frame, asked, path, option)
    if columns["answer"] is None:
        columns["answer"] = _holds_classes(frame, set(columns.values()), hints)
    missing = [
        what for what in ("picture", "worker", "answer") if columns[what] is None and (voters or what != "worker")
    ]
    if missing:
        called = {"picture": "image_id", "worker": "worker_id", "answer": "label"}
        said = "; name the columns with --image-column and --label-column" if set(missing) & set(_NEEDED) else ""
        if missing == ["worker"]:
            said = "; votes say who gave them, finished labels come in with `curate import labels`"
        raise UserError(
            f"{path}: missing columns {', '.join(called[what] for what in missing)}; found {listing(frame.columns)}{said}"
        )
    if voters and "source" in frame.columns and (frame["source"].astype("str") == "simulated").any():
        raise UserError(f"{path}: holds simulated votes; they never mix with real ones, so they cannot be imported")
    decimal = frame.attrs.get("decimal", ".")
    rows = pd.DataFrame({what: frame[column] for what, column in columns.items() if column}, index=frame.index)
    for what in ("picture", "worker", "answer", "status", "assignment", "hit", "note"):
        if what in rows:
            rows[what] = _text(rows[what])
    if (
        "answer" in frame.columns and columns["answer"] != "answer"
    ):  # our own votes: `cannot_see` stands in answer alone
        rows["answer"] = rows["answer"].fillna(_text(frame["answer"]))
    if "seconds" in rows:
        rows["seconds"] = [seconds_of(value, decimal) for value in rows["seconds"]]
    return Reading(TOOL, path, rows.assign(row=frame.index), +skipped)


def _holds_classes(frame: pd.DataFrame, used: set[str | None], hints: Hints) -> str | None:
    """The one column most of whose values name classes of the task, whatever it is called."""
    found = []
    for name in frame.columns:
        said = frame[name].dropna().head(200).astype("str") if name not in used else frame[name].head(0)
        if len(said) and said.map(hints.is_class).mean() > 0.5:
            found.append(str(name))
    return found[0] if len(found) == 1 else None


def _text(values: pd.Series) -> pd.Series:
    """Ids and labels as text: a worker 7 that pandas read as 7.0 stays 7."""
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    text = values.astype("str").str.strip()
    return text.mask(values.isna() | text.isin(["", "<NA>"])).astype(object)
