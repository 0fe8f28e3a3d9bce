"""MTurk's requester protocol on POST /: who asks, what for, and the reply or the modeled error as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from curate.crowd.server import keys, model, rules
from curate.crowd.server.errors import BadInput, RequestError
from curate.crowd.server.operations import OPERATIONS
from curate.crowd.server.operations.call import Call
from curate.crowd.server.signature import Request, verify
from curate.crowd.server.store import Store, now

MAX_BODY = 1_000_000  # bytes; the largest honest request is a question and its answer key, 64 KiB each
_TYPE = "application/x-amz-json-1.1"
_log = logging.getLogger("curate.crowd")


async def requester_endpoint(http: HttpRequest) -> Response:
    """One request of a requester."""
    body = b""
    try:
        async for chunk in http.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return _error(RequestError("RequestTooLarge", f"A request may have {MAX_BODY:,} bytes."))
    except ClientDisconnect:
        return Response(status_code=400)
    request = Request(
        http.method,
        http.url.path,
        list(http.query_params.multi_items()),
        {name: ",".join(http.headers.getlist(name)) for name in http.headers},
        body,
    )
    store: Store = http.app.state.store
    return await asyncio.get_running_loop().run_in_executor(store.threads, _answer, store, request)


def _answer(store: Store, request: Request) -> Response:
    try:
        requester = authenticate(store, request)
        return _reply(dispatch(store, requester, request.headers.get("x-amz-target", ""), request.body))
    except RequestError as error:
        return _error(error)
    except Exception:
        _log.exception("a request of the requester protocol failed")
        return _body({"__type": "ServiceFault", "Message": _stamped("The server failed; see its log.")}, 500)


def authenticate(store: Store, request: Request) -> str:
    """The account that signed the request."""
    found: dict[str, str] = {}

    def secret_of(access_key_id: str) -> str | None:
        known = keys.requester_of(store, access_key_id)
        if known is None:
            return None
        found["requester"], secret = known
        return secret

    verify(request, secret_of, now())
    return found["requester"]


def dispatch(store: Store, requester: str, target: str, body: bytes) -> dict[str, Any]:
    """Check the input against the service model, bring the store to the present, and run the operation."""
    operation = target.removeprefix(model.TARGET)
    if not target.startswith(model.TARGET) or operation not in model.operation_names():
        raise RequestError("InvalidOperation", f"The operation {target!r} is not part of MTurk's requester protocol.")
    if operation not in OPERATIONS:
        raise RequestError("OperationNotSupported", f"{operation} is not there yet on this crowd server.")
    try:
        data = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise BadInput("the request is not JSON") from None
    checked = model.check_input(operation, data)
    time = now()
    rules.settle(store, time)
    return store.retrying(lambda: OPERATIONS[operation](Call(store, requester, time), checked))


def _reply(data: dict[str, Any]) -> Response:
    return _body(data, 200)


def _error(error: RequestError) -> Response:
    data = {"__type": error.kind, "Message": _stamped(error.message)}
    if error.kind == "RequestError":
        data["TurkErrorCode"] = error.code
    return _body(data, error.status)


def _stamped(message: str) -> str:
    """MTurk's own messages end with the time in milliseconds, and clients cut it off."""
    return f"{message} ({int(now() * 1000)})"


def _body(data: dict[str, Any], status: int) -> Response:
    headers = {"x-amzn-RequestId": secrets.token_hex(16), "Cache-Control": "no-store"}
    return Response(json.dumps(data), status_code=status, media_type=_TYPE, headers=headers)
