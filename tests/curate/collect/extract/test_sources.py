"""Sources that pages mix: microdata with holes, meta tags, what statistics are told, what a person sees."""

from __future__ import annotations

import pytest

from curate.collect.extract import Product, extract
from curate.collect.extract.jsliteral import literal_at

URL = "https://shop.example/dp/apron"


def read(page: str, url: str = URL) -> Product:
    return extract(f"<html lang=en-US><body>{page}".encode(), url)


def item(inner: str, kind: str = "https://schema.org/Product") -> str:
    return f'<div itemscope itemtype="{kind}">{inner}</div>'


# microdata


def test_microdata_is_read_from_content_text_links_and_pictures() -> None:
    found = read(item(
        '<h1 itemprop=name><span class=g-hdn>Details about </span>Apron</h1><img itemprop=image data-src=/a.jpg src=blank.gif>'
        '<a itemprop=image href=/b.jpg>b</a><a itemprop=brand href=/tela>Tela</a><meta itemprop=sku content=A1>'
        '<div itemprop=offers itemscope itemtype="http://schema.org/Offer"><span itemprop=price content="12.50">from 12 dollars</span>'
        '<meta itemprop=priceCurrency content=USD><link itemprop=availability href="http://schema.org/InStock"></div>'
    ))  # fmt: skip
    assert (found.fields["name"], found.fields["brand"], found.fields["sku"]) == ("Apron", "Tela", "A1")
    assert found.images == ["https://shop.example/a.jpg", "https://shop.example/b.jpg"]
    assert (found.price, found.fields["currency"], found.fields["availability"]) == (12.5, "USD", "InStock")
    assert set(found.sources.values()) == {"microdata"}


def test_an_offer_that_forgets_its_itemprop_belongs_to_the_product_around_it() -> None:
    inner = (
        '<b itemprop=name>Apron</b><p itemscope itemtype="https://schema.org/Offer"><b itemprop=price>$1,299.00</b></p>'
    )
    assert read(item(inner)).price == 1299


def test_another_product_inside_is_not_this_one() -> None:
    inner = "<b itemprop=name>Apron</b>" + item(
        "<b itemprop=name>Hat</b><b itemprop=sku>H1</b><img itemprop=image src=/h.jpg>"
    )
    found = read(item(inner))
    assert (found.fields["name"], found.fields.get("sku"), found.images) == ("Apron", None, [])


def test_properties_without_an_item_count_but_their_name_does_not() -> None:
    found = read(
        "<h1>Apron</h1><meta itemprop=name content=Slogan><b itemprop=brand>Tela</b><img itemprop=image src=/a.jpg>"
    )
    assert (found.fields["name"], found.fields["brand"], found.images) == (
        "Apron",
        "Tela",
        ["https://shop.example/a.jpg"],
    )
    assert not found.sold_here


def test_an_old_vocabulary_a_brand_in_one_tag_and_references_are_understood() -> None:
    inner = (
        '<b itemprop=name>Apron</b><meta itemprop=identifier content="sku:A1"><meta itemprop=brand itemscope content=Tela>'
        '<p itemprop=offerDetails itemscope itemtype="http://data-vocabulary.org/Offer"><b itemprop=price>5,00 €</b></p>'
    )
    page = item(inner, "http://data-vocabulary.org/Product").replace("<div", "<div itemref=more", 1)
    found = read(page + "<p id=more><b itemprop=color>blue</b></p>")
    assert (found.price, [found.fields[name] for name in ("sku", "brand", "color")]) == (5, ["A1", "Tela", "blue"])


# meta tags


def test_meta_tags_make_a_product_page_when_they_say_so() -> None:
    tags = (
        '<meta property="og:type" content="product"><meta property="og:title" content="Apron - shop.example">'
        '<meta property="og:image" content="/static/logo.png"><meta property="og:image" content="/a.jpg">'
        '<meta property="og:price:amount" content="10"><meta property="product:sale_price:amount" content="7.50">'
        '<meta property="product:price:currency" content="eur"><meta property="og:upc" content="0 36000 29145 2">'
    )
    found = read(tags)
    assert found.sold_here
    assert (found.fields["name"], found.price, found.fields["currency"]) == ("Apron", 7.5, "EUR")
    assert (found.images, found.fields["gtin"]) == (["https://shop.example/a.jpg"], "036000291452")
    assert not read(tags.replace('"product"', '"website"')).sold_here


@pytest.mark.parametrize(
    ("picture", "title", "kept"),
    [
        ("/static/logo.png", "Apron", False), ("/android-icon-192x192?v=1", "Apron", False), ("/img/blank.gif", "Apron", False),
        ("/silicone-case.jpg", "Case", True), ("/blanket.jpg", "Throw", True), ("/tee-logo.jpg", "Logo tee", True),
    ],
)  # fmt: skip
def test_a_logo_is_no_picture_of_the_product(picture: str, title: str, kept: bool) -> None:
    found = read(f'<meta property="og:title" content="{title}"><meta property="og:image" content="{picture}">')
    assert bool(found.images) is kept


def test_a_label_says_which_of_twitters_values_is_the_price() -> None:
    tags = "".join(
        f'<meta name="twitter:{kind}{n}" content="{value}">'
        for n, pair in enumerate([("Colour", "2 blues"), ("Price", "€24.50")], start=1)
        for kind, value in zip(("label", "data"), pair, strict=True)
    )
    assert (read(tags).price, read(tags).fields["currency"]) == (24.5, "EUR")


# statistics


@pytest.mark.parametrize(
    "script",
    [
        "dataLayer.push({'ecommerce': {'currencyCode': 'EUR', 'detail': {'products': [{'name': 'Apron', 'price': '7.5', 'brand': 'Tela',}]}}});",
        'dataLayer = [{"event":"productDetailView", "ecommerce": {"detail": {"products": [{"name": "Apron", "price": 7.5, "brand": "Tela"}]}}}]',
        'gtag("event", "view_item", {currency: "EUR", value: 1, items: [{item_name: "Apron", price: 7.5, item_brand: "Tela"}]})',
        'analytics.track("Product Viewed", {name: "Apron", price: 7.50, brand: "Tela", currency: "EUR"})',
        'ShopifyAnalytics.lib.track(\n"Viewed Product",{"currency":"EUR","name":"Apron","price":"7.50","brand":"Tela"});',
        "var utag_data = { product_name : ['Apron'], product_price: [parseFloat('7.50')], product_brand: [\"Tela\"] // ours\n}",
        "window.dataLayer.push({productName: 'Apr\\u006fn', productPrice: '7.50', when: new Date(), productBrand: 'Tela'})",
    ],
)
def test_what_statistics_are_told_of_the_product_on_view_is_read(script: str) -> None:
    found = read(f"<h1>Apron</h1><script>{script}</script>")
    assert (found.fields["name"], found.price, found.fields["brand"]) == ("Apron", 7.5, "Tela")
    assert found.sources["price"] == found.sources["brand"] == "data-layer"


@pytest.mark.parametrize(
    "script",
    [
        "dataLayer.push({ecommerce: {impressions: [{name: 'Apron', price: 7.5, brand: 'Tela'}]}})",
        "dataLayer.push({event: 'add_to_cart', ecommerce: {items: [{item_name: 'Apron', price: 7.5}]}})",
        "dataLayer.push({ecommerce: {detail: {products: [{name: 'Quite another hat', price: 7.5, brand: 'Tela'}]}}})",
        "dataLayer.push({ecommerce: {detail: {products: [{name: 'Apron', price: 7.5, brand: 'Tela'}",
        "dataLayer.push({name: 'Apron', price: 7.5})",
        "dataLayer.push(" + "{a:" * 5000,
    ],
)
def test_other_products_and_what_breaks_off_are_not(script: str) -> None:
    found = read(f"<h1>Apron</h1><script>{script}</script>")
    assert (found.price, found.fields.get("brand"), found.sold_here) == (None, None, False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 1, 'b': \"x\\\"y\", c: [true, false, null,], }", {"a": "1", "b": 'x"y', "c": [True, False, None]}),
        ("{a: f(1, {b: 2}), c: 'd' + e, g: h || 'i'}", {"a": None, "c": None, "g": None}),
        ("{a: `x\ny`, /* no */ b: .5 // yes\n}", {"a": "x\ny", "b": ".5"}),
        ("{a: 'x' || 'y'}", {"a": "x"}),
        ("[{}, []]", [{}, []]), ("{a}", None), ("{a: ", None), ("", None), ("x", None), ("[" * 100, None),
    ],
)  # fmt: skip
def test_a_literal_of_javascript(text: str, value: object) -> None:
    assert literal_at(text, 0) == value


# what a person sees


def test_the_visible_page_is_the_last_resort() -> None:
    page = """<title>Apron of linen | Shop</title><h1>Sign in</h1><h1>Apron of linen</h1>
      <img src=/logo.png alt="Apron of linen"><a href=/big/1.jpg><img src=/small/1.jpg alt="Apron of linen"></a>
      <img data-src=/2.jpg alt="Apron of linen">
      <div class=old-price>$99.00</div><div class=price><del>$80.00</del></div><div class="price now">$ 24<sup>50</sup></div>
      <dl><dt>Brand</dt><dd>Tela</dd><dt>EAN:</dt><dd>4006381333931</dd></dl><p><b>Ref.</b> 1002/710</p>
      <div class=price>$1.00</div>"""
    found = read(page)
    assert (found.fields["name"], found.price, found.fields["currency"]) == ("Apron of linen", 24.5, "USD")
    assert found.images == ["https://shop.example/big/1.jpg", "https://shop.example/2.jpg"]
    assert [found.fields[name] for name in ("brand", "gtin", "sku")] == ["Tela", "4006381333931", "1002/710"]
    assert set(found.sources.values()) == {"page"}
    assert not found.sold_here


@pytest.mark.parametrize(
    "inner",
    [
        "$24<sup>50</sup>",
        "$<span>24</span><span class=price-superscript> 50</span>",
        "$24<span class=a-dot>.</span><i class=fraction>50</i>",
        "$24.50",
    ],
)
def test_raised_cents_are_cents(inner: str) -> None:
    assert read(f"<h1>Apron</h1><p class=price>{inner}</p>").price == 24.5


@pytest.mark.parametrize(
    ("page", "price"),
    [
        ("<p class=price>\n\n   <b>$ </b>\n\t" + " " * 200 + "<span>24.50</span>\n</p>", 24.5),
        ("<p class=price>24.50 € 24.50 €</p>", 24.5),  # once for the eye, once for a script
        ("<p class=price>$24.50 – $30.00</p>", 24.5),
        ("<p class=price>+$2.00</p><p class=price>$24.50</p>", 24.5),  # an option's
        ("<p class=price>24.50</p>", None),  # no sign: any number
        ("<p class=price>$24.50 instead of $30.00</p>", None),
        ("<p class=shipping-price>$4.50</p><p class='price was'>$30</p>", None),
        ("<div class=related-products><p class=price>$4.50</p></div>", None),
    ],
)
def test_which_visible_price_is_the_product_s(page: str, price: float | None) -> None:
    assert read(f"<h1>Apron</h1>{page}").price == price


@pytest.mark.parametrize(
    "line",
    [
        "<p>Brand: we have been making aprons since 1911 and never stopped</p>",
        "<p>Model</p><p>of beauty</p>",
        "<p>SKU:</p>",
    ],
)
def test_prose_behind_a_label_is_no_value(line: str) -> None:
    found = read(f"<h1>Apron</h1>{line}")
    assert found.fields.keys() & {"brand", "sku", "mpn"} == set()


def test_a_price_is_not_guessed_where_the_product_is_sold_out() -> None:
    node = '{"@type": "Product", "name": "Apron", "offers": {"price": "0", "availability": "https://schema.org/OutOfStock"}}'
    page = f'<script type="application/ld+json">{node}</script><h1>Apron</h1><div class=price>$5.00</div>'
    assert read(page).price is None
    assert read(page.replace("OutOfStock", "InStock")).price == 5


# bad input


@pytest.mark.parametrize(
    ("encoded", "declared"),
    [
        ("iso-8859-1", "iso-8859-1"),
        ("windows-1251", "windows-1251"),
        ("shift_jis", "shift_jis"),
        ("utf-16", None),
        ("utf-8", None),
    ],
)
def test_other_encodings(encoded: str, declared: str | None) -> None:
    name = {"windows-1251": "Фартук", "shift_jis": "エプロン"}.get(encoded, "Delantal niño")
    meta = f'<meta charset="{declared}">' if declared else ""
    body = f"<html><head>{meta}<title>{name}</title></head><body><h1>{name}</h1></body></html>".encode(encoded)
    assert extract(body, URL).fields["name"] == name


def test_a_script_in_a_title_is_text_and_marks_nobody_sees_are_gone() -> None:
    found = read(
        "<title><script>alert(1)</script></title><h1>\u202eApron\u200b \ue001<script>alert(2)</script>\x1b[31m&#27;</h1>"
    )
    assert found.fields["name"] == "Apron [31m"
    assert read("<title>&lt;script>alert(1)</title>").fields["name"] == "<script>alert(1)"


HOSTILE = {
    "deep elements": "<h1>x</h1>" + "<div>" * 200_000 + "<b class=price>$5</b>",
    "deep items": '<div itemscope itemtype="http://schema.org/Product" itemprop=offers>' * 5_000 + "<b itemprop=name>n</b>",
    "deep json": '<script type="application/ld+json">' + "[" * 200_000 + "</script>",
    "huge number": f'<script type="application/ld+json">{{"@type": "Product", "name": "n", "sku": {"9" * 5_000}}}</script>',
    "many references": '<div itemscope itemref=a itemtype="http://schema.org/Product"></div>' * 3_000 + "<p id=a itemprop=name>n</p>",
    "blanks in broken json": '<script type="application/ld+json">{' + " " * 400_000 + "</script>",
    "many broken blocks": '<script type="application/ld+json">{"a": </script>' * 2_000,
    "many pushes": "<script>" + "dataLayer.push({a:{" * 20_000 + "</script>",
    "backslashes": '<script>dataLayer.push({a:"' + "\\" * 199_000 + "</script>",
    "one long address": f'<h1>x</h1><img alt=x class=gallery src="{"a" * 5_000_000}">',
}  # fmt: skip


@pytest.mark.timeout(60)  # most take a tenth of a second; a square of the length would take hours
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_comes_to_an_end(name: str) -> None:
    assert read(HOSTILE[name]).price in (None, 5)


def test_a_page_of_50_mb_is_read() -> None:
    page = (
        b"<h1>Apron</h1><p>"
        + b"lorem ipsum " * 4_200_000
        + b'<script type="application/ld+json">{"@type": "Product", "name": "n"}</script>'
    )
    assert len(page) > 50_000_000
    assert extract(page, URL).fields["name"] == "n"
