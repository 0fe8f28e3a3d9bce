"""Run pages on loopback: their address is printed, and opened; Ctrl-C and SIGTERM end them with code 0."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from curate.pages.guard import Secrets
from schemas.errors import UserError

GRACE = 5  # seconds that open requests have to end after a signal


class _Server(uvicorn.Server):
    """uvicorn that says when it answers, and that ends well when a signal ends it (its own way is to die of it)."""

    url = ""
    as_json = False
    browser = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(json.dumps({"url": self.url}) if self.as_json else f"{self.url}\nCtrl-C ends it", flush=True)
            if self.browser:
                webbrowser.open(self.url)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(make_app: Callable[[Secrets], ASGIApp], port: int, as_json: bool, browser: bool) -> None:
    """Serve the application until SIGTERM or Ctrl-C. Raises UserError when the port is taken."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with _listen(port) as listening:
        secret = Secrets(listening.getsockname()[1])
        config = uvicorn.Config(
            make_app(secret),
            log_config=None,
            log_level="warning",
            access_log=False,  # it would hold the token
            timeout_graceful_shutdown=GRACE,
            server_header=False,
            ws="none",
        )
        server = _Server(config)
        server.url, server.as_json, server.browser = secret.url, as_json, browser and not as_json
        server.run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    """A bound socket. Made with IPPROTO_TCP, without which asyncio leaves TCP_NODELAY off: 40 ms on every request."""
    try:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--port {port}: cannot listen there ({reason}); --port 0 takes a free one") from error
    return made
