"""What a person does to people from the desk: approve, reject, bonus, block, unblock. Said first, then confirmed, once only.

All of it goes through the same functions as the commands (review, bonus, budget) and leaves the same rows in LEDGER and log.
"""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curate.crowd import bonus as bonuses
from curate.crowd import budget, journal
from curate.crowd.bonus import Bonus
from curate.crowd.review import Verdict, checked_reason, review
from curate.crowd.tables import write_tables
from schemas.errors import UserError
from schemas.tables import VOTES

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.desk.room import Crowd, Room

NAMED = 50  # assignments that the log names; more are counted only
KINDS = ("approve", "reject", "bonus", "block", "unblock")


@dataclass
class Plan:
    """One action that has been asked for, and what came of it once it was confirmed."""

    kind: str
    said: list[str]  # what will happen, in words and amounts
    verdicts: list[Verdict] = field(default_factory=list)
    bonus: Bonus | None = None
    worker_id: str = ""
    reason: str = ""
    done: str | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Actions:
    """Remembers what was asked for, by the token of its form: confirmed twice, it happens once."""

    def __init__(self, room: Room, crowd: Crowd) -> None:
        self.room, self.crowd = room, crowd
        self.plans: dict[str, Plan] = {}

    def plan(self, fields: Mapping[str, str]) -> tuple[str, Plan]:
        """What the form asks for, with its token; raises UserError where that cannot be done. Nothing happens yet."""
        kind, worker_id = fields.get("kind", ""), fields.get("worker_id", "")
        reason = fields.get("reason", "")
        if kind in ("approve", "reject"):
            plan = self._judging(kind, worker_id, fields.get("assignment_id", ""), reason)
        elif kind == "bonus":
            plan = self._bonus(worker_id, fields.get("assignment_id", ""), fields.get("usd", ""), reason)
        elif kind in KINDS:
            plan = self._blocking(kind, worker_id, reason)
        else:
            raise UserError(f"{kind!r} is nothing that this desk does; it can {', '.join(KINDS)}")
        token = secrets.token_hex(16)
        self.plans[token] = plan
        return token, plan

    def confirm(self, token: str) -> str:
        """Do what was planned, once; returns what came of it, also when it is asked again."""
        plan = self.plans.get(token)
        if plan is None:
            raise UserError("this page is of an earlier run of the desk; go back and ask again, nothing was done")
        with plan.lock:
            if plan.done is None:
                plan.done = self._carry_out(plan)
            return plan.done

    def waiting(self, worker_id: str = "") -> pd.DataFrame:
        """Assignments that nobody has judged: a row each, of one worker or of all."""
        votes = self.crowd.facts().votes
        rows = votes[(votes["endpoint"] == self.crowd.requester.endpoint) & (votes["assignment_status"] == "Submitted")]
        rows = rows[rows["worker_id"] == worker_id] if worker_id else rows
        return rows.drop_duplicates("assignment_id")

    def _judging(self, kind: str, worker_id: str, assignment_id: str, reason: str) -> Plan:
        rows = self.waiting(worker_id)
        if assignment_id:
            rows = rows[rows["assignment_id"] == assignment_id]
        if rows.empty:
            raise UserError("no answer that was read waits for a verdict there; it may have been judged meanwhile")
        said = checked_reason(reason) if kind == "reject" else None
        verdicts = [
            Verdict(str(a), str(hit), str(worker), said)
            for a, hit, worker in zip(rows["assignment_id"], rows["hit_id"], rows["worker_id"], strict=True)
        ]
        cost = budget.dollars(self._price(verdicts))
        count = f"{len(verdicts)} answer{'s' if len(verdicts) > 1 else ''}"
        who = f"of {worker_id}" if worker_id else f"of {rows['worker_id'].nunique()} workers"
        if said is None:
            lines = [f"Approve {count} {who}", f"{cost} with fees becomes earned; it was reserved before"]
        else:
            lines = [
                f"Reject {count} {who}", f"{cost} with fees is given back to the budget; the work is not paid",
                f"The worker reads: “{said}”",
            ]  # fmt: skip
        return Plan(kind, lines, verdicts, worker_id=worker_id, reason=said or "")

    def _price(self, verdicts: list[Verdict]) -> int:
        task, endpoint = self.room.task.task, self.crowd.requester.endpoint
        with closing(self.room.workspace.project()) as project:
            made = {entry.hit_id: entry for entry in journal.entries(project, task, endpoint, "created")}
            total = 0
            for hit_id, count in Counter(verdict.hit_id for verdict in verdicts).items():
                entry = made.get(hit_id)
                if entry is None:
                    raise UserError(f"HIT {hit_id} was not made from this workspace at {endpoint}")
                price = budget.reserved_price(project, entry.token, entry.reward_cents, entry.max_assignments)
                total += count * price.total
            return total

    def _bonus(self, worker_id: str, assignment_id: str, usd: str, reason: str) -> Plan:
        votes = self.crowd.facts().votes
        theirs = votes[(votes["worker_id"] == worker_id) & (votes["endpoint"] == self.crowd.requester.endpoint)]
        known = list(dict.fromkeys(theirs["assignment_id"]))
        if not known or (assignment_id and assignment_id not in known):
            raise UserError(
                f"worker {worker_id}: a bonus belongs to an answer of theirs, and that one has not been read"
            )
        one = Bonus(worker_id, assignment_id or str(known[0]), bonuses.cents_of(usd), checked_reason(reason))
        task, name = self.room.task, self.room.workspace.config.name
        with closing(self.room.workspace.project()) as project:
            if not bonuses.unpaid(project, name, task, [one]):
                raise UserError("this bonus has been paid: same worker, answer, amount and reason; say another reason")
            cost = bonuses.cost(task, one)
            budget.check(project, task, cost.total - bonuses.reserved(project, name, task, [one]))
        fee = f", {budget.dollars(cost.fee)} fee" if cost.fee else ""
        said = [f"Pay {worker_id} {budget.dollars(cost.reward)}{fee}", f"The worker reads: “{one.reason}”"]
        return Plan("bonus", said, bonus=one, worker_id=worker_id, reason=one.reason)

    def _blocking(self, kind: str, worker_id: str, reason: str) -> Plan:
        if not worker_id:
            raise UserError("which worker? The form names none")
        if kind == "unblock":
            return Plan(kind, [f"Let {worker_id} take your work again"], worker_id=worker_id, reason=reason.strip())
        said = checked_reason(reason)
        lines = [
            f"Block {worker_id}: no more of your work at {self.crowd.requester.endpoint}",
            "Answers that are there stay, and are paid; `curate workers exclude` leaves them out of the labels",
            f"For you alone: “{said}”",
        ]
        return Plan(kind, lines, worker_id=worker_id, reason=said)

    def _carry_out(self, plan: Plan) -> str:
        with self.room.pen.write(f"curate desk ({plan.kind})"):
            if plan.verdicts:
                return self._judge(plan)
            if plan.bonus:
                return self._pay(plan.bonus)
            requester = self.crowd.requester
            (requester.block if plan.kind == "block" else requester.unblock)(plan.worker_id, plan.reason)
            facts = {"worker_id": plan.worker_id, "reason": plan.reason, "endpoint": requester.endpoint}
            self.room.workspace.log(f"workers {plan.kind}", **facts, via="desk")
            return f"{plan.worker_id} is {plan.kind}ed"

    def _judge(self, plan: Plan) -> str:
        here, task = self.room.workspace, self.room.task
        path = here.of_task(task.task, "votes")
        with closing(here.project()) as project:
            statuses = review(project, self.crowd.requester, task, plan.verdicts)
            VOTES.write(_noted(VOTES.read(path), statuses), path)
            outputs = [path, *write_tables(here, project, task.task)]
        counts = dict(sorted(Counter(statuses.values()).items()))
        reason = {"reason": plan.reason} if plan.reason else {}
        few = {"assignments": list(statuses)} if len(statuses) <= NAMED else {}
        here.log(f"hits {plan.kind}", outputs=outputs, counts=counts, **few, **reason, via="desk")
        return ", ".join(f"{count} {status.lower()}" for status, count in counts.items())

    def _pay(self, one: Bonus) -> str:
        here, task = self.room.workspace, self.room.task
        with closing(here.project()) as project:
            new = bonuses.pay(project, self.crowd.requester, here.config.name, task, one)
            outputs = write_tables(here, project, task.task)
        here.log(
            "pay bonus", outputs=outputs[1:], bonuses=int(new), usd=one.cents / 100, worker_id=one.worker_id, via="desk"
        )
        return f"{budget.dollars(one.cents * budget.CENT)} paid to {one.worker_id}" + ("" if new else ", before")


def _noted(votes: pd.DataFrame, statuses: Mapping[str, str]) -> pd.DataFrame:
    """The votes with the new status of the assignments that were judged."""
    known = votes["assignment_id"].map(dict(statuses))
    return votes.assign(assignment_status=known.where(known.notna(), votes["assignment_status"]))
