"""Where a crawl begins: sitemaps and feeds, on a site and in a file, whole and broken."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.plan import Plan, SiteRules
from curate.collect.scrape import scrape
from curate.collect.sources import SourceError, read_list, start_urls
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.tables import FAILURES, LISTINGS

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)
SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def crawl(workspace: Workspace, start: str, **plan: Any) -> tuple[list[str], list[str]]:
    """Listings and reasons."""
    scrape(workspace, start, Plan(MANNERS, **plan), export_here)
    listings = LISTINGS.read(workspace.table("listings"))["listing_id"]
    return sorted(listings), FAILURES.read(workspace.table("failures"))["dropped"].tolist()


def sitemap(*urls: str) -> bytes:
    places = "".join(f"<url><loc>{url}</loc></url>" for url in urls)
    return f'<?xml version="1.0"?><urlset {SPACE}>{places}</urlset>'.encode()


def lay(site: Any, path: str, body: bytes, kind: str = "application/xml", **more: Any) -> None:
    site.page(path)
    site.replies[path] = type(site.replies[path])(body, kind, **more)


def test_an_index_of_sitemaps_one_of_them_gzipped_brings_every_listing_once(workspace: Workspace, site: Any) -> None:
    site.shop(6)
    site.page("/about", '<a href="/p/5">not followed from a sitemap</a>')
    index = "".join(f"<sitemap><loc>{site.url}/{name}</loc></sitemap>" for name in ("a.xml", "b.xml.gz"))
    lay(site, "/sitemap.xml", f"<!-- made --><sitemapindex {SPACE}>{index}</sitemapindex>".encode())
    lay(site, "/a.xml", sitemap(f"{site.url}/p/0", f"{site.url}/p/1", f"{site.url}/about"))
    lay(site, "/b.xml.gz", gzip.compress(sitemap(f"{site.url}/p/1", f"{site.url}/p/2")), "application/octet-stream")
    assert crawl(workspace, f"{site.url}/sitemap.xml") == (["S0", "S1", "S2"], [])
    assert max(site.asked.count(path) for path in site.asked) == 1


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/feed", "application/rss+xml", '<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><link>U/</link><item><g:link>U/p/0</g:link></item><item><link>U/p/1</link></item></channel></rss>'),
        ("/feed", "application/atom+xml", '<feed xmlns="http://www.w3.org/2005/Atom"><link href="U/"/><entry><link rel="alternate" href="U/p/0"/><link rel="self" href="U/x"/></entry><entry><link href="/p/1"/></entry></feed>'),
        ("/feed.csv", "text/csv", "id;link;title\n1;U/p/0;A\n2;U/p/1;B\n3;;C\n"),
        ("/feed.jsonl", "text/plain", '{"url": "U/p/0"}\n\n{"url": "U/p/1"}\n'),
        ("/urls", "text/plain; charset=utf-8", "# products\nU/p/0\n/p/1\n"),
    ],
)  # fmt: skip
def test_feeds_of_every_kind_lead_to_their_listings(
    workspace: Workspace, site: Any, path: str, kind: str, text: str
) -> None:
    site.shop(3)
    lay(site, path, text.replace("U", site.url).encode(), kind)
    assert crawl(workspace, site.url + path) == (["S0", "S1"], [])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (gzip.compress(sitemap("https://a.example/1") * 50)[:-30], "a gzip that is cut off"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 60, "a broken gzip"),
        (gzip.compress(bytes(51_000_000)), "larger than 50 MB when unpacked"),
        (b"<urlset><url><loc>https://a.example/1</loc>", "a sitemap or feed that is no XML"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><urlset><url><loc>&b;</loc></url></urlset>', "a list without addresses"),
    ],
)  # fmt: skip
def test_a_broken_sitemap_is_a_failure_with_its_reason(workspace: Workspace, site: Any, body: bytes, said: str) -> None:
    lay(site, "/s.xml.gz", body)
    listings, reasons = crawl(workspace, f"{site.url}/s.xml.gz")
    assert (listings, len(reasons)) == ([], 1)
    assert said in reasons[0]


def test_nothing_outside_a_sitemap_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("https://a.example/secret")
    body = f'<!DOCTYPE x [<!ENTITY s SYSTEM "file://{secret}">]><urlset><url><loc>&s;</loc></url></urlset>'
    listed = read_list(body.encode(), "https://a.example/s.xml")
    assert listed is not None
    assert listed.pages == []


def test_a_page_is_no_list_and_a_list_skips_what_is_no_address() -> None:
    assert read_list(b"<!doctype html><html><body>x</body></html>", "https://a.example/") is None
    assert read_list(b"<html><rss></rss></html>", "https://a.example/x.xml") is None
    listed = read_list(sitemap("ftp://a.example/1", "javascript:x", "https://a.example/" + "x" * 10_000, "https://a.example/2"), "https://a.example/")  # fmt: skip
    assert listed is not None
    assert listed.pages == ["https://a.example/2"]


@pytest.mark.parametrize(
    ("name", "data", "urls"),
    [
        ("s.xml.gz", gzip.compress(sitemap("https://a.example/1", "https://a.example/1", "https://a.example/2")), ["https://a.example/1", "https://a.example/2"]),
        ("feed.csv", "título,url\nniño,https://a.example/1\n".encode("latin-1"), ["https://a.example/1"]),
        ("feed.tsv", b"link\tx\nhttps://a.example/1\t2\n", ["https://a.example/1"]),
        ("feed.jsonl", b'{"link": "https://a.example/1"}', ["https://a.example/1"]),
        ("urls.txt.gz", gzip.compress(b"https://a.example/1\n", mtime=0), ["https://a.example/1"]),
    ],
)  # fmt: skip
def test_a_file_may_be_any_of_them(tmp_path: Path, name: str, data: bytes, urls: list[str]) -> None:
    (tmp_path / name).write_bytes(data)
    assert start_urls(str(tmp_path / name)) == urls


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("feed.csv", b"sku,title\n1,x\n", r"feed.csv: no column of addresses \(url, link, .*\); found sku, title"),
        ("feed.jsonl", b'{"url": "https://a.example/1"}\n{"url": 3}', "feed.jsonl: line 2 has no address"),
        ("feed.jsonl", b"{", "line 1 is no JSON"),
        ("s.xml.gz", gzip.compress(sitemap("https://a.example/1"))[:-12], "s.xml.gz: a gzip that is cut off"),
        ("s.xml", b"<urlset/>", "s.xml: holds no URL"),
        ("urls.txt", b"\xff\xfe\x00x", "is not a text file of URLs"),
    ],
)
def test_a_file_that_cannot_be_read_gets_one_line(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=said):
        start_urls(str(tmp_path / name))


def parquet(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def test_a_file_may_be_parquet_whatever_it_is_called(tmp_path: Path) -> None:
    urls = [f"https://a.example/{number}" for number in range(25_000)]
    given = [urls[0], None, "", "ftp://b.example/", *urls]
    file = parquet(tmp_path / "feed.txt", sku=[str(n) for n in range(len(given))], Link=given)
    assert start_urls(file) == urls
    file = parquet(tmp_path / "feed.parquet", url=pa.array(urls[:3] * 2).dictionary_encode())
    assert start_urls(file) == urls[:3]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"sku": ["1"], "title": ["x"]}, r"no column of addresses \(url, link, .*\); found sku, title"),
        ({"url": [1, 2]}, "column url holds '1', which is no address"),
        ({"url": ["x", "y"]}, "holds no URL"),
        ({"url": pa.array([], pa.string())}, "holds no URL"),
    ],
)
def test_a_parquet_file_without_addresses_gets_one_line(tmp_path: Path, columns: dict[str, Any], said: str) -> None:
    file = parquet(tmp_path / "feed.parquet", **columns)
    with pytest.raises(UserError, match=f"feed.parquet: {said}"):
        start_urls(file)


def test_a_parquet_file_that_is_cut_off_gets_one_line(tmp_path: Path) -> None:
    file = tmp_path / "feed.parquet"
    parquet(file, url=["https://a.example/1"] * 100)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"feed.parquet: cannot be read as Parquet"):
        start_urls(str(file))


def test_a_list_in_parquet_leaves_pyarrow_out_of_the_crawl(tmp_path: Path) -> None:
    """It would double the memory of the crawling process."""
    file = parquet(tmp_path / "feed.parquet", url=["https://a.example/1"])
    code = "import sys; from curate.collect.sources import start_urls; print(start_urls(sys.argv[1]), 'pyarrow' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert said.stdout == "['https://a.example/1'] False\n"


def test_a_source_error_names_the_line() -> None:
    with pytest.raises(SourceError, match="line 2 is no JSON"):
        read_list(b'{"url": "https://a.example/"}\nx', "https://a.example/x.jsonl")


def test_rules_of_a_site_steer_the_crawl(workspace: Workspace, site: Any) -> None:
    """Which links are products, where a list goes on, how a thumbnail becomes the picture, how many, and our permission."""
    site.shop(4, pictures=3)
    for number in range(4):
        site.product(f"/p/{number}", f"S{number}", [f"/t/{number}-{n}.jpg" for n in range(3)])
    site.page(
        "/one", '<a href="/p/0">0</a><a href="/p/1">1</a><a href="/cart">c</a><a class="more" href="/two">more</a>'
    )
    site.page("/two", '<a href="/p/2">2</a>')
    rules = SiteRules(r"/p/\d+$", "a.more", ((r"/t/", "/i/"),), max_pictures=2, permission="we asked Ana, 2026-11-01")
    scrape(workspace, f"{site.url}/one", Plan(MANNERS, rules=lambda url: rules), export_here)
    listings = LISTINGS.read(workspace.table("listings"))
    assert sorted(listings["listing_id"]) == ["S0", "S1", "S2"]
    assert set(listings["permission"]) == {"we asked Ana, 2026-11-01"}
    assert {path for path in site.asked if path[:3] in ("/i/", "/t/")} == {
        f"/i/{a}-{b}.jpg" for a in range(3) for b in range(2)
    }
    assert "/cart" not in site.asked
