"""robots.txt in every shape, opt-outs in pages, limits that hold while an answer streams, and names that change their address."""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver
from PIL import Image

import curate.collect.addresses as addresses
import curate.collect.scrape as module
from curate.collect.addresses import is_private
from curate.collect.export import export_here
from curate.collect.fetch import Failed, Fetcher, Manners, open_session
from curate.collect.pixels import _jpeg_size
from curate.collect.plan import Plan
from curate.collect.robots import FRESH, LONGEST, Robots, wishes
from curate.collect.scrape import scrape
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import FAILURES, LISTINGS

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)


def crawl(workspace: Workspace, site: Any, path: str = "/list/0", manners: Manners = MANNERS) -> dict[str, str]:
    """Reasons by path."""
    scrape(workspace, site.url + path, Plan(manners), export_here)
    rows = FAILURES.read(workspace.table("failures"))
    return {"/" + url.split("/", 3)[3]: why for url, why in zip(rows["url"], rows["dropped"], strict=True)}


def listed(workspace: Workspace) -> list[str]:
    return sorted(LISTINGS.read(workspace.table("listings"))["listing_id"])


def robots(site: Any, body: bytes, kind: str = "text/plain", **more: Any) -> None:
    site.page("/robots.txt")
    site.replies["/robots.txt"] = type(site.replies["/robots.txt"])(body, kind, **more)


# robots.txt


def test_a_huge_robots_txt_counts_as_far_as_it_is_read_and_no_half_line_does(workspace: Workspace, site: Any) -> None:
    site.shop(3, pictures=0)
    head = b"User-agent: *\nDisallow: /p/1\n"
    rest = (b"#" * 99 + b"\n") * (LONGEST // 100 + 1)
    body = (head + rest)[: LONGEST - 12] + b"\nAllow: /p/1/more\n" + b"Disallow: /\n" * 100_000
    assert body[LONGEST - 12 : LONGEST] == b"\nAllow: /p/1"  # cut here it would say the contrary
    robots(site, body)
    assert crawl(workspace, site) == {"/p/1": "forbidden by robots.txt"}
    assert listed(workspace) == ["S0", "S2"]


def test_a_robots_txt_that_drips_forbids_when_its_time_is_over(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    site.drip["/robots.txt"] = 0.05  # seconds between two bytes: each comes in time, the whole does not
    robots(site, b"# " + b"x" * 10_000)
    manners = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=0.4)
    assert "robots.txt could not be read (no answer in time)" in crawl(workspace, site, manners=manners)["/list/0"]
    assert set(site.asked) == {"/robots.txt"}


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "image/png", "application/octet-stream"])
def test_a_robots_txt_of_the_wrong_type_counts_where_it_holds_rules(workspace: Workspace, site: Any, kind: str) -> None:
    site.shop(2, pictures=0)
    robots(site, b"\xef\xbb\xbfUSER-AGENT : *\r\ndisallow:/p/1\r\n", kind)
    assert crawl(workspace, site) == {"/p/1": "forbidden by robots.txt"}


def test_a_page_in_the_place_of_robots_txt_holds_no_rules(workspace: Workspace, site: Any) -> None:
    site.shop(2, pictures=0)
    robots(site, b"<!doctype html><html><p>Disallow: / is what we do not say</p></html>", "text/html")
    assert crawl(workspace, site) == {}
    assert listed(workspace) == ["S0", "S1"]


def test_a_robots_txt_elsewhere_speaks_for_the_site_that_led_there(
    workspace: Workspace, new_site: Callable[..., Any]
) -> None:
    site, other = new_site(), new_site()
    site.shop(2, pictures=0)
    robots(site, b"", status=301, headers={"Location": f"{other.url}/rules.txt"})
    other.page("/rules.txt")
    other.replies["/rules.txt"].body = b"User-agent: consenso\nDisallow: /p/0"
    assert crawl(workspace, site) == {"/p/0": "forbidden by robots.txt"}


def test_a_robots_txt_that_leads_round_in_circles_counts_as_not_there(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=0)
    robots(site, b"", status=302, headers={"Location": "/robots.txt"})
    assert crawl(workspace, site) == {}
    assert site.asked.count("/robots.txt") == 6  # five redirects are followed


def test_a_site_that_wants_ten_minutes_between_requests_is_left_alone(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    robots(site, b"User-agent: *\nCrawl-delay: 600")
    assert crawl(workspace, site) == {"/list/0": "robots.txt asks for 600 s between two requests, more than 300"}


@pytest.mark.parametrize(
    ("line", "delay"), [("Crawl-delay: 2.5", 2.5), ("Request-rate: 1/4", 4), ("Crawl-delay: soon", 0)]
)
def test_a_site_says_how_much_time_it_wants(line: str, delay: float) -> None:
    async def read(url: str) -> tuple[int, bytes]:
        return 200, f"User-agent: *\n{line}".encode()

    assert asyncio.run(Robots(read).rules("https://a.example/")).delay == delay


def test_robots_txt_is_asked_for_again_after_a_day() -> None:
    asked, now = itertools.count(1), [0.0]

    async def read(url: str) -> tuple[int, bytes]:
        return 200, b"User-agent: *\nDisallow: /" + str(next(asked)).encode()

    async def both() -> list[str | None]:
        rules = Robots(read, lambda: now[0])
        found = []
        for moment in (0.0, FRESH - 1.0, FRESH + 1.0):
            now[0] = moment
            found.append((await rules.rules("https://a.example/")).refuses("https://a.example/2"))
        return found

    assert asyncio.run(both()) == [None, None, "forbidden by robots.txt"]


# Opt-outs in pages


@pytest.mark.parametrize(
    ("tag", "headers", "said"),
    [
        ('<meta name="robots" content="index, NoAI">', {}, "meta robots: noai"),
        ("<META CONTENT='noimageai' NAME='Robots'>", {}, "meta robots: noimageai"),
        ('<meta name="robots" content="noimageindex,nofollow">', {}, "meta robots: noimageindex"),
        ('<meta name="consenso" content="noml">', {}, "meta consenso: noml"),
        ('<meta name="tdm-reservation" content="1">', {}, "meta tdm-reservation: 1"),
        ("", {"X-Robots-Tag": "noindex"}, "X-Robots-Tag: noindex"),
        ("", {"TDM-Reservation": "1"}, "tdm-reservation: 1"),
        ('<meta name="robots" content="max-image-preview:large, follow">', {}, None),
        ('<meta name="otherbot" content="noindex">', {"X-Robots-Tag": "otherbot: noai"}, None),
        ('<!-- <meta name="robots" content="noindex"> -->', {}, None),
        ('<meta name="tdm-reservation" content="0">', {}, None),
    ],
)  # fmt: skip
def test_a_product_page_may_say_no(
    workspace: Workspace, site: Any, tag: str, headers: dict[str, str], said: str | None
) -> None:
    site.shop(2, pictures=1)
    page = site.replies["/p/1"]
    page.body = page.body.replace(b"<body>", f"<head>{tag}</head><body>".encode())
    page.headers = headers
    assert crawl(workspace, site) == ({"/p/1": f"opted out ({said})"} if said else {})
    assert listed(workspace) == (["S0"] if said else ["S0", "S1"])
    assert ("/i/1-0.jpg" in site.asked) is (said is None)


def test_a_list_that_is_not_to_be_indexed_leads_on_and_one_that_is_not_to_be_followed_does_not(
    workspace: Workspace, site: Any
) -> None:
    site.shop(2, pictures=0)
    site.page("/a", '<meta name="robots" content="noindex"><a href="/p/0">0</a>')
    site.page("/b", '<meta name="robots" content="nofollow"><a href="/p/1">1</a>')
    assert crawl(workspace, site, "/a") == {}
    assert crawl(workspace, site, "/b") == {"/b": "asks that its links are not followed (robots: nofollow)"}
    assert listed(workspace) == ["S0"]


def test_wishes_are_read_in_any_encoding() -> None:
    page = '<html><head><meta name="robots" content="noai"></head></html>'
    assert wishes([], b"\xff\xfe" + page.encode("utf-16-le")).refused == "meta robots: noai"


# Limits


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is so large; its pixels are missing, since nobody may decode them."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("width", "height", "said"),
    [
        (10_000, 6_000, "more than 50 million pixels"),
        (60_000, 60_000, "more than 50 million pixels"),
        (8_000, 6_000, None),
    ],
)
def test_a_picture_of_too_many_pixels_is_refused_by_its_header(
    workspace: Workspace, site: Any, width: int, height: int, said: str | None
) -> None:
    site.shop(1, pictures=1)
    site.replies["/i/0-0.jpg"].body = png_of(width, height)
    assert crawl(workspace, site) == ({"/i/0-0.jpg": said} if said else {})


@pytest.mark.parametrize("progressive", [False, True])
def test_the_size_of_a_jpeg_is_what_pillow_says(progressive: bool) -> None:
    file = io.BytesIO()
    image = Image.new("L", (700, 30))
    exif = image.getexif()
    exif[0x010E] = "x" * 3000
    image.save(file, "JPEG", progressive=progressive, exif=exif, icc_profile=b"p" * 5000)
    data = file.getvalue()
    assert _jpeg_size(data) == (700, 30)
    padded = data[:2] + b"\xff\xff" + data[2:]
    assert _jpeg_size(padded) == (700, 30)
    assert [_jpeg_size(part) for part in (b"", data[:2], data[:100], b"\x89PNG")] == [None] * 4


def test_a_jpeg_of_too_many_pixels_is_refused_too(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    good = site.replies["/i/0-0.jpg"]
    good.body = good.body.replace(b"\x00\x60\x00\x60\x03", b"\xea\x60\xea\x60\x03")  # 96 pixels each way become 60,000
    assert crawl(workspace, site) == {"/i/0-0.jpg": "more than 50 million pixels"}


def test_what_begins_like_no_picture_is_not_read_to_its_end(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    site.replies["/i/0-0.jpg"] = type(site.replies["/p/0"])(b"<html>" + bytes(19_000_000), "image/jpeg")
    assert crawl(workspace, site)["/i/0-0.jpg"].startswith("not a picture (image/jpeg, begins with b'<html>")
    assert site.sent["/i/0-0.jpg"] < 19_000_000


def test_a_start_page_that_is_a_film_says_so_and_a_link_to_one_is_no_alarm(workspace: Workspace, site: Any) -> None:
    film = type(site.answer("/"))(b"\0\0\0\x18ftypmp42" + bytes(99), "video/mp4")
    site.replies |= {"/film": film, "/film2": film}
    assert crawl(workspace, site, "/film") == {"/film": "not a page (video/mp4)"}
    site.page("/", '<a href="/film2">x</a>')
    done = scrape(workspace, site.url + "/", Plan(MANNERS), export_here)
    assert done.reasons == {"not a page": 1}  # the start page alone


def test_a_page_that_unpacks_to_fifty_megabytes_is_not_read(workspace: Workspace, site: Any) -> None:
    packed = gzip.compress(bytes(50_000_000))
    site.page("/", headers={"Content-Encoding": "gzip"})
    site.replies["/"].body = packed
    assert crawl(workspace, site, "/") == {"/": "larger than 10 MB"}


def test_every_format_that_is_allowed_is_kept_byte_for_byte(workspace: Workspace, site: Any) -> None:
    names = {}
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF"):
        file = io.BytesIO()
        Image.new("RGB", (80, 80), (200, 30, 30)).save(file, kind)
        site.page(f"/i/{kind}", kind="application/octet-stream")
        site.replies[f"/i/{kind}"].body = names[kind] = file.getvalue()
    site.product("/p/1", "A", [f"/i/{kind}" for kind in names])
    assert crawl(workspace, site, "/p/1") == {}
    kept = {path.suffix: path.read_bytes() for path in workspace.blobs.rglob("*.*")}
    assert kept == {f".{'jpg' if kind == 'JPEG' else kind.lower()}": data for kind, data in names.items()}


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252", "utf-16", "shift_jis", "gb18030"])
def test_pages_come_in_other_encodings(workspace: Workspace, site: Any, encoding: str) -> None:
    name = "エプロン" if encoding == "shift_jis" else "围裙" if encoding == "gb18030" else "Delantal niño"
    text = f'<html lang="es-MX"><script type="application/ld+json">{{"@type": "Product", "sku": "A", "name": "{name}"}}</script>'
    site.page("/p/1", kind=f"text/html; charset={encoding}")
    site.replies["/p/1"].body = text.encode(encoding)
    crawl(workspace, site, "/p/1")
    assert LISTINGS.read(workspace.table("listings"))["title"].tolist() == [name]


def test_never_more_than_two_connections_to_a_host(workspace: Workspace, site: Any) -> None:
    site.shop(12)
    answer, lock, open_now, most = site.answer, threading.Lock(), [0], [0]
    both = threading.Barrier(2)

    def counting(path: str) -> Any:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        try:
            if path in ("/i/2-0.jpg", "/i/2-1.jpg"):
                both.wait(10)  # two do come at once
            return answer(path)
        finally:
            with lock:
                open_now[0] -= 1

    site.answer = counting
    assert crawl(workspace, site) == {}
    assert most[0] == 2


# Private addresses


class Names(AbstractResolver):
    """A name server that gives one address after another for the same name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = itertools.chain(addresses, itertools.repeat(addresses[-1]))

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        found = next(self.addresses)
        return [{"hostname": host, "host": found, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        """Nothing to close."""


def test_a_name_that_moves_into_the_private_network_gains_nothing(
    new_site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 passes for a public address. What was checked is what is connected to, however the name answers next."""
    monkeypatch.setattr(addresses, "is_private", lambda ip: is_private(ip) and ip != "127.0.0.2")
    public = new_site("127.0.0.2")
    port = int(public.url.rsplit(":", 1)[1])
    inside = new_site("127.0.0.1", port)
    for site in (public, inside):
        site.shop(1)

    async def ask(*addresses: str) -> bytes:
        manners = Manners("t@example.org", delay=0.01, backoff=0.01, timeout=5)
        async with open_session(manners, Names(*addresses)) as session:
            fetcher = Fetcher(session, manners, asyncio.Event())
            return (await fetcher.get(f"http://shop.example:{port}/p/0", 1_000_000)).body

    assert asyncio.run(ask("127.0.0.2", "127.0.0.1")) == public.replies["/p/0"].body
    with pytest.raises(Failed, match=r"shop.example is the private address 127.0.0.1; --allow-private allows it"):
        asyncio.run(ask("127.0.0.1", "127.0.0.2"))
    assert inside.asked == []


def test_a_robots_txt_that_leads_into_the_private_network_forbids(
    workspace: Workspace, new_site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(addresses, "is_private", lambda ip: is_private(ip) and ip != "127.0.0.2")
    monkeypatch.setattr(module, "is_private_host", lambda host: False)
    public, inside = new_site("127.0.0.2"), new_site()
    public.shop(1)
    robots(public, b"", status=302, headers={"Location": f"{inside.url}/robots.txt"})
    reasons = crawl(workspace, public, manners=Manners("t@example.org", delay=0, backoff=0.01))
    assert "127.0.0.1 is a private address" in reasons["/list/0"]
    assert (inside.asked, public.asked) == ([], ["/robots.txt"])


@pytest.mark.parametrize("address", ["64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:10.0.0.1", "fd00::1", "100.64.0.1"])
def test_an_address_that_stands_for_a_private_one_is_private(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("contact", ["me", "mailto me", "x@y\r\nCookie: a", "ftp://a.example", "ñ@example.org"])
def test_a_contact_nobody_can_write_to_does_not_start(workspace: Workspace, contact: str) -> None:
    with pytest.raises(UserError, match="is neither an e-mail address nor a page"):
        scrape(workspace, "https://shop.example/", Plan(Manners(contact)), export_here)
