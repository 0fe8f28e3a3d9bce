"""How quickly a crawl goes: the turns of one host, and the bytes of all hosts together."""

from __future__ import annotations

import asyncio
import re

from schemas.errors import UserError

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)i?b?(?:/s)?", re.I)
SLOWEST = 10_000  # bytes a second; with less a large picture takes longer than its server waits


class Stopped(Exception):
    """A person asked to stop while this address waited for its turn."""


class Pace:
    """The turns of one host: requests start at least `delay` apart, and all wait when the host says so.

    `connections` is held while an answer is read, so that no more come at once, from wherever the host is reached.
    """

    def __init__(self, delay: float, stop: asyncio.Event, connections: int = 1) -> None:
        self.delay = delay
        self.connections = asyncio.Semaphore(connections)
        self._stop = stop
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait until a request may start; raises Stopped when a person asks to stop meanwhile."""
        clock = asyncio.get_running_loop().time
        async with self._queue:
            while (left := self._next - clock()) > 0:  # again: the host may have asked for a pause meanwhile
                await self.sleep(left)
            self._next = clock() + self.delay

    def slow_down(self, delay: float) -> None:
        """Keep at least so many seconds between two requests."""
        self.delay = max(self.delay, delay)

    def pause(self, seconds: float) -> bool:
        """Let nothing start for a while; returns whether that is over a second more than was known."""
        until = asyncio.get_running_loop().time() + seconds
        longer = until > self._next + 1
        self._next = max(self._next, until)
        return longer

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless a person asks to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped


class Meter:
    """Keeps all answers together under so many bytes a second; None = as they come."""

    def __init__(self, bytes_per_second: float | None) -> None:
        self._rate, self._free = bytes_per_second, 0.0

    async def used(self, count: int) -> None:
        """Say that so many bytes came; waits until the next may."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now) + count / self._rate
        await asyncio.sleep(self._free - now)


def rate_of(text: str) -> float:
    """Bytes a second from "5MB/s", "800 kB/s", "200000". Raises UserError for what is no speed, and for less than 10 KB/s."""
    found = _RATE.fullmatch(text.strip())
    rate = float(found[1]) * 1000 ** " kmg".index(found[2].lower() or " ") if found else 0.0
    if rate < SLOWEST:
        raise UserError(f"--rate-limit {text[:40]!r} must be a speed of 10KB/s or more, such as 5MB/s")
    return rate
