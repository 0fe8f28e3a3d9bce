"""Run the crowd server: one line of JSON on stdout once it answers, logs on stderr, exit 0 when told to stop."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import json
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn

from curate.crowd.server import keys, mail
from curate.crowd.server.app import make_app
from curate.crowd.server.model import service_model
from curate.crowd.server.pictures import Originals
from curate.crowd.server.sender import Sender
from curate.crowd.server.store import open_store
from curate.crowd.server.traffic import JsonLines
from schemas.errors import UserError

GRACE = 5  # seconds that open requests have to end after a signal


class _Server(uvicorn.Server):
    """uvicorn that says when it answers, and that ends well when a signal ends it (its own way is to die of it)."""

    url = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(json.dumps({"url": self.url}), flush=True)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    db_url: str,
    host: str,
    port: int,
    pictures: Originals | None = None,
    signup: str | None = None,
    log: str = "json",
    proxies: str | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C. `signup` (open, email, closed) None = open on a loopback address, else closed.

    `proxies` names the addresses whose X-Forwarded-For and X-Forwarded-Proto are believed; with any, others reach this server
    through them, also on loopback. `log` is json or text.

    Raises UserError when the port is taken, the database cannot be opened, or the address is reachable from outside and no
    key was issued yet.
    """
    store = open_store(db_url)
    try:
        local = is_loopback(host) and proxies is None
        if signup == "email" and not mail.configured():
            raise UserError(
                "--signup email: no mail server to send codes with; set CURATE_SMTP_URL (smtp://user:password@host:587) "
                "and CURATE_MAIL_FROM"
            )
        if not local and keys.in_use(store) == 0:
            raise UserError(
                f"--host {host}: other machines can reach this server, and no key was issued yet; make one first: "
                "curate crowd keys issue NAME"
            )
        service_model()  # a missing model is said now, not at the first request
        listening = listen(host, port)
        app = make_app(store, pictures, ("open" if local else "closed") if signup is None else signup)
        server = _Server(_config(app, log, proxies))
        server.url = _url(host, listening.getsockname()[1])
        gc.freeze()  # what is loaded by now stays; to look through it again and again takes a tenth of the time
        gc.set_threshold(20_000, 20, 50)
        with listening, Sender(store):
            server.run(sockets=[listening])
    finally:
        store.close()


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Made with IPPROTO_TCP, without which asyncio leaves TCP_NODELAY off: 40 ms on every request."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"--host {host} --port {port}: cannot listen there ({reason}); --port 0 takes a free one"
        ) from error
    return made


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _config(app: Any, log: str, proxies: str | None) -> uvicorn.Config:
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonLines() if log == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,  # uvicorn writes it to stdout
        timeout_graceful_shutdown=GRACE,
        server_header=False,
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies,
        ws="none",
    )
