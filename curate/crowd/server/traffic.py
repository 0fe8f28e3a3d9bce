"""Around every request: how much one caller may ask, how large and how slow a body may be, and one line in the log."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curate.crowd.server.errors import WorkerError
from curate.crowd.server.visit import COOKIE, Visit

MAX_BODY = 4_000_000  # bytes of a form; the requester protocol has its own, smaller limit and says it in its own words
BODY_SECONDS = 30  # that a body may take to arrive
_DOORS = ("/join", "/email", "/invited/", "/arrive/")  # through which people come in: what is posted there is a try
_CALLERS = 50_000  # remembered by one limit; the one not seen for longest is forgotten
_log = logging.getLogger("curate.crowd.request")


@dataclass
class Bucket:
    """Token buckets by caller: each may ask `burst` times at once and `rate` times a second in the long run."""

    rate: float
    burst: float

    def __post_init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, now: float) -> float:
        """Take one token; 0, or the seconds until there is one."""
        left, seen = self._left.pop(caller, (self.burst, now))
        left = min(self.burst, left + (now - seen) * self.rate)
        enough = left >= 1
        self._left[caller] = (left - 1 if enough else left, now)
        if len(self._left) > _CALLERS:
            self._left.popitem(last=False)
        return 0.0 if enough else (1 - left) / self.rate


class Traffic:
    """ASGI middleware. The limits stop scripts gone wild; a quick person or an office behind one address never meets them.

    Each server process counts for itself. Callers from this machine have no limit by address: tests, simulations, a proxy that
    was not named with --forwarded-allow.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.sign_ups = Bucket(rate=0.5, burst=60)  # by address
        self.addresses = Bucket(rate=500, burst=3000)
        self.sessions = Bucket(rate=30, burst=300)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        request = Request(scope)
        try:
            wait = self._wait(request)
            if wait:
                await _refuse(request, wait)(scope, receive, watched)
            else:
                reads = scope["method"] not in ("GET", "HEAD")  # no page of ours reads the body of those
                await self.app(scope, bounded_body(receive, scope["path"]) if reads else receive, watched)
        finally:
            _say(request, status, 1000 * (time.perf_counter() - began))

    def _wait(self, request: Request) -> float:
        now = time.monotonic()
        wait = 0.0
        address = request.client.host if request.client else ""
        if address and not _is_here(address):
            wait = self.addresses.wait(address, now)
            if request.method == "POST" and request.scope["path"].startswith(_DOORS):
                wait = max(wait, self.sign_ups.wait(address, now))
        token = request.cookies.get(COOKIE)
        return max(wait, self.sessions.wait(token, now)) if token else wait


@lru_cache(maxsize=4096)
def _is_here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _refuse(request: Request, wait: float) -> Response:
    """Come back later: in the worker's language, or as AWS clients know it (they wait and try again by themselves)."""
    if request.method == "POST" and request.scope["path"] == "/":
        body = {"__type": "ThrottlingException", "Message": "Rate exceeded"}
        reply: Response = JSONResponse(body, 400, media_type="application/x-amz-json-1.1")
    else:
        reply = Visit(request).error(WorkerError("too_many_requests", 429))
    reply.headers["Retry-After"] = str(int(wait) + 1)
    return reply


def bounded_body(receive: Receive, path: str, seconds: float = BODY_SECONDS) -> Receive:
    """The body, as long as it is neither too large nor too slow."""
    size, complete = 0, False
    until = time.monotonic() + seconds

    async def bounded() -> Message:
        nonlocal size, complete
        if complete:
            return await receive()  # waits for the client to go, as long as it likes
        try:
            async with asyncio.timeout(until - time.monotonic()):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        size += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if size > MAX_BODY and path != "/":
            raise HTTPException(413)
        return message

    return bounded


def _say(request: Request, status: int, ms: float) -> None:
    """One line about a request; ids in the path and everything in the query may be secrets, so they stay out."""
    path = request.scope["path"]
    for name, value in request.scope.get("path_params", {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}")
    if "endpoint" not in request.scope:
        path = "(unknown)"
    fields = {"method": request.method, "path": path, "status": status, "ms": round(ms, 1)}
    if operation := request.headers.get("x-amz-target"):
        fields["operation"] = operation.rpartition(".")[2][:60]
    _log.info("%s %s %s %.1f ms", request.method, path, status, ms, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record: time, level, and what it is about."""
        about = getattr(record, "fields", None) or {"message": record.getMessage()}
        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower(), **about}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
