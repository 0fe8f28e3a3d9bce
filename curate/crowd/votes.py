"""Answers become VOTES: one row a picture, in the order in which they came in, whatever the order of reading."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from curate.crowd.crash import crash_point
from curate.database import transaction
from schemas.errors import UserError
from schemas.question import CANNOT_SEE, SECONDS
from schemas.tables import VOTES
from schemas.task import Task

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

PILOT = "pilot"  # purpose of a HIT whose votes do not count, and the reason that they carry
SIMULATED = "ASIM"  # how the worker ids of simulated people begin
BATCH = 2000  # answers turned into votes at once
ORDER = [("submitted_at", "ascending"), ("assignment_id", "ascending"), ("image_id", "ascending")]

_NEW = """
SELECT a.*, j.images, j.hit_id, j.task, j.round, j.endpoint, j.purpose FROM answer a JOIN hit_journal j ON j.token = a.token
WHERE j.task = ? AND a.assignment_id NOT IN (SELECT assignment_id FROM held)
ORDER BY a.submitted_at, a.assignment_id
"""


def write_votes(project: sqlite3.Connection, task: Task, path: Path, again: bool = False) -> int:
    """Bring votes.parquet up to the answers in project.db; returns how many votes it holds.

    Votes that stand there (imported ones, and those of older versions) stay as they are, what `curate aggregate` wrote into
    them too. Votes of an answer whose status has changed, and with `again` of every answer, are made from the answer anew.
    Memory does not grow with the votes. A file that is not in order is put in order once, in memory.
    """
    in_order = _hold(project, path, again)
    new = _new_votes(project, task)
    there = _kept(project, path) if in_order else _in_order(_kept(project, path))
    metadata = VOTES.metadata(path) if path.exists() else {}
    own = {name: value for name, value in metadata.items() if name not in ("consenso.table", "consenso.version")}
    count = VOTES.write_batches(_until_written(merged(there, new)), path, own)
    crash_point("votes-renamed")
    return count


def _until_written(batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield from batches
    crash_point("votes-before-rename")


def _hold(project: sqlite3.Connection, path: Path, again: bool) -> bool:
    """Note in the temporary table `held` which assignments of the file stay as they are; True when its rows are in order."""
    project.execute("CREATE TEMP TABLE IF NOT EXISTS held (assignment_id TEXT PRIMARY KEY, status TEXT)")
    in_order, latest = True, None
    with transaction(project):
        project.execute("DELETE FROM held")
        for rows in VOTES.batches(path, ["assignment_id", "assignment_status", "submitted_at"]):
            pairs = zip(rows["assignment_id"].to_pylist(), rows["assignment_status"].to_pylist(), strict=True)
            project.executemany("INSERT OR IGNORE INTO held VALUES (?, ?)", dict.fromkeys(pairs))
            times = rows["submitted_at"].cast("int64").to_numpy()
            if len(times):
                in_order = in_order and bool((times[1:] >= times[:-1]).all()) and (latest is None or times[0] >= latest)
                latest = times[-1]
        project.execute(
            "DELETE FROM held WHERE EXISTS (SELECT 1 FROM answer a "
            "WHERE a.assignment_id = held.assignment_id AND (? OR a.status <> held.status))",
            (again,),
        )
    return in_order


def _kept(project: sqlite3.Connection, path: Path) -> Iterator[pa.Table]:
    """The rows of the file whose assignment is held."""
    import pyarrow as pa
    import pyarrow.compute as pc

    query = "SELECT assignment_id FROM held WHERE assignment_id IN (SELECT value FROM json_each(?))"
    for rows in VOTES.batches(path):
        asked = json.dumps(pc.unique(rows["assignment_id"]).to_pylist())
        held = pa.array([row[0] for row in project.execute(query, (asked,))], pa.string())
        yield rows.filter(pc.is_in(rows["assignment_id"], held))


def _in_order(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """All rows in order of time, in one piece."""
    import pyarrow as pa

    rows = list(batches)
    if rows:
        yield pa.concat_tables(rows).sort_by(ORDER)


def _new_votes(project: sqlite3.Connection, task: Task) -> Iterator[pa.Table]:
    """Votes of the answers that the file does not hold, in order of time."""
    found = project.execute(_NEW, (task.task,))
    while answers := found.fetchmany(BATCH):
        yield VOTES.rows([vote for answer in answers for vote in votes_of(answer, task)])


def merged(first: Iterator[pa.Table], second: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Two streams in order of time as one, each piece sorted by ORDER; holds little more than a piece of each."""
    import pyarrow as pa

    first, second = _whole_moments(first), _whole_moments(second)
    left, right = next(first, None), next(second, None)
    while left is not None and right is not None:
        until = min(_times(left)[-1], _times(right)[-1])
        early_left, left = _split(left, until)
        early_right, right = _split(right, until)
        yield pa.concat_tables([early_left, early_right]).sort_by(ORDER)
        left = left if left.num_rows else next(first, None)
        right = right if right.num_rows else next(second, None)
    rest, stream = (right, second) if left is None else (left, first)
    if rest is not None:
        yield rest.sort_by(ORDER)
        for rows in stream:
            yield rows.sort_by(ORDER)


def _whole_moments(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in pieces that end where a moment ends: what was submitted at one time is never torn apart."""
    import pyarrow as pa

    held = None
    for batch in batches:
        rows = batch if held is None else pa.concat_tables([held, batch])
        if not rows.num_rows:
            continue
        times = _times(rows)
        cut = int(times.searchsorted(times[-1], "left"))
        if cut:
            yield rows.slice(0, cut)
        held = rows.slice(cut)
    if held is not None:
        yield held


def _split(rows: pa.Table, until: int) -> tuple[pa.Table, pa.Table]:
    """Rows that came in by then, and those that came later."""
    cut = int(_times(rows).searchsorted(until, "right"))
    return rows.slice(0, cut), rows.slice(cut)


def _times(rows: pa.Table) -> np.ndarray:
    """When each row was submitted, in microseconds."""
    return rows["submitted_at"].cast("int64").to_numpy()


def votes_of(answer: Mapping[str, Any] | sqlite3.Row, task: Task) -> list[dict[str, Any]]:
    """One row for each picture of the HIT, answered or not; `dropped` holds only what the answer itself says.

    A gold picture is dropped as gold, an unseen one as such, an answer that is no class (or is missing) as an invalid label.

    Args:
        answer: a row of the table `answer` with hit_id, task, round, endpoint, purpose and images of its HIT.
    """
    fields = parse_answers(answer["xml"], answer["assignment_id"])
    images = json.loads(answer["images"])
    accepted, submitted = answer["accepted_at"], answer["submitted_at"]
    share = None if accepted is None else (submitted - accepted) / max(1, len(images))
    worker = answer["worker_id"]
    same = {
        "assignment_id": answer["assignment_id"],
        "task": answer["task"],
        "hit_id": answer["hit_id"],
        "worker_id": worker,
        "round": answer["round"],
        "endpoint": answer["endpoint"],
        "assignment_status": answer["status"],
        "source": "simulated" if worker.startswith(SIMULATED) else "crowd",
        "submitted_at": datetime.fromtimestamp(submitted, UTC),
    }
    rows = []
    for asked in images:
        said = fields.get(asked["image_id"])
        label = said if said in task.keys else None
        rows.append(
            {
                **same,
                "image_id": asked["image_id"],
                "answer": said,
                "label": label,
                "seconds": _seconds(fields.get(SECONDS + asked["image_id"]), share),
                "dropped": _dropped(asked["chosen_by"], said, label) or (PILOT if answer["purpose"] == PILOT else None),
            }
        )
    return rows


def _dropped(chosen_by: str, answer: str | None, label: str | None) -> str | None:
    if chosen_by == "gold":
        return "gold"
    if answer == CANNOT_SEE:
        return "cannot see the picture"
    return None if label else "invalid label"


def _seconds(said: str | None, share: float | None) -> float | None:
    """Seconds on one picture: as the page measured them, else its share of the assignment's time."""
    return float(said) if said and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", said) else share


def parse_answers(xml: str, assignment_id: str) -> dict[str, str]:
    """Field to text of a QuestionFormAnswers document; an empty one has no fields."""
    if not xml.strip():
        return {}
    try:
        document = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise UserError(
            f"assignment {assignment_id}: its answer is no XML ({error}); look at it with GetAssignment"
        ) from error
    found = {}
    for answer in document.iterfind("{*}Answer"):
        text = answer.findtext("{*}FreeText")
        if text is None:
            text = answer.findtext("{*}SelectionIdentifier")
        found[(answer.findtext("{*}QuestionIdentifier") or "").strip()] = (text or "").strip()
    return found
