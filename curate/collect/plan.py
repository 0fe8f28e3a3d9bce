"""What a crawl is to bring, and what a site's rules say to the crawler itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from curate.collect.extract import Page, read_page
from curate.collect.fetch import Manners
from curate.collect.site import Site, site_of


@dataclass(frozen=True)
class SiteRules:
    """The part of a site's rules that steers the crawler; selectors of fields are for whoever reads the page."""

    product_url: str | None = None  # regex found in the addresses of product pages; other links are then left alone
    next_page: str | None = None  # CSS selector of the link to the rest of a list, beside rel=next
    image_rewrite: tuple[tuple[str, str], ...] = ()  # (regex, replacement): a thumbnail's address to the full picture's
    delay: float = 0.0  # seconds between two requests, when more than the crawl's own
    max_pictures: int | None = None  # of one listing; None = all
    connections: int | None = None  # at the same time; None = the crawl's own
    max_pages: int | None = None  # fetched of the site in all, pictures not counted
    max_listings: int | None = None  # of the site
    site: str = ""  # its hosts: what the limits are counted by
    permission: str | None = None  # why we may collect here; goes into LISTINGS

    def wants(self, url: str) -> bool:
        """Whether a link may lead to a product."""
        return self.product_url is None or re.search(self.product_url, url) is not None

    def pictures(self, urls: list[str]) -> list[str]:
        """Addresses of full-size pictures, each once, in order."""
        for pattern, full in self.image_rewrite:
            urls = [re.sub(pattern, full, url) for url in urls]
        return list(dict.fromkeys(urls))


NO_RULES = SiteRules()


def no_rules(url: str) -> SiteRules:
    """Every site is read as it comes."""
    return NO_RULES


def rules_of(own: Sequence[Site]) -> Callable[[str], SiteRules]:
    """What steers the crawler at an address: your own rules before those that come with the tool."""
    known: dict[str, SiteRules] = {}

    def rules(url: str) -> SiteRules:
        host = urlsplit(url).hostname or ""
        if host not in known:
            known[host] = _steering(site_of(url, own))
        return known[host]

    return rules


def _steering(site: Site | None) -> SiteRules:
    if site is None:
        return NO_RULES
    return SiteRules(
        product_url="|".join(f"(?:{pattern})" for pattern in site.product_url) or None,
        next_page=site.next_page,
        image_rewrite=tuple((rewrite.find, rewrite.replace) for rewrite in site.image_rewrite),
        delay=site.limits.delay or 0.0,
        max_pictures=site.limits.max_images,
        connections=site.limits.connections,
        max_pages=site.limits.max_pages,
        max_listings=site.limits.max_listings,
        site=", ".join(site.hosts),
        permission=site.permission,
    )


@dataclass(frozen=True)
class Plan:
    """What to collect, and how far to go."""

    manners: Manners
    max_listings: int | None = None
    depth: int = 2  # links from a start page to a product
    marketplace: str | None = None  # instead of what the pages say
    refresh: bool = False  # look again at what is known, by conditional requests
    max_pictures: int | None = None  # of one listing; None = all
    start: tuple[str, ...] = ()  # where to begin when nothing else is said, by the site's rules
    rules: Callable[[str], SiteRules] = no_rules  # of the site that an address belongs to
    read: Callable[[bytes, str, str | None, str | None], Page] = field(
        default=read_page
    )  # body, url, type, marketplace

    def pace(self, url: str) -> tuple[float, int]:
        """The least seconds between two requests to the host of an address, and how many connections it gets at once."""
        rules = self.rules(url)
        return rules.delay, rules.connections or self.manners.connections

    def pictures_of(self, url: str) -> int | None:
        """How many pictures a listing at an address may have; None = all."""
        most = [one for one in (self.max_pictures, self.rules(url).max_pictures) if one is not None]
        return min(most, default=None)


def starts_of(own: Sequence[Site]) -> tuple[str, ...]:
    """The addresses at which the rules of some sites begin, each once."""
    starts = [site.start for site in own]
    return tuple(dict.fromkeys(url for start in starts for url in (*start.sitemaps, *start.listing_pages, *start.urls)))


@lru_cache(maxsize=64)
def _selector(css: str) -> str:
    """A CSS selector as XPath."""
    from parsel.csstranslator import HTMLTranslator

    return HTMLTranslator().css_to_xpath(css)


def further_pages(body: bytes, url: str, css: str) -> list[str]:
    """Addresses of the links that a selector finds on a page: elements with href, or `::attr(…)`."""
    import lxml.html

    from curate.collect.extract import address_of

    tree = lxml.html.document_fromstring(body or b"<html/>")
    found = tree.xpath(_selector(css))
    places = [one if isinstance(one, str) else one.get("href") for one in found]
    return [address for place in places if (address := address_of(place, url))]
