"""Bonuses: granted once for a token, listed by HIT or assignment, counted in the worker's record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import insert, select

from curate.crowd.server import inbox
from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.operations.assignments import own_assignment
from curate.crowd.server.operations.blocks import known_worker
from curate.crowd.server.operations.call import Call, keep_token, page, seen_token
from curate.crowd.server.operations.hits import own_hit
from curate.crowd.server.schema import assignments, bonuses
from curate.crowd.server.store import new_id
from curate.crowd.server.texts import LANGUAGES, word

MOST = Decimal("10000.00")  # the balance that GetAccountBalance tells


def send_bonus(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Grant a bonus for an answer that this worker sent in. The reason reaches the worker's inbox."""
    amount = Decimal(data["BonusAmount"])
    if amount <= 0:
        raise BadInput(f"BonusAmount: {data['BonusAmount']} is not above 0")
    if amount > MOST:
        raise RequestError("InsufficientFunds", f"A bonus of {amount} is more than the balance of {MOST}.")
    if not data["Reason"].strip():
        raise BadInput("Reason: is required; the Worker reads it")
    with call.store.writing() as connection:
        if earlier := seen_token(connection, call, "SendBonus", data):
            raise RequestError(
                "BonusAlreadyExists",
                f"The bonus {earlier} already exists: a request with this UniqueRequestToken granted it.",
            )
        row = own_assignment(connection, call, data["AssignmentId"])
        worker = known_worker(connection, data["WorkerId"])
        person = row.merged_into or row.worker_id  # two accounts of one person are paid as one
        if worker.worker_id not in (person, row.worker_id):
            raise BadInput(f"WorkerId: assignment {row.assignment_id} is not by worker {worker.worker_id}")
        values = {"requester": call.requester, "worker_id": person, "assignment_id": row.assignment_id}
        connection.execute(
            insert(bonuses).values(**values, amount=data["BonusAmount"], reason=data["Reason"], granted_at=call.now)
        )
        keep_token(connection, call, "SendBonus", data, new_id())
        language = worker.language if worker.language in LANGUAGES else "en"
        subject = f"{word('bonus', language)}: ${amount:.2f}"
        inbox.post(connection, person, call.requester, subject, data["Reason"], call.now)
    return {}


def list_bonus_payments(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of the bonuses for one HIT or one assignment of the caller, oldest first."""
    if ("HITId" in data) == ("AssignmentId" in data):
        raise BadInput("HITId, AssignmentId: exactly one of them is required")
    rows = select(bonuses).where(bonuses.c.requester == call.requester)
    with call.store.reading() as connection:
        if "HITId" in data:
            own_hit(connection, call, data["HITId"])
            rows = rows.join(assignments, assignments.c.assignment_id == bonuses.c.assignment_id)
            rows = rows.where(assignments.c.hit_id == data["HITId"])
        else:
            own_assignment(connection, call, data["AssignmentId"])
            rows = rows.where(bonuses.c.assignment_id == data["AssignmentId"])
        return page(connection, rows, [bonuses.c.seq], data, "BonusPayments", _shape)


def _shape(row: Any) -> dict[str, Any]:
    return {
        "WorkerId": row.worker_id,
        "BonusAmount": row.amount,
        "AssignmentId": row.assignment_id,
        "Reason": row.reason,
        "GrantTime": row.granted_at,
    }


OPERATIONS = {"SendBonus": send_bonus, "ListBonusPayments": list_bonus_payments}
