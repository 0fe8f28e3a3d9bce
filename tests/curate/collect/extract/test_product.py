"""The failures of real product pages (facts of 140 saved ones), each on a small page of its own."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from curate.collect.extract import Product, extract, read_page, reader
from curate.collect.site import Site

URL = "https://shop.example/dp/apron-4711234.html"


def ld(*blocks: Any) -> str:
    return "".join(
        f'<script type="application/ld+json">{one if isinstance(one, str) else json.dumps(one)}</script>'
        for one in blocks
    )


def read(page: str, url: str = URL, site: Site | None = None) -> Product:
    return extract(f"<html lang=en-US><body>{page}".encode(), url, site=site)


def offer(**parts: Any) -> dict[str, Any]:
    return {"@type": "Product", "name": "Apron", "offers": parts}


@pytest.mark.parametrize(
    ("offers", "price"),
    [
        ({"price": "12.50"}, 12.5),
        ({"price": 12.5}, 12.5),
        ({"@type": "AggregateOffer", "lowPrice": "12.50", "highPrice": "20"}, 12.5),
        ({"@type": "AggregateOffer", "offers": [{"@type": "Offer"}, {"@type": "Offer", "price": 12.5}]}, 12.5),
        ([{"@type": "Offer"}, {"@type": "Offer", "price": 12.5}], 12.5),
        ({"priceSpecification": {"price": "12.50", "priceCurrency": "EUR"}}, 12.5),
        ({"priceSpecification": [{"priceType": "https://schema.org/ListPrice", "price": 99}, {"price": 12.5}]}, 12.5),
        ({"lowprice": {"sales": {"value": 12.5, "currency": "EUR"}, "list": None}}, 12.5),
        ({"price": "0"}, None),  # sold out, says a shop that has no other way to say so
        ({"price": "on request"}, None),
        ({"price": None}, None),
    ],
)
def test_a_price_stands_in_many_places(offers: Any, price: float | None) -> None:
    assert read(ld({"@type": "Product", "name": "Apron", "offers": offers})).price == price


def test_not_a_number_is_no_price_and_no_sku() -> None:
    found = read(
        ld('{"@type": "Product", "name": "Apron", "sku": Infinity, "offers": {"price": NaN, "lowPrice": -Infinity}}')
    )
    assert (found.fields["name"], found.price, found.fields.get("sku")) == ("Apron", None, None)


@pytest.mark.parametrize(
    "block",
    [
        '/*<![CDATA[*/ {"@type": "Product", "name": "Apron"} /*]]>*/',
        '<!-- {"@type": "Product", "name": "Apron"} -->',
        '// <![CDATA[\n{"@type": "Product", "name": "Apron"}\n// ]]>',
        '{"@type": "Product", "name": "Apron",}',
        '{"@type": "Product", /* ours */ "name": "Apron"}',
        '{"@type": "Product", "description": "two\nlines", "name": "Apron"};',
        "{&quot;@type&quot;: &quot;Product&quot;, &quot;name&quot;: &quot;Apron&quot;}",
        '{"@type": "Product", "name": "Apron"} {"@type": "Thing"}',
    ],
)
def test_json_that_is_nearly_json_is_read(block: str) -> None:
    found = read(ld('{"@type": ', block, "}"))
    assert found.fields["name"] == "Apron"
    assert found.broken_blocks == 2


def test_the_script_type_is_spelled_as_one_likes() -> None:
    page = '<script type="Application/LD+JSON; charset=utf-8">{"@type": "PRODUCT", "name": "Apron"}</script>'
    assert read(page).fields["name"] == "Apron"


def test_a_group_tells_what_its_variants_share_and_the_first_one_the_rest() -> None:
    group = {
        "@type": "ProductGroup", "name": "Apron", "productGroupID": "G7", "brand": "Tela",
        "hasVariant": [
            {"@type": "Product", "name": "Apron S", "sku": "A-S", "image": ["/s1.jpg", "/s2.jpg"], "offers": {"price": 5}},
            {"@type": "Product", "name": "Apron M", "sku": "A-M", "image": "/m.jpg", "offers": {"price": 6}},
            {"@type": "Product", "name": "Apron L", "sku": "A-L", "image": "/l.jpg", "url": "/its/own/page", "offers": {"price": 6}},
        ],
    }  # fmt: skip
    found = read(ld({"@graph": [{"@type": "BreadcrumbList"}, group]}))
    assert {name: found.fields[name] for name in ("name", "sku", "product_id", "brand")} == {
        "name": "Apron", "sku": "A-S", "product_id": "G7", "brand": "Tela",
    }  # fmt: skip
    assert (found.price, found.images) == (5, [f"https://shop.example/{name}.jpg" for name in ("s1", "s2", "m")])


def test_products_of_one_name_are_variants_and_of_several_the_one_in_the_heading_counts() -> None:
    variants = [{"@type": "Product", "name": "Apron", "sku": sku} for sku in ("1-S", "1-M")]
    assert read(ld(variants)).fields["sku"] == "1-S"
    others = [{"@type": "Product", "name": name, "sku": name[0]} for name in ("Hat", "Apron blue", "Apron")]
    assert read("<h1>Apron blue, size M</h1>" + ld(*others)).fields["sku"] == "A"
    assert read("<h1>Apron blue, size M</h1>" + ld(*others)).fields["name"] == "Apron blue"
    assert not read("<h1>All we have</h1>" + ld(*others)).sold_here


def test_pictures_keep_their_order_and_stand_on_the_base() -> None:
    images = [
        "b.jpg",
        {"@type": "ImageObject", "contentUrl": "//cdn.example/a.jpg"},
        {"url": ["c.jpg"]},
        None,
        "data:x",
        "b.jpg",
    ]
    found = read('<base href="/media/">' + ld({"@type": "Product", "name": "Apron", "image": images}))
    assert found.images == [
        "https://shop.example/media/b.jpg", "https://cdn.example/a.jpg", "https://shop.example/media/c.jpg",
    ]  # fmt: skip


def test_thumbnails_become_pictures_in_full_size_by_the_rules() -> None:
    site = Site.model_validate({
        "marketplace": "shop", "hosts": "shop.example", "limits": {"max_images": 2},
        "image_rewrite": [{"find": r"_(?:s|m)(\.jpg)$", "replace": r"\1"}],
    })  # fmt: skip
    images = ["/1_s.jpg", "/1_m.jpg", "/2_s.jpg", "/3.jpg"]
    found = read(ld({"@type": "Product", "name": "Apron", "image": images}), site=site)
    assert found.images == ["https://shop.example/1.jpg", "https://shop.example/2.jpg"]


@pytest.mark.parametrize(
    ("brand", "kept"),
    [
        ("Ver mais artigos da Marca: Tela", "Tela"), ("Brand: Tela", "Tela"), ({"@type": "Brand", "name": "Tela "}, "Tela"),
        ([{"name": "Tela"}], "Tela"), ("null", None), ("https://shop.example/tela", None), ("", None), ({}, None),
    ],
)  # fmt: skip
def test_a_brand_is_told_without_what_is_said_around_it(brand: Any, kept: str | None) -> None:
    assert read(ld({"@type": "Product", "name": "Apron", "brand": brand})).fields.get("brand") == kept


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("https://schema.org/InStock", "InStock"), ("in stock", "InStock"), ("http://schema.org/OutOfStock", "OutOfStock"),
        ("oos", "OutOfStock"), ("Not available", "OutOfStock"), ("PreOrder", "PreOrder"), ("tomorrow", None),
    ],
)  # fmt: skip
def test_availability_is_one_word_of_schema_org(said: str, kept: str | None) -> None:
    assert read(ld(offer(price=1, availability=said))).fields.get("availability") == kept


def test_numbers_are_kept_apart() -> None:
    node = {
        "@type": "Product",
        "name": "Apron",
        "sku": "84-040-35",
        "productID": 77,
        "mpn": "M1",
        "gtin13": "978-0552173742",
    }
    shown = read(ld(node) + "<h1>Apron</h1>").shown()
    assert [shown[name] for name in ("sku", "product_id", "mpn", "gtin", "url_id")] == [
        "84-040-35", "77", "M1", "9780552173742", "4711234",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("url", "number"),
    [
        ("https://s.example/p-watch-304103-14347.html", "14347"), ("https://s.example/P-7142014-cover-_taupe.htm", "7142014"),
        ("https://s.example/store/122725?pid=260591", "260591"), ("https://s.example/a.html?childSku=545642356", "545642356"),
        ("https://s.example/itm/123808916008?hash=1", "123808916008"), ("https://s.example/apron", None),
        ("https://s.example/x?id=abc", None), ("https://s.example/dp/B07C8KMQQ6/ref=1", "B07C8KMQQ6"), ("https://s.example/M67296549.htm", "M67296549"),
        ("https://s.example/a-p400105394.html", "400105394"), ("https://s.example/a/c7200a278526196/b", "278526196"), ("https://s.example/a-0638", "0638"),
    ],
)  # fmt: skip
def test_the_number_in_the_address(url: str, number: str | None) -> None:
    assert read("<h1>x</h1>", url).fields.get("url_id") == number


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("978-0-552-17374-2", "9780552173742"), ("4006381333931", "4006381333931"), ("96385074", "96385074"), ("0-306-40615-2", "0306406152"),
        ("080442957X", "080442957X"), ("4006381333932", None), ("0000000000000", None), ("12345", None), (4006381333931, "4006381333931"),
    ],
)  # fmt: skip
def test_a_gtin_has_a_right_check_digit(given: object, kept: str | None) -> None:
    assert read(ld({"@type": "Product", "name": "Apron", "gtin": given})).fields.get("gtin") == kept


def test_a_book_s_number_is_its_gtin_where_it_is_an_isbn() -> None:
    found = read(ld({"@type": "Product", "name": "Aprons", "sku": "9780552173742"}))
    assert (found.fields["gtin"], found.sources["gtin"]) == ("9780552173742", "json-ld")
    assert "gtin" not in read(ld({"@type": "Product", "name": "Aprons", "sku": "4006381333931"})).fields


def test_an_address_with_its_entities_left_in_is_mended() -> None:
    found = read(ld({"@type": "Product", "name": "Apron", "image": "/a.jpg?w=8&amp;h=8"}))
    assert found.images == ["https://shop.example/a.jpg?w=8&h=8"]


def test_each_field_says_where_it_came_from_and_the_first_source_wins() -> None:
    page = (
        '<meta property="og:title" content="Apron | Shop"><meta property="og:image" content="/og.jpg">'
        '<meta property="product:price:amount" content="9"><meta property="product:price:currency" content="EUR">'
        '<script>dataLayer.push({event: "view_item", items: [{item_name: "Apron", item_brand: "Tela", price: 8}]})</script>'
        "<h1>Apron</h1><p>Art.-Nr.: 55-12</p>"
    ) + ld({"@type": "Product", "name": "Apron of linen"})
    shown = read(page).shown()
    assert (shown["name"], shown["price"], shown["currency"], shown["brand"], shown["sku"]) == (
        "Apron of linen", 9, "EUR", "Tela", "55-12",
    )  # fmt: skip
    assert {name: shown["sources"][name] for name in ("name", "image", "price", "brand", "sku", "url_id")} == {
        "name": "json-ld", "image": "opengraph", "price": "opengraph", "brand": "data-layer", "sku": "page", "url_id": "url",
    }  # fmt: skip


def test_rules_may_ask_other_sources_first_and_leave_some_out() -> None:
    page = '<h1>Apron</h1><meta property="og:title" content="Og">' + ld({"@type": "Product", "name": "Ld"})
    rules = {"marketplace": "s", "hosts": "shop.example", "fields": {"name": "h1"}}
    assert read(page, site=Site.model_validate(rules)).fields["name"] == "Apron"
    assert read(page, site=Site.model_validate({**rules, "prefer": ["opengraph", "json-ld"]})).fields["name"] == "Og"
    assert read(page, site=Site.model_validate({**rules, "prefer": ["json-ld"]})).fields["name"] == "Ld"


def test_the_rules_say_which_pages_are_products_and_what_their_site_is_called() -> None:
    rules = {
        "marketplace": "{host}", "hosts": "shop.*", "product_url": r"/dp/", "currency": "MXN", "permission": "ours",
        "fields": {"name": "h1", "price": ".now", "sku": {"url": r"-(\d+)\."}}, "next_page": "a.more",
    }  # fmt: skip
    site = Site.model_validate(rules)
    page = b'<h1>Apron</h1><b class=now>1.299</b><a class=more href="?p=2">more</a><a href="/help">h</a><a href="/dp/2">d</a>'
    found = read_page(page, "https://www.shop.mx/dp/apron-12.html", site=site).listing
    assert found
    assert (found.marketplace, found.listing_id, found.columns["price"], found.columns["currency"]) == (
        "shop.mx", "12", 1299, "MXN",
    )  # fmt: skip
    assert (found.columns["permission"], found.columns["source"]) == ("ours", "rules")
    assert reader([site])(page, "https://www.shop.mx/dp/apron-12.html", None, "ours").listing == replace(
        found, marketplace="ours"
    )
    listed = read_page(page, "https://www.shop.mx/all", site=site)
    assert listed.listing is None
    assert listed.next_pages == ["https://www.shop.mx/all?p=2"]
    assert listed.links[0] == "https://www.shop.mx/dp/2"


def test_amazon_without_any_structured_data_is_read_by_the_shipped_rules() -> None:
    page = """
      <span id=productTitle> Apron of linen </span><a id=bylineInfo>Visita lo Store di Tela</a><input id=ASIN value=B0ABCDEF12>
      <span id=priceblock_ourprice>1.021,99&nbsp;€</span><input id=add-to-cart-button>
      <script>P.register("ImageBlockATF", {'colorImages': { 'initial': [
      {"hiRes":"https://m.example/images/I/71a._AC_SL1500_.jpg","thumb":"https://m.example/images/I/4a._SR38_.jpg"},
      {"hiRes":null,"thumb":"https://m.example/images/I/4b._SR38_.jpg","large":"https://m.example/images/I/4b._AC_.jpg"}]}})</script>
      <img id=landingImage src="https://m.example/images/I/71a._SX38_.jpg">"""
    shown = read(page, "https://www.amazon.it/-/en/dp/B0ABCDEF12?th=1").shown()
    assert shown["images"] == ["https://m.example/images/I/71a.jpg", "https://m.example/images/I/4b.jpg"]
    assert [shown[name] for name in ("name", "brand", "sku", "price", "currency", "availability")] == [
        "Apron of linen", "Tela", "B0ABCDEF12", 1021.99, "EUR", "InStock",
    ]  # fmt: skip
    assert set(shown["sources"].values()) == {"rules", "url"}


def test_a_captcha_at_a_product_s_address_is_no_listing() -> None:
    page = b"<title>Robot Check</title><h4>Enter the characters you see below</h4><form><input name=amzn></form>"
    assert read_page(page, "https://www.amazon.com/dp/B0ABCDEF12").listing is None
