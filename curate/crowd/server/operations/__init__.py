"""The operations of the requester protocol, one function each: (Call, checked input) -> reply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from curate.crowd.server.operations import (
    account,
    assignments,
    blocks,
    bonuses,
    hits,
    messages,
    notifications,
    qualifications,
    requests,
    review_policies,
)
from curate.crowd.server.operations.call import Call

Operation = Callable[[Call, dict[str, Any]], dict[str, Any]]

OPERATIONS: Mapping[str, Operation] = {
    **account.OPERATIONS,
    **qualifications.OPERATIONS,
    **hits.OPERATIONS,
    **assignments.OPERATIONS,
    **blocks.OPERATIONS,
    **bonuses.OPERATIONS,
    **messages.OPERATIONS,
    **notifications.OPERATIONS,
    **requests.OPERATIONS,
    **review_policies.OPERATIONS,
}
