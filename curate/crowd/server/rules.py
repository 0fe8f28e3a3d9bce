"""The life of a HIT and of an assignment, as MTurk documents it: status, deadlines, auto-approval, who may accept.

Nothing here runs by a clock of its own. `settle` brings the store to the present and is called before every request.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from curate.crowd.server import events
from curate.crowd.server.schema import assignments, blocks, drafts, hit_types, hits, qualifications, workers
from curate.crowd.server.store import SETTLE_LOCK, Store, alone, one
from curate.crowd.server.store import now as time_now

JUDGED = ("Approved", "Rejected")
DONE = ("Submitted", *JUDGED)
KEPT = 120 * 24 * 3600  # seconds after which a closed HIT is disposed of

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


def is_assignable(now: Any) -> ColumnElement[bool]:
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


def unreviewed(now: Any) -> ColumnElement[bool]:
    """The condition under which a HIT's time is over and its review policy has not run yet."""
    return and_(
        hits.c.review_waiting.is_(True), hits.c.expires_at <= now, hits.c.pending == 0, hits.c.disposed_at.is_(None)
    )


_UNREVIEWED = exists().where(unreviewed(bindparam("now")))
_PLACE = select(workers.c.country, workers.c.subdivision).where(workers.c.worker_id == bindparam("id"))
_ANYTHING_DUE = select(
    or_(
        exists().where(_overdue(bindparam("now"))),
        exists().where(_unjudged(bindparam("now"))),
        events.ANY_EXPIRED,
        _UNREVIEWED,
    )
)  # asked before every request, so built once


def settle(store: Store, now: float) -> None:
    """Abandon what is past its deadline, approve what nobody judged in time, tell of HITs that expired, run their review policies."""
    if anything_due(store, now):
        store.retrying(lambda: _settle(store, now))


def anything_due(store: Store, now: float) -> bool:
    """Whether `settle` would find work."""
    return any(store.row(_ANYTHING_DUE, {"now": now}))


def _settle(store: Store, now: float) -> None:
    from curate.crowd.server import reviewing  # which judges by these rules

    with store.writing() as connection:
        alone(connection, SETTLE_LOCK)  # what another server has just settled is not settled again
        events.tell_expired(connection, now)
        _abandon(connection, _overdue(now), now)
        _approve(connection, _unjudged(now))
        reviewing.settle(connection, now)


def _abandon(connection: Connection, overdue: ColumnElement[bool], now: float) -> None:
    for row in connection.execute(select(assignments.c.assignment_id, assignments.c.hit_id).where(overdue)).all():
        give_back(connection, row.assignment_id, row.hit_id, "Abandoned", now)


def give_back(connection: Connection, assignment_id: str, hit_id: str, status: str, now: float | None = None) -> None:
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
        now = time_now() if now is None else now
        events.record(connection, f"Assignment{status}", hit_id, now, assignment_id)
        tell_reviewable(connection, hit_id, now)


def forget_drafts(connection: Connection, assignment_id: str) -> None:
    """An assignment that ends, however it ends, leaves no drafts."""
    connection.execute(_FORGET_DRAFTS, {"id": assignment_id})


_FORGET_DRAFTS = delete(drafts).where(drafts.c.assignment_id == bindparam("id"))


def tell_reviewable(connection: Connection, hit_id: str, now: float) -> None:
    """After an assignment has ended: HITReviewable when it was the last that anything could come from."""
    if events.asked_about(connection, hit_id) is None:
        return
    if one(connection, select(hits.c.hit_id).where(hits.c.hit_id == hit_id, is_reviewable(now))) is not None:
        events.record(connection, "HITReviewable", hit_id, now)


def dispose_old(store: Store, now: float) -> int:
    """Dispose of HITs that have been judged and closed for 120 days, as MTurk does; how many."""
    table, cutoff = hits.c, now - KEPT
    touched = exists().where(assignments.c.hit_id == table.hit_id, assignments.c.submitted_at > cutoff)
    closed = or_(table.expires_at <= cutoff, table.taken >= table.max_assignments)
    old = and_(is_reviewable(now), closed, table.created_at <= cutoff, table.judged == table.taken, ~touched)
    with store.writing() as connection:
        gone = connection.scalars(select(table.hit_id).where(old)).all()
        for hit_id in gone:
            dispose(connection, hit_id, now)
    return len(gone)


def dispose(connection: Connection, hit_id: str, now: float) -> None:
    """The HIT is gone from every list; its answers stay."""
    there = (hits.c.hit_id == hit_id) & hits.c.disposed_at.is_(None)
    if connection.execute(update(hits).where(there).values(disposed_at=now)).rowcount:
        events.record(connection, "HITDisposed", hit_id, now)


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
        events.record(connection, f"Assignment{verdict}", hit_id, at, assignment_id)
    return bool(done.rowcount)


class Place(NamedTuple):
    """Where somebody lives, as far as it is known: ISO 3166 country, ISO 3166-2 subdivision without it."""

    country: str | None
    subdivision: str | None


def values_of(connection: Connection, worker_id: str) -> dict[str, Any]:
    """The qualifications that a worker holds, with their values; MTurk's own ones included (of LOCALE the Place)."""
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
    # This crowd lets in whom its owner invites: their age and their standing are the owner's knowledge.
    found |= {ADULT: 1, MASTERS[0]: 1, MASTERS[1]: 1}
    row = one(connection, _PLACE, {"id": worker_id})
    found[LOCALE] = Place(row.country, row.subdivision) if row else Place(None, None)
    return found


def requirements_of(hit_type: Any) -> list[dict[str, Any]]:
    """The QualificationRequirements of a HIT type."""
    return json.loads(hit_type.requirements)  # type: ignore[no-any-return]


def meets(requirement: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether somebody who holds these values meets the requirement. A value that is missing meets only DoesNotExist."""
    value = held.get(requirement["QualificationTypeId"])
    comparator = requirement["Comparator"]
    if comparator == "DoesNotExist":
        return value is None
    if value is None:
        return False
    if comparator == "Exists":
        return True
    if requirement["QualificationTypeId"] == LOCALE:
        return _lives_right(requirement, value)
    wanted = requirement.get("IntegerValues") or []
    if comparator in ("In", "NotIn"):
        return (value in wanted) == (comparator == "In")
    return all(_COMPARE[comparator](value, number) for number in wanted)


def _lives_right(requirement: Mapping[str, Any], place: Place) -> bool:
    """Whether a place is, or is not, one of those named. One that is not known is taken to be right, either way."""
    found = [_same_place(wanted, place) for wanted in requirement.get("LocaleValues") or []]
    if requirement["Comparator"] in ("NotEqualTo", "NotIn"):
        return True not in found
    return not found or True in found or None in found


def _same_place(wanted: Mapping[str, Any], place: Place) -> bool | None:
    """None where that cannot be said."""
    if place.country is None:
        return None
    if place.country.upper() != wanted["Country"].upper():
        return False
    subdivision = wanted.get("Subdivision")
    if not subdivision:
        return True
    return None if place.subdivision is None else place.subdivision.upper() == subdivision.upper()


def qualified(hit_type: Any, held: Mapping[str, Any]) -> bool:
    """Whether somebody who holds these values may accept HITs of this type."""
    return may("Accept", hit_type, held)


def may(action: str, hit_type: Any, held: Mapping[str, Any]) -> bool:
    """Whether somebody who holds these values may Discover, Preview or Accept HITs of this type."""
    return all(meets(r, held) for r in requirements_of(hit_type) if action in _guarded(r))


def _guarded(requirement: Mapping[str, Any]) -> str:
    """The actions that a requirement guards, in one word; RequiredToPreview is the older way to say PreviewAndAccept."""
    default = "PreviewAndAccept" if requirement.get("RequiredToPreview") else "Accept"
    return requirement.get("ActionsGuarded") or default  # type: ignore[no-any-return]


def is_blocked(worker_id: str | BindParameter[str]) -> ColumnElement[bool]:
    """The condition under which a HIT type's requester does not want this worker."""
    return exists().where(blocks.c.requester == hit_types.c.requester, blocks.c.worker_id == worker_id)


def pass_mark(requirement: Mapping[str, Any]) -> int | None:
    """The least value that meets the requirement, where it is of that kind."""
    numbers = requirement.get("IntegerValues") or []
    if requirement["Comparator"] == "GreaterThanOrEqualTo" and numbers:
        return int(numbers[0])
    if requirement["Comparator"] == "GreaterThan" and numbers:
        return int(numbers[0]) + 1
    return None
