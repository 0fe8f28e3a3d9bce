"""What the meta tags of a page say: OpenGraph, its product namespace, and Twitter's labels."""

from __future__ import annotations

import re

from curate.collect.extract.document import Document
from curate.collect.extract.schema_org import gtin_of
from curate.collect.extract.values import Found, address_of

_FIELDS = {
    "price": ("product:sale_price:amount", "product:price:amount", "og:price:amount", "og:price"),
    "currency": ("product:sale_price:currency", "product:price:currency", "og:price:currency"),
    "brand": ("product:brand", "og:brand"),
    "sku": ("product:retailer_item_id", "product:sku", "og:sku"),
    "mpn": ("product:mfr_part_no",),
    "availability": ("product:availability", "og:availability"),
    "color": ("product:color",),
    "material": ("product:material",),
    "pattern": ("product:pattern",),
    "size": ("product:size",),
    "description": ("og:description",),
}
_GTIN = ("product:gtin", "product:ean", "product:upc", "product:isbn", "og:upc", "og:ean", "og:isbn")
_PICTURES = ("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src")
_PRICE_LABELS = {
    "price",
    "preis",
    "prix",
    "precio",
    "preço",
    "prezzo",
    "prijs",
    "hinta",
    "pris",
    "cena",
    "preț",
    "цена",
}


def opengraph(page: Document) -> Found:
    """The product of the meta tags; a page that calls itself a product and gives a price is one."""
    found = Found()
    found.put("name", _without_site(page, page.meta("og:title", "twitter:title")))
    for name, tags in _FIELDS.items():
        found.put(name, page.meta(*tags))
    found.put("gtin", *(gtin for tag in _GTIN if (gtin := gtin_of(page.meta(tag)))))
    for number in range(1, 5):
        label = (page.meta(f"twitter:label{number}") or "").lower().strip(" :")
        if label in _PRICE_LABELS:
            found.put("price", page.meta(f"twitter:data{number}"))
    for name in _PICTURES:
        found.images = found.images or [
            full for one in page.metas.get(name, []) if (full := address_of(one, page.base))
        ]
    kind = (page.meta("og:type") or "").lower()
    found.product = bool(re.search(r"\bproduct\b", kind)) and "price" in found.fields and "name" in found.fields
    return found


def _without_site(page: Document, title: str | None) -> str | None:
    """A title without the site's name behind it: "Apron | eBay", "Apron - IKEA"."""
    return without_site(title, page.meta("og:site_name"), page.url)


def without_site(title: str | None, site_name: str | None, url: str) -> str | None:
    """A title without what stands behind its last separator, where that names the site."""
    parts = re.split(r"\s+[|–—·:-]\s+|｜|\s*\|\s*", title or "")
    if len(parts) < 2:
        return title
    last = re.sub(r"\W", "", parts[-1]).lower()
    host = re.sub(r"\W", "", url.split("/")[2] if url.count("/") > 1 else "").lower()
    if last and (last in host or last == re.sub(r"\W", "", site_name or "").lower()):
        return title[: title.rfind(parts[-1])].rstrip(" |–—·:-｜") if title else None
    return title
