from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from curate.demo.market import PLACES, Market
from curate.demo.shop import Handler, Shop


@pytest.fixture(scope="module")
def shop(market: Market) -> Iterator[str]:
    child = start(market.folder)
    assert child.stdout is not None
    yield json.loads(child.stdout.readline())["url"]
    child.terminate()
    assert child.wait(10) == 0  # a stop signal is a clean end


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "curate.demo.shop", str(folder)], stdout=subprocess.PIPE, text=True)


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def data_of(page: bytes) -> dict:
    return json.loads(re.findall(rb'<script type="application/ld\+json">(.*?)</script>', page, re.DOTALL)[0])


def test_walking_the_lists_by_rel_next_finds_every_listing_with_its_pictures(market: Market, shop: str) -> None:
    found: dict[str, list[str]] = {}
    for place in PLACES:
        url: str | None = f"{shop}/{place.key}"
        while url:
            page = get(url)
            for element in data_of(page)["itemListElement"]:
                product = data_of(get(element["url"]))
                assert product["offers"]["priceCurrency"] == place.currency
                assert product["offers"]["seller"]["name"] == place.name
                found[product["sku"]] = product["image"]
            following = re.search(rb'<link rel="next" href="([^"]+)">', page)
            url = shop + following.group(1).decode() if following else None
    assert found == {item.listing_id: [f"{shop}/{photo.file}" for photo in item.pictures] for item in market.listings}


def test_a_picture_arrives_byte_for_byte(market: Market, shop: str) -> None:
    photo = market.photos[0]
    assert get(f"{shop}/{photo.file}") == (market.folder / photo.file).read_bytes()


def test_robots_txt_closes_the_cart(shop: str) -> None:
    assert b"Disallow: /cart" in get(f"{shop}/robots.txt")


@pytest.mark.parametrize(
    "path", ["/mx/p/nothing", "/xx", "/mx?page=0", "/mx?page=999", "/mx?page=x", "/truth.csv", "/../truth.csv", "/pictures/../truth.csv"]
)  # fmt: skip
def test_what_is_not_there_is_404_and_the_truth_is_never_served(shop: str, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(shop + path)
    assert caught.value.code == 404


def test_an_accepted_connection_sends_small_answers_at_once(market: Market) -> None:
    seen: list[int] = []

    class Spy(Handler):
        def do_GET(self) -> None:
            seen.append(self.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            super().do_GET()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Spy, shop=Shop(market))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        get(f"http://127.0.0.1:{server.server_port}/robots.txt")
        server.shutdown()
        thread.join(10)
    assert seen == [1]  # else each answer waits 40 ms for the client's delayed ACK


def test_an_open_connection_does_not_keep_the_shop_from_ending(market: Market) -> None:
    child = start(market.folder)
    assert child.stdout is not None
    url = json.loads(child.stdout.readline())["url"]
    with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), timeout=5):
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0


def test_a_folder_without_a_market_gives_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "curate.demo.shop", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert re.fullmatch(r"error: .*no market\.json here.*\n", ended.stderr)
