"""`curate scrape --dry-run`: what robots.txt says and what the first pages would bring. Nothing is written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

from curate.collect.extract import Listing
from curate.collect.fetch import Fetcher, open_session
from curate.collect.frontier import Result, Todo
from curate.collect.plan import Plan
from curate.collect.scrape import check
from curate.collect.sources import start_urls
from curate.collect.visit import visit

LISTINGS = 5  # shown
PAGES = 20  # fetched at most, lists among them
_SHOWN = ("title", "price_raw", "price", "currency", "brand", "category", "country", "language", "source", "permission")


def preview(start: str | None, plan: Plan) -> Iterator[str]:
    """Lines to print: robots.txt of each site, then the fields of the first listings. Raises UserError as `scrape` does."""
    urls = start_urls(start, plan.start)
    check(urls, plan)
    with asyncio.Runner() as runner:
        lines = _preview(urls, plan)
        while (line := runner.run(_following(lines))) is not None:
            yield line


async def _following(lines: AsyncIterator[str]) -> str | None:
    return await anext(lines, None)


async def _preview(urls: list[str], plan: Plan) -> AsyncIterator[str]:
    listings = pages = 0
    todo = deque(Todo(url, "page", 0) for url in urls)
    seen = set(urls)
    async with open_session(plan.manners) as session:
        fetcher = Fetcher(session, plan.manners, asyncio.Event(), plan.pace)
        for site in dict.fromkeys(_site(url) for url in urls[:PAGES]):
            yield await _verdict(fetcher, site, [url for url in urls if _site(url) == site], plan)
        while todo and listings < LISTINGS and pages < PAGES:
            result, _ = await visit(fetcher, todo.popleft(), plan)
            pages += 1
            listings += result.listing is not None
            new = [link for link in result.links if link.url not in seen]
            seen |= {link.url for link in new}
            todo.extend(new)
            yield "\n".join(_told(result))
    yield f"dry run: {pages} pages read, {listings} listings; nothing was written"


def _site(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _verdict(fetcher: Fetcher, site: str, urls: list[str], plan: Plan) -> str:
    """What a site's robots.txt says of the start pages."""
    rules = await fetcher.robots.rules(site + "/")
    reasons = [reason for url in urls if (reason := rules.refuses(url))]
    delay = max(plan.manners.delay, rules.delay, plan.rules(site).delay)
    said = f"{site}/robots.txt: {len(urls) - len(reasons)} of {len(urls)} start pages allowed, {delay:g} s between requests"
    why = f"\n  not allowed: {reasons[0]}" if reasons else ""
    reserved = [url for url in urls if await fetcher.reservations.header(url)]
    if reserved:
        why += f"\n  reserved by tdmrep.json, so not kept: {len(reserved)} of {len(urls)} start pages"
    maps = "".join(f"\n  sitemap: {place}" for place in rules.sitemaps[:5])
    return said + why + maps


def _told(result: Result) -> Iterator[str]:
    yield result.todo.url
    if result.dropped:
        yield f"  not kept: {result.dropped}"
    elif result.listing:
        yield from _fields(result.listing)
    else:
        yield f"  no listing; leads to {len(result.links)} pages"


def _fields(listing: Listing) -> Iterator[str]:
    shown: dict[str, Any] = {"marketplace": listing.marketplace, "listing_id": listing.listing_id}
    shown |= {name: listing.columns.get(name) for name in _SHOWN}
    shown |= listing.columns.get("attributes") or {}
    for name, value in shown.items():
        if value not in (None, ""):
            yield f"  {name:<14} {str(value)[:120]}"
    yield f"  {'pictures':<14} {len(listing.pictures)}" + "".join(f"\n    {url}" for url in listing.pictures)
