"""Who may talk to pages served here: the browser that was given the address, at this machine's own name, with forms of our own.

The desk spends money and shows gold, and any page in the same browser can send requests to loopback. So every request needs
the cookie that the printed address becomes, a host that is this machine (a foreign name that leads here is refused), and for
every change the secret that only our own pages hold.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Secrets:
    """What lets a browser in, all made from one random token that dies with the desk."""

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def cookie_name(self) -> str:
        """Cookies know no ports: two desks on one machine must not overwrite each other's."""
        return f"consenso_desk_{self.port}"

    @property
    def cookie(self) -> str:
        """What the browser keeps."""
        return self._derived("cookie")

    @property
    def form(self) -> str:
        """What every form of ours carries."""
        return self._derived("form")

    @property
    def url(self) -> str:
        """The address that lets in."""
        return f"http://127.0.0.1:{self.port}/enter?token={self.token}"

    @property
    def hosts(self) -> set[str]:
        """How this desk may be called."""
        return {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()[:40]


class Guard:
    """Stands before the desk's application."""

    def __init__(self, app: ASGIApp, secret: Secrets) -> None:
        self.app, self.secret = app, secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._refusal(scope)
        return await (answer or self.app)(scope, receive, with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host", "") not in self.secret.hosts:
            return PlainTextResponse("this desk answers at the address that was printed, and at no other name", 421)
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return PlainTextResponse("no such method", 405)
        if scope["path"] == "/enter":
            return self._enter(scope)
        if not _same(self._cookie(headers), self.secret.cookie):
            return PlainTextResponse("who are you? Open the address that the desk printed where it was started", 403)
        origin = headers.get("origin")
        if scope["method"] == "POST" and origin is not None and urlsplit(origin).netloc not in self.secret.hosts:
            return PlainTextResponse("this form was sent by another site", 403)
        return None

    def _enter(self, scope: Scope) -> Response:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if not _same(given, self.secret.token):
            return PlainTextResponse("this is not the address that the desk printed; copy all of it", 403)
        reply = RedirectResponse("/", 303)
        reply.set_cookie(self.secret.cookie_name, self.secret.cookie, httponly=True, samesite="strict")
        return reply

    def _cookie(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.secret.cookie_name)
        except CookieError:
            return ""
        return found.value if found else ""


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())
