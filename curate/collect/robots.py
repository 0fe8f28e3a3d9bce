"""What a site lets us fetch and keep: robots.txt as RFC 9309 says, asked for once a host, and opt-outs in headers and pages."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from protego import Protego

AGENT = "consenso"  # the name that robots.txt knows us by
LONGEST = 500 * 1024  # bytes of robots.txt that are read, as RFC 9309 asks
FRESH = 24 * 3600  # seconds after which robots.txt is asked for again (RFC 9309, section 2.4)
LONGEST_DELAY = 300.0  # seconds between two requests; a site that asks for more is left alone

_NO_PICTURES = {"noindex", "none", "noimageindex", "noai", "noimageai", "noml"}
_MAY_SAY = re.compile(rb"no(ne|index|follow|ai|imageai|imageindex|ml)|tdm-reservation")


@dataclass(frozen=True)
class Rules:
    """What one site allows; `unreachable` says why nobody knows, and then nothing is allowed."""

    parsed: Any = None
    unreachable: str | None = None

    def refuses(self, url: str) -> str | None:
        """Why a page may not be fetched, or None."""
        if self.unreachable:
            return f"robots.txt could not be read ({self.unreachable}), so nothing is allowed"
        if self.parsed is not None and not self.parsed.can_fetch(url, AGENT):
            return "forbidden by robots.txt"
        if self.delay > LONGEST_DELAY:
            return f"robots.txt asks for {self.delay:g} s between two requests, more than {LONGEST_DELAY:g}"
        return None

    @property
    def delay(self) -> float:
        """Seconds between requests that the site asks for, by Crawl-delay or Request-rate; 0 when it does not."""
        if self.parsed is None:
            return 0.0
        rate = self.parsed.request_rate(AGENT)
        return max(float(self.parsed.crawl_delay(AGENT) or 0), rate.seconds / rate.requests if rate else 0.0)

    @property
    def sitemaps(self) -> list[str]:
        """Sitemaps that the site names."""
        return list(self.parsed.sitemaps) if self.parsed is not None else []


Read = Callable[[str], Awaitable[tuple[int, bytes]]]  # an address to status and body; OSError when nothing answers


T = TypeVar("T")


class OncePerSite(Generic[T]):
    """What a file of each site says: asked for once a day, however many wait for it."""

    def __init__(self, fetch: Callable[[str], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._tasks: dict[str, tuple[float, asyncio.Task[T]]] = {}

    async def of(self, url: str) -> T:
        """What the site that `url` belongs to says; it is asked by its origin, https://host."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        asked_at, task = self._tasks.get(origin, (0.0, None))
        if task is None or self._clock() - asked_at > FRESH:
            task = asyncio.ensure_future(self._fetch(origin))
            self._tasks[origin] = (self._clock(), task)
        if task.done():
            return task.result()
        return await asyncio.shield(task)  # one waiter that is cancelled must not cancel it for the others


class Robots:
    """The rules of every site met so far."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._sites = OncePerSite(self._fetch, clock)

    async def rules(self, url: str) -> Rules:
        """The rules of the site that `url` belongs to."""
        return await self._sites.of(url)

    async def _fetch(self, origin: str) -> Rules:
        try:
            status, body = await self._read(f"{origin}/robots.txt")
        except OSError as error:
            return Rules(unreachable=str(error) or type(error).__name__)
        if 400 <= status < 500 and status != 429:
            return Rules()
        if status != 200:
            return Rules(unreachable=f"HTTP {status}")
        return Rules(Protego.parse(_whole_lines(body).decode("utf-8-sig", "replace")))


def _whole_lines(body: bytes) -> bytes:
    """The first LONGEST bytes of robots.txt without a line that is cut: half a rule may say the contrary."""
    if len(body) < LONGEST:
        return body
    return body[:LONGEST].rpartition(b"\n")[0]


@dataclass(frozen=True)
class Wishes:
    """What the owner of a page asks of those who read it."""

    refused: str | None = None  # the words by which it may not be kept
    nofollow: bool = False  # its links are not to be followed


def wishes(headers: Iterable[tuple[str, str]], body: bytes) -> Wishes:
    """What a page asks for by X-Robots-Tag, TDM-Reservation, and its meta tags of the names robots, consenso, tdm-reservation."""
    headers = list(headers)
    said = [("X-Robots-Tag", word) for word in _words(headers)]
    # A page is parsed for it only where there may be something to read; this search takes a hundredth of the time.
    if b"\x00" in body[:64] or any(_MAY_SAY.search(tag) for tag in _meta_tags(body.lower())):
        metas = _metas(body)
        if metas.get("tdm-reservation") == "1":
            return Wishes("meta tdm-reservation: 1", False)
        for name in ("robots", AGENT):
            said += [(f"meta {name}", word.strip()) for word in metas.get(name, "").split(",")]
    refused = next((f"{where}: {word}" for where, word in said if word in _NO_PICTURES), None)
    nofollow = any(word in ("nofollow", "none") for _, word in said)
    return Wishes(opted_out(headers) or refused, nofollow)


def _meta_tags(body: bytes) -> Iterator[bytes]:
    """What stands between `<meta` and `>`, in a page in lower case."""
    begin = body.find(b"<meta")  # a regular expression takes five times as long to find them
    while begin >= 0:
        end = body.find(b">", begin)
        yield body[begin : end if end >= 0 else None]
        begin = body.find(b"<meta", end) if end >= 0 else -1


def _metas(body: bytes) -> dict[str, str]:
    """Meta tags of a page by name, in lower case; of several with one name, all their words."""
    import lxml.etree
    import lxml.html
    from w3lib.encoding import html_to_unicode

    try:
        tree = lxml.html.document_fromstring(html_to_unicode(None, body)[1].encode("utf-8", "replace"))
    except (lxml.etree.LxmlError, ValueError):
        return {}
    found: dict[str, str] = {}
    for tag in tree.iter("meta"):
        name = (tag.get("name") or tag.get("property") or "").strip().lower()
        content = (tag.get("content") or "").strip().lower()
        found[name] = f"{found[name]},{content}" if name in found else content
    return found


def opted_out(headers: Iterable[tuple[str, str]]) -> str | None:
    """The words by which a picture's headers say that we should not keep it, or None."""
    headers = list(headers)
    for name, value in headers:
        if name.lower() == "tdm-reservation" and value.split()[:1] == ["1"]:
            return f"tdm-reservation: {value.strip()}"
    return next((f"X-Robots-Tag: {word}" for word in _words(headers) if word in _NO_PICTURES), None)


def _words(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """The words of X-Robots-Tag that are for us; a header may name another crawler ("otherbot: noindex")."""
    for name, value in headers:
        if name.lower() != "x-robots-tag":
            continue
        agent = ""
        for part in value.lower().split(","):
            before, colon, after = part.partition(":")
            word = part.strip()
            if colon and before.strip() not in ("unavailable_after", "max-snippet", "max-image-preview"):
                agent, word = before.strip(), after.strip()
            if agent in ("", "*", AGENT):
                yield word
