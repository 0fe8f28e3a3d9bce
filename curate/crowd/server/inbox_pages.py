"""Pages beside the work: the inbox, a look at a HIT before accepting it, and asking for a qualification."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, RedirectResponse, Response

from curate.crowd.server import inbox, preview, qualifying
from curate.crowd.server.labeling import sheet_of_form, sheet_of_task, shuffled
from curate.crowd.server.pages import clock, requester_page
from curate.crowd.server.questions import parse_question
from curate.crowd.server.texts import words
from curate.crowd.server.visit import Visit, route

NO_ASSIGNMENT = "ASSIGNMENT_ID_NOT_AVAILABLE"  # what pages written for MTurk read in a preview


def inbox_page(visit: Visit) -> Response:
    """What was written to this worker; once shown it is read."""
    worker = visit.worker()
    messages = inbox.read(visit.store, worker)
    if visit.json:
        return JSONResponse({"messages": [asdict(message) for message in messages]})
    return visit.page("inbox.html", worker=worker, messages=messages, clock=clock)


def request_qualification(visit: Visit) -> Response:
    """Ask for a qualification without a test."""
    worker = visit.worker()
    visit.check_form(visit.token)
    status = qualifying.request(visit.store, worker, visit.request.path_params["identifier"])
    if visit.json:
        return JSONResponse({"status": status})
    return RedirectResponse(f"/work?asked={status.lower()}", 303)


def preview_page(visit: Visit) -> Response:
    """The next HIT of a group, to look at: nothing is accepted, nothing can be sent."""
    worker = visit.worker()
    shown = preview.preview(visit.store, worker, visit.request.path_params["identifier"])
    row, asked = shown.hit, parse_question(shown.hit.question)
    task = shuffled(asked.task, row.hit_id) if asked.task else None
    if visit.json:
        facts = {"hit_id": row.hit_id, "assignment_id": NO_ASSIGNMENT, "qualified": shown.qualified}
        return JSONResponse({**facts, "task": task.model_dump() if task else None})
    values: dict[str, Any] = {
        "worker": worker,
        "row": row,
        "qualified": shown.qualified,
        "sheet": None,
        "frame_url": "",
    }
    if task:
        cannot_see = words(visit.language)["cannot_see"]
        values["sheet"] = sheet_of_task(task, visit.language, cannot_see, visit.has_picture)
    elif asked.form:
        values["sheet"] = sheet_of_form(asked.form, row.title, None, visit.language, visit.has_picture)
    else:
        values["frame_url"] = _frame_url(row.hit_id, asked.url)
    return visit.page("preview.html", **values)


def _frame_url(hit_id: str, outside: str) -> str:
    """Where the requester's page is, told that nobody has accepted it."""
    query = urlencode({"assignmentId": NO_ASSIGNMENT, "hitId": hit_id})
    if outside:
        return f"{outside}{'&' if '?' in outside else '?'}{query}"
    return f"/preview/frame/{hit_id}?{query}"


def preview_frame(visit: Visit) -> Response:
    """A requester's HTML in its sandbox, in a preview. No cookie comes along: the unguessable HIT id lets it in."""
    row = preview.any_hit(visit.store, visit.request.path_params["identifier"])
    return requester_page(row.question)


ROUTES = [
    route("/inbox", inbox_page),
    route("/qualification/{identifier}", request_qualification, "POST"),
    route("/preview/frame/{identifier}", preview_frame),
    route("/preview/{identifier}", preview_page),
]
