"""How far and how fast: what a site's rules and the options of the command ask for, `start` and `limits` among them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from whole import assert_whole, shown

from curate.cli import app
from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.pace import Meter, rate_of
from curate.collect.plan import Plan, rules_of, starts_of
from curate.collect.scrape import Crawled, finish, scrape
from curate.collect.site import Site
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import LISTINGS

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)
HOST = "127.0.0.1"


def rules(hosts: tuple[str, ...] = (HOST,), **more: Any) -> Site:
    return Site(marketplace="Tianguis", hosts=hosts, **more)


def crawl(workspace: Workspace, start: str | None, *own: Site, manners: Manners = MANNERS, **plan: Any) -> Crawled:
    plan = {"start": starts_of(own), "rules": rules_of(own), **plan}
    return scrape(workspace, start, Plan(manners, **plan), export_here)


def pages_asked(site: Any) -> list[str]:
    return [path for path in site.asked if path.startswith(("/p/", "/list/"))]


# Where it begins


def test_without_a_start_it_begins_where_the_rules_say_and_notes_why_it_may(workspace: Workspace, site: Any) -> None:
    site.shop(8, per_page=4)
    space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
    site.page("/sitemap.xml", kind="application/xml")
    site.replies["/sitemap.xml"].body = f"<urlset {space}><url><loc>{site.url}/p/0</loc></url></urlset>".encode()
    start = {
        "sitemaps": [f"{site.url}/sitemap.xml"],
        "urls": [f"{site.url}/p/1"],
        "listing_pages": [f"{site.url}/list/4"],
    }
    assert crawl(workspace, None, rules(start=start, permission="our own shop")).listings == 6
    listings = LISTINGS.read(workspace.table("listings"))
    assert sorted(listings["listing_id"]) == ["S0", "S1", "S4", "S5", "S6", "S7"]
    assert set(listings["permission"]) == {"our own shop"}


def test_a_start_that_is_said_comes_before_the_rules(workspace: Workspace, site: Any) -> None:
    site.shop(4)
    own = rules(start={"listing_pages": [f"{site.url}/list/0"]})
    assert crawl(workspace, f"{site.url}/p/1", own).listings == 1


def test_the_command_begins_by_the_rules(workspace: Workspace, site: Any, tmp_path: Path) -> None:
    site.shop(3)
    file = tmp_path / "shop.yaml"
    file.write_text(f"marketplace: Tianguis\nhosts: [{HOST}]\nstart: {{listing_pages: ['{site.url}/list/0']}}\n")
    options = ["--site", str(file), "--delay", "0", "--allow-private", "-w", str(workspace.root)]
    dry = CliRunner().invoke(app, ["scrape", "--dry-run", *options], catch_exceptions=False)
    assert "3 listings; nothing was written" in dry.stdout
    result = CliRunner().invoke(app, ["scrape", *options], catch_exceptions=False)
    assert result.stdout.startswith("3 listings, 6 pictures -> ")
    assert '"start": "' + site.url in (workspace.root / "log.jsonl").read_text()


@pytest.mark.parametrize("own", [(), (rules(),)])
def test_without_any_start_it_says_what_is_missing(workspace: Workspace, own: tuple[Site, ...]) -> None:
    with pytest.raises(
        UserError, match=r"say where to begin: a URL, a file of URLs, or --site RULES.yaml with `start`"
    ):
        crawl(workspace, None, *own)


def test_a_start_that_is_no_address_is_refused_with_its_rules() -> None:
    with pytest.raises(ValueError, match=r"'shop.example/list' is not an address"):
        rules(start={"listing_pages": ["shop.example/list"]})


# How far


def test_no_more_pages_than_the_rules_say_over_all_runs(workspace: Workspace, site: Any) -> None:
    site.shop(9)
    own = rules(limits={"max_pages": 4})
    for _ in range(2):
        done = crawl(workspace, f"{site.url}/list/0", own)
        assert (done.listings, done.waiting) == (3, 6)
        assert len(pages_asked(site)) == 4
    assert "6 pages wait beyond the limit" in finish(done)
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)


def test_known_pages_are_looked_at_again_though_the_limit_of_pages_is_reached(workspace: Workspace, site: Any) -> None:
    site.shop(9)
    own = rules(limits={"max_pages": 4})
    crawl(workspace, f"{site.url}/list/0", own)
    first = pages_asked(site)
    crawl(workspace, f"{site.url}/list/0", own, refresh=True)
    assert sorted(pages_asked(site)) == sorted(first * 2)


def test_each_site_has_its_own_limit_of_listings(
    workspace: Workspace, new_site: Callable[..., Any], tmp_path: Path
) -> None:
    few, many = new_site("127.0.0.1"), new_site("127.0.0.2")
    for site in (few, many):
        site.shop(6, pictures=1)
    for number in range(6):
        many.product(f"/p/{number}", f"M{number}", [])
    file = tmp_path / "urls.txt"
    file.write_text(f"{few.url}/list/0\n{many.url}/list/0\n")
    own = (rules(("127.0.0.1",), limits={"max_listings": 2}), rules(("127.0.0.2",)))
    for _ in range(2):
        assert crawl(workspace, str(file), *own).listings == 8
    found = LISTINGS.read(workspace.table("listings"))["listing_id"].str[0].value_counts()
    assert found.to_dict() == {"S": 2, "M": 6}
    assert len({listing for listing, *_ in shown(workspace)}) == 2


def test_a_page_that_shows_a_known_listing_makes_room_for_another(workspace: Workspace, site: Any) -> None:
    for number, sku in enumerate(["A", "A", "B", "C"]):
        site.product(f"/p/{number}", sku, [])
    site.page("/", *(f'<a href="/p/{number}">x</a>' for number in range(4)))
    assert crawl(workspace, site.url, rules(limits={"max_listings": 2})).listings == 2
    assert set(LISTINGS.read(workspace.table("listings"))["listing_id"]) == {"A", "B"}


@pytest.mark.parametrize(("of_rules", "of_command", "most"), [(2, None, 2), (None, 1, 1), (2, 3, 2), (3, 1, 1)])
def test_only_the_first_pictures_where_so_many_are_wanted(
    workspace: Workspace, site: Any, of_rules: int | None, of_command: int | None, most: int
) -> None:
    site.shop(1, pictures=4)
    own = rules(limits={"max_images": of_rules})
    crawl(workspace, f"{site.url}/list/0", own, max_pictures=of_command)
    assert [place for _, place, _ in sorted(shown(workspace))] == list(range(most))
    assert len([path for path in site.asked if path.startswith("/i/")]) == most


def test_two_pages_of_a_listing_have_no_more_pictures_than_are_wanted(workspace: Workspace, site: Any) -> None:
    site.shop(2, pictures=2)
    for number in range(2):
        site.product(f"/p/{number}", "A", [f"/i/{number}-0.jpg", f"/i/{number}-1.jpg"])
    crawl(workspace, f"{site.url}/list/0", max_pictures=3)
    assert len(shown(workspace)) == 3


# How fast


@pytest.mark.parametrize("asked", [1, 4])
def test_as_many_connections_as_are_asked_for_and_no_more(workspace: Workspace, site: Any, asked: int) -> None:
    """With fewer than are asked for, the barrier would break and its answer would be missing."""
    site.shop(12)
    answer, lock, now, most = site.answer, threading.Lock(), [0], [0]
    together = threading.Barrier(asked)
    held = {f"/p/{number}" for number in range(asked)}

    def counting(path: str) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            if path in held:
                together.wait(10)
            return answer(path)
        finally:
            with lock:
                now[0] -= 1

    site.answer = counting
    crawl(workspace, f"{site.url}/list/0", rules(limits={"connections": asked}))
    assert_whole(workspace, site)
    assert most[0] == asked


def test_a_host_that_others_lead_to_keeps_its_own_number_of_connections(
    workspace: Workspace, new_site: Callable[..., Any], tmp_path: Path
) -> None:
    """Pictures of a site with four connections are led on to a host with one."""
    shop, store = new_site("127.0.0.1"), new_site("127.0.0.2")
    shop.shop(6)
    for path in [path for path in shop.replies if path.startswith("/i/")]:
        store.replies[path] = shop.replies[path]
        shop.replies[path] = type(store.replies[path])(status=302, headers={"Location": store.url + path})
    answer, lock, now, most = store.answer, threading.Lock(), [0], [0]

    def counting(path: str) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            return answer(path)
        finally:
            with lock:
                now[0] -= 1

    store.answer = counting
    own = (rules(("127.0.0.1",), limits={"connections": 4}), rules(("127.0.0.2",), limits={"connections": 1}))
    assert crawl(workspace, f"{shop.url}/list/0", *own).pictures == 12
    assert most[0] == 1


def test_answers_together_keep_to_their_rate() -> None:
    """Time is the loop's own: 3 MB at 1 MB a second are through after 3 s, whoever asks."""

    async def three() -> float:
        loop = asyncio.get_running_loop()
        meter, now = Meter(1_000_000), loop.time()
        moved = [0.0]
        loop.time = lambda: now + moved[0]  # type: ignore[method-assign]
        waiting = [asyncio.ensure_future(meter.used(1_000_000)) for _ in range(3)]
        while not all(one.done() for one in waiting):
            moved[0] += 0.5
            await asyncio.sleep(0)
        return moved[0]

    assert 3 <= asyncio.run(three()) < 5


@pytest.mark.parametrize(
    ("text", "rate"),
    [("5MB/s", 5e6), ("800 kB/s", 8e5), ("1.5mb", 1.5e6), ("200000", 2e5), ("1 GB/s", 1e9), ("2M", 2e6)],
)
def test_a_rate_is_read_as_people_write_it(text: str, rate: float) -> None:
    assert rate_of(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "5MB/h", "-1MB/s", "5 B/s", "MB/s"])
def test_what_is_no_rate_gets_one_line(text: str) -> None:
    with pytest.raises(UserError, match="must be a speed of 10KB/s or more, such as 5MB/s"):
        rate_of(text)


def test_a_crawl_with_a_rate_is_whole(workspace: Workspace, site: Any) -> None:
    site.shop(3)
    crawl(
        workspace,
        f"{site.url}/list/0",
        manners=Manners("t@example.org", 0, bytes_per_second=1e6, allow_private=True, timeout=5),
    )
    assert_whole(workspace, site)
