"""The life of a HIT and of an assignment, as MTurk documents it: status, deadlines, auto-approval, who may accept.

Nothing here runs by a clock of its own. `settle` brings the store to the present and is called before every request.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, exists, func, or_, select, update

from curate.crowd.server.schema import assignments, drafts, hits, qualifications
from curate.crowd.server.store import Store

JUDGED = ("Approved", "Rejected")
DONE = ("Submitted", *JUDGED)

# Qualifications that MTurk itself kept, about which every requester may ask.
PERCENT_APPROVED = "000000000000000000L0"
NUMBER_APPROVED = "00000000000000000040"
LOCALE = "00000000000000000071"
ADULT = "00000000000000000060"
MASTERS = ("2F1QJWKUDD8XADTFD2Q0G6UTO95ALH", "2ARFPLSP75KLA8M8DH1HTEQVJT3SY6")
SYSTEM = {PERCENT_APPROVED, NUMBER_APPROVED, LOCALE, ADULT, *MASTERS}

_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    "LessThan": operator.lt,
    "LessThanOrEqualTo": operator.le,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqualTo": operator.ge,
    "EqualTo": operator.eq,
    "NotEqualTo": operator.ne,
}


def status(hit: Any, now: float) -> str:
    """Assignable, Unassignable, Reviewable, Reviewing or Disposed."""
    if hit.disposed_at is not None:
        return "Disposed"
    if hit.expires_at > now and hit.taken < hit.max_assignments:
        return "Assignable"
    if hit.pending > 0:
        return "Unassignable"
    return "Reviewing" if hit.reviewing else "Reviewable"


def is_assignable(now: float) -> ColumnElement[bool]:
    """The condition under which somebody new can accept a HIT."""
    return and_(hits.c.disposed_at.is_(None), hits.c.expires_at > now, hits.c.taken < hits.c.max_assignments)


def is_reviewable(now: float) -> ColumnElement[bool]:
    """The condition under which nothing more can come in for a HIT."""
    closed = or_(hits.c.expires_at <= now, hits.c.taken >= hits.c.max_assignments)
    return and_(hits.c.disposed_at.is_(None), closed, hits.c.pending == 0)


def _overdue(now: Any) -> ColumnElement[bool]:
    return and_(assignments.c.status == "Accepted", assignments.c.deadline <= now)


def _unjudged(now: Any) -> ColumnElement[bool]:
    return and_(assignments.c.status == "Submitted", assignments.c.auto_approve_at <= now)


_ANYTHING_DUE = select(
    or_(exists().where(_overdue(bindparam("now"))), exists().where(_unjudged(bindparam("now"))))
)  # asked before every request, so built once


def settle(store: Store, now: float) -> None:
    """Abandon what is past its deadline and approve what nobody judged in time."""
    with store.reading() as connection:
        if not connection.scalar(_ANYTHING_DUE, {"now": now}):
            return
    with store.writing() as connection:
        _abandon(connection, _overdue(now))
        _approve(connection, _unjudged(now))


def _abandon(connection: Connection, overdue: ColumnElement[bool]) -> None:
    for row in connection.execute(select(assignments.c.assignment_id, assignments.c.hit_id).where(overdue)).all():
        give_back(connection, row.assignment_id, row.hit_id, "Abandoned")


def give_back(connection: Connection, assignment_id: str, hit_id: str, status: str) -> None:
    """An accepted assignment ends without an answer (Abandoned or Returned); its place is free again."""
    done = connection.execute(
        update(assignments)
        .where(assignments.c.assignment_id == assignment_id, assignments.c.status == "Accepted")
        .values(status=status)
    )
    if done.rowcount:
        connection.execute(
            update(hits).where(hits.c.hit_id == hit_id).values(taken=hits.c.taken - 1, pending=hits.c.pending - 1)
        )
        forget_drafts(connection, assignment_id)


def forget_drafts(connection: Connection, assignment_id: str) -> None:
    """An assignment that ends, however it ends, leaves no drafts."""
    connection.execute(delete(drafts).where(drafts.c.assignment_id == assignment_id))


def _approve(connection: Connection, unjudged: ColumnElement[bool]) -> None:
    rows = connection.execute(select(assignments).where(unjudged)).all()
    for row in rows:
        judge(connection, row.assignment_id, row.hit_id, "Approved", row.auto_approve_at, None)


def judge(
    connection: Connection, assignment_id: str, hit_id: str, verdict: str, at: float, feedback: str | None
) -> bool:
    """Approve or reject a submitted assignment; False when somebody judged it first."""
    when = {"approved_at": at} if verdict == "Approved" else {"rejected_at": at}
    done = connection.execute(
        update(assignments)
        .where(assignments.c.assignment_id == assignment_id, assignments.c.status == "Submitted")
        .values(status=verdict, feedback=feedback, **when)
    )
    if done.rowcount:
        connection.execute(update(hits).where(hits.c.hit_id == hit_id).values(judged=hits.c.judged + 1))
    return bool(done.rowcount)


def values_of(connection: Connection, worker_id: str) -> dict[str, int]:
    """The qualifications that a worker holds, with their values; MTurk's own ones included."""
    granted = select(qualifications.c.qualification_type_id, qualifications.c.value).where(
        qualifications.c.worker_id == worker_id, qualifications.c.status == "Granted"
    )
    found = {row.qualification_type_id: row.value for row in connection.execute(granted)}
    counts = select(assignments.c.status, func.count()).where(
        assignments.c.worker_id == worker_id, assignments.c.status.in_(JUDGED)
    )
    judged: dict[str, int] = {row[0]: row[1] for row in connection.execute(counts.group_by(assignments.c.status))}
    approved, total = judged.get("Approved", 0), sum(judged.values())
    found[NUMBER_APPROVED] = approved
    found[PERCENT_APPROVED] = 100 if total == 0 else round(100 * approved / total)  # nobody starts with a bad name
    # This crowd lets in whom its owner invites: where they live, their age and their standing are the owner's knowledge.
    found |= {ADULT: 1, LOCALE: 1, MASTERS[0]: 1, MASTERS[1]: 1}
    return found


def requirements_of(hit_type: Any) -> list[dict[str, Any]]:
    """The QualificationRequirements of a HIT type."""
    return json.loads(hit_type.requirements)  # type: ignore[no-any-return]


def meets(requirement: Mapping[str, Any], held: Mapping[str, int]) -> bool:
    """Whether somebody who holds these values meets the requirement. A value that is missing meets only DoesNotExist."""
    value = held.get(requirement["QualificationTypeId"])
    comparator = requirement["Comparator"]
    if comparator == "DoesNotExist":
        return value is None
    if value is None:
        return False
    if comparator == "Exists" or requirement["QualificationTypeId"] == LOCALE:
        return True
    wanted = requirement.get("IntegerValues") or []
    if comparator in ("In", "NotIn"):
        return (value in wanted) == (comparator == "In")
    return all(_COMPARE[comparator](value, number) for number in wanted)


def hidden_from(hit_type: Any, held: Mapping[str, int]) -> bool:
    """Whether HITs of this type are not even shown to somebody who holds these values."""
    failing = [requirement for requirement in requirements_of(hit_type) if not meets(requirement, held)]
    return any(requirement.get("ActionsGuarded") == "DiscoverPreviewAndAccept" for requirement in failing)


def qualified(hit_type: Any, held: Mapping[str, int]) -> bool:
    """Whether somebody who holds these values may accept HITs of this type."""
    return all(meets(requirement, held) for requirement in requirements_of(hit_type))


def pass_mark(requirement: Mapping[str, Any]) -> int | None:
    """The least value that meets the requirement, where it is of that kind."""
    numbers = requirement.get("IntegerValues") or []
    if requirement["Comparator"] == "GreaterThanOrEqualTo" and numbers:
        return int(numbers[0])
    if requirement["Comparator"] == "GreaterThan" and numbers:
        return int(numbers[0]) + 1
    return None
