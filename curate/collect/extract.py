"""What a page says: the product it sells, read from its JSON-LD, and the pages it leads to.

A page with exactly one product of its own is a product page; anything else only leads on.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

import lxml.etree
import lxml.html
from extruct.jsonld import JsonLdExtractor
from w3lib.encoding import html_to_unicode
from w3lib.url import safe_url_string

_PRODUCTS = {"product", "productgroup", "individualproduct", "productmodel"}
_ELSEWHERE = {"isRelatedTo", "isSimilarTo", "isAccessoryOrSparePartFor", "isConsumableFor", "review", "reviews"}
_KEPT = (
    "color",
    "material",
    "pattern",
    "size",
    "gtin",
    "gtin8",
    "gtin12",
    "gtin13",
    "gtin14",
    "mpn",
    "sku",
    "productID",
)
_NO_PAGE = re.compile(r"\.(jpe?g|png|gif|webp|avif|svg|ico|css|js|pdf|zip|gz|mp4|webm|woff2?|xml|json|txt)$", re.I)
_GENERIC_ENDINGS = {"ai", "co", "eu", "fm", "io", "me", "to", "tv"}  # two letters that say nothing of a country
LONGEST_URL = 4_000


@dataclass(frozen=True)
class Listing:
    """One product on sale: the columns of LISTINGS that a page can tell, and its gallery in order."""

    marketplace: str
    listing_id: str
    columns: dict[str, Any]
    pictures: list[str]


@dataclass(frozen=True)
class Page:
    """What a page holds: a listing or none, and addresses that it leads to."""

    listing: Listing | None = None
    next_pages: list[str] = field(default_factory=list)  # more of the same list
    links: list[str] = field(default_factory=list)  # product pages named in a list, then other pages of the site
    broken_blocks: int = 0  # JSON-LD that is no JSON


def read_page(body: bytes, url: str, content_type: str | None = None, marketplace: str | None = None) -> Page:
    """Read a page that came from `url`. Never raises for what a page holds; a page that says nothing is an empty Page."""
    _, text = html_to_unicode(content_type, body)
    try:
        parser = lxml.html.HTMLParser(encoding="utf-8", huge_tree=True)
        tree = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.LxmlError, ValueError):
        return Page()
    base = urljoin(url, next((tag.get("href", "") for tag in tree.iter("base")), ""))
    items, broken = _json_ld(tree)
    head = _head(tree)
    products, listed = _sort_out(items)
    product = _own_product(products, {url, head.get("canonical", "")}, base)
    if product:
        return Page(_listing(product, items, head, url, base, marketplace), broken_blocks=broken)
    next_pages, links = _anchors(tree, base, url)
    named = [address for one in listed if (address := address_of(one, base)) and _same_host(address, url)]
    return Page(None, next_pages, list(dict.fromkeys(named + links)), broken)


def _json_ld(tree: Any) -> tuple[list[Any], int]:
    """All JSON-LD of a page, one script at a time, so that a broken block does not hide the next."""
    reader = JsonLdExtractor()
    items: list[Any] = []
    broken = 0
    for script in tree.iter("script"):
        if script.get("type", "").split(";")[0].strip().lower() != "application/ld+json":
            continue
        script.set("type", "application/ld+json")  # extruct knows it only in this spelling
        try:
            items += reader.extract_items(script)
        except (ValueError, RecursionError):
            broken += 1
    return items, broken


def _head(tree: Any) -> dict[str, str]:
    """What the page says of itself outside JSON-LD: lang, canonical, og:site_name."""
    found = {"lang": (tree.get("lang") or tree.get("{http://www.w3.org/XML/1998/namespace}lang") or "").strip()}
    for tag in tree.iter("meta", "link"):
        name = (tag.get("property") or tag.get("name") or tag.get("rel") or "").strip().lower()
        if name in ("og:site_name", "canonical") and (value := (tag.get("content") or tag.get("href") or "").strip()):
            found.setdefault(name, value)
    return found


def _types(node: dict[str, Any]) -> set[str]:
    """The types of a JSON-LD node, in lower case: John Lewis writes `product`."""
    return {str(name).lower().rsplit("/", 1)[-1].rsplit(":", 1)[-1] for name in _as_list(node.get("@type"))}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _nodes(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every JSON-LD node, outermost first; products are not looked into, lists only for their elements' addresses."""
    if depth > 20:
        return
    for node in _as_list(value):
        if not isinstance(node, dict):
            continue
        yield node
        if _types(node) & (_PRODUCTS | {"itemlist"}):
            continue
        for name, inner in node.items():
            if name not in _ELSEWHERE and isinstance(inner, dict | list):
                yield from _nodes(inner, depth + 1)


def _sort_out(items: list[Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """The products that are not mere elements of a list, and the addresses of those that are."""
    products: list[dict[str, Any]] = []
    listed: list[str] = []
    for node in _nodes(items):
        types = _types(node)
        if types & _PRODUCTS:
            products.append(node)
        elif "itemlist" in types:
            for element in _as_list(node.get("itemListElement")):
                inner = element.get("item", element) if isinstance(element, dict) else element
                places = [element, inner] if isinstance(element, dict) else [inner]
                listed += [address for place in places if (address := _url_of(place))][:1]
    return products, listed


def _url_of(value: Any) -> str | None:
    found = value.get("url") or value.get("@id") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


def _own_product(products: list[dict[str, Any]], own: set[str], base: str) -> dict[str, Any] | None:
    """The product that the page is about; None when it has none, or several and none is at the page's own address."""
    unlike = {(_text(p.get("sku")), _text(p.get("name"))): p for p in reversed(products)}
    if len(unlike) <= 1:
        return next(iter(unlike.values()), None)
    here = {urldefrag(address).url for address in own if address}
    at_home = [p for p in products if (place := _url_of(p)) and urldefrag(urljoin(base, place)).url in here]
    groups = [p for p in products if "productgroup" in _types(p)]
    return at_home[0] if at_home else groups[0] if len(groups) == 1 else None


def _listing(
    product: dict[str, Any], items: list[Any], head: dict[str, str], url: str, base: str, marketplace: str | None
) -> Listing:
    offer = _offer(product)
    page_url = address_of(head.get("canonical", ""), base) or url
    raw = _first_text(offer.get("price"), _dig(offer, "priceSpecification", "price"), offer.get("lowPrice"))
    columns = {
        "country": _country(offer, head["lang"], url),
        "language": head["lang"] or _text(product.get("inLanguage")),
        "url": page_url,
        "title": _text(product.get("name")),
        "brand": _text(product.get("brand")),
        "category": _text(product.get("category")),
        "price_raw": raw,
        "price": parse_price(raw),
        "currency": _first_text(offer.get("priceCurrency"), _dig(offer, "priceSpecification", "priceCurrency")),
        "attributes": _attributes(product, offer) or None,
        "license": _text(product.get("license")),
        "source": "json-ld",
    }
    sold_at = marketplace or head.get("og:site_name") or _site_name(items) or urlsplit(url).netloc.lower()
    listing_id = _first_text(product.get("sku"), product.get("productID"), product.get("productId")) or page_url
    return Listing(html.unescape(sold_at).strip(), listing_id, columns, _pictures(product, base))


def _offer(product: dict[str, Any]) -> dict[str, Any]:
    """The first offer that names a price, from one offer, a list of them, or an AggregateOffer."""
    offers = [offer for offer in _as_list(product.get("offers")) if isinstance(offer, dict)]
    inner = [one for offer in offers for one in _as_list(offer.get("offers")) if isinstance(one, dict)]
    priced = [one for one in offers + inner if any(key in one for key in ("price", "lowPrice", "priceSpecification"))]
    return (priced or offers or [{}])[0]


def _dig(node: Any, *names: str) -> Any:
    for name in names:
        node = node[0] if isinstance(node, list) and node else node
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _text(value: Any) -> str | None:
    """A JSON-LD value as plain text: strings, numbers, {"name": …}, {"@value": …}, the first of a list."""
    value = value[0] if isinstance(value, list) and value else value
    if isinstance(value, dict):
        value = value.get("name") or value.get("@value") or value.get("value")
        return _text(value) if not isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return " ".join(html.unescape(str(value)).split()) or None


def _first_text(*values: Any) -> str | None:
    return next((text for value in values if (text := _text(value))), None)


def _attributes(product: dict[str, Any], offer: dict[str, Any]) -> dict[str, str]:
    """What else the page says of the product, name to value."""
    found = {name: text for name in _KEPT if (text := _text(product.get(name)))}
    for pair in _as_list(product.get("additionalProperty")):
        if isinstance(pair, dict) and (name := _text(pair.get("name"))) and (value := _text(pair.get("value"))):
            found[name] = value
    for name, value in (("description", product.get("description")), ("availability", offer.get("availability"))):
        if text := _text(value):
            found[name] = text.rsplit("schema.org/", 1)[-1][:500]
    if seller := _text(offer.get("seller")):
        found["seller"] = seller
    return found


def _site_name(items: list[Any]) -> str | None:
    sites = [node for node in _nodes(items) if "website" in _types(node)]
    return _first_text(*(site.get("name") for site in sites))


def _country(offer: dict[str, Any], lang: str, url: str) -> str | None:
    """Two letters from where it is sold to, else the page's language, else the address's ending."""
    for value in (
        offer.get("areaServed"),
        offer.get("eligibleRegion"),
        _dig(offer, "shippingDestination", "addressCountry"),
    ):
        if (text := _text(value)) and re.fullmatch(r"[A-Za-z]{2}", text):
            return text.upper()
    if region := re.search(r"[-_]([A-Za-z]{2})$", lang):
        return region[1].upper()
    ending = (urlsplit(url).hostname or "").rsplit(".", 1)[-1]
    if len(ending) != 2 or not ending.isalpha() or ending in _GENERIC_ENDINGS:
        return None
    return {"uk": "GB"}.get(ending, ending.upper())


def parse_price(raw: str | None) -> float | None:
    """The number in a price as written: "1,299.00", "1.299,00", "MX$ 299", "1 299,90". None when there is none.

    JSON-LD writes a decimal point; so a lone point before three digits is decimal, a lone comma there separates thousands.
    """
    found = re.search(r"\d[\d.,'\s\u00a0\u202f]*", raw or "")
    if not found:
        return None
    digits = re.sub(r"['\s\u00a0\u202f]", "", found[0]).rstrip(".,")
    if "." in digits and "," in digits:
        thousands = "," if digits.rfind(".") > digits.rfind(",") else "."
        return _number(digits.replace(thousands, "").replace(",", "."))
    if "," in digits:
        decimal = digits.count(",") == 1 and len(digits) - digits.index(",") - 1 != 3
        return _number(digits.replace(",", "." if decimal else ""))
    return _number(digits.replace(".", "") if digits.count(".") > 1 else digits)


def _number(digits: str) -> float | None:
    try:
        return float(digits)
    except ValueError:
        return None


def _pictures(product: dict[str, Any], base: str) -> list[str]:
    """Addresses of all pictures of the product, in order, each once."""
    found: list[str] = []
    for image in _as_list(product.get("image")):
        place = image
        if isinstance(image, dict):
            place = image.get("contentUrl") or image.get("url") or image.get("@id")
        found += [address for one in _as_list(place) if (address := address_of(one, base))]
    return list(dict.fromkeys(found))


def address_of(value: Any, base: str) -> str | None:
    """An absolute http(s) address without its fragment; None for anything else, and for ones no server would take."""
    if not isinstance(value, str) or not value.strip():
        return None
    try:
        full = urldefrag(safe_url_string(urljoin(base, value.strip()))).url
        parts = urlsplit(full)
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError:
        return None
    return full if parts.scheme in ("http", "https") and parts.hostname and len(full) <= LONGEST_URL else None


def _anchors(tree: Any, base: str, url: str) -> tuple[list[str], list[str]]:
    """Pages that go on with this list (rel=next), and other pages of the same host."""
    following: list[str] = []
    links: list[str] = []
    for tag in tree.iter("a", "link"):
        rel = set(tag.get("rel", "").lower().split())
        if "nofollow" in rel or not (address := address_of(tag.get("href"), base)):
            continue
        if not _same_host(address, url) or _NO_PAGE.search(urlsplit(address).path):
            continue
        if "next" in rel:
            following.append(address)
        elif tag.tag == "a":
            links.append(address)
    return list(dict.fromkeys(following)), list(dict.fromkeys(links))


def _same_host(a: str, b: str) -> bool:
    return urlsplit(a).netloc.lower() == urlsplit(b).netloc.lower()
