"""What review policies found and did; and the files of answers, of which there are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from curate.crowd.server.errors import RequestError
from curate.crowd.server.operations.call import Call, page
from curate.crowd.server.operations.hits import own_hit
from curate.crowd.server.schema import review_results


def list_review_policy_results_for_hit(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """A page of results and actions in the order in which they came, of the levels asked for (both unless said)."""
    kinds = [
        kind for kind, name in (("result", "RetrieveResults"), ("action", "RetrieveActions")) if data.get(name, True)
    ]
    levels = data.get("PolicyLevels") or ["Assignment", "HIT"]
    table = review_results.c
    rows = select(review_results).where(table.hit_id == data["HITId"], table.kind.in_(kinds), table.level.in_(levels))
    with call.store.reading() as connection:
        hit = own_hit(connection, call, data["HITId"])
        found = page(connection, rows, [table.seq], data, "Rows", lambda row: row._mapping)
    reply: dict[str, Any] = {"HITId": hit.hit_id}
    for level, policy in (("Assignment", hit.assignment_review_policy), ("HIT", hit.hit_review_policy)):
        if level in levels and policy is not None:
            reply[f"{level}ReviewPolicy"] = json.loads(policy)
            reply[f"{level}ReviewReport"] = _report([row for row in found["Rows"] if row["level"] == level])
    if "NextToken" in found:
        reply["NextToken"] = found["NextToken"]
    return reply


def _report(rows: list[Mapping[str, Any]]) -> dict[str, Any]:
    names = {"result": "ReviewResults", "action": "ReviewActions"}
    return {name: [json.loads(row["body"]) for row in rows if row["kind"] == kind] for kind, name in names.items()}


def get_file_upload_url(call: Call, data: dict[str, Any]) -> dict[str, Any]:
    """Always a modeled error: no form of this server takes files (2017-11-06 has none; the older one is refused)."""
    raise RequestError(
        "QuestionDoesNotExist",
        f"The question {data['QuestionIdentifier'][:80]!r} has no uploaded file: this crowd server takes no file answers.",
    )


OPERATIONS = {
    "ListReviewPolicyResultsForHIT": list_review_policy_results_for_hit,
    "GetFileUploadURL": get_file_upload_url,
}
