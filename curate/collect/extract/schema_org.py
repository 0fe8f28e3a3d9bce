"""The product of a page among its JSON-LD or microdata nodes, and what the node says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urldefrag, urljoin, urlsplit

from curate.collect.extract.document import Document
from curate.collect.extract.values import Found, address_of, as_list, dig, first_text, text_of, words

PRODUCTS = {"product", "productgroup", "individualproduct", "productmodel", "someproducts", "vehicle", "book"}
_ELSEWHERE = {
    "isRelatedTo",
    "isSimilarTo",
    "isAccessoryOrSparePartFor",
    "isConsumableFor",
    "review",
    "reviews",
    "unsaid",
}
_GTIN = ("gtin13", "gtin", "gtin14", "gtin12", "gtin8", "isbn", "ean")
_PLAIN = ("name", "sku", "mpn", "brand", "category", "color", "material", "pattern", "size", "description", "license")
DEEPEST = 20
Node = dict[str, Any]


def types(node: Node) -> set[str]:
    """The types of a node without their namespace, in lower case: John Lewis writes `product`."""
    return {str(name).lower().rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1] for name in as_list(node.get("@type"))}


def nodes(value: Any, depth: int = 0) -> Iterator[Node]:
    """Every node, outermost first; products are not looked into, lists only for their elements' addresses."""
    if depth > DEEPEST:
        return
    for node in as_list(value):
        if not isinstance(node, dict):
            continue
        yield node
        if types(node) & (PRODUCTS | {"itemlist"}):
            continue
        for name, inner in node.items():
            if name not in _ELSEWHERE and isinstance(inner, dict | list):
                yield from nodes(inner, depth + 1)


def sort_out(items: list[Any]) -> tuple[list[Node], list[str]]:
    """The products that are not mere elements of a list, and the addresses of those that are."""
    products: list[Node] = []
    listed: list[str] = []
    for node in nodes(items):
        kinds = types(node)
        if kinds & PRODUCTS:
            products.append(node)
        elif "itemlist" in kinds:
            for element in as_list(node.get("itemListElement")):
                inner = element.get("item", element) if isinstance(element, dict) else element
                places = [element, inner] if isinstance(element, dict) else [inner]
                listed += [address for place in places if (address := _url_of(place))][:1]
    return products, listed


def _url_of(value: Any) -> str | None:
    found = value.get("url") or value.get("@id") if isinstance(value, dict) else value
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, str) else None


def own_product(products: list[Node], page: Document) -> Node | None:
    """The product that the page is about: the only one, else the one at the page's address or with the page's name.

    Several of one name are its variants: the first counts. None when it cannot be told.
    """
    named = [product for product in products if text_of(product.get("name"))]
    unlike = {(text_of(p.get("sku")), text_of(p.get("name"))): p for p in reversed(named or products)}
    if len(unlike) <= 1:
        return _fullest(named or products)
    here = {urldefrag(address).url for address in (page.url, page.canonical) if address}
    at_home = [p for p in products if (place := _url_of(p)) and _joined(page.base, place) in here]
    groups = [p for p in products if "productgroup" in types(p)]
    if at_home:
        return at_home[0]
    if len(groups) == 1:
        return groups[0]
    if len({words(text_of(p.get("name"))) for p in named}) == 1:
        return _fullest(named)
    return _named_like(named, page)


def _joined(base: str, place: str) -> str | None:
    try:
        return urldefrag(urljoin(base, place)).url
    except ValueError:
        return None


def _fullest(products: list[Node]) -> Node | None:
    """The first that names a price, else the first: pages repeat a product for its ratings alone."""
    return next((one for one in products if one.get("offers")), products[0] if products else None)


def _named_like(products: list[Node], page: Document) -> Node | None:
    """The product whose name stands in a heading or the title, where that is only one name."""
    said = [words(text) for text in (*(text for _, text in page.headings), page.meta("og:title"), page.title) if text]
    fits = [p for p in products if (name := words(text_of(p.get("name")))).strip() and any(name in one for one in said)]
    longest = max((len(words(text_of(p.get("name")))) for p in fits), default=0)
    best = [p for p in fits if len(words(text_of(p.get("name")))) == longest]
    return _fullest(best) if len({words(text_of(p.get("name"))) for p in best}) == 1 else None


def read_product(product: Node, base: str) -> Found:
    """What a product node says, with what its offers and, in a group, its first variant say."""
    variants = [one for one in as_list(product.get("hasVariant")) if isinstance(one, dict)]
    found = Found(product=True)
    for node in (product, *variants[:1]):
        for name in _PLAIN:
            found.put(name, node.get(name))
        found.put("gtin", *(gtin for name in _GTIN if (gtin := gtin_of(node.get(name)))))
        found.put("product_id", node.get("productID"), node.get("productId"), node.get("productGroupID"))
        _read_identifier(node, found)
    shown = [one for one in variants if one is variants[0] or not _elsewhere(one, base)]
    found.images = list(dict.fromkeys(one for node in (product, *shown) for one in pictures(node, base)))
    found.put("brand", dig(product, "manufacturer"))
    offered = [_offer(node) for node in (product, *variants)]
    _read_offer(next((one for one in offered if _price(one)), offered[0]), found)
    for pair in as_list(product.get("additionalProperty")):
        if isinstance(pair, dict) and (label := text_of(pair.get("name"))):
            found.put(f"+{label}", pair.get("value"))  # a name of the page's own
    return found


def _elsewhere(variant: Node, base: str) -> bool:
    """Whether a variant has a page of its own: its pictures are that page's."""
    offers = [one for one in as_list(variant.get("offers")) if isinstance(one, dict)]
    place = _url_of(variant) or next((place for one in offers if (place := _url_of(one))), None)
    full = _joined(base, place) if place else None
    return full is not None and urlsplit(full).path != urlsplit(base).path


def _read_identifier(node: Node, found: Found) -> None:
    """data-vocabulary.org's `identifier`, as "sku:123"."""
    kind, _, value = (first_text(*as_list(node.get("identifier"))) or "").partition(":")
    if kind.lower() in ("sku", "mpn", "gtin", "isbn") and value:
        found.put({"isbn": "gtin"}.get(kind.lower(), kind.lower()), value)


def _offer(product: Node) -> Node:
    """The first offer that names a price, from one offer, a list of them, or an AggregateOffer."""
    places = [*as_list(product.get("offers")), *as_list(product.get("offerDetails"))]
    offers = [offer for offer in places if isinstance(offer, dict)]
    inner = [one for offer in offers for one in as_list(offer.get("offers")) if isinstance(one, dict)]
    own = {name: product[name] for name in ("price", "priceCurrency", "availability", "lowPrice") if name in product}
    priced = [one for one in [*offers, *inner, own] if _price(one)]
    return (priced or offers or [own])[0]


def _price(offer: Node) -> str | None:
    """The price of an offer, as written; of a specification the one without a strike or a list price."""
    specified = [one for one in as_list(offer.get("priceSpecification")) if isinstance(one, dict)]
    asked = [
        one for one in specified if not re.search("listprice|strikethrough|msrp", str(one.get("priceType")).lower())
    ]
    values = [offer.get("price"), *(one.get("price") for one in asked or specified)]
    values += [offer.get("lowPrice"), offer.get("lowprice"), offer.get("highPrice")]
    return next((text for value in values if (text := _amount(value)) and re.search("[1-9]", text)), None)


def _amount(value: Any, depth: int = 0) -> str | None:
    """A price as written; of an object (as Salesforce's shops write by mistake) the amount inside."""
    value = value[0] if isinstance(value, list) and value else value
    if not isinstance(value, dict):
        return text_of(value)
    inner = (value.get(name) for name in ("@value", "value", "decimalPrice", "price", "amount", "sales"))
    return next((text for one in inner if depth < 3 and (text := _amount(one, depth + 1))), None)


def _read_offer(offer: Node, found: Found) -> None:
    found.put("price", _price(offer))
    found.put(
        "currency", offer.get("priceCurrency"), dig(offer, "priceSpecification", "priceCurrency"), offer.get("currency")
    )
    inner = [one for one in as_list(offer.get("offers")) if isinstance(one, dict)]
    found.put("availability", offer.get("availability"), *(one.get("availability") for one in inner[:20]))
    found.put("seller", offer.get("seller"))
    for name in ("sku", "mpn"):
        found.put(name, offer.get(name))
    found.put("gtin", *(gtin for name in _GTIN if (gtin := gtin_of(offer.get(name)))))
    for value in (
        offer.get("areaServed"),
        offer.get("eligibleRegion"),
        dig(offer, "shippingDestination", "addressCountry"),
    ):
        if (text := text_of(value)) and re.fullmatch(r"[A-Za-z]{2}", text):
            found.put("country", text.upper())


def gtin_of(value: Any) -> str | None:
    """A GTIN or ISBN without hyphens and spaces; None for anything else, and where the check digit is wrong.

    The check digits are those of GS1 (weights 3 and 1 from the right) and of ISBN-10 (weights 10 to 1, modulo 11).
    """
    if value is None:
        return None
    digits = re.sub(r"[-\s]", "", text_of(value) or "").upper()
    if re.fullmatch(r"[0-9]{9}[0-9X]", digits):
        total = sum(
            weight * (10 if digit == "X" else int(digit))
            for weight, digit in zip(range(10, 0, -1), digits, strict=True)
        )
        return digits if total % 11 == 0 else None
    if not re.fullmatch(r"[0-9]{8}|[0-9]{12,14}", digits) or not digits.strip("0"):
        return None
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits)))
    return digits if total % 10 == 0 else None


def pictures(product: Node, base: str) -> list[str]:
    """Addresses of all pictures of the product, in order, each once."""
    found: list[str] = []
    for image in as_list(product.get("image")):
        places = [image]
        if isinstance(image, dict):
            named = {name.lower(): value for name, value in image.items()}  # Etsy writes contentURL
            places = as_list(named.get("contenturl") or named.get("url") or named.get("@id"))
        found += [address for one in places if (address := address_of(one, base))]
    return list(dict.fromkeys(found))
