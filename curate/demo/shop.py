"""Serves a drawn market as a web shop on loopback: three marketplaces, listing pages, product pages with JSON-LD, pictures.

`python -m curate.demo.shop FOLDER --port 0` prints one JSON line with its url and ends on SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import mimetypes
import signal
import threading
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

import jinja2

from curate.demo.market import PLACES, Listing, Market, Place, read_market
from schemas.errors import UserError

PER_PAGE = 24
ROBOTS = "User-agent: *\nDisallow: /cart\nDisallow: /private\n"
WORDS = {
    "es": {
        "next": "Siguiente",
        "back": "Anterior",
        "buy": "Agregar al carrito",
        "cart": "Carrito",
        "page": "Página",
        "all": "Todo",
    },
    "pt": {
        "next": "Próxima",
        "back": "Anterior",
        "buy": "Adicionar ao carrinho",
        "cart": "Carrinho",
        "page": "Página",
        "all": "Tudo",
    },
}


class Shop:
    """The pages of a market, made when asked for."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.places = {place.key: place for place in PLACES}
        self.shelves = {key: [item for item in market.listings if item.marketplace == key] for key in self.places}
        self.items = {(item.marketplace, item.listing_id): item for item in market.listings}
        self.files = {photo.file for photo in market.photos}
        loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
        self.templates = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self.templates.filters["money"] = lambda price: f"{price:,.2f}".removesuffix(".00")

    def page(self, path: str, query: str, root: str) -> str | None:
        """The HTML at a path of the shop, or None where there is none; `root` is the shop's own address."""
        parts = [part for part in path.split("/") if part]
        if not parts:
            return self._render("front.html", None, shelves=self.shelves)
        place = self.places.get(parts[0])
        if place is None:
            return None
        if len(parts) == 1:
            return self._shelf(place, query, root)
        item = self.items.get((place.key, parts[2])) if len(parts) == 3 and parts[1] == "p" else None
        return self._product(place, item, root) if item else None

    def _shelf(self, place: Place, query: str, root: str) -> str | None:
        """One page of a marketplace's listings."""
        shelf = self.shelves[place.key]
        pages = max(1, math.ceil(len(shelf) / PER_PAGE))
        asked = parse_qs(query).get("page", ["1"])[0]
        number = int(asked) if asked.isascii() and asked.isdigit() else 0
        if not 1 <= number <= pages:
            return None
        shown = shelf[(number - 1) * PER_PAGE : number * PER_PAGE]
        data = {
            "@context": "https://schema.org",
            "@type": "ItemList",
            "itemListElement": [
                {"@type": "ListItem", "position": i, "url": f"{root}/{place.key}/p/{item.listing_id}"}
                for i, item in enumerate(shown, 1)
            ],
        }
        return self._render("list.html", place, items=shown, number=number, pages=pages, data=data)

    def _product(self, place: Place, item: Listing, root: str) -> str:
        """One listing, with everything a crawler reads in its JSON-LD."""
        url = f"{root}/{place.key}/p/{item.listing_id}"
        data = {
            "@context": "https://schema.org",
            "@type": "Product",
            "name": item.title,
            "sku": item.listing_id,
            "url": url,
            "image": [f"{root}/{photo.file}" for photo in item.pictures],
            "brand": {"@type": "Brand", "name": item.brand},
            "category": item.category,
            "offers": {
                "@type": "Offer",
                "price": f"{item.price:.2f}",
                "priceCurrency": item.currency,
                "availability": "https://schema.org/InStock",
                "areaServed": item.country,
                "seller": {"@type": "Organization", "name": place.name},
            },
        }
        return self._render("product.html", place, item=item, url=url, data=data)

    def _render(self, template: str, place: Place | None, **facts: object) -> str:
        words = WORDS[place.language if place else "es"]
        return self.templates.get_template(template).render(place=place, places=self.places, words=words, **facts)


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD; connections are kept, small answers are sent at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def __init__(self, *args: object, shop: Shop) -> None:
        self.shop = shop
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A page, a picture, robots.txt, or 404."""
        parts = urlsplit(self.path)
        file = parts.path.lstrip("/")
        if parts.path == "/robots.txt":
            self._send(ROBOTS.encode(), "text/plain; charset=utf-8")
        elif file in self.shop.files:  # only files of market.json: no path can lead elsewhere
            kind = mimetypes.guess_type(file)[0] or "application/octet-stream"
            self._send((self.shop.market.folder / file).read_bytes(), kind)
        else:
            page = self.shop.page(parts.path, parts.query, self._root())
            status = HTTPStatus.OK if page else HTTPStatus.NOT_FOUND
            self._send((page or "<h1>404</h1>").encode(), "text/html; charset=utf-8", status)

    do_HEAD = do_GET

    def _root(self) -> str:
        assert isinstance(self.server, ThreadingHTTPServer)
        return f"http://{self.server.server_name}:{self.server.server_port}"

    def _send(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: stdout holds one line, stderr what goes wrong."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self) -> None:
        """Bind without asking DNS for our own name, which can take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


def serve_shop(folder: Path, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
    """A server of the market in `folder`, bound to its port and not yet answering: call `serve_forever`, then `shutdown`."""
    if not (Path(folder) / "market.json").exists():
        raise UserError(f"{folder}: no market.json here; draw a market first with curate.demo.market.draw_market")
    return _Server((host, port), partial(Handler, shop=Shop(read_market(folder))))


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m curate.demo.shop", description=__doc__)
    parser.add_argument("folder", type=Path, help="Folder that draw_market made.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one.")
    asked = parser.parse_args()
    try:
        server = serve_shop(asked.folder, asked.host, asked.port)
    except (UserError, OSError) as error:
        parser.exit(1, f"error: {error}\n")
    # shutdown waits for serve_forever to end, so it cannot be called from the thread that serves
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    url = f"http://{asked.host}:{server.server_address[1]}"
    print(json.dumps({"url": url, "marketplaces": [asdict(p) | {"url": f"{url}/{p.key}"} for p in PLACES]}), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.2)
    server.server_close()


if __name__ == "__main__":
    main()
