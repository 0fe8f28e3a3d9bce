"""/.well-known/tdmrep.json: what a site reserves for all of its pages and pictures."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from whole import failures, shown

from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.plan import Plan
from curate.collect.reservations import PLACE, Reservations, is_reserved, read_reservations
from curate.collect.robots import FRESH
from curate.collect.scrape import scrape
from curate.workspace import Workspace
from schemas.tables import LISTINGS

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)
NO = "opted out (tdm-reservation: 1 (tdmrep.json))"


def crawl(workspace: Workspace, site: Any, refresh: bool = False) -> dict[str, str]:
    scrape(workspace, f"{site.url}/list/0", Plan(MANNERS, refresh=refresh), export_here)
    return failures(workspace)


def reserve(site: Any, *entries: Any, **reply: Any) -> None:
    site.page(PLACE, kind="application/json", **reply)
    site.replies[PLACE].body = json.dumps(list(entries)).encode()


def entry(location: str, value: Any = 1) -> dict[str, Any]:
    return {"location": location, "tdm-reservation": value}


def test_reserved_listings_and_pictures_are_not_kept_and_lists_lead_on(workspace: Workspace, site: Any) -> None:
    site.shop(3, pictures=1)
    reserve(site, entry("/p/1"), entry("/i/2-"), entry("/list/"))
    assert crawl(workspace, site) == {"/p/1": NO, "/i/2-0.jpg": NO}
    assert sorted(LISTINGS.read(workspace.table("listings"))["listing_id"]) == ["S0", "S2"]
    assert {listing for listing, *_ in shown(workspace)} == {"S0"}
    assert site.asked.count(PLACE) == 1


def test_what_an_answer_says_of_itself_comes_first(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    reserve(site, entry("/"))
    for path in ("/p/0", "/i/0-0.jpg"):
        site.replies[path].headers = {"TDM-Reservation": "0"}
    assert crawl(workspace, site) == {"/i/0-1.jpg": NO}
    assert len(shown(workspace)) == 1


def test_what_is_reserved_later_counts_though_nothing_else_has_changed(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    for path in ("/p/0", "/i/0-0.jpg"):
        site.replies[path].headers = {"ETag": '"v1"'}
    assert crawl(workspace, site) == {}
    for path in ("/p/0", "/i/0-0.jpg"):
        site.replies[path].status, site.replies[path].body = 304, b""
    reserve(site, entry("/"))
    assert crawl(workspace, site, refresh=True) == {"/p/0": NO, "/i/0-0.jpg": NO}


@pytest.mark.parametrize(
    "reply",
    [
        {"status": 404}, {"status": 500}, {"body": b"<!doctype html><title>Shop</title>"}, {"body": b"[{"}, {"body": b"[" * 100_000},
        {"body": b'{"location": 3, "tdm-reservation": 1}'}, {"body": b"[null, 7, []]"}, {"body": b"\xff\xfe\x00"},
    ],
)  # fmt: skip
def test_a_file_that_is_missing_or_says_nothing_reserves_nothing(
    workspace: Workspace, site: Any, reply: dict[str, Any]
) -> None:
    site.shop(1, pictures=1)
    reserve(site, status=reply.get("status", 200))
    site.replies[PLACE].body = reply.get("body", b"")
    assert crawl(workspace, site) == {}


def test_robots_txt_may_keep_us_from_it(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    site.page("/robots.txt", kind="text/plain")
    site.replies["/robots.txt"].body = b"User-agent: *\nDisallow: /.well-known/"
    reserve(site, entry("/"))
    assert crawl(workspace, site) == {}
    assert PLACE not in site.asked


@pytest.mark.parametrize(
    ("entries", "path", "reserved"),
    [
        ([entry("/")], "/x/y?z=1", True),
        ([entry("/", 0)], "/x", False),
        ([entry("/"), entry("/open/", 0)], "/open/a", False),
        ([entry("/open/", 0), entry("/")], "/closed/a", True),
        ([entry("/a/*", 0), entry("/a/*", 1)], "/a/b", True),
        ([entry("/*.jpg")], "/i/a.jpg?w=2", True),
        ([entry("/*.jpg$")], "/i/a.jpg?w=2", False),
        ([entry("/*.jpg$")], "/i/a.jpg", True),
        ([entry("/a$")], "/ab", False),
        ([entry("/a*b*c$")], "/a-b-b-c", True),
        ([entry("/a*b*b$")], "/a-b", False),
        ([entry("/ni%C3%B1os/")], "/ni\u00f1os/1", True),
        ([entry("*")], "/x", True),
        ([entry("x")], "/x", False),
        ([entry("/", "1")], "/x", True),
        ([entry("/", True)], "/x", True),
        ([entry("/", None)], "/x", False),
        ([entry("/" + "*a" * 500)], "/" + "a" * 3000, True),
        ([entry("/" + "*a" * 500 + "b")], "/" + "a" * 3000, False),
    ],
)
def test_the_longest_location_that_fits_counts(entries: list[Any], path: str, reserved: bool) -> None:
    said = read_reservations(json.dumps(entries).encode())
    assert is_reserved(said, f"https://shop.example{path}") is reserved


def test_it_is_asked_for_once_a_site_and_again_after_a_day() -> None:
    asked, now = [], [0.0]

    async def read(url: str) -> tuple[int, bytes]:
        asked.append(url)
        return 200, json.dumps([entry("/")]).encode()

    async def ask() -> None:
        sites = Reservations(read, lambda: now[0])
        for moment in (0.0, FRESH - 1.0, FRESH + 1.0):
            now[0] = moment
            assert await sites.header("https://a.example/1")

    asyncio.run(ask())
    assert asked == ["https://a.example" + PLACE] * 2
