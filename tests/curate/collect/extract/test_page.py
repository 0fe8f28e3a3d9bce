"""What a page says, however it says it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.collect.extract import Page, parse_price, read_page

URL = "https://shop.example.mx/p/1?ref=a"
PRODUCT = {"@type": "Product", "name": "Delantal", "sku": "A1", "image": "/i/1.jpg"}


def page(*blocks: Any, head: str = "", body: str = "", lang: str = "es-MX") -> bytes:
    scripts = "".join(
        f'<script type="application/ld+json">{block if isinstance(block, str) else json.dumps(block)}</script>'
        for block in blocks
    )
    return f'<html lang="{lang}"><head>{head}{scripts}</head><body>{body}</body></html>'.encode()


def read(*blocks: Any, **parts: str) -> Page:
    return read_page(page(*blocks, **parts), URL)


def test_a_product_page_tells_the_whole_listing() -> None:
    found = read(
        {
            **PRODUCT,
            "brand": {"@type": "Brand", "name": "Tela"},
            "category": "Cocina > Delantales",
            "color": "azul",
            "material": ["algodón", "lino"],
            "image": ["/i/1.jpg", {"@type": "ImageObject", "url": "//cdn.example.org/2.jpg"}, "/i/1.jpg", "data:x"],
            "offers": {
                "@type": "Offer",
                "price": 299,
                "priceCurrency": "MXN",
                "availability": "https://schema.org/InStock",
            },
            "additionalProperty": [{"name": "Estampado", "value": "lunares"}],
        },
        head='<meta property="og:site_name" content="Tianguis"><link rel="canonical" href="/p/1">',
    ).listing
    assert found
    assert (found.marketplace, found.listing_id) == ("Tianguis", "A1")
    assert found.pictures == ["https://shop.example.mx/i/1.jpg", "https://cdn.example.org/2.jpg"]
    columns = found.columns
    assert (columns["country"], columns["language"], columns["url"]) == ("MX", "es-MX", "https://shop.example.mx/p/1")
    assert (columns["brand"], columns["category"]) == ("Tela", "Cocina > Delantales")
    assert (columns["price_raw"], columns["price"], columns["currency"]) == ("299", 299.0, "MXN")
    assert columns["attributes"] == {
        "sku": "A1", "color": "azul", "material": "algodón", "Estampado": "lunares", "availability": "InStock",
    }  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [
        {"@type": "product", "name": "x", "sku": "A1"},
        {"@type": ["Product", "Thing"], "name": "x", "sku": "A1"},
        {"@type": "http://schema.org/Product", "name": "x", "sku": "A1"},
        [{"@type": "WebSite", "name": "s"}, {"@type": "Product", "name": "x", "sku": "A1"}],
        {"@graph": [{"@type": "BreadcrumbList"}, {"@type": "Product", "name": "x", "sku": "A1"}]},
        {"@type": "WebPage", "mainEntity": {"@type": "Product", "name": "x", "sku": "A1"}},
        {"@type": "Product", "name": "x", "sku": "A1", "isRelatedTo": [{"@type": "Product", "name": "y", "sku": "B"}]},
        {"@type": "ProductGroup", "name": "x", "sku": "A1", "hasVariant": [{"@type": "Product", "sku": "A1-s"}]},
        {"@type": "Product", "name": "x", "productID": "A1"},
        "<!-- a comment -->" + json.dumps({"@type": "Product", "name": "x", "sku": "A1"}),
    ],
)
def test_a_product_is_found_however_it_is_written(block: Any) -> None:
    found = read(block).listing
    assert found
    assert (found.listing_id, found.columns["title"]) == ("A1", "x")


def test_one_broken_block_does_not_hide_the_next() -> None:
    found = read('{"@type": "Product", ', PRODUCT)
    assert found.listing
    assert found.broken_blocks == 1


def test_without_a_number_the_address_is_the_id_and_without_a_name_the_host_is_the_marketplace() -> None:
    found = read({"@type": "Product", "name": "x"}).listing
    assert found
    assert (found.marketplace, found.listing_id) == ("shop.example.mx", URL)


def test_of_several_products_the_one_at_home_counts_else_none() -> None:
    other = {"@type": "Product", "name": "y", "sku": "B", "url": "/p/2"}
    found = read({**PRODUCT, "url": URL}, other).listing
    assert found
    assert found.listing_id == "A1"
    assert read(PRODUCT, other).listing is None


def test_a_list_page_leads_on_and_sells_nothing() -> None:
    items = [{"@type": "ListItem", "url": "/p/1"}, {"@type": "ListItem", "item": {**PRODUCT, "url": "/p/2"}}, "/p/3"]
    found = read(
        {"@type": "ItemList", "itemListElement": items},
        body='<a href="/p/9#top">9</a><a href="/help.pdf">h</a><a rel=nofollow href="/cart">c</a>'
        '<a href="https://other.example/p">o</a><a rel=next href="?page=2">n</a><a href="mailto:x@y">m</a>',
    )
    assert found.listing is None
    assert [link.removeprefix("https://shop.example.mx") for link in found.links] == ["/p/1", "/p/2", "/p/3", "/p/9"]
    assert found.next_pages == ["https://shop.example.mx/p/1?page=2"]


@pytest.mark.parametrize(
    ("lang", "offer", "country"),
    [
        ("pt-BR", {}, "BR"),
        ("es", {"areaServed": "ar"}, "AR"),
        ("es", {}, "MX"),
        ("es", {"areaServed": {"name": "CL"}}, "CL"),
    ],
)
def test_the_country_is_where_it_is_sold(lang: str, offer: dict[str, Any], country: str) -> None:
    found = read({**PRODUCT, "offers": offer}, lang=lang).listing
    assert found
    assert found.columns["country"] == country


@pytest.mark.parametrize(
    ("raw", "price"),
    [
        ("299", 299), ("299.90", 299.9), ("1,299.00", 1299), ("1.299,00", 1299), ("1 299,90", 1299.9), ("MX$ 1,299", 1299),
        ("1.299.000", 1_299_000), ("2.449", 2.449), ("0,5", 0.5), ("R$ 49,9", 49.9), ("gratis", None), ("", None), (None, None),
    ],
)  # fmt: skip
def test_prices_are_read_as_written(raw: str | None, price: float | None) -> None:
    assert parse_price(raw) == price


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\xff\xfe",
        b"<",
        b"<html",
        "<title>ñ</title>".encode("latin-1"),
        b"<?xml version='1.0' encoding='utf-16'?><a/>",
    ],
)
def test_no_page_however_odd_raises(body: bytes) -> None:
    assert read_page(body, URL).listing is None


@pytest.mark.parametrize(
    "value", [None, 3, "x", [], {}, [[]], {"price": {"a": 1}}, [None], {"@value": {"@value": {}}}, True, "x" * 10_000]
)
def test_no_json_ld_however_odd_raises(value: Any) -> None:
    for name in ("name", "sku", "image", "offers", "brand", "category", "additionalProperty", "license", "@type"):
        read({"@type": "Product", "sku": "A1", name: value}, {"@type": "ItemList", "itemListElement": value})
        read({"@type": "Product", "sku": "A1", name: [value]})


def test_latin_1_and_scripts_in_titles_are_read_right() -> None:
    block = json.dumps({**PRODUCT, "name": "Delantal niño &amp; <script>"}, ensure_ascii=False).replace("<", "\\u003c")
    body = f'<html><head><meta charset="iso-8859-1"><script type="application/ld+json">{block}</script>'.encode(
        "latin-1"
    )
    found = read_page(body, URL).listing
    assert found
    assert found.columns["title"] == "Delantal niño & <script>"


@pytest.mark.shared_data
def test_on_saved_pages_of_real_shops_the_json_ld_there_is_is_read(shared_data: Callable[[str], Path]) -> None:
    """Of 84 pages 46 have a product in JSON-LD; the others need what is read later (microdata, OpenGraph, site rules)."""
    folder = shared_data("pages")
    truth = json.loads((folder / "ground-truth.json").read_text())
    pages = {path.name.split(".")[0]: path for path in (folder / "html").iterdir()}
    given = right = 0
    found = []
    for name, known in truth.items():
        if name not in pages:
            continue
        data = pages[name].read_bytes()
        listing = read_page(gzip.decompress(data) if pages[name].suffix == ".gz" else data, known["url"]).listing
        if listing:
            found.append(listing)
            price = listing.columns["price"]
            given += price is not None and "price" in known
            right += any(parse_price(str(value)) == price for value in known.get("price", ()) if price is not None)
    assert len(found) >= 46
    assert sum(bool(listing.pictures) for listing in found) >= 43
    assert right >= 41
    assert right / given > 0.9
