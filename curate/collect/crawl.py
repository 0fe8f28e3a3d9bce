"""The loop of a crawl: as many workers a host as it may have connections, and one writer for all, so that what is written is whole.

Results are written in batches, the bytes of pictures before the transaction that names them. A worker does not wait for
its result to be on disk; what is lost with a killed process was never said to be there, and is fetched again.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from curate.collect.blobs import name_of, put
from curate.collect.fetch import Fetcher, open_session
from curate.collect.frontier import Frontier, Result, Todo, host_of
from curate.collect.pace import Stopped
from curate.collect.plan import Plan
from curate.collect.visit import visit
from curate.forgotten import REASON, Forgotten
from schemas.progress import progress
from schemas.storage import Storage, overlapped

BATCH = 64  # results that one transaction takes at most
HELD_BYTES = 8_000_000  # of pictures not yet on disk; workers wait beyond it
PATIENCE = 0.25  # seconds that a result waits for others to be written with


class Crawl:
    """One run over the frontier."""

    def __init__(self, storage: Storage, frontier: Frontier, plan: Plan, forgotten: Forgotten | None = None) -> None:
        self.storage, self.frontier, self.plan = storage, frontier, plan
        self.forgotten = forgotten or Forgotten()
        self.stop = asyncio.Event()
        self.workers: dict[asyncio.Task[None], str] = {}  # and their hosts
        self.staff: Counter[str] = Counter()  # workers a host
        self.ready: dict[str, deque[Todo]] = {}  # next addresses of each host, read from the frontier some at a time
        self.taken: dict[str, set[str]] = {}  # addresses in hand or not yet written
        self.held: list[tuple[Result, bytes | None]] = []  # not yet written
        self.held_bytes = self.writing = 0
        self.quota = frontier.quota
        self.write_now, self.written, self.changed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.counted, self.failed = 0.0, 0

    async def run(self) -> bool:
        """Crawl until nothing is left or a person stops it; returns whether it was stopped."""
        with progress(None, "addresses") as bar, _on_signals(self._ask_to_stop):
            self.bar = bar
            self._count()
            async with open_session(self.plan.manners) as session:
                self.fetcher = Fetcher(session, self.plan.manners, self.stop, self.plan.pace)
                self.fetcher.say = self._say
                writer = asyncio.create_task(self._write())
                writer.add_done_callback(lambda _: self.changed.set())
                for host in self.frontier.hosts():
                    self._staff(host)
                try:
                    await self._until_done(writer)
                finally:
                    for task in (*self.workers, writer):
                        task.cancel()
                    await asyncio.gather(*self.workers, writer, return_exceptions=True)
        return self.stop.is_set()

    async def _until_done(self, writer: asyncio.Task[None]) -> None:
        """Wait until no worker is left and all is written; an error of ours in any of them ends the crawl."""
        while (self.workers or self.held or self.writing) and not writer.done():
            self.changed.clear()
            await self.changed.wait()
            for task in [task for task in self.workers if task.done()]:
                self.staff[self.workers.pop(task)] -= 1
                task.result()
            if not self.workers:
                self.write_now.set()  # nobody is left to wait for
        if writer.done():
            writer.result()

    def _staff(self, host: str) -> None:
        """See that a host with work has its workers."""
        _, most = self.plan.pace(f"http://{host}/")
        while not self.stop.is_set() and self.staff[host] < most and (todo := self._next(host)):
            worker = asyncio.create_task(self._work(host, todo))
            worker.add_done_callback(lambda _: self.changed.set())
            self.workers[worker] = host
            self.staff[host] += 1

    def _next(self, host: str) -> Todo | None:
        """The next address of a host, taken."""
        ready, taken = self.ready.setdefault(host, deque()), self.taken.setdefault(host, set())
        if not ready:
            ready.extend(self.frontier.next(host, taken, BATCH))
        if not ready:
            return None
        if ready[0].kind == "page" and not ready[0].stale:
            if self.quota.full(host):
                return None
            self.quota.takes_page(host)
        todo = ready.popleft()
        taken.add(todo.url)
        return todo

    async def _work(self, host: str, todo: Todo | None) -> None:
        """Fetch one address of the host after another until none is left."""
        while todo is not None:
            try:
                result, data = await visit(self.fetcher, todo, self.plan)
                result, data = self._unless_forgotten(result, data)
            except Stopped:
                return
            await self._hand_in(result, data)
            todo = None if self.stop.is_set() else self._next(host)

    def _unless_forgotten(self, result: Result, data: bytes | None) -> tuple[Result, bytes | None]:
        """The same, or nothing but the reason where the collection was told to forget what came."""
        shown = result.listing
        if shown and self.forgotten.refuses(shown.marketplace, shown.listing_id, shown.columns.get("attributes")):
            return Result(result.todo, REASON, status=result.status, tries=result.tries), None
        if data is not None and self.forgotten and self.forgotten.image(name_of(data)[0]):
            return Result(result.todo, REASON, status=result.status, tries=result.tries), None
        return result, data

    async def _hand_in(self, result: Result, data: bytes | None) -> None:
        """Give a result to the writer; waits only while too much is held."""
        while self.held_bytes > HELD_BYTES:
            self.written.clear()
            await self.written.wait()
        if not self.held:
            asyncio.get_running_loop().call_later(PATIENCE, self.write_now.set)
        self.held.append((result, data))
        self.held_bytes += len(data or b"")
        self.quota.hold(host_of(result.todo.url), int(result.listing is not None))
        if len(self.held) >= BATCH or self.held_bytes > HELD_BYTES:
            self.write_now.set()

    async def _write(self) -> None:
        """Write what is held, whenever it is time, and let those go on who waited for it."""
        while True:
            await self.write_now.wait()
            self.write_now.clear()
            batch, self.held = self.held, []
            if not batch:
                continue
            self.writing = len(batch)
            await asyncio.to_thread(self._keep, batch)
            self._settle([result for result, _ in batch], sum(len(data or b"") for _, data in batch))

    def _keep(self, batch: list[tuple[Result, bytes | None]]) -> None:
        """Pictures to their storage, then what came of all addresses in one transaction."""
        pictures = [data for _, data in batch if data is not None]
        kept = overlapped(partial(put, self.storage), pictures, self.storage.at_once)
        results = []
        for result, data in batch:
            if data is not None:
                image_id, blob = next(kept)
                result = replace(result, image_id=image_id, blob=blob, bytes=len(data))
            results.append(result)
        self.frontier.save(results)

    def _settle(self, results: list[Result], size: int) -> None:
        """After a write: the addresses are free, and the hosts they lead to have work."""
        self.writing, self.held_bytes = 0, self.held_bytes - size
        self.failed += sum(result.dropped is not None for result in results)
        hosts: set[str] = set()
        for result in results:
            host = host_of(result.todo.url)
            self.quota.hold(host, -int(result.listing is not None))
            self.taken[host].discard(result.todo.url)
            hosts |= {host, *(host_of(link.url) for link in result.links)}
            hosts |= {host_of(url) for url in result.listing.pictures} if result.listing else set()
        if self.quota.limited:  # who waited for the limit may go on, if these were no new listings
            hosts |= set(self.frontier.hosts())
        for host in hosts:
            self.ready.pop(host, None)  # read anew: pictures go before pages
            self._staff(host)
        self.bar.update(len(results))
        self._count()
        self.written.set()
        self.changed.set()

    def _say(self, text: str) -> None:
        self.bar.write(text, file=sys.stderr)

    def _ask_to_stop(self) -> None:
        self.stop.set()
        self._say("stopping: what is in flight is finished first; Ctrl-C again stops at once")

    def _count(self) -> None:
        """Bring the progress bar up to date; the known addresses are counted at most once a second."""
        if time.monotonic() - self.counted > 1:
            self.counted = time.monotonic()
            self.bar.total = self.bar.n + self.frontier.waiting()
        failed = f", {self.failed} failed" if self.failed else ""
        self.bar.set_postfix_str(f"{self.quota.listings} listings{failed}", refresh=False)


@contextlib.contextmanager
def _on_signals(ask_to_stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM ask to stop: what is in flight is finished. A second Ctrl-C stops at once."""
    loop = asyncio.get_running_loop()

    def ask(*_: Any) -> None:
        ask_to_stop()
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
