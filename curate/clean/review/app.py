"""The review as an application: a pair, a decision, the next pair."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from curate.clean.review.deck import LISTS, Deck
from curate.clean.review.texts import TEXTS, choose
from curate.display import display_bytes
from curate.pages.guard import Guard, Secrets
from schemas.errors import UserError

_HERE = Path(__file__).parent
_log = logging.getLogger("curate.review")
_pages = Environment(
    loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)  # fmt: skip
_copy = lru_cache(maxsize=64)(display_bytes)


def make_app(deck: Deck, secret: Secrets) -> Starlette:
    """The pages of one review."""
    pages = _Pages(deck, secret)
    routes = [
        Route("/", pages.handler(pages.first)),
        Route("/pair/{a}/{b}", pages.handler(pages.pair)),
        Route("/decide", pages.handler(pages.decide), methods=["POST"]),
        Route("/undo", pages.handler(pages.undo), methods=["POST"]),
        Route("/picture/{identifier}", pages.handler(pages.picture)),
        Mount("/own", StaticFiles(directory=_HERE / "static")),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, secret=secret)])


class _Pages:
    """What each address answers."""

    def __init__(self, deck: Deck, secret: Secrets) -> None:
        self.deck, self.secret = deck, secret

    def handler(self, step: Callable[[Request, dict[str, str]], Response]) -> Callable[[Request], Any]:
        """A step that runs in a thread; a form is checked before the step sees it."""

        async def endpoint(request: Request) -> Response:
            form = await request.form(max_files=0, max_fields=10) if request.method == "POST" else FormData()
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            return await run_in_threadpool(self._answer, step, request, fields)

        return endpoint

    def _answer(
        self, step: Callable[[Request, dict[str, str]], Response], request: Request, fields: dict[str, str]
    ) -> Response:
        given = fields.get("csrf", "").encode()
        if request.method == "POST" and not secrets.compare_digest(given, self.secret.form.encode()):
            return self._page(
                request, "error.html", 403, message="this form is of an earlier run or of another page; load it again"
            )
        try:
            return step(request, fields)
        except UserError as error:
            return self._page(request, "error.html", 409, message=str(error))
        except Exception:
            _log.exception("a page of the review failed: %s", request.url.path)
            return self._page(request, "error.html", 500, message="the terminal where this runs says more")

    def first(self, request: Request, _: dict[str, str]) -> Response:
        """On with the first pair without a decision, or that there is none."""
        which = _which(request.query_params.get("show"))
        decided, pairs = self.deck.decided(), self.deck.pairs(which)
        left = next((key for key in pairs if key not in decided), None)
        if left:
            return _to(left, which, request.query_params.get("said", ""))
        return self._page(
            request, "done.html", which=which, total=len(pairs), any_decided=bool(decided), said=self._said(request)
        )

    def pair(self, request: Request, _: dict[str, str]) -> Response:
        """One pair, side by side."""
        key = (request.path_params["a"], request.path_params["b"])
        which = _which(request.query_params.get("show"))
        pair, decided, pairs = self.deck.pair(key), self.deck.decided(), self.deck.pairs(which)
        if key not in pairs:  # it changed lists since
            which = next((name for name in LISTS if key in self.deck.pairs(name)), which)
            pairs = self.deck.pairs(which)
        at, after = pairs.index(key), _after(pairs, decided, key)
        return self._page(
            request, "pair.html",
            pair=pair, sides=[self.deck.side(image_id) for image_id in key], which=which, number=at + 1, total=len(pairs),
            done=sum(one in decided for one in pairs), decision=decided.get(key, ""), said=self._said(request),
            back=_path(pairs[at - 1], which) if at else "", after=_path(after, which) if after else f"/?show={which}",
            ahead=after or (), any_decided=bool(decided),
        )  # fmt: skip

    def decide(self, _: Request, fields: dict[str, str]) -> Response:
        """Write a decision, and on to the next pair."""
        key, which = (fields.get("a", ""), fields.get("b", "")), _which(fields.get("show"))
        self.deck.decide(key, fields.get("decision", ""))
        after = _after(self.deck.pairs(which), self.deck.decided(), key)
        said = fields["decision"]
        return _to(after, which, said) if after else RedirectResponse(f"/?show={which}&said={said}", 303)

    def undo(self, _: Request, fields: dict[str, str]) -> Response:
        """Take the last decision back and show its pair again."""
        which, key = _which(fields.get("show")), self.deck.undo()
        known = key is not None and any(key in self.deck.pairs(name) for name in LISTS)
        return _to(key, which, "undo") if known and key else RedirectResponse(f"/?show={which}", 303)

    def picture(self, request: Request, _: dict[str, str]) -> Response:
        """A display copy: upright, without metadata."""
        path = self.deck.original(request.path_params["identifier"])
        try:
            data = _copy(path) if path else None
        except (OSError, SyntaxError, ValueError):
            data = None
        if data is None:
            return Response(status_code=404)
        return Response(
            data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=31536000, immutable"}
        )

    def _said(self, request: Request) -> str:
        """What the last click did, in words."""
        texts = TEXTS[self._language(request)]
        said = request.query_params.get("said", "")
        return {"same": texts["written_same"], "different": texts["written_different"], "undo": texts["taken"]}.get(
            said, ""
        )

    def _language(self, request: Request) -> str:
        return choose(request.query_params.get("lang"), request.headers.get("accept-language", ""))

    def _page(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        language = self._language(request)
        counts = {name: len(self.deck.pairs(name)) for name in LISTS} if template != "error.html" else {}
        body = _pages.get_template(template).render(
            t=TEXTS[language],
            lang=language,
            csrf=self.secret.form,
            name=self.deck.workspace.config.name,
            counts=counts,
            **values,
        )
        return HTMLResponse(body, status, headers={"Cache-Control": "no-store"})


def _which(asked: str | None) -> str:
    return asked if asked in LISTS else LISTS[0]


def _path(key: tuple[str, str], which: str) -> str:
    return f"/pair/{key[0]}/{key[1]}?show={which}"


def _to(key: tuple[str, str], which: str, said: str = "") -> Response:
    return RedirectResponse(_path(key, which) + (f"&said={said}" if said in ("same", "different", "undo") else ""), 303)


def _after(
    pairs: list[tuple[str, str]], decided: dict[tuple[str, str], str], key: tuple[str, str]
) -> tuple[str, str] | None:
    """The next pair without a decision, from the beginning again after the last one; None where all the others have one."""
    at = pairs.index(key) if key in pairs else -1
    return next((one for one in [*pairs[at + 1 :], *pairs[: max(at, 0)]] if one not in decided), None)
