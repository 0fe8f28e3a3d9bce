"""One visit of the requester's browser to a page of the desk."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from curate.crowd.server.texts import choose_language, words
from schemas.errors import UserError

if TYPE_CHECKING:
    from curate.crowd.desk.room import Room
    from curate.pages.guard import Secrets

_HERE = Path(__file__).parent
SHEETS = ("pages.css", "sheet.css")  # of the labeling page, whose look and classes these pages share
_log = logging.getLogger("curate.desk")


class Visit:
    """A request, the desk it is made to, and the form it carries."""

    def __init__(self, request: Request, form: FormData | None = None) -> None:
        self.request = request
        self.room: Room = request.app.state.room
        self.secret: Secrets = request.app.state.secret
        self.language = choose_language(
            request.query_params.get("lang"), None, request.headers.get("accept-language", "")
        )
        self.fields = {name: value for name, value in (form or FormData()).items() if isinstance(value, str)}

    def check_form(self) -> None:
        """Raise unless the form came from a page of ours."""
        if not secrets.compare_digest(self.fields.get("csrf", "").encode(), self.secret.form.encode()):
            raise PermissionError

    def page(self, template: str, status: int = 200, **values: Any) -> Response:
        """A page of the desk."""
        known = {
            "t": words(self.language),
            "lang": self.language,
            "csrf": self.secret.form,
            "task": self.room.task,
            "name": self.room.workspace.config.name,
            "dashboard": self.room.crowd is not None,
            "sheets": [name for name in SHEETS if (server_static() / name).exists()],
        }
        body = templates().get_template(template).render(**known, **values)
        return HTMLResponse(body, status, headers={"Cache-Control": "no-store"})

    def error(self, message: str, status: int = 409) -> Response:
        """Why something was not done."""
        return self.page("error.html", status, message=message.replace("--", ""))


def server_static() -> Path:
    """Folder of the worker pages' style."""
    return _HERE.parent / "server" / "static"


Handler = Callable[[Visit], Response]


def route(path: str, handler: Handler, method: str = "GET") -> Route:
    """A route whose handler runs in a thread; a form is checked before the handler sees it."""

    async def endpoint(request: Request) -> Response:
        form = await request.form(max_files=0, max_fields=100) if method == "POST" else None
        return await run_in_threadpool(_handle, handler, Visit(request, form), method)

    return Route(path, endpoint, methods=[method])


def _handle(handler: Handler, visit: Visit, method: str) -> Response:
    try:
        if method == "POST":
            visit.check_form()
        return handler(visit)
    except PermissionError:
        return visit.error(
            "this form is not one of this desk's pages, or is of an earlier run; load the page again", 403
        )
    except UserError as error:
        return visit.error(str(error))
    except Exception:
        _log.exception("a page of the desk failed: %s", visit.request.url.path)
        return visit.error("this should not have happened; the terminal where the desk runs says more", 500)


def go(path: str) -> Response:
    """On to another page after a form."""
    return RedirectResponse(path, 303)


@cache
def templates() -> Environment:
    """The desk's own templates."""
    loader = FileSystemLoader(_HERE / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
