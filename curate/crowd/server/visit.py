"""One visit of a browser or a program to a page of ours: who it is, in which language, what kind of answer it wants."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from curate.crowd.server import rules, sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.pictures import has_picture
from curate.crowd.server.sessions import Worker
from curate.crowd.server.store import Store, now
from curate.crowd.server.texts import LANGUAGES, choose_language, word, words

COOKIE = "consenso_worker"
VISITOR = "consenso_visitor"  # before somebody has a session: ties the sign-up form to one browser
YEAR = 365 * 24 * 3600
_HERE = Path(__file__).parent
_MAX_FIELDS = 2000
# Our pages load nothing but their own files, and pictures from wherever the requester keeps them.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data: blob:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self' https: http:; base-uri 'none'; frame-ancestors 'none'"
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
        self.visitor = request.cookies.get(VISITOR) or secrets.token_urlsafe(24)

    def worker(self) -> Worker:
        """Who is signed in; raises WorkerError when nobody is."""
        found = sessions.who(self.store, self.token)
        if found is None:
            raise WorkerError("sign_in", 401)
        return found

    @property
    def csrf(self) -> str:
        """What the forms of this visit carry."""
        return sessions.csrf(self.token or self.visitor)

    def has_picture(self, image_id: str) -> bool:
        """Whether this server can show a picture itself."""
        return has_picture(self.pictures, image_id)

    def check_form(self, secret: str | None) -> None:
        """Raise unless the form came from a page of ours that this browser was shown."""
        given = str(self.form.get("csrf", ""))
        if not secret or not secrets.compare_digest(given.encode(), sessions.csrf(secret).encode()):
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
            reply.set_cookie("lang", self.language, max_age=YEAR, httponly=True, samesite="lax")
        return reply

    def error(self, error: WorkerError) -> Response:
        """Why something cannot be done, in the worker's language."""
        if self.json:
            return JSONResponse({"error": word(error.message, self.language)}, error.status)
        if error.status == 401:
            return RedirectResponse("/join", 303)
        return self.page("error.html", error.status, message=word(error.message, self.language))


Handler = Callable[[Visit], Response]


def route(path: str, handler: Handler, method: str = "GET") -> Route:
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


def set_cookie(visit: Visit, reply: Response, name: str, value: str, seconds: int) -> None:
    """Give the browser a cookie that scripts cannot read and other sites do not send."""
    secure = visit.request.url.scheme == "https"
    reply.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
