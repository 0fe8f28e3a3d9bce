"""The routes of work: the list, tests, HITs. Each answers a browser with a page, and a program that accepts JSON with the same facts."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from curate.crowd.server import drafts, inbox, panels, qualifying, rules, sessions, workers
from curate.crowd.server.answers import AnswerError
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.form_page import form_page
from curate.crowd.server.forms import Form, Question
from curate.crowd.server.labeling import Sheet, answered, sheet_of_form, sheet_of_task, shuffled
from curate.crowd.server.questions import answers_xml, parse_question
from curate.crowd.server.sheet_page import sheet_page
from curate.crowd.server.store import now
from curate.crowd.server.texts import word, words
from curate.crowd.server.verdicts import rejections
from curate.crowd.server.visit import Visit, renewed, route

# A requester's own page may do as it likes inside its sandbox: an origin of its own, no cookies, no way up.
FRAME_POLICY = (
    "sandbox allow-scripts allow-forms; frame-ancestors 'self'; "
    "default-src * data: blob: 'unsafe-inline' 'unsafe-eval'; base-uri *; form-action *"
)


def home(visit: Visit) -> Response:
    """The server's address, typed into a browser."""
    return RedirectResponse("/work", 303)


def work(visit: Visit) -> Response:
    """The list of work."""
    worker = visit.worker()
    groups = workers.work_for(visit.store, worker)
    if visit.json:
        listed = [{**asdict(group), "accept_url": f"/accept/{group.hit_type_id}"} for group in groups]
        unread = inbox.unread(visit.store, worker)
        return JSONResponse({"worker_id": worker.worker_id, "groups": listed, "unread": unread, "csrf": visit.csrf})
    done = visit.request.query_params.get("done") == "1"
    record = workers.record_of(visit.store, worker)
    if done:  # what was just done stands first: the next HIT is one key press away
        groups.sort(key=lambda group: group.hit_type_id != record.last_hit_type)
    values: dict[str, Any] = {
        "worker": worker,
        "groups": groups,
        "record": record,
        "done": done,
        "asked": visit.request.query_params.get("asked"),
        "unread": inbox.unread(visit.store, worker),
        "rejections": rejections(visit.store, worker),
        "at_panel": panels.panel_of(visit.store, worker.worker_id) is not None,
    }
    reply = visit.page("work.html", clock=clock, **values)
    started = any(group.open_assignment for group in groups)
    return reply if started else renewed(visit, worker, reply)


def clock(seconds: float) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def test_page(visit: Visit) -> Response:
    """A qualification test."""
    worker = visit.worker()
    test = workers.test_for(visit.store, worker, visit.request.path_params["identifier"])
    seconds_left = qualifying.start_test(visit.store, worker, test.qualification_type_id)
    if visit.json:
        questions = [_question_facts(question) for question in test.form.questions]
        return JSONResponse(
            {
                "name": test.name,
                "pass_mark": test.pass_mark,
                "seconds_left": seconds_left,
                "questions": questions,
                "csrf": visit.csrf,
            }
        )
    if not test.form.simple:
        return _test_form(visit, test, seconds_left)
    sheet = sheet_of_form(test.form, test.name, test.task, visit.language, visit.has_picture)
    key = test.qualification_type_id
    return sheet_page(visit, sheet, "test", key, test.name, test=test, seconds_left=seconds_left)


def _test_form(visit: Visit, test: workers.Test, seconds_left: int, error: AnswerError | None = None) -> Response:
    return form_page(visit, test.form, f"/test/{test.qualification_type_id}", test.name, seconds_left, error, test=test)


def take_test(visit: Visit) -> Response:
    """The answers of a test."""
    worker = visit.worker()
    visit.check_form(visit.token)
    identifier = visit.request.path_params["identifier"]
    try:
        result = workers.take_test(visit.store, worker, identifier, visit.fields())
    except AnswerError as error:
        test = workers.test_for(visit.store, worker, identifier)
        if visit.json or test.form.simple:
            raise
        return _test_form(visit, test, qualifying.start_test(visit.store, worker, identifier), error)
    if visit.json:
        return JSONResponse({"score": result.score, "passed": result.passed, "pass_mark": result.pass_mark})
    return RedirectResponse(f"/test/{result.qualification_type_id}/result", 303)


def test_result(visit: Visit) -> Response:
    """How the worker's last try at a test went."""
    result = workers.last_result(visit.store, visit.worker(), visit.request.path_params["identifier"])
    if visit.json:
        return JSONResponse(asdict(result))
    return visit.page("result.html", result=result, clock=clock, now=now())


def accept(visit: Visit) -> Response:
    """Take the next HIT of a group."""
    worker = visit.worker()
    visit.check_form(visit.token)
    assignment_id = workers.accept(visit.store, worker, visit.request.path_params["identifier"])
    url = f"/assignment/{assignment_id}"
    if visit.json:
        return JSONResponse({"assignment_id": assignment_id, "url": url})
    return RedirectResponse(url, 303)


def assignment_page(visit: Visit) -> Response:
    """A HIT to answer: our labeling page, a form, or the requester's own page in its frame."""
    row = workers.assignment_of(visit.store, visit.worker(), visit.request.path_params["identifier"])
    _still_open(row)
    asked = parse_question(row.question)
    task = shuffled(asked.task, row.assignment_id) if asked.task else None
    if visit.json:
        facts = {"assignment_id": row.assignment_id, "hit_id": row.hit_id, "csrf": visit.csrf}
        facts["task"] = task.model_dump() if task else None
        if asked.form:
            facts["questions"] = [_question_facts(question) for question in asked.form.questions]
        return JSONResponse(facts)
    if task:
        cannot_see = words(visit.language)["cannot_see"]
        return _sheet(visit, sheet_of_task(task, visit.language, cannot_see, visit.has_picture), row)
    if asked.form and not asked.form.simple:
        return _hit_form(visit, row, asked.form)
    if asked.form:
        return _sheet(visit, sheet_of_form(asked.form, row.title, None, visit.language, visit.has_picture), row)
    url = _frame_url(visit, row, asked.url)
    return visit.page("frame.html", row=row, frame_url=url, seconds_left=_seconds_left(row))


def _question_facts(question: Question) -> dict[str, Any]:
    """A question of a form, for programs."""
    choices = [{"id": choice.id, "text": choice.text} for choice in question.choices]
    return {"id": question.id, "text": " ".join(question.texts), "pictures": question.pictures, "choices": choices}


def _hit_form(visit: Visit, row: Any, form: Form, error: AnswerError | None = None) -> Response:
    action = f"/assignment/{row.assignment_id}"
    return form_page(visit, form, action, row.title, _seconds_left(row), error, give_back=f"{action}/return")


def _sheet(visit: Visit, sheet: Sheet, row: Any) -> Response:
    kept, left = drafts.drafts_of(visit.store, row.assignment_id), _seconds_left(row)
    facts = {"hit_type": row.hit_type_id, "seconds_left": left}
    return sheet_page(visit, sheet, "hit", row.assignment_id, row.title, kept, **facts)


def _seconds_left(row: Any) -> int:
    return max(0, int(row.deadline - now()))


def _still_open(row: Any) -> None:
    if row.status in rules.DONE:
        raise WorkerError("already_submitted")
    if row.status != workers.OPEN or row.deadline <= now():
        raise WorkerError("too_late", 410)


def _frame_url(visit: Visit, row: Any, outside: str) -> str:
    """Where the requester's page is, with the four fields that pages written for MTurk read from their address."""
    base = str(visit.request.base_url).rstrip("/")
    query = urlencode(
        {
            "assignmentId": row.assignment_id,
            "hitId": row.hit_id,
            "workerId": row.worker_id,
            "turkSubmitTo": base,
        }
    )
    if outside:
        return f"{outside}{'&' if '?' in outside else '?'}{query}"
    return f"/frame/{row.assignment_id}?{query}"


def assignment_state(visit: Visit) -> Response:
    """Whether an assignment has been sent: the page around a frame asks, since the frame cannot tell it."""
    row = workers.assignment_of(visit.store, visit.worker(), visit.request.path_params["identifier"])
    return JSONResponse({"status": row.status}, headers={"Cache-Control": "no-store"})


def submit(visit: Visit) -> Response:
    """The answers to a HIT of ours, or to a form."""
    worker = visit.worker()
    visit.check_form(visit.token)
    row = workers.assignment_of(visit.store, worker, visit.request.path_params["identifier"])
    asked = parse_question(row.question)
    try:
        answer = answered(asked, visit.fields())
    except AnswerError as error:
        if visit.json or asked.form is None or asked.form.simple or row.status != workers.OPEN:
            raise
        return _hit_form(visit, row, asked.form, error)
    workers.submit(visit.store, row.assignment_id, answer, visit.place)
    return JSONResponse({"submitted": True}) if visit.json else RedirectResponse("/work?done=1", 303)


def save_draft(visit: Visit) -> Response:
    """Answers so far, one or several: the page sends each as soon as it is given."""
    worker = visit.worker()
    visit.check_form(visit.token)
    drafts.save(visit.store, worker, visit.request.path_params["identifier"], drafts.read_drafts(visit.fields()))
    return Response(status_code=204)


def give_back(visit: Visit) -> Response:
    """Return a HIT unanswered."""
    worker = visit.worker()
    visit.check_form(visit.token)
    workers.give_back(visit.store, worker, visit.request.path_params["identifier"])
    return JSONResponse({"returned": True}) if visit.json else RedirectResponse("/work", 303)


def frame(visit: Visit) -> Response:
    """A requester's HTML, alone in its sandbox. A page in there has no cookies: the unguessable id is what lets it in.

    Whoever is signed in as somebody else is not let in, whatever ids they know.
    """
    row = workers.any_assignment(visit.store, visit.request.path_params["identifier"])
    visitor = sessions.who(visit.store, visit.token)
    if visitor is not None and visitor.worker_id != row.worker_id:
        raise WorkerError("no_assignment", 404)
    _still_open(row)
    return requester_page(row.question)


def requester_page(question: str) -> Response:
    """HTML written for MTurk, with its old submit address led to ours. What we show on pages of our own is not shown raw:
    it has the pictures in the requester's order, and practice with its answers."""
    asked = parse_question(question)
    if asked.task or asked.form or asked.url:
        raise WorkerError("not_found", 404)
    html = asked.html
    for old in ("https://www.mturk.com", "https://workersandbox.mturk.com", "http://www.mturk.com"):
        html = html.replace(f"{old}/mturk/externalSubmit", "/mturk/externalSubmit")
    headers = {"Content-Security-Policy": FRAME_POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(html, headers=headers)


def external_submit(visit: Visit) -> Response:
    """What a requester's own page sends: every field is an answer. The unguessable assignmentId is all it needs."""
    fields = visit.fields() or list(visit.request.query_params.multi_items())
    assignment_id = next((value for name, value in fields if name == "assignmentId"), "")
    answers = [(name, value) for name, value in fields if name != "assignmentId"]
    row = workers.any_assignment(visit.store, assignment_id)
    if not answers:  # QuestionFormAnswers cannot be empty
        raise WorkerError("no_fields", 400)
    workers.submit(visit.store, row.assignment_id, answers_xml(answers))
    headers = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'", "Cache-Control": "no-store"}
    return HTMLResponse(f"<!doctype html><p>{word('submitted_frame', visit.language)}</p>", headers=headers)


def picture(visit: Visit) -> Response:
    """The display copy of a picture."""
    path = visit.pictures.copy(visit.request.path_params["identifier"]) if visit.pictures else None
    if path is None:
        return Response(status_code=404)
    # The name is the hash of the original: what is there never changes. Pages in the sandboxed frame show pictures, too.
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return FileResponse(path, media_type="image/jpeg", headers=headers)


ROUTES = [
    route("/", home),
    route("/work", work),
    route("/test/{identifier}", test_page),
    route("/test/{identifier}", take_test, "POST"),
    route("/test/{identifier}/result", test_result),
    route("/accept/{identifier}", accept, "POST", short=True),
    route("/assignment/{identifier}", assignment_page, settle=False, short=True),
    route("/assignment/{identifier}", submit, "POST", settle=False, short=True),
    route("/assignment/{identifier}/state", assignment_state),
    route("/assignment/{identifier}/draft", save_draft, "POST", settle=False, short=True),
    route("/assignment/{identifier}/return", give_back, "POST"),
    route("/frame/{identifier}", frame, settle=False),
    route("/mturk/externalSubmit", external_submit, settle=False),
    route("/mturk/externalSubmit", external_submit, "POST", settle=False),
    route("/picture/{identifier}", picture, settle=False, store=False),
]
