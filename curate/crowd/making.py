"""Planned HITs are made, each exactly once, however often the command is killed on the way."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from curate.crowd import budget, journal
from curate.crowd.crash import crash_point
from curate.crowd.journal import Entry
from curate.crowd.question import Place, html_question, task_page
from curate.crowd.requester import Refused
from curate.database import transaction
from schemas.errors import UserError
from schemas.question import PracticePicture, say
from schemas.task import Task

if TYPE_CHECKING:
    from curate.crowd.requester import Requester
    from curate.crowd.rounds import Plan

CONNECTIONS = 4  # HITs being made at once
NOTED = 40  # made HITs are noted so many at a time; those of a run that died before are found again by their names


@dataclass
class Made:
    """What a run made, and what the endpoint would not make."""

    count: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # reason to HITs

    def lines(self) -> list[str]:
        """The refusals as a person reads them."""
        return [
            f"{number} HITs were refused and are not made: {reason}. Nothing is reserved for them any more; "
            "`curate hits create` asks their pictures again"
            for reason, number in self.refused.most_common()
        ]


def create(
    project: sqlite3.Connection,
    requester: Requester,
    task: Task,
    planned: Plan,
    place: Place,
    requirements: list[dict[str, object]],
    step: Callable[[int], object] = lambda _: None,
    name: str = "",
    practice: Sequence[PracticePicture] = (),
) -> Made:
    """Make the planned HITs and those that wait. Killed at any point and run again, it asks nothing twice and forgets nothing.

    Everything is written down first, together with the money it may cost. Then each HIT is made under its own token, several
    at once, and noted. What waits from an earlier run is looked for at the endpoint first, because a token is remembered for
    a day only. A HIT that the endpoint refuses for good is over: its reservation is given back and its pictures are free.
    """
    todo = (*planned.waiting, *planned.new)

    def question(entry: Entry) -> str:
        return html_question(task_page(task, entry.image_ids, place, practice))

    if todo:  # before anything is written: a question that is too large, a crowd that is not there
        question(max(todo, key=lambda entry: len(entry.images)))
    types = _hit_types(requester, task, todo, requirements, name)
    balance = round(requester.balance_usd() * budget.MICRO)
    if planned.cost > balance:
        raise UserError(
            f"{requester.endpoint}: this costs {budget.dollars(planned.cost)}, the account there holds {budget.dollars(balance)}"
        )
    crash_point("before-journal")
    with transaction(project):
        budget.reserve(project, task, [(e.token, e.max_assignments * planned.price.total) for e in planned.new])
        journal.write_down(project, planned.new)
    crash_point("after-journal")
    there = requester.hits_by_annotation() if planned.waiting else {}

    def ask(entry: Entry) -> str:
        if found := there.get(entry.token):
            return found
        crash_point("before-call")
        hit_id = requester.create_hit(
            entry.token,
            types[entry.reward_cents, entry.kept_out],
            question(entry),
            entry.max_assignments,
            round(task.crowd.lifetime_days * 86400),
        )
        crash_point("after-call")
        return hit_id

    made = Made()
    for answers in _in_parallel(ask, todo):
        crash_point("before-made")
        with transaction(project):
            for entry, answer in answers:
                if isinstance(answer, Refused):
                    _refuse(project, entry)
                    made.refused[str(answer)] += 1
                else:
                    journal.made(project, entry.token, answer, types[entry.reward_cents, entry.kept_out])
                    made.count += 1
        crash_point("after-made")
        step(len(answers))
    return made


def _in_parallel(ask: Callable[[Entry], str], todo: Sequence[Entry]) -> Iterator[list[tuple[Entry, str | Refused]]]:
    """The answers, some dozens at a time. An error that is no refusal is raised after the answers that came beside it."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for start in range(0, len(todo), NOTED):
            calls = [(entry, threads.submit(ask, entry)) for entry in todo[start : start + NOTED]]
            errors = {entry.token: call.exception() for entry, call in calls}
            refused = {token: error for token, error in errors.items() if isinstance(error, Refused)}
            yield [
                (e, refused.get(e.token) or c.result()) for e, c in calls if e.token in refused or not errors[e.token]
            ]
            for error in errors.values():
                if error is not None and not isinstance(error, Refused):
                    raise error


def _refuse(project: sqlite3.Connection, entry: Entry) -> None:
    """A HIT that will never be made: it is over, and what was reserved for it is free."""
    journal.ended(project, entry.token, "refused")
    price = budget.reserved_price(project, entry.token, entry.reward_cents, entry.max_assignments)
    budget.release(project, entry.token, entry.task, entry.max_assignments, price, None, "HIT refused")


def _hit_types(
    requester: Requester, task: Task, todo: Sequence[Entry], requirements: list[dict[str, object]], name: str
) -> Mapping[tuple[int, tuple[str, ...]], str]:
    """The HIT type for each reward and each set of workers who are kept out."""
    barred = {out: [*requirements, *_without(requester, name, task, out)] for out in {entry.kept_out for entry in todo}}
    return {
        (cents, out): _hit_type(requester, task, cents, barred[out])
        for cents, out in sorted({(entry.reward_cents, entry.kept_out) for entry in todo})
    }


def _without(requester: Requester, name: str, task: Task, workers: Sequence[str]) -> list[dict[str, object]]:
    """A requirement that these workers do not meet: a qualification that only they are given. Nothing for nobody.

    The usual way on MTurk. Its name is the hash of the workers, so a killed run finds it again and grants it anew.
    """
    if not workers:
        return []
    called = f"{name}: answered before, {task.task} {hashlib.sha256(json.dumps(workers).encode()).hexdigest()[:12]}"
    identity = requester.find_qualification(called) or requester.create_qualification(
        Name=called,
        Description="Given to workers who have answered some pictures of a HIT: it asks somebody else.",
        QualificationTypeStatus="Active",
    )
    for worker in workers:
        requester.grant(identity, worker)
    return [
        {"QualificationTypeId": identity, "Comparator": "DoesNotExist", "ActionsGuarded": "DiscoverPreviewAndAccept"}
    ]


def _hit_type(requester: Requester, task: Task, reward_cents: int, requirements: list[dict[str, object]]) -> str:
    """The HIT type of this task at this reward, asked for once."""
    question, instructions = say(task.question, "en"), say(task.instructions, "en")
    return requester.hit_type(
        Title=question[:128],
        Description=(instructions or question)[:2000],
        Keywords=f"pictures, label, {task.task}",
        Reward=f"{reward_cents / 100:.2f}",
        AssignmentDurationInSeconds=task.crowd.minutes * 60,
        AutoApprovalDelayInSeconds=round(task.crowd.auto_approve_days * 86400),
        QualificationRequirements=requirements,
    )
