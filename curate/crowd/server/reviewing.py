"""Review policies at work: run in the transaction that brings an answer in or finds a HIT reviewable; what they find and do is kept."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, insert, select, update

from curate.crowd.server import events, rules
from curate.crowd.server.answers import read_answers
from curate.crowd.server.review_policies import (
    Agreement,
    Extension,
    KnownAnswers,
    Plurality,
    Verdicts,
    agreement,
    read_known_answers,
    read_plurality,
)
from curate.crowd.server.schema import assignments, hits, review_results
from curate.crowd.server.store import new_id, one


class _Report:
    """What one run of a policy finds and does, in order, under one ActionId each."""

    def __init__(self, hit_id: str, level: str, now: float) -> None:
        self.hit_id, self.level, self.now = hit_id, level, now
        self.run = new_id()
        self.rows: list[dict[str, Any]] = []

    def result(self, subject: tuple[str, str], key: str, value: object, question: str | None = None) -> None:
        """A finding about a (type, id)."""
        found = {"ActionId": self.run, "SubjectId": subject[1], "SubjectType": subject[0], "QuestionId": question}
        self._add("result", {**found, "Key": key, "Value": str(value)})

    def action(self, name: str, target: tuple[str, str], status: str, result: str, code: str | None = None) -> None:
        """Something done to a (type, id), or that could not be done."""
        done = {
            "ActionId": new_id(),
            "ActionName": name,
            "TargetId": target[1],
            "TargetType": target[0],
            "Status": status,
        }
        error = f"AWS.MechanicalTurk.{code}" if code else None
        self._add("action", {**done, "CompleteTime": self.now, "Result": result, "ErrorCode": error})

    def _add(self, kind: str, body: dict[str, Any]) -> None:
        present = {name: value for name, value in body.items() if value is not None}
        self.rows.append({"hit_id": self.hit_id, "level": self.level, "kind": kind, "body": json.dumps(present)})

    def keep(self, connection: Connection) -> None:
        """Write it down."""
        connection.execute(insert(review_results), self.rows)


def after_submit(connection: Connection, hit_id: str, assignment_id: str, now: float) -> None:
    """Run what the HIT's policies ask for once an answer is in."""
    hit = _hit(connection, hit_id)
    if hit.assignment_review_policy is not None:
        _score_known_answers(connection, hit, assignment_id, now)
    if hit.hit_review_policy is not None:
        review_hit(connection, hit_id, now)


def settle(connection: Connection, now: float) -> None:
    """Run the HIT-level policies of HITs that became reviewable because their time is over."""
    for hit_id in connection.scalars(select(hits.c.hit_id).where(rules.unreviewed(now)).order_by(hits.c.seq)).all():
        review_hit(connection, hit_id, now)


def expect_again(connection: Connection, hit_id: str) -> None:
    """A HIT that more may come in for is reviewed again when it is reviewable again."""
    change = update(hits).where(hits.c.hit_id == hit_id, hits.c.hit_review_policy.is_not(None))
    connection.execute(change.values(review_waiting=True))


def _score_known_answers(connection: Connection, hit: Any, assignment_id: str, now: float) -> None:
    policy = read_known_answers(json.loads(hit.assignment_review_policy))
    row = one(connection, select(assignments).where(assignments.c.assignment_id == assignment_id))
    report, subject, answers = (
        _Report(hit.hit_id, "Assignment", now),
        ("Assignment", assignment_id),
        read_answers(row.answer),
    )
    right, score = policy.right(answers), policy.score(answers)
    for question, good in right.items():
        report.result(subject, "KnownAnswerCorrect", int(good), question)
    report.result(subject, "KnownAnswerScore", score)
    report.action("review", subject, "Succeeded", f"Reviewed {len(right)} known answers; {sum(right.values())} correct")
    _judge(connection, report, row, policy.verdicts, score)
    if policy.extension and score < policy.extension.below:
        _extend(connection, report, policy.extension)
    report.keep(connection)


def review_hit(connection: Connection, hit_id: str, now: float) -> None:
    """Hold the assignments of a reviewable HIT against each other. While it asks for one more, nobody is judged by it."""
    hit = _hit(connection, hit_id)
    if not hit.review_waiting or rules.status(hit, now) not in ("Reviewable", "Reviewing"):
        return
    policy = read_plurality(json.loads(hit.hit_review_policy))
    answered = assignments.c.status.in_(rules.DONE)
    order = (assignments.c.submitted_at, assignments.c.assignment_id)
    rows = connection.execute(
        select(assignments).where(assignments.c.hit_id == hit_id, answered).order_by(*order)
    ).all()
    answers = {row.assignment_id: read_answers(row.answer) for row in rows}
    counted = [row.assignment_id for row in rows if _counts(policy, hit, row, answers[row.assignment_id])]
    found = agreement(policy, answers, counted)
    report = _Report(hit_id, "HIT", now)
    _tell(report, policy, found, counted)
    again = policy.extension is not None and found.hit_score < policy.extension.below
    extended = again and policy.extension is not None and _extend(connection, report, policy.extension)
    connection.execute(update(hits).where(hits.c.hit_id == hit_id).values(review_waiting=extended))
    for row in rows:
        score = found.worker_score(row.assignment_id)
        if not extended and score is not None:
            _judge(connection, report, row, policy.verdicts, score)
    report.keep(connection)


def _counts(policy: Plurality, hit: Any, row: Any, answers: Any) -> bool:
    """Whether somebody's answers take part in the agreement."""
    if policy.disregard_rejected and row.status == "Rejected":
        return False
    if policy.disregard_below is None or hit.assignment_review_policy is None:
        return True
    known: KnownAnswers = read_known_answers(json.loads(hit.assignment_review_policy))
    return known.score(answers) >= policy.disregard_below


def _tell(report: _Report, policy: Plurality, found: Agreement, counted: list[str]) -> None:
    for question in policy.questions:
        subject = ("Question", report.hit_id)
        agreed = found.agreed.get(question)
        report.result(subject, "AgreedAnswerFound", str(agreed is not None).lower(), question)
        if agreed is not None:
            report.result(subject, "AgreedAnswer", "|".join(sorted(agreed)), question)
            report.result(subject, "AnswerAgreementScore", found.agreement[question], question)
    for assignment in counted:
        subject, score = ("Assignment", assignment), found.worker_score(assignment)
        if score is not None:
            report.result(subject, "WorkerAgreementScore", score)
        report.result(subject, "PluralityAnswersCorrect", found.correct[assignment])
        report.result(subject, "PluralityAnswersIncorrect", found.incorrect[assignment])
    report.result(("HIT", report.hit_id), "HitAgreementScore", found.hit_score)


def _judge(connection: Connection, report: _Report, row: Any, verdicts: Verdicts, score: int) -> None:
    """Approve or reject by score. Somebody who was judged before stays so."""
    verdict = verdicts.of(score)
    if verdict is None:
        return
    name, target = ("approve" if verdict == "Approved" else "reject"), ("Assignment", row.assignment_id)
    reason = verdicts.approve_reason if verdict == "Approved" else verdicts.reject_reason
    if rules.judge(connection, row.assignment_id, row.hit_id, verdict, report.now, reason):
        report.action(name, target, "Succeeded", verdict)
    elif row.status == verdict:
        report.action(name, target, "Succeeded", f"Already {verdict.lower()}")
    else:
        report.action(name, target, "Failed", f"The assignment is {row.status} already", "InvalidAssignmentState")


def _extend(connection: Connection, report: _Report, extension: Extension) -> bool:
    """Let one more person in, within the limits; whether that was done."""
    hit, target = _hit(connection, report.hit_id), ("HIT", report.hit_id)
    wanted = hit.max_assignments + 1
    if wanted > extension.most:
        report.action(
            "extend", target, "Succeeded", f"Already at {hit.max_assignments} of at most {extension.most} assignments"
        )
        return False
    if hit.max_assignments < 10 <= wanted:
        report.action(
            "extend", target, "Failed", "HITs of fewer than 10 assignments stay so", "InvalidMaximumAssignmentsIncrease"
        )
        return False
    until = max(hit.expires_at, report.now + extension.seconds)
    change = update(hits).where(hits.c.hit_id == hit.hit_id)
    connection.execute(change.values(max_assignments=wanted, expires_at=until, expiry_due=until, reviewing=False))
    events.record(connection, "HITExtended", hit.hit_id, report.now)
    report.action("extend", target, "Succeeded", f"Extended to {wanted} assignments")
    return True


def _hit(connection: Connection, hit_id: str) -> Any:
    return one(connection, select(hits).where(hits.c.hit_id == hit_id))
