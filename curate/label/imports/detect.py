"""Which tool a file comes from, told by what is in it and never by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.label.imports import ground_truth, label_studio, mturk, plain
from curate.label.imports.reading import Hints, Reading, read_csv, read_json, read_table, read_text
from schemas.errors import UserError

FORMATS = ("auto", mturk.TOOL, label_studio.TOOL, ground_truth.TOOL, plain.TOOL)
CALLED = {
    mturk.TOOL: "MTurk results",
    label_studio.TOOL: "a Label Studio export",
    ground_truth.TOOL: "SageMaker Ground Truth output",
    plain.TOOL: "a plain table",
}


@dataclass(frozen=True)
class Opened:
    """A file opened, and which tool it is of: a frame for tables, a document for JSON, neither for a folder."""

    tool: str
    path: Path
    frame: pd.DataFrame | None = None
    data: Any = None


def open_any(path: Path, form: str = "auto") -> Opened:
    """Open a file or folder of any tool; `form` says which when a person knows better.

    Raises UserError for what is missing, empty, damaged, or of no tool that is known.
    """
    if form not in FORMATS:
        raise UserError(f"--format {form}: is not known; it can be {', '.join(FORMATS)}")
    if path.is_dir():
        if form not in ("auto", ground_truth.TOOL):
            raise UserError(f"{path}: is a folder; only Ground Truth's output is read from one")
        return Opened(ground_truth.TOOL, path)
    if path.suffix.lower() in (".parquet", ".pq") or (path.is_file() and _starts(path, b"PAR1")):
        return _checked(Opened(plain.TOOL, path, read_table(path)), form)
    text = read_text(path)
    if text.lstrip("\ufeff \t\r\n")[:1] in ("[", "{"):
        return _checked(_of_json(read_json(text, path), path), form)
    frame = read_csv(text, path)
    if form in ("auto", label_studio.TOOL) and {"annotator", "annotation_id", "lead_time"} <= set(frame.columns):
        records = frame.astype(object).where(frame.notna(), None).to_dict("records")
        return Opened(label_studio.TOOL, path, data=records)
    is_mturk = all(name in frame.columns for name in mturk.NEEDED)
    tool = form if form in (mturk.TOOL, plain.TOOL) else (mturk.TOOL if is_mturk else plain.TOOL)
    return _checked(Opened(tool, path, frame), form)


def _of_json(data: Any, path: Path) -> Opened:
    if label_studio.looks_like(data):
        return Opened(label_studio.TOOL, path, data=data)
    if ground_truth.looks_like(data):
        return Opened(ground_truth.TOOL, path, data=data)
    records = data if isinstance(data, list) else [data]
    if not records:
        raise UserError(f"{path}: holds an empty list; export the results again")
    if all(
        isinstance(one, Mapping) and not any(isinstance(v, (list, Mapping)) for v in one.values()) for one in records
    ):
        frame = pd.DataFrame(records).astype(object)
        frame.index = pd.Index([f"record {number}" for number in range(1, len(frame) + 1)])
        return Opened(plain.TOOL, path, frame)
    raise UserError(
        f"{path}: is JSON of no tool that is known here (Label Studio, SageMaker Ground Truth); turn it into a CSV with "
        "the columns image_id, worker_id, label"
    )


def _checked(opened: Opened, form: str) -> Opened:
    if form not in ("auto", opened.tool):
        raise UserError(f"{opened.path}: is {CALLED[opened.tool]}, not {CALLED[form]}; leave --format out")
    return opened


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def read_votes(opened: Opened, hints: Hints) -> Reading:
    """The single answers in an opened file, each with its worker."""
    if opened.tool == mturk.TOOL:
        assert opened.frame is not None
        return mturk.read_mturk(opened.frame, opened.path, hints)
    if opened.tool == label_studio.TOOL:
        return label_studio.read_label_studio(opened.data, opened.path, hints)
    if opened.tool == ground_truth.TOOL:
        folder = opened.data is None
        return (
            ground_truth.read_folder(opened.path, hints)
            if folder
            else ground_truth.read_votes(opened.data, opened.path, hints)
        )
    assert opened.frame is not None
    return plain.read_plain(opened.frame, opened.path, hints)


def read_labels(opened: Opened, hints: Hints) -> Reading:
    """The finished labels in an opened file, one a picture. Raises UserError for a file that holds single votes."""
    if opened.tool == mturk.TOOL:
        raise UserError(
            f"{opened.path}: is {CALLED[mturk.TOOL]}: votes of workers; take them in with `curate import votes`"
        )
    if opened.tool == label_studio.TOOL:
        return label_studio.read_label_studio(opened.data, opened.path, hints)
    if opened.tool == ground_truth.TOOL:
        if opened.data is None:
            raise UserError(
                f"{opened.path}: is a folder; name its manifests/output/output.manifest, which holds the labels"
            )
        return ground_truth.read_labels(opened.data, opened.path, hints)
    assert opened.frame is not None
    return plain.read_plain(opened.frame, opened.path, hints, voters=False)
