"""The account. This crowd moves no money: what is owed to whom is the requester's own ledger."""

from __future__ import annotations

from typing import Any

from curate.crowd.server.operations.call import Call


def get_account_balance(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A fixed balance, as MTurk's sandbox had: nothing here is ever charged."""
    return {"AvailableBalance": "10000.00"}


OPERATIONS = {"GetAccountBalance": get_account_balance}
