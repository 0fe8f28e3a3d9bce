"""What a site lets us fetch: robots.txt as RFC 9309 says, asked for once a host, and opt-outs in headers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from protego import Protego

AGENT = "consenso"  # the name that robots.txt knows us by
LONGEST = 500 * 1024  # bytes of robots.txt that are read, as RFC 9309 asks

_NO_PICTURES = {"noindex", "none", "noimageindex", "noai", "noimageai", "noml"}


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
        return None

    @property
    def delay(self) -> float:
        """Seconds between requests that the site asks for; 0 when it does not."""
        return float(self.parsed.crawl_delay(AGENT) or 0) if self.parsed is not None else 0.0


class Robots:
    """The rules of every site met so far. Each robots.txt is fetched once, however many pages wait for it."""

    def __init__(self, read: Callable[[str], Awaitable[tuple[int, bytes]]]) -> None:
        """`read` fetches an address and returns status and body; it raises OSError when nothing answers."""
        self._read = read
        self._tasks: dict[str, asyncio.Task[Rules]] = {}

    async def rules(self, url: str) -> Rules:
        """The rules of the site that `url` belongs to."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._tasks:
            self._tasks[origin] = asyncio.create_task(self._fetch(origin))
        return await asyncio.shield(
            self._tasks[origin]
        )  # one waiter that is cancelled must not cancel it for the others

    async def _fetch(self, origin: str) -> Rules:
        try:
            status, body = await self._read(f"{origin}/robots.txt")
        except OSError as error:
            return Rules(unreachable=str(error) or type(error).__name__)
        if 400 <= status < 500 and status != 429:
            return Rules()
        if status != 200:
            return Rules(unreachable=f"HTTP {status}")
        return Rules(Protego.parse(body[:LONGEST].decode("utf-8", "replace")))


def opted_out(headers: Iterable[tuple[str, str]]) -> str | None:
    """The words by which a picture's headers say that we should not keep it, or None.

    X-Robots-Tag may name another crawler ("otherbot: noindex"); such a rule is not for us.
    """
    for name, value in headers:
        if name.lower() == "tdm-reservation" and value.strip() == "1":
            return "tdm-reservation: 1"
        if name.lower() != "x-robots-tag":
            continue
        agent = ""
        for part in value.lower().split(","):
            before, colon, after = part.partition(":")
            word = part.strip()
            if colon and before.strip() not in ("unavailable_after", "max-snippet", "max-image-preview"):
                agent, word = before.strip(), after.strip()
            if agent in ("", "*", AGENT) and word in _NO_PICTURES:
                return f"X-Robots-Tag: {word}"
    return None
