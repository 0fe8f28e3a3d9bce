"""What a page tells its own statistics of the product on view: dataLayer, gtag, fbq, utag_data.

Only what says it is the product on view is read: `detail` of Google's enhanced commerce, `items` of a view_item or
ViewContent event, or flat names like productName; lists of other products (impressions) never are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from curate.collect.extract.jsliteral import literal_at
from curate.collect.extract.schema_org import gtin_of
from curate.collect.extract.values import Found, as_list, dig, text_of

_NAMES = ("dataLayer", "utag_data", "digitalData", "universal_variable", "gtag(", "fbq(", "track(")
_STARTS = re.compile(
    r"dataLayer(?:\.push\(\s*(?=\{)|\s*=\s*(?=[\[{]))|(?:utag_data|digitalData|universal_variable)\s*=\s*(?=\{)"
    r"|gtag\(\s*['\"]event['\"]\s*,\s*['\"]view_item['\"]\s*,\s*(?=\{)|fbq\(\s*['\"]track['\"]\s*,\s*['\"]ViewContent['\"]\s*,\s*(?=\{)"
    r"|track\(\s*['\"](?:Viewed Product|Product Viewed)['\"]\s*,\s*(?=\{)"
)
_VIEWS = {
    "view_item",
    "viewcontent",
    "productdetail",
    "productdetails",
    "productdetailview",
    "productview",
    "product_view",
}
_KEYS = {
    "name": ("name", "item_name", "content_name", "productName", "product_name", "title"),
    "price": ("price", "item_price", "value", "productPrice", "product_price", "productPriceValue", "unit_price"),
    "brand": ("brand", "item_brand", "productBrand", "product_brand"),
    "sku": ("sku", "productSku", "product_sku", "item_sku"),
    "product_id": ("id", "item_id", "product_id", "productId", "productID", "content_ids", "pid"),
    "mpn": ("mpn", "productMpn"),
    "category": ("category", "item_category", "content_category", "productCategory", "product_category"),
    "currency": ("currency", "currencyCode", "content_currency", "productCurrency"),
}
_FLAT = {
    name: tuple(key for key in keys if key.lower().startswith("product")) for name, keys in _KEYS.items()
}  # in a heap of other things only these names are plain
MOST_SCRIPT = 2_000_000  # characters; no page needs more for its statistics
MOST_STARTS = 60


def data_layer(tree: Any) -> Found:
    """The product on view, as the page's statistics are told."""
    found = Found()
    for start, value in _pushed(tree):
        for entry in as_list(value)[:50]:
            if isinstance(entry, dict):
                _read_entry(entry, found, bool(re.search("view_item|viewcontent|viewed", start)))
    found.product = "name" in found.fields and "price" in found.fields
    return found


def _pushed(tree: Any) -> Iterator[tuple[str, Any]]:
    """What is handed over, in order, with the words that hand it over."""
    starts = 0
    for script in tree.iter("script"):
        text = script.text or ""
        for start in _starts(text) if len(text) <= MOST_SCRIPT else ():
            starts += 1
            if starts > MOST_STARTS:
                return
            yield start[0].lower(), literal_at(text, start.end())


def _starts(text: str) -> list[re.Match[str]]:
    """Where something is handed over; looked for by name first, since most scripts are long and hold none."""
    found: list[re.Match[str]] = []
    for name in _NAMES:
        at = text.find(name)
        while at >= 0 and len(found) <= MOST_STARTS:
            if match := _STARTS.match(text, at):
                found.append(match)
            at = text.find(name, at + 1)
    return sorted(found, key=lambda match: match.start())


def _read_entry(entry: dict[str, Any], found: Found, on_view: bool) -> None:
    """One thing pushed: what it says of the product on view."""
    shop = entry.get("ecommerce")
    shop = shop if isinstance(shop, dict) else {}
    event = re.sub(r"[^a-z_]", "", str(entry.get("event", "")).lower())
    on_view = on_view or event in _VIEWS
    priced = "price" in found.fields
    products = as_list(dig(shop, "detail", "products"))
    if not products and on_view:
        products = as_list(shop.get("items") or entry.get("items") or entry.get("product"))
    if products and isinstance(products[0], dict):
        _take(products[0], _KEYS, found)
    elif on_view:
        _take(entry, _KEYS, found)
    else:
        _take(entry, _FLAT, found)
    for place in (shop, dig(shop, "detail"), entry):
        if (
            isinstance(place, dict) and not priced and "price" in found.fields
        ):  # what gives the price gives its currency
            found.put("currency", place.get("currency"), place.get("currencyCode"))


def _take(product: dict[str, Any], keys: dict[str, tuple[str, ...]], found: Found) -> None:
    for name, names in keys.items():
        values = [product.get(key) for key in names]
        if name == "price":
            values = [value for value in values if re.search(r"\d", text_of(value) or "")]
        found.put(name, *values)
    found.put("gtin", gtin_of(product.get("ean")), gtin_of(product.get("gtin")))
