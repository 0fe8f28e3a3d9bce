"""--refresh: what is known is looked at again by conditional requests, and what is gone says so."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.plan import Plan
from curate.collect.scrape import Crawled, finish, scrape
from curate.workspace import Workspace
from schemas.errors import Partial
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)


def crawl(workspace: Workspace, site: Any, refresh: bool = False) -> Crawled:
    return scrape(workspace, f"{site.url}/list/0", Plan(MANNERS, refresh=refresh), export_here)


def listings(workspace: Workspace) -> Any:
    return LISTINGS.read(workspace.table("listings")).set_index("listing_id")


def gallery(workspace: Workspace) -> list[tuple[str, int, str, str | None]]:
    """Listing, place, name of the picture's address, and why it is not shown any more."""
    rows = APPEARANCES.read(workspace.table("appearances")).astype(object).sort_values(["listing_id", "position", "dropped"], na_position="first")  # fmt: skip
    names = rows["url"].str.rsplit("/", n=1).str[1]
    return list(zip(rows["listing_id"], rows["position"], names, rows["dropped"].where(rows["dropped"].notna(), None), strict=True))  # fmt: skip


def sum_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ({"ETag": '"v1"'}, {"If-None-Match": '"v1"'}),
        ({"Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, {"If-Modified-Since": "Mon, 02 Nov 2026 10:00:00 GMT"}),
    ],
)
def test_what_has_not_changed_is_not_sent_again_and_stays(
    workspace: Workspace, site: Any, said: dict[str, str], asked: dict[str, str]
) -> None:
    site.shop(2)
    whole = site.replies["/p/0"]
    whole.headers = said
    crawl(workspace, site)
    before = listings(workspace)
    site.replies["/p/0"] = lambda _: (
        type(whole)(status=304, headers=said)
        if asked.items() <= site.headers["/p/0"].items()
        else type(whole)(status=500)
    )
    done = crawl(workspace, site, refresh=True)
    assert finish(done) == "2 listings, 4 pictures"
    after = listings(workspace)
    columns = ["title", "price", "url", "first_seen_at"]
    assert after.loc["S0", columns].equals(before.loc["S0", columns])
    assert after.loc["S0", "fetched_at"] > before.loc["S0", "fetched_at"]
    assert site.asked.count("/p/0") == 2


def test_a_first_crawl_never_asks_by_condition(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    site.replies["/p/0"].headers = {"ETag": '"v1"'}
    crawl(workspace, site)
    assert "If-None-Match" not in site.headers["/p/0"]


def test_a_new_price_and_a_new_picture_come_in_and_the_old_picture_stays(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    crawl(workspace, site)
    site.picture("/i/new.jpg", 77)
    site.product("/p/0", "S0", ["/i/new.jpg", "/i/0-0.jpg"], offers={"price": "99"})
    crawl(workspace, site, refresh=True)
    assert listings(workspace).loc["S0", "price"] == 99
    assert gallery(workspace) == [
        ("S0", 0, "new.jpg", None),
        ("S0", 1, "0-0.jpg", None),
    ]
    assert len(PICTURES.read(workspace.table("pictures"))) == 2


def gone(site: Any) -> None:
    del site.replies["/p/1"]


def another_page(site: Any) -> None:
    site.page("/p/1", "<p>sold out</p>", '<a href="/list/0">back</a>')


@pytest.mark.parametrize(
    ("end", "said"),
    [(gone, "gone: HTTP 404"), (another_page, "gone: its page shows no product any more")],
)
def test_a_listing_that_is_gone_says_so_and_keeps_its_pictures(
    workspace: Workspace, site: Any, end: Callable[[Any], None], said: str
) -> None:
    site.shop(3)
    crawl(workspace, site)
    good = site.replies["/p/1"]
    end(site)
    for _ in range(2):
        assert finish(crawl(workspace, site, refresh=True)) == "3 listings, 6 pictures; 1 are gone"
    assert listings(workspace)["dropped"].dropna().to_dict() == {"S1": said}
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 6
    assert FAILURES.read(workspace.table("failures")).empty
    site.replies["/p/1"] = good
    assert finish(crawl(workspace, site, refresh=True)) == "3 listings, 6 pictures"
    assert listings(workspace)["dropped"].isna().all()


def test_a_page_that_cannot_be_had_just_now_keeps_what_it_said_and_is_asked_for_again(
    workspace: Workspace, site: Any
) -> None:
    site.shop(2)
    crawl(workspace, site)
    good = site.replies["/p/1"]
    site.replies["/p/1"] = type(good)(status=503)
    with pytest.raises(Partial, match="2 listings, 4 pictures; 1 failed: 1 HTTP 503"):
        finish(crawl(workspace, site, refresh=True))
    assert listings(workspace)["dropped"].isna().all()
    site.replies["/p/1"] = good
    assert finish(crawl(workspace, site)) == "2 listings, 4 pictures"


def test_a_listing_whose_page_says_no_later_counts_no_more(workspace: Workspace, site: Any) -> None:
    site.shop(2)
    crawl(workspace, site)
    site.replies["/p/1"].headers = {"X-Robots-Tag": "noai"}
    with pytest.raises(Partial, match="1 failed: 1 opted out"):
        finish(crawl(workspace, site, refresh=True))
    assert listings(workspace)["dropped"].dropna().to_dict() == {"S1": "opted out (X-Robots-Tag: noai)"}


def test_what_failed_for_good_is_tried_again_too(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    good = site.replies.pop("/i/0-1.jpg")
    crawl(workspace, site)
    site.replies["/i/0-1.jpg"] = good
    assert finish(crawl(workspace, site, refresh=True)) == "1 listings, 2 pictures"


def test_two_pages_of_one_listing_give_it_all_their_pictures(workspace: Workspace, site: Any) -> None:
    for name in "abc":
        site.picture(f"/i/{name}.jpg", ord(name))
    site.product("/p/1", "A", ["/i/a.jpg", "/i/b.jpg"])
    site.product("/p/2", "A", ["/i/b.jpg", "/i/c.jpg"])
    site.page("/list/0", '<a href="/p/1">red</a><a href="/p/2">blue</a>')
    whole = [("A", 0, "a.jpg", None), ("A", 1, "b.jpg", None), ("A", 2, "c.jpg", None)]
    for refresh in (False, True, True):
        assert crawl(workspace, site, refresh).listings == 1
        assert gallery(workspace) == whole
    site.product("/p/1", "A", ["/i/b.jpg"])
    crawl(workspace, site, refresh=True)
    assert [row for row in gallery(workspace) if row[3] is None] == [("A", 0, "b.jpg", None), ("A", 1, "c.jpg", None)]


# Pictures


def test_a_picture_that_has_not_changed_costs_a_304(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    whole = site.replies["/i/0-0.jpg"]
    whole.headers = {"ETag": '"v1"'}
    crawl(workspace, site)
    before = APPEARANCES.read(workspace.table("appearances"))
    site.replies["/i/0-0.jpg"] = lambda _: type(whole)(
        status=304 if site.headers["/i/0-0.jpg"].get("If-None-Match") == '"v1"' else 500
    )
    assert finish(crawl(workspace, site, refresh=True)) == "1 listings, 1 pictures"
    assert APPEARANCES.read(workspace.table("appearances")).equals(before)
    assert site.asked.count("/i/0-0.jpg") == 2


def test_a_picture_of_the_same_bytes_is_the_same_without_an_etag_too(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    crawl(workspace, site)
    before = APPEARANCES.read(workspace.table("appearances"))
    assert finish(crawl(workspace, site, refresh=True)) == "1 listings, 2 pictures"
    assert APPEARANCES.read(workspace.table("appearances")).equals(before)


@pytest.mark.parametrize("tables_lost", [False, True])
def test_another_picture_at_the_same_address_takes_the_place_of_the_old_which_stays(
    workspace: Workspace, site: Any, tables_lost: bool
) -> None:
    """The old one stays tied to its listing, so that the two are never on both sides of a split."""
    site.shop(1, pictures=1)
    old = site.replies["/i/0-0.jpg"].body
    if tables_lost:  # killed before it wrote them
        plan = Plan(MANNERS)
        scrape(
            workspace,
            f"{site.url}/list/0",
            plan,
            lambda _: dict.fromkeys(("listings", "pictures", "failures", "gone"), 0),
        )
    else:
        crawl(workspace, site)
    new = site.picture("/i/0-0.jpg", 77)
    for _ in range(2):
        assert finish(crawl(workspace, site, refresh=True)) == "1 listings, 2 pictures"
    rows: Any = APPEARANCES.read(workspace.table("appearances")).set_index("image_id")
    assert rows["dropped"].astype(object).where(rows["dropped"].notna(), None).to_dict() == {sum_of(new): None, sum_of(old): "replaced"}  # fmt: skip
    assert rows.loc[sum_of(new), "first_seen_at"] > rows.loc[sum_of(old), "first_seen_at"]
    assert set(PICTURES.read(workspace.table("pictures"))["image_id"]) == {sum_of(new), sum_of(old)}
    site.replies["/i/0-0.jpg"].body = old
    crawl(workspace, site, refresh=True)
    rows = APPEARANCES.read(workspace.table("appearances")).set_index("image_id")
    assert rows["dropped"].dropna().to_dict() == {sum_of(new): "replaced"}


def test_a_picture_that_is_gone_stays_and_alarms_nobody(workspace: Workspace, site: Any) -> None:
    site.shop(1)
    crawl(workspace, site)
    del site.replies["/i/0-1.jpg"]
    assert finish(crawl(workspace, site, refresh=True)) == "1 listings, 2 pictures"
    assert gallery(workspace) == [("S0", 0, "0-0.jpg", None), ("S0", 1, "0-1.jpg", None)]


@pytest.mark.parametrize("status", [200, 304])
def test_a_picture_whose_owner_says_no_later_is_not_shown_any_more(
    workspace: Workspace, site: Any, status: int
) -> None:
    site.shop(1)
    site.replies["/i/0-1.jpg"].headers = {"ETag": '"v1"'}
    crawl(workspace, site)
    site.replies["/i/0-1.jpg"].headers = {"X-Robots-Tag": "noai"}
    site.replies["/i/0-1.jpg"].status = status
    site.replies["/i/0-1.jpg"].body *= status == 200
    with pytest.raises(Partial, match="1 failed: 1 opted out"):
        finish(crawl(workspace, site, refresh=True))
    assert gallery(workspace)[1] == ("S0", 1, "0-1.jpg", "opted out (X-Robots-Tag: noai)")


def test_what_others_brought_in_stays_as_it_is(workspace: Workspace, site: Any) -> None:
    site.shop(1, pictures=1)
    crawl(workspace, site)
    rows = APPEARANCES.read(workspace.table("appearances"))
    path = workspace.table("appearances")
    APPEARANCES.write(pd.concat([rows, rows.assign(marketplace="local", listing_id="a.jpg")]), path)
    crawl(workspace, site, refresh=True)
    assert gallery(workspace) == [("S0", 0, "0-0.jpg", None), ("a.jpg", 0, "0-0.jpg", None)]
