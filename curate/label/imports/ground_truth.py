"""SageMaker Ground Truth: output manifests (a label an object, no workers), and the workers' single answers beside them.

A labeling job writes `manifests/output/output.manifest` with the consolidated label of each object, and what each worker said
to `annotations/worker-response/iteration-N/<object>/<time>.json`, where <object> is the object's line in the manifest, from 0.
What was handed to consolidation, in `annotations/consolidated-annotation/consolidation-request/`, names the object's address.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.label.imports.answers import fields_of
from curate.label.imports.reading import Hints, Reading, listing, read_json, read_text, rows_of
from curate.label.imports.reading import number_of as seconds_of
from schemas.errors import UserError
from schemas.progress import progress

TOOL = "ground-truth"
LABELS_ONLY = (
    "holds one consolidated label for each picture and no workers: take it in with `curate import labels`, or give the "
    "job's folder with annotations/worker-response for the votes"
)
_METADATA = "-metadata"
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[_T ](\d{2})[:_-](\d{2})[:_-](\d{2})")


def looks_like(data: Any) -> bool:
    """Whether a JSON document is an output manifest, a consolidation request or a worker's response."""
    first = data[0] if isinstance(data, list) and data else data
    if not isinstance(first, Mapping):
        return False
    return (
        "source-ref" in first
        or any(name.endswith(_METADATA) for name in first)
        or ("datasetObjectId" in first and "annotations" in first)
        or _is_response(first)
    )


def _is_response(data: Any) -> bool:
    answers = data.get("answers") if isinstance(data, Mapping) else None
    return isinstance(answers, list) and all(isinstance(a, Mapping) and "answerContent" in a for a in answers)


def read_votes(data: Any, path: Path, hints: Hints) -> Reading:
    """Every worker's answer in one JSON file. Raises UserError for a consolidated manifest: it has labels, not votes."""
    documents = data if isinstance(data, list) else [data]
    if _is_response(documents[0]):
        return read_folder(path, hints)
    if "datasetObjectId" in documents[0]:
        rows = [row for one in documents for row in _of_request(one, path, path.stem)]
        return Reading(TOOL, path, rows_of(rows))
    rows = []
    skipped: Counter[str] = Counter()
    for number, line in enumerate(documents, start=1):
        inside = list(_workers_inside(line, f"line {number}"))
        rows += inside
        if not inside:
            skipped["pictures without single answers of workers"] += 1
    if not rows:
        raise UserError(f"{path}: {LABELS_ONLY}")
    return Reading(TOOL, path, rows_of(rows), skipped)


def read_folder(path: Path, hints: Hints) -> Reading:
    """Every worker's answer below a job's folder, its `annotations` folder, `worker-response`, or one file of it."""
    responses = _responses(path)
    requests = [] if path.is_file() else sorted(_job(path).glob("**/consolidation-request/**/*.json"))
    if not responses and not requests:
        raise UserError(
            f"{path}: holds no worker-response/iteration-N/N/*.json; copy the job's whole output with `aws s3 sync "
            "s3://BUCKET/JOB/annotations …`, or take the output.manifest with `curate import labels`"
        )
    if not responses:
        rows = [row for file in requests for one in _list(file) for row in _of_request(one, file, file.stem)]
        return Reading(TOOL, path, rows_of(rows))
    addresses = _addresses(path, requests, hints)
    rows = []
    skipped: Counter[str] = Counter()
    for file in _counted(responses):
        response = read_json(read_text(file), file)
        if not _is_response(response):
            skipped["files that hold no worker's answer"] += 1
            continue
        number = file.parent.name
        if number not in addresses:
            skipped["objects that the manifest does not have"] += 1
            continue
        rows += _of_response(response, addresses[number], number, file, path)
    if not rows:
        raise UserError(f"{path}: no answer belongs to a line of the manifest; name the job's own with --manifest FILE")
    return Reading(TOOL, path, rows_of(rows), skipped)


def _counted(files: list[Path]) -> Iterator[Path]:
    with progress(len(files), "answers") as bar:
        for file in files:
            yield file
            bar.update()


def _job(path: Path) -> Path:
    """The folder of the labeling job that a folder or file belongs to: above `annotations`, else the folder itself."""
    for folder in (path, *path.absolute().parents):
        if folder.name == "annotations":
            return folder.parent
    return path if path.is_dir() else path.parent


def _responses(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    inside = [p for p in path.rglob("*.json") if "worker-response" in p.absolute().parts]
    return sorted(inside, key=lambda file: (len(file.parent.name), file.parent.name, file.name))


def _addresses(path: Path, requests: list[Path], hints: Hints) -> dict[str, str]:
    """Object number to the picture's address, from the manifest or else from what was handed to consolidation."""
    job = _job(path)
    manifests = [hints.manifest] if hints.manifest else sorted(job.glob("manifests/output/*.manifest")) or sorted(
        job.glob("manifests/**/*.manifest")
    )  # fmt: skip
    if manifests:
        lines = read_json(read_text(manifests[0]), manifests[0])
        lines = lines if isinstance(lines, list) else [lines]
        return {str(number): str(_address(line)) for number, line in enumerate(lines) if _address(line)}
    found = {
        str(one["datasetObjectId"]): str(address)
        for file in requests
        for one in _list(file)
        if (address := _address_of_request(one))
    }
    if not found:
        raise UserError(
            f"{path}: the answers say which object they are about by its number alone, and no manifests/output/"
            "output.manifest stands beside them; name the job's input or output manifest with --manifest FILE"
        )
    return found


def _list(file: Path) -> list[Any]:
    data = read_json(read_text(file), file)
    return data if isinstance(data, list) else [data]


def _address(line: Mapping[str, Any]) -> Any:
    return line.get("source-ref") or line.get("source")


def _address_of_request(one: Mapping[str, Any]) -> Any:
    thing = one.get("dataObject") or {}
    return thing.get("s3Uri") or thing.get("content")


def _answer(content: Any) -> str | None:
    """The one label in what a worker sent, whatever the element was called."""
    if isinstance(content, str):
        try:
            content = json.loads(content)
        except json.JSONDecodeError:
            return content.strip() or None
    fields = fields_of(content) if isinstance(content, Mapping) else {}
    return next(iter(fields.values())) if fields else None


def _of_response(
    response: Mapping[str, Any], picture: str, number: str, file: Path, top: Path
) -> Iterator[dict[str, Any]]:
    where = file.relative_to(top) if top.is_dir() else file.name
    for place, answer in enumerate(response["answers"], start=1):
        yield {
            "picture": picture,
            "worker": answer.get("workerId"),
            "answer": _answer(answer.get("answerContent")),
            "status": "Submitted",
            "time": answer.get("submissionTime") or answer.get("acceptanceTime"),
            "seconds": seconds_of(answer.get("timeSpentInSeconds")),
            "hit": f"gt-{number}",
            "row": f"{where}, answer {place}",
        }


def _of_request(one: Mapping[str, Any], file: Path, stem: str) -> Iterator[dict[str, Any]]:
    """What was handed to consolidation: no times but the file's own, which is its name."""
    stamp = _STAMP.search(stem)
    for answer in one.get("annotations") or []:
        yield {
            "picture": _address_of_request(one),
            "worker": answer.get("workerId"),
            "answer": _answer((answer.get("annotationData") or {}).get("content")),
            "status": "Submitted",
            "time": "{}T{}:{}:{}Z".format(*stamp.groups()) if stamp else None,
            "hit": f"gt-{one['datasetObjectId']}",
            "row": f"{file.name}, object {one['datasetObjectId']}",
        }


def _workers_inside(line: Mapping[str, Any], row: str) -> Iterator[dict[str, Any]]:
    """Answers that a custom job's consolidation kept inside the manifest, each with its worker."""
    for name, value in line.items():
        if not isinstance(value, Mapping) or name.endswith(_METADATA):
            continue
        for answers in value.values():
            if not isinstance(answers, list) or not all(isinstance(a, Mapping) and "workerId" in a for a in answers):
                continue
            for answer in answers:
                content = (answer.get("annotationData") or {}).get("content")
                rest = {key: said for key, said in answer.items() if key not in ("workerId", "annotationData")}
                yield {
                    "picture": _address(line),
                    "worker": answer.get("workerId"),
                    "answer": _answer(content if content is not None else rest),
                    "status": "Submitted",
                    "time": (line.get(name + _METADATA) or {}).get("creation-date"),
                    "row": row,
                }


def read_labels(data: Any, path: Path, hints: Hints) -> Reading:
    """The consolidated label of each line of an output manifest, its confidence as a note.

    Raises UserError when chained jobs left several labels a line and --label-column does not say which.
    """
    lines = data if isinstance(data, list) else [data]
    names = Counter(name.removesuffix(_METADATA) for line in lines for name in line if name.endswith(_METADATA))
    if hints.label_column:
        if hints.label_column not in names:
            raise UserError(f"{path}: --label-column {hints.label_column}: no such job; found {listing(sorted(names))}")
        names = Counter({hints.label_column: 1})
    if len(names) != 1:
        raise UserError(
            f"{path}: which label? Its lines have {listing(sorted(names)) or 'none'}; say --label-column NAME"
        )
    name = next(iter(names))
    rows: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    for number, line in enumerate(lines, start=1):
        about = line.get(name + _METADATA) or {}
        label = _consolidated(line.get(name), about)
        if "failure-reason" in about or label is None:
            skipped["lines without a label" + (" (failed)" if "failure-reason" in about else "")] += 1
            continue
        confidence = about.get("confidence")
        human = str(about.get("human-annotated", "yes")).lower() != "no"
        said = ["" if confidence is None else f"confidence {confidence}", "" if human else "by machine"]
        rows.append(
            {
                "picture": _address(line),
                "answer": label,
                "time": about.get("creation-date"),
                "note": ", ".join(filter(None, said)) or None,
                "row": f"line {number}",
            }
        )
    return Reading(TOOL, path, rows_of(rows), skipped)


def _consolidated(value: Any, about: Mapping[str, Any]) -> str | None:
    """The class of a line: its metadata name it; the value itself is only a number in the job's list of categories."""
    if isinstance(about.get("class-name"), str):
        return str(about["class-name"]).strip() or None
    if isinstance(about.get("class-map"), Mapping):
        return "|".join(map(str, about["class-map"].values())) or None
    if isinstance(value, str):
        return value.strip() or None
    return _answer(value) if isinstance(value, Mapping) else None
