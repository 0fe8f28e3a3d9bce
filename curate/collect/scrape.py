"""A crawl: from start pages to listings, and from listings to all of their pictures, politely and without loss."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from curate.collect.addresses import is_loopback, is_private_host
from curate.collect.blobs import sweep
from curate.collect.crawl import Crawl
from curate.collect.frontier import Frontier
from curate.collect.plan import Plan
from curate.collect.sources import start_urls
from curate.forgotten import REASON, Forgotten
from curate.workspace import Workspace
from schemas.errors import Interrupted, Partial, UserError

_REACHABLE = re.compile(r"[\x21-\x7e]+@[\x21-\x7e]+|https?://[\x21-\x7e]+")
# What a person should know of: not the listings that are gone, which say so, nor links that robots.txt keeps us from.
_ALARMING = (f"dropped IS NOT NULL AND dropped NOT LIKE 'gone: %' AND dropped <> '{REASON}'"
             " AND kind NOT IN ('file', 'row') AND NOT (kind = 'page' AND depth > 0 AND dropped = 'forbidden by robots.txt')")  # fmt: skip


@dataclass(frozen=True)
class Crawled:
    """What the crawl has brought so far."""

    listings: int
    pictures: int
    failures: int
    gone: int  # listings that their site has no more
    reasons: Counter[str]  # of the failures that a person should know of
    waiting: int  # addresses not fetched yet
    forgotten: int  # addresses whose listing or picture is not taken in again
    stopped: bool


def scrape(
    workspace: Workspace, start: str | None, plan: Plan, tables: Callable[[Workspace], dict[str, int]] | None = None
) -> Crawled:
    """Collect from a URL or a file of them, then write the tables. Run again it goes on where it was.

    `tables` writes them, by default in a process of its own. Raises UserError for what cannot start.
    """
    urls = start_urls(start, plan.start)
    check(urls, plan)
    sweep(workspace.storage)
    with contextlib.closing(workspace.project()) as reader, contextlib.closing(workspace.project()) as writer:
        frontier = Frontier(reader, writer, plan)
        try:
            frontier.start(urls, plan.refresh)
            stopped = asyncio.run(Crawl(workspace.storage, frontier, plan, Forgotten.read(reader)).run())
        except (OSError, sqlite3.OperationalError) as error:  # of the disk: what the net does is a Failed address
            raise UserError(
                f"{workspace.root}: cannot be written ({error}); run the same command again to go on"
            ) from error
        written = (tables or write_tables)(workspace)
        rows = reader.execute(f"SELECT dropped FROM frontier WHERE {_ALARMING}")
        reasons = Counter(_kind_of_reason(row["dropped"]) for row in rows)
        waiting = frontier.waiting()
        kept_out = reader.execute("SELECT count(*) FROM frontier WHERE dropped = ?", (REASON,)).fetchone()[0]
    return Crawled(**written, reasons=reasons, waiting=waiting, forgotten=kept_out, stopped=stopped)


def finish(done: Crawled) -> str:
    """What a crawl brought, in one line. Raises Interrupted when it was stopped, Partial when something failed."""
    said = f"{done.listings} listings, {done.pictures} pictures" + (f"; {done.gone} are gone" if done.gone else "")
    said += f"; {done.forgotten} addresses left out, forgotten" if done.forgotten else ""
    if done.stopped:
        raise Interrupted(f"stopped with {said}; {done.waiting} addresses wait. Run the same command again to go on")
    waiting = f"; {done.waiting} pages wait beyond the limit" if done.waiting else ""
    if done.reasons:
        reasons = ", ".join(f"{count} {reason}" for reason, count in done.reasons.most_common())
        raise Partial(f"{said}{waiting}; {sum(done.reasons.values())} failed: {reasons}. See failures.parquet")
    barred = done.failures - done.forgotten
    skipped = f"; {barred} pages left alone, forbidden by robots.txt" if barred else ""
    return said + waiting + skipped


def write_tables(workspace: Workspace) -> dict[str, int]:
    """Write the tables in a process of its own, which ends with this one: pandas takes more memory than the whole crawl."""
    words = [sys.executable, "-m", "curate.collect.export", str(workspace.root)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = child.stdout.read()
    if child.returncode:
        raise RuntimeError(f"the tables were not written: their process ended with {child.returncode}")
    counts = json.loads(said)
    if "error" in counts:
        raise UserError(counts["error"])
    return counts


def _kind_of_reason(dropped: str) -> str:
    """A reason without what differs from one address to the next."""
    return re.split(r" \(|, asked|; ", dropped)[0][:80]


def check(urls: list[str], plan: Plan) -> None:
    """Raise UserError for a crawl that may not start: nobody to write to, too quick, or into a private network."""
    manners = plan.manners
    if not manners.contact.strip():
        raise UserError(
            "the crawler says to every site whom to write to: set `contact` in workspace.yaml, or say --contact"
        )
    if not _REACHABLE.fullmatch(manners.contact.strip()):
        raise UserError(f"contact {manners.contact[:80]!r} is neither an e-mail address nor a page (https://…)")
    if manners.delay < 0:
        raise UserError(f"--delay must be 0 or more seconds, got {manners.delay:g}")
    for url in urls:
        host = urlsplit(url).hostname
        if manners.delay == 0 and not is_loopback(host):
            raise UserError(f"--delay 0 is for this machine only; {host} gets at least a little time, 0.5 is usual")
        if is_private_host(host) and not manners.allow_private:
            raise UserError(f"{url}: is a private address; say --allow-private when that is what you want")
