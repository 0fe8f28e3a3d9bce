"""The answer sheet as a page, the same for a HIT, a test and practice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from starlette.responses import Response

from curate.crowd.server.drafts import Draft
from curate.crowd.server.labeling import Sheet
from curate.crowd.server.store import now
from curate.crowd.server.texts import words
from curate.crowd.server.visit import Visit

SAID_BY_SCRIPT = (
    *(
        "picture",
        "of",
        "chosen",
        "unanswered",
        "time_left",
        "no_picture",
        "error_script",
        "review",
        "saved",
        "not_saved",
    ),
    *("not_sent", "too_late", "server_error", "five_minutes", "one_minute", "answers_left", "right", "wrong"),
)


def sheet_page(
    visit: Visit, sheet: Sheet, mode: str, key: str, name: str, drafts: Sequence[Draft] = (), **values: Any
) -> Response:
    """The page. `mode`: hit, test or practice; `key`: the assignment, qualification type or HIT type it is about."""
    known = words(visit.language)
    said = {word: known[word] for word in SAID_BY_SCRIPT} | ({"too_late": known["test_over"]} if mode == "test" else {})
    facts: dict[str, Any] = {
        "sheet": sheet,
        "mode": mode,
        "key": key,
        "name": name,
        "action": f"/{'assignment' if mode == 'hit' else mode}/{key}",
        "drafts": [asdict(draft) for draft in drafts],
        "script": said,
        "now": now(),
        "hit_type": "",
        "seconds_left": 0,
        "test": None,
        "tests": (),
    }
    return visit.page("sheet.html", **{**facts, **values})
