"""The worker's routes. Each answers a browser with a page, and a program that accepts JSON with the same facts as JSON."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from curate.crowd.server import rules, workers
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.labeling import Sheet, answered, sheet_of_form, sheet_of_task
from curate.crowd.server.pictures import display_copy, has_picture
from curate.crowd.server.questions import answers_xml, parse_question
from curate.crowd.server.store import Store, now
from curate.crowd.server.texts import LANGUAGES, choose_language, word, words
from curate.crowd.server.workers import Worker

COOKIE = "consenso_worker"
_VISITOR = "consenso_visitor"  # before somebody has a session: ties the sign-up form to one browser
_YEAR = 365 * 24 * 3600
_HERE = Path(__file__).parent
_MAX_FIELDS = 2000
# Our pages load nothing but their own files, and pictures from wherever the requester keeps them.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data: blob:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self' https: http:; base-uri 'none'; frame-ancestors 'none'"
)
# A requester's own page may do as it likes inside its sandbox: an origin of its own, no cookies, no way up.
FRAME_POLICY = (
    "sandbox allow-scripts allow-forms; frame-ancestors 'self'; "
    "default-src * data: blob: 'unsafe-inline' 'unsafe-eval'; base-uri *; form-action *"
)
_log = logging.getLogger("curate.crowd")


class Visit:
    """One request of a browser: who it is, in which language, and what kind of answer it wants."""

    def __init__(self, request: Request, form: FormData | None = None) -> None:
        self.request = request
        self.form = form or FormData()
        self.store: Store = request.app.state.store
        self.pictures: Path | None = request.app.state.pictures
        self.json = "application/json" in request.headers.get("accept", "")
        self.language = choose_language(
            request.query_params.get("lang"), request.cookies.get("lang"), request.headers.get("accept-language", "")
        )
        self.token = request.cookies.get(COOKIE)
        self.visitor = request.cookies.get(_VISITOR) or secrets.token_urlsafe(24)

    def worker(self) -> Worker:
        """Who is signed in; raises WorkerError when nobody is."""
        found = workers.who(self.store, self.token)
        if found is None:
            raise WorkerError("sign_in", 401)
        return found

    @property
    def csrf(self) -> str:
        """What the forms of this visit carry."""
        return workers.csrf(self.token or self.visitor)

    def has_picture(self, image_id: str) -> bool:
        """Whether this server can show a picture itself."""
        return has_picture(self.pictures, image_id)

    def check_form(self, secret: str | None) -> None:
        """Raise unless the form came from a page of ours that this browser was shown."""
        given = str(self.form.get("csrf", ""))
        if not secret or not secrets.compare_digest(given.encode(), workers.csrf(secret).encode()):
            raise WorkerError("bad_form", 403)

    def fields(self) -> list[tuple[str, str]]:
        """The form's text fields in order, without our own."""
        return [(name, value) for name, value in self.form.multi_items() if isinstance(value, str) and name != "csrf"]

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page of ours."""
        known = {"t": words(self.language), "lang": self.language, "languages": LANGUAGES, "csrf": self.csrf}
        path = self.request.url.path
        here = path if self.request.method == "GET" else "/work"
        body = _templates().get_template(template).render(**known, path=here, **values)
        headers = {
            "Content-Security-Policy": PAGE_POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
        }
        reply = HTMLResponse(body, status, headers=headers)
        if self.request.query_params.get("lang") in LANGUAGES:
            reply.set_cookie("lang", self.language, max_age=_YEAR, httponly=True, samesite="lax")
        return reply

    def error(self, error: WorkerError) -> Response:
        """Why something cannot be done, in the worker's language."""
        if self.json:
            return JSONResponse({"error": word(error.message)}, error.status)
        if error.status == 401:
            return RedirectResponse("/join", 303)
        return self.page("error.html", error.status, message=word(error.message, self.language))


Handler = Callable[[Visit], Response]


def _route(path: str, handler: Handler, method: str = "GET") -> Route:
    """A route whose handler runs in a thread: the store is synchronous."""

    async def endpoint(request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=_MAX_FIELDS) if method == "POST" else None
        return await run_in_threadpool(_handle, handler, Visit(request, form))

    return Route(path, endpoint, methods=[method])


def _handle(handler: Handler, visit: Visit) -> Response:
    try:
        rules.settle(visit.store, now())
        return handler(visit)
    except WorkerError as error:
        return visit.error(error)
    except Exception:
        _log.exception("a worker page failed: %s", visit.request.url.path)
        return visit.error(WorkerError("server_error", 500))


def home(visit: Visit) -> Response:
    """The server's address, typed into a browser."""
    return RedirectResponse("/work", 303)


def join_page(visit: Visit) -> Response:
    """The sign-up form."""
    known = workers.who(visit.store, visit.token)
    if visit.json:
        reply: Response = JSONResponse({"csrf": workers.csrf(visit.visitor), "open": visit.request.app.state.signup})
    else:
        form_csrf = workers.csrf(visit.visitor)
        reply = visit.page("join.html", worker=known, open=visit.request.app.state.signup, join_csrf=form_csrf)
    _set_cookie(visit, reply, _VISITOR, visit.visitor, 24 * 3600)
    return reply


def join(visit: Visit) -> Response:
    """Sign up by name."""
    visit.check_form(visit.request.cookies.get(_VISITOR))
    if not visit.request.app.state.signup:
        raise WorkerError("closed", 403)
    simulated = visit.form.get("simulated") == "1"
    _, token = workers.join(visit.store, str(visit.form.get("name", "")), simulated)
    reply = RedirectResponse("/work", 303)
    _set_cookie(visit, reply, COOKIE, token, _YEAR)
    return reply


def leave(visit: Visit) -> Response:
    """Sign out; asked twice, since a session is all that ties a person to their record."""
    visit.check_form(visit.token)
    if visit.form.get("sure") != "1":
        return visit.page("leave.html")
    workers.leave(visit.store, visit.token or "")
    reply = RedirectResponse("/join", 303)
    reply.delete_cookie(COOKIE)
    return reply


def _set_cookie(visit: Visit, reply: Response, name: str, value: str, seconds: int) -> None:
    secure = visit.request.url.scheme == "https"
    reply.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def work(visit: Visit) -> Response:
    """The list of work."""
    worker = visit.worker()
    groups = workers.work_for(visit.store, worker)
    if visit.json:
        listed = [{**asdict(group), "accept_url": f"/accept/{group.hit_type_id}"} for group in groups]
        return JSONResponse({"worker_id": worker.worker_id, "groups": listed, "csrf": visit.csrf})
    done = visit.request.query_params.get("done") == "1"
    record = workers.record_of(visit.store, worker)
    return visit.page("work.html", worker=worker, groups=groups, record=record, done=done, clock=_clock)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def test_page(visit: Visit) -> Response:
    """A qualification test."""
    test = workers.test_for(visit.store, visit.worker(), visit.request.path_params["identifier"])
    if visit.json:
        questions = [
            {
                "id": question.id,
                "text": " ".join(question.texts),
                "pictures": question.pictures,
                "choices": [asdict(choice) for choice in question.choices],
            }
            for question in test.form.questions
        ]
        return JSONResponse(
            {"name": test.name, "pass_mark": test.pass_mark, "questions": questions, "csrf": visit.csrf}
        )
    sheet = sheet_of_form(test.form, test.name, test.task, visit.language, visit.has_picture)
    values: dict[str, Any] = {
        "sheet": sheet,
        "name": test.name,
        "test": test,
        "key": test.qualification_type_id,
        "seconds_left": 0,
    }
    return visit.page("sheet.html", script=_script_words(visit.language), **values)


def take_test(visit: Visit) -> Response:
    """The answers of a test."""
    worker = visit.worker()
    visit.check_form(visit.token)
    result = workers.take_test(visit.store, worker, visit.request.path_params["identifier"], visit.fields())
    if visit.json:
        return JSONResponse({"score": result.score, "passed": result.passed, "pass_mark": result.pass_mark})
    return visit.page("result.html", result=result)


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
    if visit.json:
        task = asked.task.model_dump() if asked.task else None
        facts = {"assignment_id": row.assignment_id, "hit_id": row.hit_id, "task": task, "csrf": visit.csrf}
        return JSONResponse(facts)
    left = max(0, int(row.deadline - now()))
    if asked.task:
        cannot_see = words(visit.language)["cannot_see"]
        return _sheet(visit, sheet_of_task(asked.task, visit.language, cannot_see, visit.has_picture), row, left)
    if asked.form:
        return _sheet(visit, sheet_of_form(asked.form, row.title, None, visit.language, visit.has_picture), row, left)
    url = _frame_url(visit, row, asked.url)
    return visit.page("frame.html", row=row, frame_url=url, seconds_left=left)


def _sheet(visit: Visit, sheet: Sheet, row: Any, left: int) -> Response:
    values: dict[str, Any] = {
        "sheet": sheet,
        "name": row.title,
        "test": None,
        "key": row.assignment_id,
        "seconds_left": left,
    }
    return visit.page("sheet.html", script=_script_words(visit.language), **values)


def _still_open(row: Any) -> None:
    if row.status in rules.DONE:
        raise WorkerError("already_submitted")
    if row.status != workers.OPEN:
        raise WorkerError("too_late", 410)


def _script_words(language: str) -> dict[str, str]:
    """The few words that the page's script says."""
    keys = ("picture", "of", "chosen", "unanswered", "time_left", "no_picture", "error_script", "review")
    return {key: words(language)[key] for key in keys}


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
    workers.submit(visit.store, row.assignment_id, answered(parse_question(row.question), visit.fields()))
    return JSONResponse({"submitted": True}) if visit.json else RedirectResponse("/work?done=1", 303)


def give_back(visit: Visit) -> Response:
    """Return a HIT unanswered."""
    worker = visit.worker()
    visit.check_form(visit.token)
    workers.give_back(visit.store, worker, visit.request.path_params["identifier"])
    return JSONResponse({"returned": True}) if visit.json else RedirectResponse("/work", 303)


def frame(visit: Visit) -> Response:
    """A requester's HTML, alone in its sandbox. The frame has no cookies: the unguessable id is what lets it in."""
    row = workers.any_assignment(visit.store, visit.request.path_params["identifier"])
    _still_open(row)
    asked = parse_question(row.question)
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
    workers.submit(visit.store, row.assignment_id, answers_xml(answers))
    headers = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'", "Cache-Control": "no-store"}
    return HTMLResponse(f"<!doctype html><p>{word('submitted_frame', visit.language)}</p>", headers=headers)


def picture(visit: Visit) -> Response:
    """The display copy of a picture."""
    path = display_copy(visit.pictures, visit.request.path_params["identifier"])
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


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


ROUTES = [
    _route("/", home),
    _route("/join", join_page),
    _route("/join", join, "POST"),
    _route("/leave", leave, "POST"),
    _route("/work", work),
    _route("/test/{identifier}", test_page),
    _route("/test/{identifier}", take_test, "POST"),
    _route("/accept/{identifier}", accept, "POST"),
    _route("/assignment/{identifier}", assignment_page),
    _route("/assignment/{identifier}", submit, "POST"),
    _route("/assignment/{identifier}/state", assignment_state),
    _route("/assignment/{identifier}/return", give_back, "POST"),
    _route("/frame/{identifier}", frame),
    _route("/mturk/externalSubmit", external_submit),
    _route("/mturk/externalSubmit", external_submit, "POST"),
    _route("/picture/{identifier}", picture),
]
