"""A catalogue you own comes in: its rows are listings, and only their pictures are fetched, as a crawl would."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from curate.collect.blobs import sweep
from curate.collect.crawl import Crawl
from curate.collect.feed_columns import plan_columns, read_map
from curate.collect.feed_file import Feed, Row, open_feed
from curate.collect.feed_rows import Given, entries
from curate.collect.fetch import Failed, Fetcher, Manners, open_session
from curate.collect.files import can_go_on, read_files, read_local, reasons
from curate.collect.frontier import Frontier, Todo
from curate.collect.intake import Bad, Counts, Entry, Intake, failed_pictures
from curate.collect.plan import Plan, rules_of
from curate.collect.scrape import check, write_tables
from curate.forgotten import Forgotten
from curate.workspace import Workspace
from schemas.errors import Interrupted, Partial, UserError
from schemas.progress import progress

FEED_BYTES = 500_000_000  # of a feed that is fetched; a larger one has to be fetched first
SHOWN = 3  # listings of a dry run


@dataclass(frozen=True)
class Ask:
    """What to take in, and what holds for all of its rows."""

    source: str  # a file or an http(s) address
    manners: Manners
    mapped: Sequence[str] = ()
    marketplace: str | None = None
    country: str | None = None
    language: str | None = None
    license: str | None = None
    permission: str | None = None
    refresh: bool = False  # ask again for pictures that failed for good


@dataclass(frozen=True)
class Fed:
    """What an import of a feed did."""

    counts: Counts
    vanished: int
    pictures: int  # of this feed that are there
    reasons: list[tuple[str, int]]  # why others are not
    note: str | None
    stopped: bool


class Pictures(Frontier):
    """The pictures of a frontier; pages that a crawl left for later stay there."""

    def next(self, host: str, taken: object, most: int) -> list[Todo]:  # noqa: D102
        rows = self._reader.execute(
            "SELECT url FROM frontier WHERE state = 'pending' AND host = ? AND kind = 'picture' ORDER BY rowid LIMIT ?",
            (host, len(taken) + most),  # type: ignore[arg-type]
        )
        return [Todo(row["url"], "picture", 0) for row in rows if row["url"] not in taken][:most]  # type: ignore[operator]

    def hosts(self) -> list[str]:  # noqa: D102
        rows = self._reader.execute("SELECT DISTINCT host FROM frontier WHERE state = 'pending' AND kind = 'picture'")
        return [row["host"] for row in rows]

    def waiting(self) -> int:  # noqa: D102
        return self.counts().get(("picture", "pending"), 0)


def import_feed(workspace: Workspace, ask: Ask, tables: Callable[[Workspace], dict[str, int]] = write_tables) -> Fed:
    """Take in a feed: listings now, then every picture that is not there yet. Run again it goes on where it was.

    A row whose content has changed updates its listing; listings that the feed names no more stay and are counted.
    """
    with can_go_on(workspace.storage), opened(ask) as feed, contextlib.closing(workspace.project()) as db:
        sweep(workspace.storage)
        intake = Intake(db, feed.name, Forgotten.of(workspace), ask.refresh)
        _take(intake, feed, ask)
        read_files(intake, workspace.storage, read_local)
        stopped = _fetch(workspace, db, ask.manners)
        tables(workspace)
        failed = list(failed_pictures(db, feed.name, intake.at))
        return Fed(intake.counts, intake.vanished(), intake.pictures(), failed, feed.note, stopped)


def _take(intake: Intake, feed: Feed, ask: Ask) -> None:
    """Read the rows into project.db; refused before the first when pictures are on the web and nobody is named to write to."""
    found = _counted(_entries(feed, ask))
    first = list(islice(found, 100))
    if any(one.of_the_web for entry in first if isinstance(entry, Entry) for one in entry.pictures):
        check([], Plan(ask.manners))
    if not first:
        raise UserError(f"{feed.name}: holds no rows under its columns {', '.join(feed.names[:8])}")
    intake.take_all(chain(first, found))


def _counted(found: Iterator[Entry | Bad]) -> Iterator[Entry | Bad]:
    with progress(None, "rows") as bar:
        for one in found:
            yield one
            bar.update()


def _entries(feed: Feed, ask: Ask, rows: Iterator[Row] | None = None) -> Iterator[Entry | Bad]:
    columns = plan_columns(feed.names, read_map(ask.mapped), feed.name)
    fetched = ask.source.lower().startswith(("http://", "https://"))
    given = Given(
        ask.source if fetched else Path(ask.source).absolute().parent,
        PurePosixPath(feed.name.lower().removesuffix(".gz")).stem,
        ask.marketplace,
        ask.country,
        ask.language,
        ask.license,
        ask.permission,
    )
    return entries(rows or feed.rows(), columns, given)


def _fetch(workspace: Workspace, db: sqlite3.Connection, manners: Manners) -> bool:
    """Fetch what pictures wait, by the manners of a crawl; whether a person stopped it."""
    with contextlib.closing(workspace.project()) as writer:
        plan = Plan(manners, rules=rules_of([]))
        frontier = Pictures(db, writer, plan)
        frontier.start([])
        if not frontier.waiting():
            return False
        check([], plan)
        return asyncio.run(Crawl(workspace.storage, frontier, plan, Forgotten.read(db)).run())


@contextmanager
def opened(ask: Ask) -> Iterator[Feed]:
    """The feed, fetched first where it is an address."""
    if not ask.source.lower().startswith(("http://", "https://")):
        with open_feed(Path(ask.source)) as feed:
            yield feed
        return
    check([ask.source], Plan(ask.manners))
    name = PurePosixPath(urlsplit(ask.source).path).name or "feed"
    with tempfile.TemporaryDirectory(prefix="consenso-") as folder:
        path = Path(folder) / "feed"
        path.write_bytes(asyncio.run(_download(ask)))
        with open_feed(path, name) as feed:
            yield feed


async def _download(ask: Ask) -> bytes:
    async with open_session(ask.manners) as session:
        try:
            return (await Fetcher(session, ask.manners, asyncio.Event()).get(ask.source, FEED_BYTES)).body
        except Failed as failure:
            raise UserError(f"{ask.source}: {failure.reason}; fetch it yourself and give the file") from failure


def preview(ask: Ask) -> Iterator[str]:
    """Lines to print: what each column is taken for, and the first listings. Nothing is written."""
    with opened(ask) as feed:
        columns = plan_columns(feed.names, read_map(ask.mapped), feed.name)
        yield f"{feed.name}: {feed.kind}{', gzipped' if feed.packed else ''}, {len(feed.names)} columns"
        yield from (f"  {name[:40]:<24} {columns.taken_for(name)}" for name in feed.names)
        found = _entries(feed, ask, islice(feed.rows(), 200))
        for entry in islice(found, SHOWN):
            yield from _told(entry)
    yield "dry run: nothing was written"


def _told(entry: Entry | Bad) -> Iterator[str]:
    if isinstance(entry, Bad):
        yield f"line {entry.line}: not taken: {entry.reason}"
        return
    yield f"line {entry.line}: {entry.marketplace} {entry.listing_id}"
    shown = {**entry.columns, **(entry.columns["attributes"] or {})}
    for name in (name for name in shown if name != "attributes"):
        if shown[name] not in (None, ""):
            yield f"  {name:<14} {str(shown[name])[:120]}"
    yield f"  {'pictures':<14} {len(entry.pictures)}"
    yield from (f"    {one.shown or one.url}" for one in entry.pictures[:8])
    yield from (f"    not taken: {fault}" for fault in entry.faults[:8])


def finish(done: Fed) -> str:
    """What an import did, in one line. Raises Interrupted when it was stopped, Partial when something failed."""
    counts = done.counts
    notes = (
        (counts.changed, "changed"), (counts.same, "as before"), (counts.repeated, "repeated rows"),
        (counts.forgotten, "forgotten on request"), (done.vanished, "no longer in the feed, kept"),
    )  # fmt: skip
    said = f"{counts.rows} rows: {counts.new} new listings" + "".join(f", {n} {what}" for n, what in notes if n)
    said += f"; {done.pictures} pictures" + (f". {done.note}" if done.note else "")
    if done.stopped:
        raise Interrupted(f"stopped with {said}. Run the same command again to go on")
    failed = sum(count for _, count in done.reasons)
    told = [f"{counts.bad} rows not taken: {'; '.join(counts.reasons)}"] if counts.bad else []
    told += [f"{failed} pictures failed: {reasons(done.reasons)}"] if failed else []
    told += [f"{counts.faults} picture addresses not taken"] if counts.faults else []
    if told:
        raise Partial(f"{said}; {'; '.join(told)}. See failures.parquet")
    return said
