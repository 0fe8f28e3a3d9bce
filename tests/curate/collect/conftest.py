"""A small web on loopback: pages and pictures that a test lays out, and a list of what was asked for."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from whole import photo


@dataclass
class Reply:
    """One answer of the site."""

    body: bytes = b""
    kind: str = "text/html; charset=utf-8"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    gate: threading.Event | None = None  # answered only once it is set
    length: bool = True  # send Content-Length


class Site:
    """Addresses and their answers; an answer may be a function of how often it was asked for."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply | Callable[[int], Reply]] = {}
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.headers: dict[str, dict[str, str]] = {}  # of the latest request of each path
        self.drip: dict[str, float] = {}  # seconds between two bytes of a path's answer
        self.sent: dict[str, int] = {}  # bytes of the latest answer of each path that were taken
        self.lock = threading.Lock()
        self.url = ""

    def page(self, path: str, *parts: str, lang: str = "es-MX", **reply: Any) -> None:
        """Lay out an HTML page."""
        self.replies[path] = Reply(f"<html lang={lang}><body>{''.join(parts)}</body></html>".encode(), **reply)

    def picture(self, path: str, seed: int, **reply: Any) -> bytes:
        """Lay out a picture; returns its bytes."""
        data = photo(seed)
        self.replies[path] = Reply(data, "image/jpeg", **reply)
        return data

    def serve(self, path: str, body: bytes, kind: str) -> None:
        """Lay out anything else."""
        self.replies[path] = Reply(body, kind)

    def product(self, path: str, sku: str, images: list[str], **more: Any) -> None:
        """Lay out a product page with JSON-LD."""
        offer = {"@type": "Offer", "price": "199.50", "priceCurrency": "MXN"}
        data = {"@type": "Product", "sku": sku, "name": f"Delantal {sku}", "image": images, "offers": offer, **more}
        self.page(path, script(data))

    def shop(self, count: int, per_page: int = 10, pictures: int = 2) -> None:
        """Lay out a shop: list pages that go on with rel=next, product pages, and their pictures."""
        for number in range(count):
            names = [f"/i/{number}-{n}.jpg" for n in range(pictures)]
            for n, name in enumerate(names):
                self.picture(name, number * 100 + n)
            self.product(f"/p/{number}", f"S{number}", names)
        for start in range(0, count, per_page):
            links = "".join(f'<a href="/p/{n}">x</a>' for n in range(start, min(start + per_page, count)))
            on = f'<a rel=next href="/list/{start + per_page}">more</a>' if start + per_page < count else ""
            self.page(f"/list/{start}", links, on)

    def answer(self, path: str) -> Reply:
        with self.lock:
            self.asked.append(path)
            reply = self.replies.get(path, Reply(b"gone", status=404))
            return reply if isinstance(reply, Reply) else reply(self.asked.count(path))


def script(data: Any) -> str:
    return f'<script type="application/ld+json">{json.dumps(data)}</script>'


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer would ask DNS for our own name
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
    """Makes a site on a free port; all are closed at the end."""
    servers = []

    def make(host: str = "127.0.0.1", port: int = 0) -> Site:
        site = Site()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                site.agents.add(self.headers["User-Agent"])
                site.headers[self.path] = dict(self.headers.items())
                reply = site.answer(self.path)
                if reply.gate:
                    reply.gate.wait(20)
                self.send_response(reply.status)
                for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                    self.send_header(name, value)
                if reply.status == 304:
                    pass
                elif reply.length:
                    self.send_header("Content-Length", reply.headers.get("X-Length", str(len(reply.body))))
                else:
                    self.close_connection = True
                self.end_headers()
                self._send(reply.body)
                if "X-Length" in reply.headers:
                    self.close_connection = True

            def _send(self, body: bytes) -> None:
                step = 1 if self.path in site.drip else 65_536
                for start in range(0, len(body), step):
                    self.wfile.write(body[start : start + step])
                    site.sent[self.path] = start + step
                    time.sleep(site.drip.get(self.path, 0))

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a crawler that was killed
                    super().handle()

        server = _Server((host, port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        site.url = f"http://{host}:{server.server_port}"
        return site

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    return new_site()
