"""One address fetched, and what came of it: a listing, links, a picture's bytes, or why there is nothing."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace

from curate.collect.blobs import kind_of
from curate.collect.extract import Listing, Page
from curate.collect.fetch import PAGE_BYTES, PICTURE_BYTES, Answer, Failed, Fetcher, Headers
from curate.collect.frontier import Result, Todo
from curate.collect.pixels import too_many_pixels
from curate.collect.plan import Plan, further_pages
from curate.collect.robots import opted_out, wishes
from curate.collect.sources import LIST_BYTES, Listed, SourceError, is_list, read_list

LARGE_PAGE = 200_000  # bytes above which a page is read in a thread
NOT_A_PAGE = "not a page"
_NO_PAGE = re.compile(r"(image|video|audio|font)/|application/(pdf|zip|octet-stream|msword|vnd\.)")


async def visit(fetcher: Fetcher, todo: Todo, plan: Plan) -> tuple[Result, bytes | None]:
    """What came of an address, and the bytes of a picture. Raises Stopped when a person asks to stop meanwhile."""
    try:
        known = (todo.etag, todo.last_modified)
        if todo.kind == "picture":
            answer = await fetcher.get(todo.url, PICTURE_BYTES, _no_picture, known)
            return _picture(todo, answer)
        most = LIST_BYTES if is_list(todo.url) else PAGE_BYTES
        answer = await fetcher.get(todo.url, most, _no_page, known)
        return await _page(todo, answer, plan), None
    except Failed as failure:
        if todo.kind == "page" and todo.depth > 0 and failure.reason.startswith(NOT_A_PAGE):
            return Result(todo, status=failure.status, tries=failure.tries), None  # a link to a film is no failure
        gone = todo.stale and todo.kind != "page" and failure.status in (404, 410)
        reason = f"gone: {failure.reason}" if gone else failure.reason
        return Result(todo, reason, failure.later, failure.status, failure.tries), None


async def _page(todo: Todo, answer: Answer, plan: Plan) -> Result:
    seen = Result(todo, status=answer.status, tries=answer.tries, final_url=answer.url, etag=answer.header("etag"),
                  last_modified=answer.header("last-modified"))  # fmt: skip
    if answer.status == 304:
        return _unchanged(seen, answer)
    kind = answer.header("content-type") or ""
    try:
        listed = read_list(answer.body, answer.url, kind if todo.depth == 0 else "")
    except SourceError as error:
        return replace(seen, dropped=str(error))
    if listed is not None:
        return _listed(listed, seen, plan)
    given = (answer.body, answer.url, kind, plan.marketplace)
    large = len(answer.body) > LARGE_PAGE
    try:
        page = await asyncio.to_thread(plan.read, *given) if large else plan.read(*given)
    except Exception as error:  # a mistake of ours, on one page: the others come in, and the next version tries again
        return replace(seen, dropped=f"our reader failed ({type(error).__name__}: {error})"[:300], later=True)
    wish = wishes(answer.headers, answer.body)
    if page.listing:
        if wish.refused:
            return replace(seen, dropped=f"opted out ({wish.refused})")
        most = plan.pictures_of(todo.url)
        return replace(seen, listing=_as_ruled(page, todo.url, plan), most_pictures=most)
    links = [] if wish.nofollow else _links(page, answer, todo.depth, plan)
    return replace(seen, links=links, dropped=_why_nothing(todo, page, links, wish.nofollow))


def _unchanged(seen: Result, answer: Answer) -> Result:
    """What has not changed may not be wanted any more all the same."""
    word = opted_out(answer.headers) if seen.todo.kind != "page" else None
    return replace(seen, dropped=f"opted out ({word})" if word else None)


def _listed(listed: Listed, seen: Result, plan: Plan) -> Result:
    """What a sitemap or feed leads to. Its pages are products or nothing: their own links are not followed."""
    depth = seen.todo.depth
    pages = [url for url in listed.pages if plan.rules(url).wants(url)]
    links = [Todo(url, "page", depth) for url in listed.lists] + [
        Todo(url, "page", max(depth + 1, plan.depth)) for url in pages
    ]
    return replace(seen, links=links, dropped=None if links or depth else "a list without addresses")


def _as_ruled(page: Page, url: str, plan: Plan) -> Listing:
    """The listing of a page with what the site's rules say of its pictures and of our permission."""
    rules = plan.rules(url)
    listing = page.listing
    assert listing is not None
    columns = {**listing.columns, "permission": rules.permission} if rules.permission else listing.columns
    return replace(listing, columns=columns, pictures=rules.pictures(listing.pictures)[: plan.pictures_of(url)])


def _why_nothing(todo: Todo, page: Page, links: Sequence[Todo], nofollow: bool) -> str | None:
    """Why a start page, or one that was a product, brings nothing; other pages may."""
    if todo.kind == "product":
        return "gone: its page shows no product any more"
    if todo.depth > 0 or links:
        return None
    if nofollow:
        return "asks that its links are not followed (robots: nofollow)"
    broken = f" ({page.broken_blocks} JSON-LD blocks are broken)" if page.broken_blocks else ""
    return f"neither a product nor links to one{broken}"


def _links(page: Page, answer: Answer, depth: int, plan: Plan) -> list[Todo]:
    """What a page leads to: the rest of its list at the same depth, other pages one deeper, as far as the plan goes."""
    css = plan.rules(answer.url).next_page
    following = [*page.next_pages, *(further_pages(answer.body, answer.url, css) if css else ())]
    more = [Todo(url, "page", depth) for url in dict.fromkeys(following)]
    return more + [
        Todo(url, "page", depth + 1) for url in page.links if depth < plan.depth and plan.rules(url).wants(url)
    ]


def _no_page(headers: Headers, first: bytes) -> str | None:
    """Why an answer that has just begun is no page."""
    kind = next((value for name, value in headers if name.lower() == "content-type"), "").lower()
    if first[:2] == b"\x1f\x8b" or not _NO_PAGE.match(kind) or first.lstrip()[:1] == b"<":
        return None
    return f"{NOT_A_PAGE} ({kind.split(';')[0]})"


def _no_picture(headers: Headers, first: bytes) -> str | None:
    """Why an answer that has just begun is no picture that we may keep."""
    if word := opted_out(headers):
        return f"opted out ({word})"
    if kind_of(first) is None:
        said = next((value for name, value in headers if name.lower() == "content-type"), "no Content-Type")
        return f"not a picture ({said}, begins with {first[:16]!r})"
    return None


def _picture(todo: Todo, answer: Answer) -> tuple[Result, bytes | None]:
    """A picture's answer: its bytes as they came, unless they promise too many pixels."""
    seen = Result(todo, status=answer.status, tries=answer.tries, final_url=answer.url, etag=answer.header("etag"),
                  last_modified=answer.header("last-modified"))  # fmt: skip
    if answer.status == 304:
        return _unchanged(seen, answer), None
    if reason := too_many_pixels(answer.body):
        return replace(seen, dropped=reason), None
    return seen, answer.body
