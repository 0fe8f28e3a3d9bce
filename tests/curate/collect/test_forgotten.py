"""What was forgotten and comes again is not taken in: by a crawl, by a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.folder import describe, import_folder
from curate.collect.plan import Plan
from curate.collect.scrape import Crawled, finish, scrape
from curate.forget.plan import Order
from curate.forget.run import forget
from curate.workspace import Workspace
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)


def crawl(workspace: Workspace, site: Any, refresh: bool = False) -> Crawled:
    return scrape(workspace, f"{site.url}/list/0", Plan(MANNERS, refresh=refresh), export_here)


def forget_in(workspace: Workspace, **order: Any) -> list[str]:
    said: list[str] = []

    def agree(lines: list[str]) -> bool:
        said.extend(lines)
        return True

    assert forget(workspace, Order(**order), agree, said.append) is not None
    return said


def failures(workspace: Workspace) -> dict[str, str]:
    table = FAILURES.read(workspace.table("failures"))
    return dict(zip(table["url"], table["dropped"], strict=True))


def test_a_forgotten_listing_is_seen_and_not_taken(workspace: Workspace, site: Any) -> None:
    site.shop(4)
    crawl(workspace, site)
    name = LISTINGS.read(workspace.table("listings"))["marketplace"].iloc[0]
    forget_in(workspace, listings=[f"{name}/S2"])
    assert "S2" not in set(LISTINGS.read(workspace.table("listings"))["listing_id"])
    site.asked.clear()
    done = crawl(workspace, site, refresh=True)
    assert set(LISTINGS.read(workspace.table("listings"))["listing_id"]) == {"S0", "S1", "S3"}
    assert len(APPEARANCES.read(workspace.table("appearances"))) == 6
    assert failures(workspace) == {f"{site.url}/p/2": "forgotten"}
    assert "/i/2-0.jpg" not in site.asked, "pictures of a listing that is left out are not asked for"
    assert "1 addresses left out, forgotten" in finish(done), "and it is nothing that went wrong"


def test_a_forgotten_picture_is_fetched_and_not_kept(workspace: Workspace, site: Any) -> None:
    site.shop(2)
    data = site.picture("/i/0-0.jpg", 7)
    crawl(workspace, site)
    image = hashlib.sha256(data).hexdigest()
    forget_in(workspace, images=[image])
    assert not list((workspace.root / "blobs").rglob(f"{image}*"))
    site.product("/p/1", "S1", ["/i/1-0.jpg", "/i/new-name.jpg"])
    site.picture("/i/new-name.jpg", 7)
    crawl(workspace, site, refresh=True)
    assert image not in set(PICTURES.read(workspace.table("pictures"))["image_id"])
    assert not list((workspace.root / "blobs").rglob(f"{image}*"))
    assert failures(workspace) == dict.fromkeys([f"{site.url}/i/0-0.jpg", f"{site.url}/i/new-name.jpg"], "forgotten")


def test_later_listings_of_a_forgotten_seller_are_kept_out(workspace: Workspace, site: Any) -> None:
    site.shop(2)
    offer = {"@type": "Offer", "price": "1", "priceCurrency": "MXN", "seller": {"@type": "Person", "name": "Ana Luz"}}
    site.product("/p/0", "S0", ["/i/0-0.jpg"], offers=offer)
    crawl(workspace, site)
    forget_in(workspace, sellers=["ana luz"])
    site.product("/p/1", "S1", ["/i/1-0.jpg"], offers=offer)
    site.page("/list/0", *(f'<a href="/p/{number}">x</a>' for number in range(3)))
    site.product("/p/2", "S2", ["/i/1-1.jpg"], offers=offer)
    crawl(workspace, site, refresh=True)
    assert "S2" not in set(LISTINGS.read(workspace.table("listings"))["listing_id"])
    assert failures(workspace)[f"{site.url}/p/2"] == "forgotten"


def test_a_picture_that_another_listing_shows_stays_until_it_is_asked_for_too(workspace: Workspace, site: Any) -> None:
    site.shop(2, pictures=1)
    both = site.picture("/i/both.jpg", 50)
    for number in (0, 1):
        site.product(f"/p/{number}", f"S{number}", [f"/i/{number}-0.jpg", "/i/both.jpg"])
    crawl(workspace, site)
    name = LISTINGS.read(workspace.table("listings"))["marketplace"].iloc[0]
    said = forget_in(workspace, listings=[f"{name}/S0"])
    assert any("stays: 1 pictures" in line for line in said)
    image = hashlib.sha256(both).hexdigest()
    assert image in set(PICTURES.read(workspace.table("pictures"))["image_id"])
    done = crawl(workspace, site, refresh=True)
    assert done.pictures == 2, "the crawl still knows it, as the other listing's"
    forget_in(workspace, listings=[f"{name}/S1"], picture_too=True)
    assert len(PICTURES.read(workspace.table("pictures"))) == 0


def test_a_folder_is_taken_in_without_what_was_forgotten(workspace: Workspace, tmp_path: Path) -> None:
    from photos import as_bytes, photo

    folder = tmp_path / "aprons"
    folder.mkdir()
    for seed in range(4):
        (folder / f"{seed}.jpg").write_bytes(as_bytes(photo(seed)))
    import_folder(workspace, folder)
    image = hashlib.sha256((folder / "1.jpg").read_bytes()).hexdigest()
    forget_in(workspace, images=[image], listings=["local/aprons/2.jpg"])
    assert set(LISTINGS.read(workspace.table("listings"))["listing_id"]) == {"aprons/0.jpg", "aprons/3.jpg"}
    (folder / "copy of 1.jpg").write_bytes((folder / "1.jpg").read_bytes())
    (folder / "2.jpg").write_bytes(as_bytes(photo(77)))
    done = import_folder(workspace, folder)
    assert describe(done) == "2 pictures, 0 of them new; 3 left out, forgotten"
    assert len(PICTURES.read(workspace.table("pictures"))) == 2
    (folder / "1.jpg").write_bytes(as_bytes(photo(78)))
    assert import_folder(workspace, folder).new == 1, "a file's name is not forgotten with its picture"
