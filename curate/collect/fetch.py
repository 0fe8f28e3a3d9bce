"""One address fetched politely: robots.txt first, its turn awaited, redirects checked, size limited, tried again."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from curate.collect.robots import LONGEST, Robots
from schemas import __version__

HOPS = 5
PER_HOST = 2
TRIES = 3
LONGEST_WAIT = 300.0  # seconds a server may make us wait now; longer is left to the next run
PAGE_BYTES = 10_000_000
PICTURE_BYTES = 20_000_000
FIRST = 64  # bytes after which an answer is looked at, so that what is not wanted is not read to its end
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REDIRECTS = (301, 302, 303, 307, 308)

Headers = Sequence[tuple[str, str]]
Look = Callable[[Headers, bytes], str | None]  # headers and first bytes of an answer: why it is not wanted, or None
Known = tuple[str | None, str | None]  # ETag and Last-Modified of what we have


@dataclass(frozen=True)
class Manners:
    """How a crawl behaves."""

    contact: str
    delay: float = 0.5  # seconds between two requests to a host
    allow_private: bool = False
    backoff: float = 1.0  # seconds before the second try; doubles
    timeout: float = 30.0  # seconds without a byte

    @property
    def user_agent(self) -> str:
        """Who we are and whom to write to."""
        return f"consenso/{__version__} (+{self.contact})"


@dataclass(frozen=True)
class Answer:
    """A good answer, whole."""

    url: str  # after redirects
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    tries: int = 1

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name), None)


class Failed(Exception):
    """An address that could not be had, and why. `again`: worth another try now; `later`: worth one in a later run."""

    def __init__(
        self,
        reason: str,
        status: int | None = None,
        again: bool = False,
        wait: float | None = None,
        later: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason, self.status, self.again, self.wait, self.later = reason, status, again, wait, again or later
        self.tries = 1


class Stopped(Exception):
    """A person asked to stop while this address waited for its turn."""


class _PrivateAddress(OSError):
    pass


def is_private(address: str) -> bool:
    """True when an IP address is not of the public internet: this machine, a local network, a cloud's metadata."""
    ip = ipaddress.ip_address(address.split("%")[0])
    inner = _inner(ip) if isinstance(ip, ipaddress.IPv6Address) else None
    return not (inner or ip).is_global or ip.is_multicast


def _inner(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for: mapped, 6to4, or NAT64."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def is_loopback(host: str | None) -> bool:
    """True for this machine's own names and addresses."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_private_host(host: str | None) -> bool:
    """True when the host of an address says without asking anyone that it is private."""
    try:
        return host == "localhost" or is_private(host or "")
    except ValueError:
        return False


class _GuardedResolver(AbstractResolver):
    """Resolves names, and refuses those that lead into a private network.

    What it returns is what is connected to: a name that answers otherwise a moment later gains nothing.
    """

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._names = inner or ThreadedResolver()

    async def close(self) -> None:
        """Let go of what the inner resolver holds."""
        await self._names.close()

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> Any:
        found = await self._names.resolve(host, port, family)
        if private := next((entry["host"] for entry in found if is_private(entry["host"])), None):
            raise _PrivateAddress(f"{host} is the private address {private}")
        return found


class Pace:
    """The turns of one host: requests start at least `delay` apart, and all wait when the host says so."""

    def __init__(self, delay: float, stop: asyncio.Event) -> None:
        self.delay = delay
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

    def pause(self, seconds: float) -> None:
        """Let nothing start for a while."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)

    async def sleep(self, seconds: float) -> None:
        """Sleep, unless a person asks to stop."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped


class Fetcher:
    """Fetches addresses of many hosts, each by the manners above."""

    def __init__(self, session: aiohttp.ClientSession, manners: Manners, stop: asyncio.Event) -> None:
        self._session, self._manners, self._stop = session, manners, stop
        self._paces: dict[str, Pace] = {}
        self.robots = Robots(self._robots_txt)

    async def get(
        self, url: str, most_bytes: int, look: Look | None = None, known: Known = (None, None), delay: float = 0.0
    ) -> Answer:
        """The answer at `url` after redirects, tried up to three times. Raises Failed with the reason, or Stopped.

        `look` may refuse it once it has begun. With `known` an answer of status 304 says that what we have still holds.
        `delay` is the least time in seconds between two requests to the host, when more than ours.
        """
        self._pace(url).slow_down(delay)
        for attempt in range(1, TRIES + 1):
            try:
                answer = await self._follow(url, most_bytes, look, known)
                return Answer(answer.url, answer.status, answer.headers, answer.body, attempt)
            except Failed as failure:
                failure.tries = attempt
                if not failure.again or attempt == TRIES or (failure.wait or 0) > LONGEST_WAIT:
                    raise
                pace = self._pace(url)
                if failure.wait is not None:
                    pace.pause(failure.wait)
                else:
                    await pace.sleep(self._manners.backoff * 2 ** (attempt - 1) * random.uniform(0.75, 1.25))
        raise AssertionError("the last try raises or returns")

    async def _follow(self, url: str, most_bytes: int, look: Look | None, known: Known) -> Answer:
        for _ in range(HOPS + 1):
            self._guard(url)
            rules = await self.robots.rules(url)
            if reason := rules.refuses(url):
                raise Failed(reason, later=rules.unreachable is not None)
            pace = self._pace(url)
            pace.slow_down(rules.delay)
            await pace.turn()
            answer = await self._once(url, most_bytes, look, known)
            if answer.status not in _REDIRECTS:
                return answer
            target = answer.header("location")
            if not target:
                raise Failed("a redirect to nowhere", answer.status)
            url = urljoin(url, target)
        raise Failed(f"more than {HOPS} redirects")

    def _guard(self, url: str) -> None:
        """Refuse an address that is private as written; names are checked when they are resolved."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise Failed(f"redirected to {parts.scheme or 'nothing'}:, which is not the web")
        if not self._manners.allow_private and is_private_host(parts.hostname):
            raise Failed(f"{parts.hostname} is a private address; --allow-private allows it")

    def _pace(self, url: str) -> Pace:
        parts = urlsplit(url)
        if parts.netloc not in self._paces:
            # a delay of 0 is for this machine only, wherever a page may lead
            delay = self._manners.delay if is_loopback(parts.hostname) else self._manners.delay or 0.5
            self._paces[parts.netloc] = Pace(delay, self._stop)
        return self._paces[parts.netloc]

    async def _once(self, url: str, most_bytes: int, look: Look | None, known: Known) -> Answer:
        """One request. Raises Failed for everything but 200, 304 when it was asked for, and redirects."""
        asked = {
            name: value for name, value in zip(("If-None-Match", "If-Modified-Since"), known, strict=True) if value
        }
        try:
            async with self._session.get(URL(url, encoded=True), headers=asked, allow_redirects=False) as response:
                headers = list(response.headers.items())
                if response.status in _REDIRECTS or (response.status == 304 and asked):
                    return Answer(url, response.status, headers, b"")
                if response.status != 200:
                    raise _refusal(response.status, response.headers.get("Retry-After"))
                body = await _read(response, most_bytes, headers, look)
                return Answer(url, response.status, headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Failed(_short(error), again=not _is_final(error)) from error

    async def _robots_txt(self, url: str) -> tuple[int, bytes]:
        """Status and body of a robots.txt; OSError when it is not to be had after two tries."""
        problem: Exception = OSError("no answer")
        for attempt in range(2):
            try:
                async with asyncio.timeout(
                    self._manners.timeout
                ):  # of the whole, or one that drips would hold its site
                    return await self._robots_once(url)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                problem = error
                if _is_final(error):
                    break
                await asyncio.sleep(self._manners.backoff * (attempt == 0))
        raise OSError(_short(problem))

    async def _robots_once(self, url: str) -> tuple[int, bytes]:
        for _ in range(HOPS + 1):
            if not self._manners.allow_private and is_private_host(urlsplit(url).hostname):
                raise _PrivateAddress(f"{urlsplit(url).hostname} is a private address")
            await self._pace(url).turn()
            async with self._session.get(URL(url, encoded=True), allow_redirects=False) as response:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    body = await response.content.read(LONGEST) if response.status == 200 else b""
                    while len(body) < LONGEST and (more := await response.content.read(LONGEST - len(body))):
                        body += more
                    return response.status, body
                url = urljoin(url, response.headers["Location"])
        return 404, b""  # RFC 9309: after five redirects a robots.txt counts as not there


def _refusal(status: int, retry_after: str | None) -> Failed:
    """What an HTTP status means: gone for good, or worth another try after the time the server names."""
    again = status in (408, 425, 429) or status >= 500
    wait = _seconds(retry_after) if status in (429, 503) else None
    asked = f", asked to come back in {wait:.0f} s" if wait is not None and wait > LONGEST_WAIT else ""
    return Failed(f"HTTP {status}{asked}", status, again, wait)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds from now; it is written as seconds or as a date."""
    if not retry_after:
        return None
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        date = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


async def _read(response: aiohttp.ClientResponse, most_bytes: int, headers: Headers, look: Look | None) -> bytes:
    """The body, streamed; Failed as soon as it is too large or not what was looked for."""
    too_large = Failed(f"larger than {most_bytes / 1e6:g} MB", response.status)
    if (response.content_length or 0) > most_bytes:
        raise too_large
    parts: list[bytes] = []
    size, seen = 0, look is None
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > most_bytes:
            raise too_large
        if not seen and size >= FIRST:
            parts, seen = [_looked_at(b"".join(parts), response, headers, look)], True
    body = b"".join(parts)
    return body if seen else _looked_at(body, response, headers, look)


def _looked_at(begun: bytes, response: aiohttp.ClientResponse, headers: Headers, look: Look | None) -> bytes:
    if look and (reason := look(headers, begun[: max(FIRST, 512)])):
        raise Failed(reason, response.status)
    return begun


def _is_final(error: Exception) -> bool:
    """True when another try cannot help: a private address, or no address at all."""
    cause = getattr(error, "os_error", error)
    return isinstance(cause, _PrivateAddress) or isinstance(error, ValueError)


def _short(error: Exception) -> str:
    """What went wrong between us and a server, in a few words."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, _PrivateAddress):
        return f"{cause}; --allow-private allows it"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "cut off on the way"
    text = (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).splitlines()[0][:160]
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {text}"
    return f"not an address: {text}" if isinstance(error, ValueError) else text


def open_session(manners: Manners, names: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """A session with our name on it, without cookies, two connections a host, names checked as they are resolved.

    `names` resolves them, instead of the system.
    """
    resolver = (names or ThreadedResolver()) if manners.allow_private else _GuardedResolver(names)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=PER_HOST, resolver=resolver),
        headers={"User-Agent": manners.user_agent, "Accept": "text/html,image/*;q=0.9,*/*;q=0.5"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=300, sock_connect=manners.timeout, sock_read=manners.timeout),
    )
