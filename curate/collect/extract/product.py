"""The product of a page, put together from all that the page says, each field with where it came from."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from curate.collect.extract.datalayer import data_layer
from curate.collect.extract.document import Document
from curate.collect.extract.jsonld import json_ld
from curate.collect.extract.microdata import microdata
from curate.collect.extract.opengraph import opengraph
from curate.collect.extract.prices import currency_of, parse_price
from curate.collect.extract.rules import by_rules
from curate.collect.extract.schema_org import gtin_of, nodes, own_product, read_product, sort_out, types
from curate.collect.extract.values import Found, first_text, id_in, words
from curate.collect.extract.visible import gallery, is_picture, visible
from curate.collect.site import SOURCES, Site, full_size

SHOWN = ("name", "image", "images", "price", "currency", "sku", "product_id", "gtin", "mpn", "brand", "availability")
_BRAND = re.compile(r"^.{0,30}\b(?:brand|marca|marke|marque|merk|značka|бренд|márka|merkki)\s*:\s*(.+)$", re.I)
_NOTHING = {
    "does not apply",
    "nicht zutreffend",
    "ne s'applique pas",
    "non applicable",
    "no aplica",
    "non specificato",
} | {"null", "undefined", "none", "n/a", "nan", "-", "[object object]", "false", "true"}
_STOCK = {
    "instock": "InStock", "available": "InStock", "instoreonly": "InStoreOnly", "onlineonly": "OnlineOnly",
    "limitedavailability": "LimitedAvailability", "outofstock": "OutOfStock", "oos": "OutOfStock", "soldout": "SoldOut",
    "preorder": "PreOrder", "presale": "PreSale", "backorder": "BackOrder", "discontinued": "Discontinued",
    "unavailable": "OutOfStock", "notavailable": "OutOfStock", "notinstock": "OutOfStock", "reserved": "Reserved", "madetoorder": "MadeToOrder",
}  # fmt: skip


@dataclass
class Product:
    """What is known of a page's product: fields as written, pictures in order, and the source of each."""

    fields: dict[str, str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)  # of each field, and of `images`
    price: float | None = None
    sold_here: bool = False  # the page itself says that it sells this product
    listed: list[str] = field(default_factory=list)  # addresses of products that the page lists
    site_name: str | None = None
    broken_blocks: int = 0  # JSON-LD that is no JSON

    def shown(self) -> dict[str, Any]:
        """The fields that `curate extract` prints, those not found as null, and `sources`."""
        values: dict[str, Any] = {name: self.fields.get(name) for name in SHOWN}
        values |= {"image": self.images[0] if self.images else None, "images": self.images}
        values |= {"price": self.price, "price_raw": self.fields.get("price"), "url_id": self.fields.get("url_id")}
        return {**values, "sources": {name: self.sources[name] for name in (*SHOWN, "url_id") if name in self.sources}}


def read_page_product(page: Document, site: Site | None = None) -> Product:
    """Ask every source in turn, the one believed most first, and keep the first answer to each field."""
    items, broken = json_ld(page.tree)
    tagged, loose = microdata(page.tree) if page.microdata else ([], {})
    known, listed = sort_out(items)
    marked, more = sort_out(tagged)
    product = Product(listed=listed + more, broken_blocks=broken, site_name=_site_name(page, items))
    answers: dict[str, Callable[[], Found]] = {
        "rules": lambda: by_rules(site, page) if site else Found(),
        "json-ld": lambda: _read(own_product(known, page), page),
        "microdata": lambda: _read(own_product(marked, page) or _of_no_item(marked, tagged, loose), page),
        "opengraph": lambda: _plausible_pictures(opengraph(page)),
        "data-layer": lambda: _plausible(data_layer(page.tree), page),
        "page": lambda: _seen(page, product, site),
    }
    for source in site.prefer if site else SOURCES:
        found = answers[source]()
        _keep(product, source, found)
        product.sold_here = product.sold_here or found.product
    ruled = site.is_product(page.url) if site else None
    if ruled is not None:
        shown = "name" in product.fields and (product.images or "price" in product.fields)  # neither captcha nor gone
        product.sold_here = ruled and (product.sold_here or bool(shown))
    _finish(product, page, site)
    return product


def _read(node: dict[str, Any] | None, page: Document) -> Found:
    if node is None:
        return Found()
    found = read_product(node, page.base)
    found.product = bool(node.get("@type")) and "name" in found.fields
    return found


def _seen(page: Document, product: Product, site: Site | None) -> Found:
    """What is missing and can be seen on the page."""
    found = visible(page, _missing(product, site))
    number = found.fields.pop("number", None)
    found.put("product_id" if "sku" in product.fields else "sku", number)
    return found


def _of_no_item(
    marked: list[dict[str, Any]], tagged: list[dict[str, Any]], loose: dict[str, Any]
) -> dict[str, Any] | None:
    """A node of properties that stand outside of any item, and of the only Offer; its name is no product's."""
    if marked:
        return None
    offers = [node for node in tagged if types(node) & {"offer", "aggregateoffer"}]
    kept = {name: value for name, value in loose.items() if name not in ("name", "description")}
    return {**kept, **({"offers": offers} if len(offers) == 1 else {})}


def _plausible(found: Found, page: Document) -> Found:
    """What statistics say, unless they name a product that no heading of the page knows: they are copied carelessly."""
    name = set(words(found.fields.get("name")).split())
    said = [text for _, text in page.headings] + [page.title, page.meta("og:title")]
    known = any(len(name & set(words(text).split())) >= 0.5 * len(name) for text in said if text)
    return found if known or not name else Found()


def _plausible_pictures(found: Found) -> Found:
    """Without the site's logo, which many pages give as their picture."""
    found.images = [image for image in found.images if is_picture(image, found.fields.get("name"))]
    return found


def _missing(product: Product, site: Site | None) -> set[str]:
    """What is still to be looked for on the visible page."""
    fields = product.fields
    missing = {name for name in ("name", "price") if name not in fields}
    if not {"sku", "product_id"} <= fields.keys():
        missing.add("number")
    if "brand" not in fields or "sku" not in fields:  # for mpn and gtin alone it is not worth its time
        missing |= {name for name in ("brand", "mpn", "gtin") if name not in fields}
    if fields.get("availability") in ("OutOfStock", "SoldOut", "Discontinued"):
        missing.discard("price")  # any price on the page is another product's
    missing -= set(site.fields) if site else set()  # what rules look for and do not find is not there
    return missing if product.images else missing | {"image"}


def _keep(product: Product, source: str, found: Found) -> None:
    """Take over what is not known yet."""
    for name, text in found.fields.items():
        if name not in product.fields and (made := _made_plain(name, text)):
            product.fields[name] = made
            product.sources[name] = source
    if found.images and not product.images:
        product.images = found.images
        product.sources["image"] = product.sources["images"] = source


def _made_plain(name: str, text: str) -> str | None:
    """A field without what is said around it; None when it says nothing."""
    if text.lower() in _NOTHING:
        return None
    if name == "price":
        return text if re.search("[1-9]", text) else None  # 0 is no price but the lack of one
    if name == "brand":
        said = _BRAND.match(text)
        text = said[1] if said else text
        return None if re.match(r"https?://", text) or len(text) > 80 else text
    if name == "availability":
        return _availability(text)
    if name in ("sku", "mpn", "product_id", "gtin"):
        return text if len(text) <= 80 else None
    return text


def _availability(text: str) -> str | None:
    word = re.sub(r"[^a-z]", "", text.rstrip("/").rsplit("/", 1)[-1].lower())
    return _STOCK.get(word)


def _finish(product: Product, page: Document, site: Site | None) -> None:
    """Currency, number of the price, full-size pictures, the number in the address."""
    fields, sources = product.fields, product.sources
    country = fields.get("country") or (site.country if site else None) or page.country
    if country:
        fields["country"] = country
    if "price" in fields:
        given, source = fields.get("currency"), sources["price"]
        currency = (
            currency_of(given, country) or currency_of(fields["price"], country) or (site.currency if site else None)
        )
        fields.pop("currency", None)
        if currency:
            fields["currency"] = currency
            sources["currency"] = (sources.get("currency") or source) if given else source
        product.price = parse_price(fields["price"], currency, written=source in ("rules", "page"))
    looks = site is None or ("page" in site.prefer and "image" not in site.fields)
    if len(product.images) == 1 and looks:  # most shops tell machines of one only
        product.images = _with_gallery(product.images[0], gallery(page, fields.get("name")))
    product.images = list(dict.fromkeys(full_size(image, site) for image in product.images))
    if site:
        product.images = product.images[: site.limits.max_images]
    if isbn := next((gtin for name in ("sku", "product_id", "mpn") if (gtin := _isbn(fields.get(name)))), None):
        fields.setdefault("gtin", isbn)
        sources.setdefault(
            "gtin", next(sources[name] for name in ("sku", "product_id", "mpn") if _isbn(fields.get(name)))
        )
    if number := id_in(page.url):
        fields["url_id"], sources["url_id"] = number, "url"


def _with_gallery(main: str, shown: list[str]) -> list[str]:
    """The main picture, in the size that the gallery has it, before the others."""
    same = [one for one in shown if one.split("?")[0] == main.split("?")[0]]
    return [*(same[:1] or [main]), *shown]


def _isbn(text: str | None) -> str | None:
    """A bookshop's number for a book, where that is its ISBN."""
    return gtin_of(text) if (text or "").startswith(("978", "979")) else None


def _site_name(page: Document, items: list[Any]) -> str | None:
    """The site's name, as its tags or its WebSite node say."""
    sites = [node for node in nodes(items) if "website" in types(node)]
    return page.meta("og:site_name") or first_text(*(site.get("name") for site in sites))
