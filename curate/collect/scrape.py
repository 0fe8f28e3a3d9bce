"""A crawl: from start pages to listings, and from listings to all of their pictures, politely and without loss."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.collect.blobs import kind_of, put, sweep
from curate.collect.extract import Page, address_of, read_page
from curate.collect.fetch import (
    PAGE_BYTES,
    PER_HOST,
    PICTURE_BYTES,
    Answer,
    Failed,
    Fetcher,
    Manners,
    Stopped,
    is_loopback,
    is_private_host,
    open_session,
)
from curate.collect.frontier import Frontier, Result, Todo, host_of
from curate.collect.robots import opted_out
from curate.workspace import Workspace
from schemas.errors import Interrupted, Partial, UserError
from schemas.progress import progress

BATCH = 64  # results that one transaction takes at most
LARGE_PAGE = 200_000  # bytes above which a page is read in a thread


@dataclass(frozen=True)
class Plan:
    """What to collect, and how far to go."""

    manners: Manners
    max_listings: int | None = None
    depth: int = 2  # links from a start page to a product
    marketplace: str | None = None  # instead of what the pages say
    refresh: bool = False


@dataclass(frozen=True)
class Crawled:
    """What the crawl has brought so far."""

    listings: int
    pictures: int
    failures: int
    reasons: Counter[str]  # of the failures that a person should know of
    waiting: int  # addresses not fetched yet
    stopped: bool


def scrape(workspace: Workspace, start: str, plan: Plan) -> Crawled:
    """Collect from a URL or a file of URLs, one a line, then write the tables. Run again it goes on where it was.

    Raises UserError for what cannot start.
    """
    urls = start_urls(start)
    _check(urls, plan)
    sweep(workspace.root)
    with contextlib.closing(workspace.project()) as reader, contextlib.closing(workspace.project()) as writer:
        frontier = Frontier(reader, writer, plan.max_listings)
        frontier.start(urls, plan.refresh)
        try:
            stopped = asyncio.run(_Crawl(workspace.root, frontier, plan).run())
        except (OSError, sqlite3.OperationalError) as error:  # of the disk: what the net does is a Failed address
            raise UserError(
                f"{workspace.root}: cannot be written ({error}); run the same command again to go on"
            ) from error
        from curate.collect.export import export  # pandas would more than double what the crawl itself takes of memory

        written = export(workspace, reader)
        rows = reader.execute("SELECT dropped FROM frontier WHERE state = 'failed' AND NOT (kind = 'page' AND depth > 0"
                              " AND dropped = 'forbidden by robots.txt')")  # fmt: skip
        reasons = Counter(_kind_of_reason(row["dropped"]) for row in rows)
        waiting = sum(count for (_, state), count in frontier.counts().items() if state == "pending")
    return Crawled(**written, reasons=reasons, waiting=waiting, stopped=stopped)


def finish(done: Crawled) -> str:
    """What a crawl brought, in one line. Raises Interrupted when it was stopped, Partial when something failed."""
    said = f"{done.listings} listings, {done.pictures} pictures"
    if done.stopped:
        raise Interrupted(f"stopped with {said}; {done.waiting} addresses wait. Run the same command again to go on")
    waiting = f"; {done.waiting} pages wait beyond the limit" if done.waiting else ""
    if done.reasons:
        reasons = ", ".join(f"{count} {reason}" for reason, count in done.reasons.most_common())
        raise Partial(f"{said}{waiting}; {sum(done.reasons.values())} failed: {reasons}. See failures.parquet")
    skipped = f"; {done.failures} pages left alone, forbidden by robots.txt" if done.failures else ""
    return said + waiting + skipped


def _kind_of_reason(dropped: str) -> str:
    """A reason without what differs from one address to the next."""
    return re.split(r" \(|, asked|; ", dropped)[0][:80]


def start_urls(start: str) -> list[str]:
    """The addresses to begin with, from one URL or a file with one a line (# begins a comment)."""
    if start.lower().startswith(("http://", "https://")):
        lines, where = [start], "URL"
    else:
        path = Path(start)
        if not path.is_file():
            raise UserError(f"{start}: neither a URL (http://… or https://…) nor a file of URLs")
        try:
            lines, where = path.read_text(encoding="utf-8").splitlines(), str(path)
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: is not a text file of URLs, one a line ({error.reason})") from error
    urls = []
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            if not (url := address_of(line, "")):
                raise UserError(f"{where}, line {number}: {line[:80]!r} is not an address (http://… or https://…)")
            urls.append(url)
    if not urls:
        raise UserError(f"{where}: holds no URL")
    return list(dict.fromkeys(urls))


def _check(urls: list[str], plan: Plan) -> None:
    manners = plan.manners
    if not manners.contact.strip():
        raise UserError(
            "the crawler says to every site whom to write to: set `contact` in workspace.yaml, or say --contact"
        )
    if manners.delay < 0:
        raise UserError(f"--delay must be 0 or more seconds, got {manners.delay:g}")
    for url in urls:
        host = urlsplit(url).hostname
        if manners.delay == 0 and not is_loopback(host):
            raise UserError(f"--delay 0 is for this machine only; {host} gets at least a little time, 0.5 is usual")
        if is_private_host(host) and not manners.allow_private:
            raise UserError(f"{url}: is a private address; say --allow-private when that is what you want")


class _Crawl:
    """One run: up to two workers a host, one writer for all."""

    def __init__(self, root: Path, frontier: Frontier, plan: Plan) -> None:
        self.root, self.frontier, self.plan = root, frontier, plan
        self.stop = asyncio.Event()
        self.counted = 0.0
        self.taken: dict[str, set[str]] = {}
        self.workers: dict[asyncio.Task[None], str] = {}
        self.done: asyncio.Queue[tuple[Result, bytes | None, asyncio.Future[None]]] = asyncio.Queue()

    async def run(self) -> bool:
        """Crawl until nothing is left or a person stops it; returns whether it was stopped."""
        with _on_signals(self.stop), progress(None, "addresses") as bar:
            self.bar = bar
            self._count()
            async with open_session(self.plan.manners) as session:
                self.fetcher = Fetcher(session, self.plan.manners, self.stop)
                writer = asyncio.create_task(self._write())
                for host in self.frontier.hosts():
                    self._staff(host)
                try:
                    while self.workers:
                        await self._one_ends(writer)
                finally:
                    for task in (*self.workers, writer):
                        task.cancel()
                    await asyncio.gather(*self.workers, writer, return_exceptions=True)
        return self.stop.is_set()

    async def _one_ends(self, writer: asyncio.Task[None]) -> None:
        """Wait for any worker to end; an error of ours in it, or in the writer, ends the crawl."""
        ended, _ = await asyncio.wait([*self.workers, writer], return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            self.workers.pop(task, None)
            task.result()

    def _staff(self, host: str) -> None:
        """See that a host with work has its workers."""
        taken = self.taken.setdefault(host, set())
        while not self.stop.is_set() and list(self.workers.values()).count(host) < PER_HOST:
            todo = self.frontier.next(host, taken)
            if todo is None:
                return
            taken.add(todo.url)
            self.workers[asyncio.create_task(self._work(host, todo))] = host

    async def _work(self, host: str, todo: Todo | None) -> None:
        """Fetch one address of the host after another until none is left."""
        taken = self.taken[host]
        while todo is not None:
            try:
                result, data = await self._handle(todo)
                await self._save(result, data)
            except Stopped:
                return
            finally:
                taken.discard(todo.url)
            for other in {host, *(host_of(link.url) for link in result.links), *self._picture_hosts(result)}:
                self._staff(other)
            todo = None if self.stop.is_set() else self.frontier.next(host, taken)
            if todo is not None:
                taken.add(todo.url)

    @staticmethod
    def _picture_hosts(result: Result) -> set[str]:
        return {host_of(url) for url in result.listing.pictures} if result.listing else set()

    async def _save(self, result: Result, data: bytes | None) -> None:
        """Hand a result to the writer and wait until it is on disk."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self.done.put((result, data, written))
        await written

    async def _write(self) -> None:
        """Write results as they come, all that wait in one transaction, their bytes before it."""
        while True:
            batch = [await self.done.get()]
            while len(batch) < BATCH and not self.done.empty():
                batch.append(self.done.get_nowait())
            await asyncio.to_thread(self._keep, [(result, data) for result, data, _ in batch])
            self.bar.update(len(batch))
            self._count()
            for *_, written in batch:
                if not written.done():
                    written.set_result(None)

    def _keep(self, batch: list[tuple[Result, bytes | None]]) -> None:
        results = []
        for result, data in batch:
            if data is not None:
                image_id, blob = put(self.root, data)
                result = replace(result, image_id=image_id, blob=blob, bytes=len(data))
            results.append(result)
        self.frontier.save(results)

    def _count(self) -> None:
        """Bring the progress bar up to date; the known addresses are counted at most once a second."""
        if time.monotonic() - self.counted > 1:
            self.counted = time.monotonic()
            waiting = sum(n for (_, state), n in self.frontier.counts().items() if state == "pending")
            self.bar.total = self.bar.n + waiting
        self.bar.set_postfix_str(f"{self.frontier.listings} listings", refresh=False)

    async def _handle(self, todo: Todo) -> tuple[Result, bytes | None]:
        """Fetch an address and see what it is; returns what came of it, and the bytes of a picture."""
        picture = todo.kind == "picture"
        try:
            answer = await self.fetcher.get(todo.url, PICTURE_BYTES if picture else PAGE_BYTES)
        except Failed as failure:
            return Result(todo, failure.reason, failure.later, failure.status, failure.tries), None
        if picture:
            return _picture(todo, answer)
        return await self._page(todo, answer), None

    async def _page(self, todo: Todo, answer: Answer) -> Result:
        kind = answer.header("content-type") or ""
        given = (answer.body, answer.url, kind, self.plan.marketplace)
        if len(answer.body) > LARGE_PAGE:
            page = await asyncio.to_thread(read_page, *given)
        else:
            page = read_page(*given)
        links = _links(page, todo.depth, self.plan.depth)
        nothing = todo.depth == 0 and not page.listing and not links
        broken = f" ({page.broken_blocks} JSON-LD blocks are broken)" if page.broken_blocks else ""
        return Result(
            todo,
            dropped=f"neither a product nor links to one{broken}" if nothing else None,
            status=answer.status,
            tries=answer.tries,
            final_url=answer.url,
            listing=page.listing,
            links=links,
        )


def _links(page: Page, depth: int, deepest: int) -> list[Todo]:
    """What a page leads to: the rest of its list at the same depth, other pages one deeper, as far as the plan goes."""
    more = [Todo(url, "page", depth) for url in page.next_pages]
    return more + [Todo(url, "page", depth + 1) for url in page.links if depth < deepest]


def _picture(todo: Todo, answer: Answer) -> tuple[Result, bytes | None]:
    """A picture's answer: kept as it came, unless its headers say no or it is none."""
    seen = Result(todo, status=answer.status, tries=answer.tries, final_url=answer.url)
    if word := opted_out(answer.headers):
        return replace(seen, dropped=f"opted out ({word})"), None
    if kind_of(answer.body) is None:
        said = answer.header("content-type") or "no Content-Type"
        return replace(seen, dropped=f"not a picture ({said}, begins with {answer.body[:16]!r})"), None
    return seen, answer.body


@contextlib.contextmanager
def _on_signals(stop: asyncio.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask to stop: what is in flight is finished. A second Ctrl-C stops at once."""
    loop = asyncio.get_running_loop()

    def ask(*_: Any) -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ask)
    except (RuntimeError, ValueError, NotImplementedError):  # not the main thread, as in some tests
        yield
        return
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
