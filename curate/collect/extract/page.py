"""What a page is to a crawl: the listing of one product, or a list that leads on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from parsel import Selector

from curate.collect.extract.document import Document, read_document
from curate.collect.extract.product import Product, read_page_product
from curate.collect.extract.values import address_of, same_host
from curate.collect.site import Site, site_of

_NO_PAGE = re.compile(r"\.(jpe?g|png|gif|webp|avif|svg|ico|css|js|pdf|zip|gz|mp4|webm|woff2?|xml|json|txt)$", re.I)
_KEPT = ("sku", "product_id", "gtin", "mpn", "color", "material", "pattern", "size", "seller", "availability")
DESCRIPTION = 500  # characters of a description that a listing keeps


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


def extract(body: bytes, url: str, content_type: str | None = None, site: Site | None = None) -> Product:
    """The product of a page that came from `url`, by what it says and by the rules of its site.

    Args:
        site: rules to use; when left out those that come with the tool for the address, if there are any.
    Returns:
        Fields with their sources; an empty Product when the page says nothing. Never raises for what a page holds.
    """
    page = read_document(body, url, content_type)
    return read_page_product(page, site or site_of(url)) if page else Product()


def read_page(
    body: bytes, url: str, content_type: str | None = None, marketplace: str | None = None, site: Site | None = None
) -> Page:
    """Read a page that came from `url`. Never raises for what a page holds; a page that says nothing is an empty Page.

    Args:
        marketplace: its name, instead of what rules and page say.
        site: rules to use; when left out those that come with the tool for the address, if there are any.
    """
    page = read_document(body, url, content_type)
    if page is None:
        return Page()
    site = site or site_of(url)
    product = read_page_product(page, site)
    if product.sold_here:
        return Page(_listing(product, page, site, marketplace), broken_blocks=product.broken_blocks)
    following, links = _anchors(page, site)
    named = [full for one in product.listed if (full := address_of(one, page.base)) and same_host(full, url)]
    return Page(None, following, _products_first(named + links, site), product.broken_blocks)


def reader(own: Sequence[Site]) -> Callable[[bytes, str, str | None, str | None], Page]:
    """`read_page` for a crawl with rules of your own: they come before those that come with the tool."""
    return lambda body, url, content_type, marketplace: read_page(
        body, url, content_type, marketplace, site_of(url, own)
    )


def _listing(product: Product, page: Document, site: Site | None, marketplace: str | None) -> Listing:
    fields = product.fields
    address = page.canonical or page.url
    columns = {
        "country": fields.get("country"),
        "language": (site.language if site else None) or page.language or None,
        "url": address,
        "title": fields.get("name"),
        "brand": fields.get("brand"),
        "category": fields.get("category"),
        "price_raw": fields.get("price"),
        "price": product.price,
        "currency": fields.get("currency"),
        "attributes": _attributes(fields) or None,
        "license": fields.get("license"),
        "permission": site.permission if site else None,
        "source": product.sources.get("name", "rules"),
    }
    listing_id = fields.get("sku") or fields.get("product_id") or address
    return Listing(_marketplace(product, page, site, marketplace), listing_id, columns, product.images)


def _marketplace(product: Product, page: Document, site: Site | None, given: str | None) -> str:
    """What the user says, else the rules, else the page, else the host."""
    host = urlsplit(page.url).netloc.lower()
    ruled = site.marketplace.replace("{host}", host.removeprefix("www.")) if site and site.marketplace else None
    return (given or ruled or product.site_name or host).strip()


def _attributes(fields: dict[str, str]) -> dict[str, str]:
    """What else the page says of the product, name to value."""
    found = {name: fields[name] for name in _KEPT if name in fields}
    if "description" in fields:
        found["description"] = fields["description"][:DESCRIPTION]
    return found | {name[1:]: text for name, text in fields.items() if name.startswith("+")}


def _anchors(page: Document, site: Site | None) -> tuple[list[str], list[str]]:
    """Pages that go on with this list (rel=next, or as the rules say), and other pages of the same host."""
    following: list[str] = []
    links: list[str] = []
    for tag in page.tree.iter("a", "link"):
        rel = set(tag.get("rel", "").lower().split())
        if "nofollow" in rel or not (address := address_of(tag.get("href"), page.base)):
            continue
        if not same_host(address, page.url) or _NO_PAGE.search(urlsplit(address).path):
            continue
        if "next" in rel:
            following.append(address)
        elif tag.tag == "a":
            links.append(address)
    if site and site.next_page:
        found = Selector(root=page.tree, type="html").css(site.next_page)
        places = [one.root if isinstance(one.root, str) else one.root.get("href") for one in found]
        following += [full for one in places if (full := address_of(one, page.base)) and same_host(full, page.url)]
    return list(dict.fromkeys(following)), list(dict.fromkeys(links))


def _products_first(links: list[str], site: Site | None) -> list[str]:
    """The addresses, each once, those of products by the rules before the others."""
    unlike = list(dict.fromkeys(links))
    return sorted(unlike, key=lambda link: not site.is_product(link)) if site and site.product_url else unlike
