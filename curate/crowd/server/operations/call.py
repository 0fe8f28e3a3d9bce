"""What every operation gets, and what several of them need: pages of a list, and tokens that stop repeats."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, literal, select, tuple_

from curate.crowd.server.errors import RequestError
from curate.crowd.server.schema import tokens
from curate.crowd.server.store import Store

DEFAULT_PAGE = 10
TOKEN_LIFE = 24 * 3600


@dataclass(frozen=True)
class Call:
    """One request: the store, who asks, and when."""

    store: Store
    requester: str
    now: float


def page(
    connection: Connection,
    rows: Select[Any],
    order: Sequence[ColumnElement[Any]],
    data: dict[str, Any],
    name: str,
    shape: Callable[[Any], dict[str, Any]],
) -> dict[str, Any]:
    """One page of a list, in `order`, which must name each row once.

    NextToken stands on every page that holds something, even the last full one: clients loop until it is missing, and some
    read it without asking whether it is there.
    """
    if token := data.get("NextToken"):
        after = tuple_(*(literal(value) for value in _read_token(token, len(order))))
        rows = rows.where(tuple_(*order) > after)
    marks = [column.label(f"_order_{number}") for number, column in enumerate(order)]
    limit = data.get("MaxResults", DEFAULT_PAGE)
    found = connection.execute(rows.add_columns(*marks).order_by(*order).limit(limit)).all()
    reply: dict[str, Any] = {"NumResults": len(found), name: [shape(row) for row in found]}
    if found:
        reply["NextToken"] = _write_token(list(found[-1][-len(order) :]))
    return reply


def _write_token(values: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def _read_token(token: str, length: int) -> list[Any]:
    try:
        values = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (ValueError, binascii.Error):
        values = None
    if (
        not isinstance(values, list)
        or len(values) != length
        or not all(isinstance(v, int | float | str) for v in values)
    ):
        raise RequestError("InvalidNextToken", "The NextToken is not one that this list gave out.")
    return values


def seen_token(connection: Connection, call: Call, operation: str, data: dict[str, Any]) -> str | None:
    """What an earlier request with this UniqueRequestToken made, or None. Tokens hold for 24 hours."""
    token = data.get("UniqueRequestToken")
    if token is None:
        return None
    connection.execute(delete(tokens).where(tokens.c.created_at < call.now - TOKEN_LIFE))
    return connection.scalar(
        select(tokens.c.result_id).where(
            tokens.c.requester == call.requester, tokens.c.operation == operation, tokens.c.token == token
        )
    )


def keep_token(connection: Connection, call: Call, operation: str, data: dict[str, Any], result_id: str) -> None:
    """Remember what this UniqueRequestToken made."""
    if token := data.get("UniqueRequestToken"):
        values = {"requester": call.requester, "operation": operation, "token": token}
        connection.execute(insert(tokens).values(**values, result_id=result_id, created_at=call.now))


def bounded(data: dict[str, Any], name: str, low: int, high: int) -> None:
    """Raise unless the number, where given, is in the documented range."""
    from curate.crowd.server.errors import BadInput

    value = data.get(name)
    if value is not None and not low <= value <= high:
        raise BadInput(f"{name}: {value} is not between {low} and {high}")
