"""What workers do: see the work, take a test, accept a HIT, answer it, give it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update

from curate.crowd.crash import crash_point
from curate.crowd.server import events, qualifying, reviewing, rules
from curate.crowd.server.answers import check_answers, form_answers_xml
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.operations.qualifications import grant
from curate.crowd.server.questions import Form, parse_answer_key, parse_question, parse_test
from curate.crowd.server.schema import assignments, bonuses, hit_types, hits, test_runs, workers
from curate.crowd.server.sessions import NOWHERE, Place, Worker
from curate.crowd.server.store import Store, new_id, now, one
from schemas.question import TaskPage

OPEN = "Accepted"
_PACE_OF, _PACE_NEEDS = 50, 3  # HITs that a worker's pace is taken from, and the fewest that say something

# Asked for on every page, so built once: putting a statement together costs more than running it.
_COLUMNS = {column.name: column for column in (*hit_types.c, *hits.c, *assignments.c)}  # an assignment's own names win
_WITH_HIT = (
    select(*_COLUMNS.values())
    .select_from(assignments)
    .join(hits, hits.c.hit_id == assignments.c.hit_id)
    .join(hit_types, hit_types.c.hit_type_id == hits.c.hit_type_id)
    .where(assignments.c.assignment_id == bindparam("id"))
)

_STANDING = _WITH_HIT.with_only_columns(  # how it stands, without the question
    *(
        _COLUMNS[name]
        for name in (
            "hit_id",
            "status",
            "deadline",
            "auto_approval_delay",
            "assignment_review_policy",
            "hit_review_policy",
        )
    )
)


@dataclass(frozen=True)
class Qualification:
    """One requirement of a HIT type, as it stands for one worker."""

    qualification_type_id: str
    name: str
    state: str  # passed, failed, needed (take the test), pending (taken, not judged yet), missing (no test to take)
    score: int | None
    pass_mark: int | None
    test_url: str | None
    request_url: str | None  # where to ask for one that has no test
    retry_at: float | None  # when a failed test may be taken again; None = now, or never where test_url is None


@dataclass(frozen=True)
class Group:
    """HITs of one type, as one worker sees them."""

    hit_type_id: str
    title: str
    description: str
    reward_usd: float
    minutes: int
    available: int
    open_assignment: str | None
    qualified: bool
    may_preview: bool
    qualifications: list[Qualification]
    pictures: int = 0  # in each HIT; 0 where that is not known
    practice: int = 0  # pictures to learn on
    usd_per_hour: float | None = None  # at this worker's own pace, once it is known


def work_for(store: Store, worker: Worker) -> list[Group]:
    """The groups of HITs that the worker can see: with something left for them, or something of theirs still open."""
    time = now()
    mine = exists().where(
        assignments.c.hit_id == hits.c.hit_id,
        assignments.c.worker_id == worker.worker_id,
        assignments.c.status.in_((OPEN, *rules.DONE)),
    )
    left = select(hits.c.hit_type_id, func.count().label("n")).where(rules.is_assignable(time), ~mine)
    with store.reading() as connection:
        counts = {row.hit_type_id: row.n for row in connection.execute(left.group_by(hits.c.hit_type_id))}
        started = _open_assignments(connection, worker.worker_id)
        held = rules.values_of(connection, worker.worker_id)
        shown = select(hit_types).where(hit_types.c.hit_type_id.in_({*counts, *started}))
        shown = shown.where(~rules.is_blocked(worker.worker_id))
        types = connection.execute(shown.order_by(hit_types.c.created_at, hit_types.c.hit_type_id)).all()
        paces = _paces(connection, worker.worker_id)
        groups = [_group(connection, row, worker, counts, started, held, paces, time) for row in types]
    return [group for group in groups if group is not None]


def _open_assignments(connection: Connection, worker_id: str) -> dict[str, str]:
    """The worker's open assignments by HIT type."""
    rows = select(hits.c.hit_type_id, assignments.c.assignment_id).join(hits, hits.c.hit_id == assignments.c.hit_id)
    mine = rows.where(assignments.c.worker_id == worker_id, assignments.c.status == OPEN)
    return {row.hit_type_id: row.assignment_id for row in connection.execute(mine)}


def _group(
    connection: Connection,
    row: Any,
    worker: Worker,
    counts: Mapping[str, int],
    started: Mapping[str, str],
    held: Mapping[str, Any],
    paces: Mapping[str, float],
    time: float,
) -> Group | None:
    """One group as this worker sees it, or None where it is hidden from people who do not qualify."""
    if not rules.may("Discover", row, held):
        return None
    task, pace = task_of(connection, row.hit_type_id), paces.get(row.hit_type_id)
    return Group(
        hit_type_id=row.hit_type_id,
        title=row.title,
        description=row.description,
        reward_usd=float(row.reward),
        minutes=max(1, row.assignment_duration // 60),
        available=counts.get(row.hit_type_id, 0),
        open_assignment=started.get(row.hit_type_id),
        qualified=rules.qualified(row, held),
        may_preview=rules.may("Preview", row, held),
        qualifications=[_standing(connection, r, worker, held, time) for r in rules.requirements_of(row)],
        pictures=len(task.pictures) if task else 0,
        practice=len(task.practice) if task else 0,
        usd_per_hour=round(float(row.reward) * 3600 / pace, 2) if pace else None,
    )


def _paces(connection: Connection, worker_id: str) -> dict[str, float]:
    """The seconds that a HIT takes this worker, by HIT type: the median of the latest, where there are enough of them."""
    took = (
        select(hits.c.hit_type_id, (assignments.c.submitted_at - assignments.c.accepted_at).label("seconds"))
        .join(hits, hits.c.hit_id == assignments.c.hit_id)
        .where(assignments.c.worker_id == worker_id, assignments.c.status.in_(rules.DONE))
        .order_by(assignments.c.submitted_at.desc())
        .limit(_PACE_OF)
    )
    seconds: dict[str, list[float]] = {}
    for row in connection.execute(took):
        seconds.setdefault(row.hit_type_id, []).append(row.seconds)
    return {kind: max(1.0, median(found)) for kind, found in seconds.items() if len(found) >= _PACE_NEEDS}


def _standing(
    connection: Connection, requirement: Mapping[str, Any], worker: Worker, held: Mapping[str, Any], time: float
) -> Qualification:
    """How one requirement stands for one worker, and what they can do about it."""
    identifier = requirement["QualificationTypeId"]
    kind = qualifying.type_of(connection, identifier)
    score, last = held.get(identifier), qualifying.last_run(connection, identifier, worker.worker_id)
    again = qualifying.retry_at(kind, last) if kind and kind.status == "Active" else None
    to_do = qualifying.url_of(kind) if again is not None else ""
    if rules.meets(requirement, held):
        state = "passed"
    elif last is not None and last.status == "Pending":
        state = "pending"
    elif score is not None or last is not None:
        state = "failed"
    else:
        state = "needed" if to_do.startswith("/test/") else "missing"
    return Qualification(
        qualification_type_id=identifier,
        name=kind.name if kind else _SYSTEM_NAMES.get(identifier, identifier),
        state=state,
        score=score if isinstance(score, int) else None,
        pass_mark=rules.pass_mark(requirement),
        test_url=to_do if to_do.startswith("/test/") and state in ("needed", "failed") else None,
        request_url=to_do if to_do.startswith("/qualification/") and state in ("missing", "failed") else None,
        retry_at=again if again is not None and again > time else None,
    )


_SYSTEM_NAMES = {
    rules.PERCENT_APPROVED: "Percent of assignments approved",
    rules.NUMBER_APPROVED: "Number of HITs approved",
    rules.LOCALE: "Location",
    rules.ADULT: "Adult content",
}


@dataclass(frozen=True)
class Test:
    """A test that a worker may take now."""

    qualification_type_id: str
    name: str
    description: str
    form: Form
    pass_mark: int | None
    task: TaskPage | None  # the work that asks for this test, where it is a task of ours


def test_for(store: Store, worker: Worker, identifier: str) -> Test:
    """The test of a qualification type; raises WorkerError when there is none, or the worker may not take it now."""
    with store.reading() as connection:
        return _test_for(connection, worker, identifier)


def _test_for(connection: Connection, worker: Worker, identifier: str) -> Test:
    kind = qualifying.type_of(connection, identifier)
    if kind is None or kind.test is None or kind.status != "Active":
        raise WorkerError("no_test", 404)
    again = qualifying.retry_at(kind, qualifying.last_run(connection, identifier, worker.worker_id))
    if again is None:
        raise WorkerError("test_taken")
    if again > now():
        raise WorkerError("test_later")
    mark, task = _asked_by(connection, identifier)
    return Test(identifier, kind.name, kind.description, parse_test(kind.test), mark, task)


def _asked_by(connection: Connection, identifier: str) -> tuple[int | None, TaskPage | None]:
    """The mark that the newest HIT type asks of this qualification (the qualification itself has none), and its task."""
    asking = select(hit_types).where(hit_types.c.requirements.contains(identifier, autoescape=True))
    for row in connection.execute(asking.order_by(hit_types.c.created_at.desc())).all():
        for requirement in rules.requirements_of(row):
            if requirement["QualificationTypeId"] == identifier and (mark := rules.pass_mark(requirement)) is not None:
                return mark, task_of(connection, row.hit_type_id)
    return None, None


def task_of(connection: Connection, hit_type_id: str) -> TaskPage | None:
    """The task of the newest HIT of a type, where it is one of ours."""
    newest = select(hits.c.question).where(hits.c.hit_type_id == hit_type_id).order_by(hits.c.seq.desc()).limit(1)
    question = connection.scalar(newest)
    return parse_question(question).task if question else None


@dataclass(frozen=True)
class Result:
    """How a test went. `score` is missing while the requester has not judged it, and where the answer was no."""

    qualification_type_id: str
    name: str
    score: int | None
    passed: bool
    pass_mark: int | None
    pending: bool = False  # waits for the requester
    retry_at: float | None = None  # when it may be taken again; missing = never, or no need


def last_result(store: Store, worker: Worker, identifier: str) -> Result:
    """How the worker's last try at this test went; raises WorkerError when there was none."""
    with store.reading() as connection:
        kind, last = (
            qualifying.type_of(connection, identifier),
            qualifying.last_run(connection, identifier, worker.worker_id),
        )
        if kind is None or last is None:
            raise WorkerError("no_test", 404)
        mark, _ = _asked_by(connection, identifier)
    passed = last.score is not None and (mark is None or last.score >= mark)
    again, pending = None if passed else qualifying.retry_at(kind, last), last.status == "Pending"
    return Result(identifier, kind.name, last.score, passed, mark, pending, again)


def take_test(store: Store, worker: Worker, identifier: str, fields: Sequence[tuple[str, str]]) -> Result:
    """Score the answers and grant the qualification with that value, whether or not it is enough for any HIT."""
    with store.writing() as connection:
        test = _test_for(connection, worker, identifier)
        kind = qualifying.type_of(connection, identifier)
        qualifying.end_test(connection, kind, worker.worker_id, now())
        answers = check_answers(test.form, fields)
        marks = {answer.question: answer.marks for answer in answers}
        score = parse_answer_key(kind.answer_key).score(marks) if kind.answer_key else None
        connection.execute(
            insert(test_runs).values(
                run_id=new_id(),
                qualification_type_id=identifier,
                worker_id=worker.worker_id,
                answer=form_answers_xml(answers),
                score=score,
                submitted_at=now(),
                status="Pending" if score is None else "Granted",
            )
        )
        if score is not None:
            grant(connection, identifier, worker.worker_id, score, now())
    passed = score is not None and (test.pass_mark is None or score >= test.pass_mark)
    return Result(identifier, test.name, score, passed, test.pass_mark, score is None)


def accept(store: Store, worker: Worker, hit_type_id: str) -> str:
    """The id of an assignment in this group: the worker's open one, else a new one on the oldest HIT left for them.

    Never over-assigned: the place is taken by an UPDATE that counts, inside one write transaction, and the store itself
    holds one assignment per worker per HIT.
    """
    with store.writing() as connection:
        if connection.dialect.name != "sqlite":  # where it lets one in at a time anyway
            connection.execute(_LOCK_WORKER, {"worker": worker.worker_id})  # two tabs of one person take turns
        kind = one(connection, _TYPE, {"id": hit_type_id, "worker": worker.worker_id})
        if kind is None:
            raise WorkerError("no_work", 404)
        if kind.open_assignment:
            return str(kind.open_assignment)
        if kind.blocked:
            raise WorkerError("no_work")
        if kind.requirements != "[]" and not rules.qualified(kind, rules.values_of(connection, worker.worker_id)):
            raise WorkerError("not_qualified")
        time = now()
        while hit_id := _next_to_take(connection, worker.worker_id, hit_type_id, time):
            if connection.execute(_TAKE, {"id": hit_id, "now": time}).rowcount:
                assigned = _assign(connection, worker.worker_id, hit_id, time, time + kind.assignment_duration)
                crash_point("accept-before-commit")
                break
        else:
            raise WorkerError("no_work")
    crash_point("accept-committed")
    return assigned


_LOCK_WORKER = select(workers.c.worker_id).where(workers.c.worker_id == bindparam("worker")).with_for_update()
_MINE_OPEN = (
    select(assignments.c.assignment_id)
    .join(hits, hits.c.hit_id == assignments.c.hit_id)
    .where(
        assignments.c.worker_id == bindparam("worker"),
        assignments.c.status == OPEN,
        hits.c.hit_type_id == hit_types.c.hit_type_id,
    )
    .correlate(hit_types)
    .limit(1)
)
_TYPE = select(
    hit_types,
    _MINE_OPEN.scalar_subquery().label("open_assignment"),
    rules.is_blocked(bindparam("worker")).label("blocked"),
).where(hit_types.c.hit_type_id == bindparam("id"))
_MINE_DONE = exists().where(
    assignments.c.hit_id == hits.c.hit_id,
    assignments.c.worker_id == bindparam("worker"),
    assignments.c.status.in_(rules.DONE),
)
_NEXT = (
    select(hits.c.hit_id)
    .where(hits.c.hit_type_id == bindparam("type"), rules.is_assignable(bindparam("now")), ~_MINE_DONE)
    .order_by(hits.c.seq)
    .limit(1)
)
_NEXT_AT_REST = _NEXT.with_for_update(of=hits, skip_locked=True)
_TAKE = (
    update(hits)
    .where(hits.c.hit_id == bindparam("id"), rules.is_assignable(bindparam("now")))
    .values(taken=hits.c.taken + 1, pending=hits.c.pending + 1)
)
_INSERT = insert(assignments)
_FORGET = delete(assignments).where(
    assignments.c.hit_id == bindparam("hit"), assignments.c.worker_id == bindparam("worker")
)


def next_hit(connection: Connection, worker_id: str, hit_type_id: str, time: float) -> str | None:
    """The oldest HIT of a group that is left for this worker, or None."""
    return connection.scalar(_NEXT, {"worker": worker_id, "type": hit_type_id, "now": time})


def _next_to_take(connection: Connection, worker_id: str, hit_type_id: str, time: float) -> str | None:
    """The same; on PostgreSQL one that nobody is taking this moment, so that people do not queue for it."""
    if connection.dialect.name != "sqlite":
        found = connection.scalar(_NEXT_AT_REST, {"worker": worker_id, "type": hit_type_id, "now": time})
        if found:
            return str(found)
    return next_hit(connection, worker_id, hit_type_id, time)


def _assign(connection: Connection, worker_id: str, hit_id: str, time: float, deadline: float) -> str:
    """A new assignment; one that the worker let go earlier makes room for it."""
    connection.execute(_FORGET, {"hit": hit_id, "worker": worker_id})
    identifier = new_id()
    taken = {"assignment_id": identifier, "hit_id": hit_id, "worker_id": worker_id, "status": OPEN}
    connection.execute(_INSERT, {**taken, "accepted_at": time, "deadline": deadline})
    events.record(connection, "AssignmentAccepted", hit_id, time, identifier)
    return identifier


def assignment_of(store: Store, worker: Worker, assignment_id: str) -> Any:
    """An assignment of this worker with its HIT (`.question`, `.deadline`, …); somebody else's is as good as none."""
    row = store.row(_WITH_HIT, {"id": assignment_id})
    if row is None or row.worker_id != worker.worker_id:
        raise WorkerError("no_assignment", 404)
    return row


def any_assignment(store: Store, assignment_id: str) -> Any:
    """An assignment by its unguessable id alone, for pages in the sandboxed frame, to which no cookie travels."""
    row = store.row(_WITH_HIT, {"id": assignment_id})
    if row is None:
        raise WorkerError("no_assignment", 404)
    return row


def submit(store: Store, assignment_id: str, answer: str, place: Place = NOWHERE) -> None:
    """Keep an answer; raises WorkerError when the assignment is closed or past its deadline."""
    with store.writing() as connection:
        row = one(connection, _STANDING, {"id": assignment_id})
        time = now()
        if row is None:
            raise WorkerError("no_assignment", 404)
        if row.status in rules.DONE:
            raise WorkerError("already_submitted")
        if row.status != OPEN or row.deadline <= time:
            raise WorkerError("too_late")
        sent: dict[str, Any] = {"id": assignment_id, "sent": answer, "device": place.device, "address": place.address}
        sent |= {"at": time, "approve_at": time + row.auto_approval_delay}
        if connection.execute(_SEND, sent).rowcount == 0:  # the same form came twice at the same moment
            raise WorkerError("already_submitted")
        connection.execute(_NOT_PENDING, {"id": row.hit_id})
        if row.assignment_review_policy or row.hit_review_policy:
            reviewing.after_submit(connection, row.hit_id, assignment_id, time)
        events.record(connection, "AssignmentSubmitted", row.hit_id, time, assignment_id)
        rules.tell_reviewable(connection, row.hit_id, time)
        rules.forget_drafts(connection, assignment_id)
        crash_point("submit-before-commit")
    crash_point("submit-committed")


_SEND = (
    update(assignments)
    .where(assignments.c.assignment_id == bindparam("id"), assignments.c.status == OPEN)
    .values(
        status="Submitted",
        answer=bindparam("sent"),
        submitted_at=bindparam("at"),
        auto_approve_at=bindparam("approve_at"),
        device=bindparam("device"),
        address=bindparam("address"),
    )
)
_NOT_PENDING = update(hits).where(hits.c.hit_id == bindparam("id")).values(pending=hits.c.pending - 1)


def give_back(store: Store, worker: Worker, assignment_id: str) -> None:
    """Return an accepted HIT without an answer."""
    row = assignment_of(store, worker, assignment_id)
    with store.writing() as connection:
        rules.give_back(connection, assignment_id, row.hit_id, "Returned")


@dataclass(frozen=True)
class Record:
    """What a worker has done so far."""

    submitted: int
    approved: int
    rejected: int
    earned_usd: float  # of approved work, and bonuses
    bonus_usd: float  # of that, bonuses
    waiting: int = 0  # sent, not judged yet
    waiting_usd: float = 0.0
    last_hit_type: str | None = None  # of the HIT that was sent last


def record_of(store: Store, worker: Worker) -> Record:
    """What a worker has sent in, what was approved, and what that earns."""
    rows = (
        select(assignments.c.status, hit_types.c.reward, func.count().label("n"))
        .join(hits, hits.c.hit_id == assignments.c.hit_id)
        .join(hit_types, hit_types.c.hit_type_id == hits.c.hit_type_id)
        .where(assignments.c.worker_id == worker.worker_id, assignments.c.status.in_(rules.DONE))
        .group_by(assignments.c.status, hit_types.c.reward)
    )
    counts = dict.fromkeys(rules.DONE, 0)
    dollars = dict.fromkeys(rules.DONE, 0.0)
    latest = (
        select(hits.c.hit_type_id)
        .join(assignments, assignments.c.hit_id == hits.c.hit_id)
        .where(assignments.c.worker_id == worker.worker_id, assignments.c.status.in_(rules.DONE))
        .order_by(assignments.c.submitted_at.desc())
        .limit(1)
    )
    with store.reading() as connection:
        for row in connection.execute(rows):
            counts[row.status] += row.n
            dollars[row.status] += float(row.reward) * row.n
        last = connection.scalar(latest)
        bonus = _bonus(connection, worker.worker_id)
    return Record(
        submitted=sum(counts.values()),
        approved=counts["Approved"],
        rejected=counts["Rejected"],
        earned_usd=round(dollars["Approved"] + bonus, 2),
        bonus_usd=bonus,
        waiting=counts["Submitted"],
        waiting_usd=round(dollars["Submitted"], 2),
        last_hit_type=last,
    )


def _bonus(connection: Connection, worker_id: str) -> float:
    amounts = connection.scalars(select(bonuses.c.amount).where(bonuses.c.worker_id == worker_id))
    return float(sum((Decimal(amount) for amount in amounts), Decimal(0)))
