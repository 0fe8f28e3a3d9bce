"""One visit of a browser or a program to a page of ours: who it is, in which language, what kind of answer it wants."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from curate.crowd.server import rules, sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.pictures import Originals
from curate.crowd.server.sessions import Worker
from curate.crowd.server.settings import keyed
from curate.crowd.server.store import Store, now
from curate.crowd.server.texts import LANGUAGES, choose_language, fault, words

COOKIE = "consenso_worker"
VISITOR = "consenso_visitor"  # before somebody has a session: ties the sign-up form to one browser
DEVICE = "consenso_device"  # outlives sessions; only its keyed hash is kept
YEAR = 365 * 24 * 3600
_HERE = Path(__file__).parent
_MAX_FIELDS = 2000
# Our pages load nothing but their own files, and pictures from wherever the requester keeps them.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src * data: blob:; media-src *; connect-src 'self'; "
    "form-action 'self'; frame-src 'self' https: http:; base-uri 'none'; frame-ancestors 'none'"
)
_log = logging.getLogger("curate.crowd")


class Visit:
    """One request of a browser: who it is, in which language, and what kind of answer it wants."""

    def __init__(self, request: Request, form: FormData | None = None) -> None:
        self.request = request
        self.form = form or FormData()
        self.store: Store = request.app.state.store
        self.pictures: Originals | None = request.app.state.pictures
        self.json = "application/json" in request.headers.get("accept", "")
        self.language = choose_language(
            request.query_params.get("lang"), request.cookies.get("lang"), request.headers.get("accept-language", "")
        )
        self.token = request.cookies.get(COOKIE)

    @cached_property
    def visitor(self) -> str:
        """This browser before somebody has a session."""
        return self.request.cookies.get(VISITOR) or secrets.token_urlsafe(24)

    @cached_property
    def device(self) -> str:
        """This browser, whoever uses it."""
        return self.request.cookies.get(DEVICE) or secrets.token_urlsafe(24)

    def worker(self, consenting: bool = False) -> Worker:
        """Who is signed in; raises WorkerError when nobody is, or when they have not accepted the consent text.

        What somebody has accepted before the words changed, they may finish.
        """
        found = sessions.who(self.store, self.token)
        if found is None:
            raise WorkerError("sign_in", 401)
        if not (found.consented or consenting or self.request.url.path.startswith("/assignment/")):
            raise WorkerError("consent_needed", 403)
        return found

    @property
    def place(self) -> sessions.Place:
        """From where this visit comes. A frame without cookies has an address alone."""
        key, client = self.request.app.state.secret, self.request.client
        device = keyed(key, "device", self.device)
        return sessions.Place(device, keyed(key, "address", client.host) if client else None)

    @property
    def csrf(self) -> str:
        """What the forms of this visit carry."""
        return sessions.csrf(self.token or self.visitor)

    def has_picture(self, image_id: str) -> bool:
        """Whether this server can show a picture itself."""
        return self.pictures is not None and self.pictures.has(image_id)

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
        here, kept = (path, self._kept()) if self.request.method == "GET" else ("/work", "")
        body = _templates().get_template(template).render(**known, path=here, kept=kept, **values)
        headers = {
            "Content-Security-Policy": PAGE_POLICY,
            "Cache-Control": "no-store",
            "Referrer-Policy": "same-origin",
        }
        reply = HTMLResponse(body, status, headers=headers)
        if self.request.query_params.get("lang") in LANGUAGES:
            set_cookie(self, reply, "lang", self.language, YEAR)
        return reply

    def _kept(self) -> str:
        """The query as the links to other languages keep it."""
        rest = urlencode([pair for pair in self.request.query_params.multi_items() if pair[0] != "lang"])
        return f"{rest}&" if rest else ""

    def error(self, error: WorkerError) -> Response:
        """Why something cannot be done, in the worker's language."""
        if self.json:
            return JSONResponse({"error": fault(error, self.language)}, error.status)
        if error.status == 401:
            return RedirectResponse("/join", 303)
        if error.message == "consent_needed":
            return RedirectResponse("/consent", 303)
        return self.page("error.html", error.status, message=fault(error, self.language))


Handler = Callable[[Visit], Response]


def route(
    path: str, handler: Handler, method: str = "GET", settle: bool = True, store: bool = True, short: bool = False
) -> Route:
    """A route whose handler runs in a thread: the store is synchronous.

    As many threads as do the store good; `store=False` for handlers that may take long and do not touch it. `settle` brings the
    store to the present first; not where the handler looks at one assignment and its deadline by itself. `short` handlers, what
    people ask for while they label, run on the event loop itself as long as the store is prompt and nothing is to be settled: with
    300 people the way to a thread and back, and two threads that take the interpreter from each other, cost more than the work
    (1.9 CPU ms a request against 1.4).
    """

    async def endpoint(request: Request) -> Response:
        form = await _form(request) if method == "POST" else None
        visit = Visit(request, form)
        if short and visit.store.prompt and not (settle and rules.anything_due(visit.store, now())):
            return _handle(handler, visit, settle=False)
        threads = visit.store.threads if store else None
        return await asyncio.get_running_loop().run_in_executor(threads, _handle, handler, visit, settle)

    return Route(path, endpoint, methods=[method])


async def _form(request: Request) -> FormData:
    """The fields of a form. What browsers send by default is read at once: starlette's reader takes it letter by letter."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return await request.form(max_files=0, max_fields=_MAX_FIELDS)
    try:
        text = (await request.body()).decode("utf-8", "replace")
        fields: list[Any] = parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        return FormData(fields)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


def _handle(handler: Handler, visit: Visit, settle: bool) -> Response:
    try:
        if settle:
            rules.settle(visit.store, now())
        return visit.store.retrying(lambda: handler(visit))
    except WorkerError as error:
        return visit.error(error)
    except Exception:
        _log.exception("a worker page failed: %s", visit.request.url.path)
        return visit.error(WorkerError("server_error", 500))


def set_cookie(visit: Visit, reply: Response, name: str, value: str, seconds: int) -> None:
    """Give the browser a cookie that scripts cannot read and other sites do not send."""
    secure = visit.request.url.scheme == "https"
    reply.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def sign_in(visit: Visit, token: str, to: str = "/work") -> Response:
    """Go on as somebody: the session's cookie, and the device's, which stays when the session ends."""
    reply = RedirectResponse(to, 303)
    set_cookie(visit, reply, COOKIE, token, YEAR)
    set_cookie(visit, reply, DEVICE, visit.device, 2 * YEAR)
    return reply


def offer_form(visit: Visit, reply: Response) -> Response:
    """Tie a form for people without a session to this browser; it carries `sessions.csrf(visit.visitor)`."""
    set_cookie(visit, reply, VISITOR, visit.visitor, 24 * 3600)
    return reply


def renewed(visit: Visit, worker: Worker, reply: Response) -> Response:
    """The reply, with a new session token when the old one is a week old. Only where no form of the old one is open."""
    if not visit.json and now() - worker.since > sessions.RENEW:
        set_cookie(visit, reply, COOKIE, sessions.renew(visit.store, visit.token or "", visit.place), YEAR)
    return reply


@cache
def _templates() -> Environment:
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
