"""Answers come in: each assignment once, each picture of it a vote; run it as often as you like while people work."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from curate.crowd import budget, journal
from curate.crowd.journal import Entry
from curate.database import transaction
from curate.workspace import now
from schemas.errors import UserError
from schemas.question import CANNOT_SEE, SECONDS
from schemas.tables import VOTES
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.requester import Requester

PILOT = "pilot"  # purpose of a HIT whose votes do not count, and the reason that they carry
SIMULATED = "ASIM"  # how the worker ids of simulated people begin


@dataclass(frozen=True)
class Collected:
    """What one collection brought."""

    votes: pd.DataFrame  # all votes of the task, old and new
    hits: int  # HITs that were read
    assignments: int  # assignments that they have by now
    new: int  # of them, seen for the first time
    finished: list[str]  # tokens of HITs that need not be read again once the votes are written


def collect(
    project: sqlite3.Connection,
    requester: Requester,
    task: Task,
    votes: pd.DataFrame,
    again: bool = False,
    step: Callable[[int], object] = lambda _: None,
) -> Collected:
    """All votes of the task with the endpoint's newest answers among them; collecting twice gives the same table.

    HITs whose answers have all been read and judged are not read again unless `again`. What was earned goes into the ledger.
    """
    created = journal.entries(project, task.task, requester.endpoint, "created")
    to_read = [entry for entry in created if again or entry.collected_at is None]
    rows: list[dict[str, Any]] = []
    finished: list[str] = []
    for entry in to_read:
        assignments = requester.assignments(str(entry.hit_id))
        for assignment in assignments:
            rows += votes_of(assignment, entry, task)
        _settle(project, entry, assignments)
        over = len(assignments) >= entry.max_assignments or _ended(project, requester, task, entry, len(assignments))
        if over and all(a["AssignmentStatus"] != "Submitted" for a in assignments):
            finished.append(entry.token)
        step(1)
    read = {row["assignment_id"] for row in rows}
    new = read - set(votes["assignment_id"])
    return Collected(merge(votes, rows), len(to_read), len(read), len(new), finished)


def merge(votes: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The votes with `rows` in place of what their assignments said before; sorted, so that the order of reading is no matter."""
    import pandas as pd

    read = {row["assignment_id"] for row in rows}
    kept = votes[~votes["assignment_id"].isin(read)]
    both = pd.concat([frame for frame in (kept, VOTES.frame(rows)) if len(frame)] or [VOTES.empty()])
    return VOTES.check(both.sort_values(["submitted_at", "assignment_id", "image_id"], ignore_index=True))


def votes_of(assignment: dict[str, Any], entry: Entry, task: Task) -> list[dict[str, Any]]:
    """One row for each picture of the HIT, answered or not; `dropped` holds only what the answer itself says.

    A gold picture is dropped as gold, an unseen one as such, an answer that is no class (or is missing) as an invalid label.
    """
    answers = parse_answers(assignment.get("Answer") or "", str(assignment["AssignmentId"]))
    whole = (
        (assignment["SubmitTime"] - assignment["AcceptTime"]).total_seconds() if assignment.get("AcceptTime") else None
    )
    worker = str(assignment["WorkerId"])
    rows = []
    for asked in entry.images:
        answer = answers.get(asked.image_id)
        label = answer if answer in task.keys else None
        rows.append(
            {
                "assignment_id": assignment["AssignmentId"],
                "image_id": asked.image_id,
                "task": entry.task,
                "hit_id": entry.hit_id,
                "worker_id": worker,
                "round": entry.round,
                "endpoint": entry.endpoint,
                "assignment_status": assignment["AssignmentStatus"],
                "source": "simulated" if worker.startswith(SIMULATED) else "crowd",
                "answer": answer,
                "label": label,
                "submitted_at": assignment["SubmitTime"],
                "seconds": _seconds(answers.get(SECONDS + asked.image_id), whole, len(entry.images)),
                "dropped": _dropped(asked.chosen_by, answer, label) or (PILOT if entry.purpose == PILOT else None),
            }
        )
    return rows


def _dropped(chosen_by: str, answer: str | None, label: str | None) -> str | None:
    if chosen_by == "gold":
        return "gold"
    if answer == CANNOT_SEE:
        return "cannot see the picture"
    return None if label else "invalid label"


def _seconds(said: str | None, whole: float | None, pictures: int) -> float | None:
    """Seconds on one picture: as the page measured them, else the assignment's time divided by its pictures."""
    if said and re.fullmatch(r"\d{1,6}(\.\d{1,6})?", said):
        return float(said)
    return None if whole is None else whole / pictures


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


def _settle(project: sqlite3.Connection, entry: Entry, assignments: Sequence[dict[str, Any]]) -> None:
    """Write into the ledger what judged assignments earned or gave back; once, however often they are read."""
    judged = [a for a in assignments if a["AssignmentStatus"] != "Submitted"]
    if not judged:
        return
    price = budget.reserved_price(project, entry.token, entry.reward_cents, entry.max_assignments)
    with transaction(project):
        for a in judged:
            budget.settle(
                project, entry.task, a["AssignmentStatus"], price, a["AssignmentId"], str(entry.hit_id), a["WorkerId"]
            )


def _ended(project: sqlite3.Connection, requester: Requester, task: Task, entry: Entry, answered: int) -> bool:
    """Whether a HIT has ended for good; what was reserved for answers that will never come is given back, once."""
    if entry.created_at is None or not (
        entry.ended or now() - entry.created_at >= timedelta(days=task.crowd.lifetime_days)
    ):
        return False
    hit = requester.hit(str(entry.hit_id))
    if hit is not None and hit["HITStatus"] in ("Assignable", "Unassignable"):  # somebody may still be at it
        return False
    price = budget.reserved_price(project, entry.token, entry.reward_cents, entry.max_assignments)
    with transaction(project):
        note = f"HIT {entry.ended or 'expired'}"
        rest = entry.max_assignments - answered
        budget.release(project, entry.token, entry.task, rest, price, entry.hit_id, note)
        if entry.ended is None:
            journal.ended(project, entry.token, "expired")
    return True
