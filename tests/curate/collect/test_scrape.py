"""A crawl of a real site on loopback: complete, polite, and every address that failed says why."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from whole import assert_whole, failures, shown

import curate.collect.fetch as fetch
from curate.cli import app
from curate.collect.addresses import GuardedResolver, is_private
from curate.collect.export import export_here
from curate.collect.extract import read_page
from curate.collect.fetch import Manners
from curate.collect.plan import Plan
from curate.collect.scrape import Crawled, finish, scrape
from curate.collect.sources import start_urls
from curate.workspace import Workspace
from schemas.errors import Partial, UserError
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)


def crawl(workspace: Workspace, start: str, manners: Manners = MANNERS, **plan: Any) -> Crawled:
    return scrape(workspace, start, Plan(manners, **plan), export_here)


def test_all_listings_with_all_their_pictures_are_there(workspace: Workspace, site: Any) -> None:
    site.shop(23)
    done = crawl(workspace, f"{site.url}/list/0")
    assert (done.listings, done.pictures, done.failures, done.waiting, done.stopped) == (23, 46, 0, 0, False)
    assert_whole(workspace, site)
    listing = LISTINGS.read(workspace.table("listings")).set_index("listing_id").loc["S3"]
    assert (listing["title"], listing["price"], listing["currency"], listing["country"]) == (
        "Delantal S3",
        199.5,
        "MXN",
        "MX",
    )
    assert site.agents == {MANNERS.user_agent}
    assert max(site.asked.count(path) for path in set(site.asked)) == 1


def test_run_again_it_asks_for_nothing_and_says_the_same(workspace: Workspace, site: Any) -> None:
    site.shop(5)
    first = crawl(workspace, f"{site.url}/list/0")
    site.asked.clear()
    assert crawl(workspace, f"{site.url}/list/0") == first
    assert site.asked == []
    assert_whole(workspace, site)


def test_refresh_finds_what_is_new(workspace: Workspace, site: Any) -> None:
    site.shop(5)
    crawl(workspace, f"{site.url}/list/0")
    site.shop(7)
    assert crawl(workspace, f"{site.url}/list/0", refresh=True).listings == 7
    assert_whole(workspace, site)


def test_what_check_filled_in_stays(workspace: Workspace, site: Any) -> None:
    site.shop(2)
    crawl(workspace, f"{site.url}/list/0", max_listings=1)
    pictures = PICTURES.read(workspace.table("pictures")).assign(format="JPEG")
    PICTURES.write(pictures, workspace.table("pictures"))
    crawl(workspace, f"{site.url}/list/0")
    assert PICTURES.read(workspace.table("pictures"))["format"].notna().sum() == 2


def test_a_limit_on_listings_is_kept_and_the_rest_waits(workspace: Workspace, site: Any) -> None:
    site.shop(9)
    done = crawl(workspace, f"{site.url}/list/0", max_listings=4)
    assert (done.listings, done.pictures) == (4, 8)
    assert "wait beyond the limit" in finish(done)
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)


def test_a_file_of_addresses_does_as_well(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    site.shop(4)
    file = tmp_path / "urls.txt"
    file.write_text(f"# two products\n{site.url}/p/1\n\n  {site.url}/p/3  \n{site.url}/p/1\n")
    assert crawl(workspace, str(file)).listings == 2


def test_the_same_bytes_at_two_addresses_are_one_picture_in_two_places(workspace: Workspace, site: Any) -> None:
    site.picture("/i/a.jpg", 1)
    site.picture("/i/b.jpg", 1)
    site.product("/p/1", "A", ["/i/a.jpg", "/i/b.jpg"])
    done = crawl(workspace, f"{site.url}/p/1")
    assert done.pictures == 1
    assert [place for _, place, _ in sorted(shown(workspace))] == [0, 1]


def test_a_picture_shown_by_two_listings_is_fetched_once_and_appears_in_both(workspace: Workspace, site: Any) -> None:
    site.picture("/i/a.jpg", 1)
    site.product("/p/1", "A", ["/i/a.jpg"])
    site.product("/p/2", "B", ["/i/a.jpg"])
    site.page("/", '<a href="/p/1">1</a><a href="/p/2">2</a><a href="/i/a.jpg">large</a>')
    assert crawl(workspace, site.url).listings == 2
    assert {listing for listing, *_ in shown(workspace)} == {"A", "B"}
    assert site.asked.count("/i/a.jpg") == 1


def test_links_are_followed_only_as_deep_as_asked(workspace: Workspace, site: Any) -> None:
    site.page("/", '<a href="/1">1</a>')
    site.page("/1", '<a href="/2">2</a>')
    site.page("/2", '<a href="/3">3</a>')
    site.page("/3")
    crawl(workspace, site.url + "/", depth=2)
    assert set(site.asked) == {"/robots.txt", "/.well-known/tdmrep.json", "/", "/1", "/2"}


def test_a_listing_without_a_picture_says_so(workspace: Workspace, site: Any) -> None:
    site.product("/p/1", "A", [])
    site.product("/p/2", "B", ["/i/gone.jpg"])
    site.page("/", '<a href="/p/1">1</a><a href="/p/2">2</a>')
    crawl(workspace, site.url + "/")
    rows = LISTINGS.read(workspace.table("listings")).set_index("listing_id")["dropped"]
    assert rows.to_dict() == {"A": "no picture on its page", "B": "none of its pictures could be had"}


# Politeness


def test_twelve_forbidden_pages_wait_for_a_slow_robots_txt_and_none_is_fetched(
    workspace: Workspace, site: Any, tmp_path: Path
) -> None:
    gate = threading.Event()
    slow = type(site.answer("/x"))(b"User-agent: *\nDisallow: /no/", "text/plain", gate=gate)
    site.asked.clear()
    site.replies["/robots.txt"] = slow
    for number in range(12):
        site.product(f"/no/{number}", f"A{number}", [])
    file = tmp_path / "urls.txt"
    file.write_text("".join(f"{site.url}/no/{number}\n" for number in range(12)))
    threading.Timer(0.3, gate.set).start()
    done = crawl(workspace, str(file))
    assert site.asked == ["/robots.txt"]
    assert set(failures(workspace).values()) == {"forbidden by robots.txt"}
    with pytest.raises(Partial, match=r"12 failed: 12 forbidden by robots\.txt"):
        finish(done)


def test_forbidden_links_of_a_site_are_left_alone_without_alarm(workspace: Workspace, site: Any) -> None:
    site.shop(2)
    site.page("/list/0", '<a href="/p/0">0</a><a href="/p/1">1</a><a href="/cart">c</a>')
    site.page("/robots.txt", kind="text/plain")
    site.replies["/robots.txt"].body = b"User-agent: *\nDisallow: /cart"
    done = crawl(workspace, f"{site.url}/list/0")
    assert "1 pages left alone, forbidden by robots.txt" in finish(done)


def test_a_robots_txt_that_cannot_be_read_forbids_until_it_can(workspace: Workspace, site: Any) -> None:
    site.shop(2)
    site.page("/robots.txt", status=503)
    crawl(workspace, f"{site.url}/list/0")
    assert "robots.txt could not be read (HTTP 503)" in failures(workspace)["/list/0"]
    del site.replies["/robots.txt"]
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)


def test_requests_to_a_host_keep_their_distance(workspace: Workspace, site: Any) -> None:
    site.shop(2, pictures=1)
    times: list[float] = []
    answer = site.answer
    site.answer = lambda path: (times.append(time.monotonic()), answer(path))[1]
    site.replies["/robots.txt"] = type(answer("/x"))(b"User-agent: *\nCrawl-delay: 0.2", "text/plain")
    crawl(workspace, f"{site.url}/list/0")
    pages = times[1:]  # after robots.txt
    assert len(pages) == 6
    assert min(b - a for a, b in itertools.pairwise(pages)) > 0.15  # the server sees them with a little jitter


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_waited_for_and_a_person_is_told(
    workspace: Workspace, site: Any, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch, "LONG_WAIT", 0.5)
    site.shop(1, pictures=1)
    good = site.replies["/i/0-0.jpg"]
    times: list[float] = []

    def busy(asked: int) -> Any:
        times.append(time.monotonic())
        if asked > 1:
            return good
        value = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return type(good)(b"", status=429, headers={"Retry-After": value})

    site.replies["/i/0-0.jpg"] = busy
    crawl(workspace, f"{site.url}/list/0")
    assert len(times) == 2
    assert times[1] - times[0] > 0.9
    assert re.search(r"127.0.0.1:\d+ asks for a pause of [12] s \(HTTP 429\)", capsys.readouterr().err)
    assert len(shown(workspace)) == 1


def test_a_server_that_asks_for_hours_is_left_for_the_next_run(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    good = site.replies["/i/0-0.jpg"]
    site.replies["/i/0-0.jpg"] = type(good)(b"", status=429, headers={"Retry-After": "7200"})
    crawl(workspace, f"{site.url}/list/0")
    assert failures(workspace) == {"/i/0-0.jpg": "HTTP 429, asked to come back in 7200 s"}
    site.replies["/i/0-0.jpg"] = good
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)


def test_a_server_error_is_tried_three_times_and_again_in_the_next_run(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    good = site.replies["/i/0-0.jpg"]
    site.replies["/i/0-0.jpg"] = lambda asked: good if asked == 5 else type(good)(b"", status=500)
    crawl(workspace, f"{site.url}/list/0")
    assert site.asked.count("/i/0-0.jpg") == 3
    assert FAILURES.read(workspace.table("failures"))["tries"].tolist() == [3]
    crawl(workspace, f"{site.url}/list/0")
    assert site.asked.count("/i/0-0.jpg") == 5
    assert LISTINGS.read(workspace.table("listings"))["dropped"].isna().all()


def test_gone_is_gone_and_not_asked_for_again(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=2)
    del site.replies["/i/0-1.jpg"]
    for _ in range(2):
        done = crawl(workspace, f"{site.url}/list/0")
    assert site.asked.count("/i/0-1.jpg") == 1
    with pytest.raises(Partial, match=r"1 listings, 1 pictures; 1 failed: 1 HTTP 404. See failures.parquet"):
        finish(done)


# What is no picture


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"body": b"<html>Sign in</html>", "kind": "image/jpeg"}, "not a picture (image/jpeg, begins with b'<html>Sign in</h"),
        ({"body": b"", "kind": "image/jpeg"}, "not a picture"),
        ({"headers": {"X-Robots-Tag": "noai"}}, "opted out (X-Robots-Tag: noai)"),
        ({"headers": {"X-Robots-Tag": "noimageindex"}}, "opted out (X-Robots-Tag: noimageindex)"),
        ({"body": b"\xff\xd8\xff" + bytes(21_000_000), "length": False}, "larger than 20 MB"),
        ({"body": b"\xff\xd8\xff" + bytes(100), "headers": {"X-Length": "5000"}}, "cut off"),
        ({"headers": {"X-Length": "90000000"}}, "larger than 20 MB"),
        ({"status": 302, "headers": {"Location": "/i/0-0.jpg"}}, "more than 5 redirects"),
        ({"status": 302}, "a redirect to nowhere"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "redirected to file:"),
        ({"status": 403}, "HTTP 403"),
    ],
)  # fmt: skip
def test_a_picture_that_cannot_be_kept_says_why(
    workspace: Workspace, site: Any, reply: dict[str, Any], reason: str
) -> None:
    site.shop(1, pictures=1)
    good = site.replies["/i/0-0.jpg"]
    site.replies["/i/0-0.jpg"] = type(good)(**{"body": good.body, "kind": "image/jpeg", **reply})
    crawl(workspace, f"{site.url}/list/0")
    assert failures(workspace)["/i/0-0.jpg"].startswith(reason)
    assert not [path for path in workspace.blobs.rglob("*") if path.is_file()]


def test_a_redirected_picture_is_kept_under_its_first_address(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    good = site.replies["/i/0-0.jpg"]
    site.replies["/real.jpg"] = good
    site.replies["/i/0-0.jpg"] = type(good)(status=301, headers={"Location": "/real.jpg"})
    crawl(workspace, f"{site.url}/list/0")
    assert APPEARANCES.read(workspace.table("appearances"))["url"].tolist() == [f"{site.url}/i/0-0.jpg"]


# Private addresses


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("127.0.0.1", True), ("10.1.2.3", True), ("169.254.169.254", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("0.0.0.0", True), ("224.0.0.1", True), ("fe80::1%eth0", True), ("8.8.8.8", False), ("2606:4700::1111", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known(address: str, private: bool) -> None:
    assert is_private(address) is private


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1"])
def test_a_private_start_is_refused_at_once(workspace: Workspace, host: str) -> None:
    with pytest.raises(UserError, match="--allow-private"):
        crawl(workspace, f"http://{host}:9/x", Manners("t@example.org"))


@pytest.mark.parametrize("name", ["127.0.0.1", "2130706433", "localhost"])
def test_a_redirect_into_the_private_network_is_refused(
    workspace: Workspace, new_site: Callable[..., Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """127.0.0.2 passes for a public address; where it redirects to is private as written or by what the name resolves to."""
    import curate.collect.addresses as addresses
    import curate.collect.scrape as module

    monkeypatch.setattr(addresses, "is_private", lambda ip: is_private(ip) and ip != "127.0.0.2")
    monkeypatch.setattr(module, "is_private_host", lambda host: False)
    public, private = new_site("127.0.0.2"), new_site()
    public.shop(1, pictures=1)
    private.picture("/secret.jpg", 1)
    port = private.url.rsplit(":", 1)[1]
    public.replies["/i/0-0.jpg"] = type(public.replies["/i/0-0.jpg"])(
        status=302, headers={"Location": f"http://{name}:{port}/secret.jpg"}
    )
    crawl(workspace, f"{public.url}/list/0", Manners("t@example.org", delay=0, backoff=0.01))
    assert re.search("private address|not an address", failures(workspace)["/i/0-0.jpg"])
    assert private.asked == []


def test_a_name_that_resolves_to_a_private_address_is_refused_where_it_is_resolved() -> None:
    async def resolve() -> None:
        await GuardedResolver().resolve("localhost", 80)

    with pytest.raises(OSError, match="localhost is the private address"):
        asyncio.run(resolve())


# What cannot start


@pytest.mark.parametrize(
    ("manners", "start", "said"),
    [
        (Manners("", allow_private=True), "http://127.0.0.1/", "set `contact` in workspace.yaml, or say --contact"),
        (Manners("t@example.org", delay=-1), "https://shop.example/", "--delay must be 0 or more seconds, got -1"),
        (
            Manners("t@example.org", delay=0),
            "https://shop.example/",
            "--delay 0 is for this machine only; shop.example",
        ),
        (Manners("t@example.org"), "shop.example", "neither a URL"),
    ],
)
def test_what_cannot_start_gets_one_clear_line(workspace: Workspace, manners: Manners, start: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        crawl(workspace, start, manners)
    assert not workspace.table("listings").exists()


def test_a_file_with_a_wrong_line_names_it(tmp_path: Path) -> None:
    file = tmp_path / "urls.txt"
    file.write_text("https://a.example/\nftp://b.example/\n")
    with pytest.raises(UserError, match=r"urls.txt, line 2: 'ftp://b.example/' is not an address"):
        start_urls(str(file))
    file.write_text("# nothing\n")
    with pytest.raises(UserError, match="holds no URL"):
        start_urls(str(file))


def test_a_start_page_that_leads_nowhere_says_so(workspace: Workspace, site: Any) -> None:
    site.page("/", "<p>hello</p>")
    crawl(workspace, site.url + "/")
    assert failures(workspace) == {"/": "neither a product nor links to one"}


def test_the_command_says_one_line(workspace: Workspace, site: Any) -> None:
    site.shop(3)
    options = ["--delay", "0", "--allow-private", "-w", str(workspace.root)]
    result = CliRunner().invoke(app, ["scrape", f"{site.url}/list/0", *options], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith("3 listings, 6 pictures -> ")


def test_a_page_of_fifty_megabytes_is_not_read(workspace: Workspace, site: Any) -> None:
    site.page("/", " " * 50_000_000, length=False)
    crawl(workspace, site.url + "/")
    assert failures(workspace) == {"/": "larger than 10 MB"}


def test_a_page_in_latin_1_with_one_broken_block_is_a_listing_all_the_same(workspace: Workspace, site: Any) -> None:
    site.product("/p/1", "A", [], name="Delantal niño")
    reply = site.replies["/p/1"]
    reply.body = reply.body.decode().replace("\\u00f1", "ñ").replace("<body>", '<body><script type="application/ld+json">{</script>').encode("latin-1")  # fmt: skip
    reply.kind = "text/html; charset=iso-8859-1"
    crawl(workspace, f"{site.url}/p/1")
    assert LISTINGS.read(workspace.table("listings"))["title"].tolist() == ["Delantal niño"]


def test_two_sites_are_crawled_side_by_side_and_a_slow_one_holds_up_nobody(
    workspace: Workspace, new_site: Callable[[], Any], tmp_path: Path
) -> None:
    slow, fast = new_site(), new_site()
    slow.shop(2)
    fast.shop(6)
    gate = threading.Event()
    slow.replies["/list/0"].gate = gate
    answer = fast.answer
    last = "/i/5-1.jpg"

    def watching(path: str) -> Any:
        if path == last:
            gate.set()  # opens only when the fast site is through: a crawl that waited for the slow one would hang
        return answer(path)

    fast.answer = watching
    file = tmp_path / "urls.txt"
    file.write_text(f"{slow.url}/list/0\n{fast.url}/list/0\n")
    assert crawl(workspace, str(file)).listings == 8


@pytest.mark.parametrize(
    "name",
    [
        "</title><script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "Delantal \u202e\x00\ud800 ok",
        "x" * 100_000,
    ],
)
def test_a_title_with_scripts_or_rubbish_is_text_and_nothing_else(workspace: Workspace, site: Any, name: str) -> None:
    site.product("/p/1", "A", [], name=name.replace("</", "<\\/"))
    page = site.replies["/p/1"]
    page.body = page.body.replace(b"<body>", f"<head><title>{name}</title></head><body>".encode("utf-8", "replace"))
    done = crawl(workspace, f"{site.url}/p/1")
    (title,) = LISTINGS.read(workspace.table("listings"))["title"]
    assert (done.listings, done.failures) == (1, 0)
    assert len(title) <= 20_000
    assert "\x00" not in title
    assert "\u202e" not in title


def test_pages_that_lead_round_in_circles_or_to_nowhere_say_so(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    for path, target in {
        "/a": "/b",
        "/b": "/a",
        "/self": "/self",
        "/odd": "mailto:x@y.example",
        "/bad": "http://[::1",
    }.items():
        site.page(path, status=302, headers={"Location": target})
    file = tmp_path / "urls.txt"
    file.write_text("".join(f"{site.url}{path}\n" for path in ("/a", "/self", "/odd", "/bad")))
    crawl(workspace, str(file))
    assert failures(workspace) == {
        "/a": "more than 5 redirects", "/self": "more than 5 redirects", "/odd": "redirected to mailto:, which is not the web",
        "/bad": "a redirect to what is no address",
    }  # fmt: skip


def test_a_page_that_our_reader_fails_on_stops_no_crawl(workspace: Workspace, site: Any) -> None:
    site.shop(3, pictures=1)

    def read(body: bytes, url: str, kind: str | None, marketplace: str | None) -> Any:
        if url.endswith("/p/1"):
            raise IndexError("of our own making")
        return read_page(body, url, kind, marketplace)

    assert crawl(workspace, f"{site.url}/list/0", read=read).listings == 2
    assert failures(workspace) == {"/p/1": "our reader failed (IndexError: of our own making)"}
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)
