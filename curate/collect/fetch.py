"""One address fetched politely: robots.txt first, its turn awaited, redirects checked, size limited, tried again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from curate.collect.addresses import GuardedResolver, PrivateAddress, is_loopback, is_private_host
from curate.collect.pace import Meter, Pace
from curate.collect.reservations import Reservations
from curate.collect.robots import LONGEST, Robots
from schemas import __version__

HOPS = 5
PER_HOST = 2
TRIES = 3
LONGEST_WAIT = 300.0  # seconds a server may make us wait now; longer is left to the next run
LONG_WAIT = 5.0  # seconds; of a longer one a person is told
PAGE_BYTES = 10_000_000
PICTURE_BYTES = 20_000_000
FIRST = 64  # bytes after which an answer is looked at, so that what is not wanted is not read to its end
_REDIRECTS = (301, 302, 303, 307, 308)

Headers = Sequence[tuple[str, str]]
Look = Callable[[Headers, bytes], str | None]  # headers and first bytes of an answer: why it is not wanted, or None
Known = tuple[str | None, str | None]  # ETag and Last-Modified of what we have
PaceOf = Callable[
    [str], tuple[float, int]
]  # of an address: least seconds between two requests to its host, connections


@dataclass(frozen=True)
class Manners:
    """How a crawl behaves."""

    contact: str
    delay: float = 0.5  # seconds between two requests to a host
    _: KW_ONLY
    connections: int = PER_HOST  # to a host at the same time
    bytes_per_second: float | None = None  # of all hosts together; None = as they come
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


class Fetcher:
    """Fetches addresses of many hosts, each by the manners above; `pace_of` says what the rules of a site ask beyond them."""

    def __init__(
        self, session: aiohttp.ClientSession, manners: Manners, stop: asyncio.Event, pace_of: PaceOf | None = None
    ) -> None:
        self._session, self._manners, self._stop = session, manners, stop
        self._pace_of = pace_of or (lambda url: (0.0, manners.connections))
        self._paces: dict[str, Pace] = {}
        self.say: Callable[[str], None] = lambda text: None  # tells a person why nothing seems to happen
        self._meter = Meter(manners.bytes_per_second)
        self.robots = Robots(self._small_file)
        self.reservations = Reservations(self._allowed_file)

    async def get(self, url: str, most_bytes: int, look: Look | None = None, known: Known = (None, None)) -> Answer:
        """The answer at `url` after redirects, tried up to three times. Raises Failed with the reason, or Stopped.

        `look` may refuse it once it has begun. With `known` an answer of status 304 says that what we have still holds.
        Where the site's tdmrep.json reserves the address and the answer says nothing of its own, it bears the header that says so.
        """
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
                    if pace.pause(failure.wait) and failure.wait >= LONG_WAIT:
                        self.say(f"{urlsplit(url).netloc} asks for a pause of {failure.wait:.0f} s ({failure.reason})")
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
            reserved = await self.reservations.header(url)
            await pace.turn()
            async with pace.connections:
                answer = await self._once(url, most_bytes, look, known, reserved)
            if answer.status not in _REDIRECTS:
                return answer
            target = answer.header("location")
            if not target:
                raise Failed("a redirect to nowhere", answer.status)
            try:
                url = urljoin(url, target)
                urlsplit(url)
            except ValueError as error:
                raise Failed("a redirect to what is no address", answer.status) from error
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
        host = parts.netloc.lower()
        if host not in self._paces:
            # a delay of 0 is for this machine only, wherever a page may lead
            delay = self._manners.delay if is_loopback(parts.hostname) else self._manners.delay or 0.5
            asked, connections = self._pace_of(url)
            self._paces[host] = Pace(max(delay, asked), self._stop, connections)
        return self._paces[host]

    async def _once(self, url: str, most_bytes: int, look: Look | None, known: Known, reserved: Headers) -> Answer:
        """One request. Raises Failed for everything but 200, 304 when it was asked for, and redirects."""
        asked = {
            name: value for name, value in zip(("If-None-Match", "If-Modified-Since"), known, strict=True) if value
        }
        try:
            async with self._session.get(URL(url, encoded=True), headers=asked, allow_redirects=False) as response:
                headers = list(response.headers.items())
                headers += () if "TDM-Reservation" in response.headers else reserved
                if response.status in _REDIRECTS or (response.status == 304 and asked):
                    return Answer(url, response.status, headers, b"")
                if response.status != 200:
                    raise _refusal(response.status, response.headers.get("Retry-After"))
                body = await self._read(response, most_bytes, headers, look)
                return Answer(url, response.status, headers, body)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Failed(_short(error), again=not _is_final(error)) from error

    async def _read(
        self, response: aiohttp.ClientResponse, most_bytes: int, headers: Headers, look: Look | None
    ) -> bytes:
        """The body, streamed; Failed as soon as it is too large or not what was looked for."""
        too_large = Failed(f"larger than {most_bytes / 1e6:g} MB", response.status)
        if (response.content_length or 0) > most_bytes:
            raise too_large
        parts: list[bytes] = []
        size, seen = 0, look is None
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            await self._meter.used(len(part))
            if size > most_bytes:
                raise too_large
            if not seen and size >= FIRST:
                parts, seen = [_looked_at(b"".join(parts), response, headers, look)], True
        body = b"".join(parts)
        return body if seen else _looked_at(body, response, headers, look)

    async def _allowed_file(self, url: str) -> tuple[int, bytes]:
        """As _small_file, where robots.txt allows it; else it counts as not there."""
        return (404, b"") if (await self.robots.rules(url)).refuses(url) else await self._small_file(url)

    async def _small_file(self, url: str) -> tuple[int, bytes]:
        """Status and body of a robots.txt or the like; OSError when it is not to be had after two tries."""
        problem: Exception = OSError("no answer")
        for attempt in range(2):
            try:
                async with asyncio.timeout(
                    self._manners.timeout
                ):  # of the whole, or one that drips would hold its site
                    return await self._small_file_once(url)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                problem = error
                if _is_final(error):
                    break
                await asyncio.sleep(self._manners.backoff * (attempt == 0))
        raise OSError(_short(problem))

    async def _small_file_once(self, url: str) -> tuple[int, bytes]:
        for _ in range(HOPS + 1):
            if not self._manners.allow_private and is_private_host(urlsplit(url).hostname):
                raise PrivateAddress(f"{urlsplit(url).hostname} is a private address")
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


def _looked_at(begun: bytes, response: aiohttp.ClientResponse, headers: Headers, look: Look | None) -> bytes:
    if look and (reason := look(headers, begun[: max(FIRST, 512)])):
        raise Failed(reason, response.status)
    return begun


def _is_final(error: Exception) -> bool:
    """True when another try cannot help: a private address, or no address at all."""
    cause = getattr(error, "os_error", error)
    return isinstance(cause, PrivateAddress) or isinstance(error, ValueError)


def _short(error: Exception) -> str:
    """What went wrong between us and a server, in a few words."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, PrivateAddress):
        return f"{cause}; --allow-private allows it"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "cut off on the way"
    if isinstance(error, aiohttp.ClientResponseError):
        return "an answer that is no HTTP"
    text = (getattr(cause, "strerror", None) or str(cause) or type(cause).__name__).splitlines()[0][:160]
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {text}"
    return f"not an address: {text}" if isinstance(error, ValueError) else text


def open_session(manners: Manners, names: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """A session with our name on it, without cookies, names checked as they are resolved. Fetcher counts the connections.

    `names` resolves them, instead of the system.
    """
    resolver = (names or ThreadedResolver()) if manners.allow_private else GuardedResolver(names)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
        headers={"User-Agent": manners.user_agent, "Accept": "text/html,image/*;q=0.9,*/*;q=0.5"},
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=3600 if manners.bytes_per_second else 300, sock_connect=manners.timeout, sock_read=manners.timeout
        ),
    )
