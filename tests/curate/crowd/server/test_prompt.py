"""Where a page's handler runs: on the event loop while the store is prompt, in a thread when something would hold the loop up."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import httpx
import pytest
from sqlalchemy import event
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from curate.crowd.server import group_commit, rules
from curate.crowd.server.group_commit import PROMPT, SLOW
from curate.crowd.server.store import open_store
from curate.crowd.server.visit import route


class Clock:
    """Time that passes when told."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(group_commit, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path, clock):
    store = open_store(f"sqlite:///{tmp_path / 'crowd.db'}")
    yield store
    store.close()


@pytest.fixture
def disk(store, clock):
    """A disk that takes as long for a commit as `seconds` says."""
    disk = SimpleNamespace(seconds=0.0)

    @event.listens_for(store.engine, "commit")
    def commit(connection):
        clock.now += disk.seconds

    return disk


def write(store, count=1):
    """Begin and commit this many write transactions."""
    for _ in range(count):
        with store.writing():
            pass


def where(store):
    """The threads in which a short handler and one of another page run."""
    here = {}

    def handler(visit):
        here[visit.request.url.path] = threading.current_thread().name
        return PlainTextResponse("done")

    app = Starlette(routes=[route("/short", handler, short=True), route("/other", handler, settle=False)])
    app.state.store, app.state.pictures = store, None

    async def ask():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://crowd") as client:
            for path in ("/short", "/other"):
                assert (await client.get(path)).text == "done"

    asyncio.run(ask())
    return here["/short"], here["/other"]


def test_a_short_handler_runs_on_the_event_loop(store):
    short, other = where(store)
    assert short == threading.current_thread().name
    assert other.startswith("store")


def test_on_a_slow_disk_it_runs_in_a_thread_until_the_disk_is_tried_again(store, disk, clock):
    disk.seconds = 0.03
    write(store)
    assert not store.prompt
    assert where(store)[0].startswith("store")
    disk.seconds = 0.0
    clock.now += SLOW
    assert store.prompt
    write(store, 20)
    assert store.prompt, "a disk that is fast again is used as such"


def test_one_slow_commit_among_fast_ones_changes_nothing(store, disk):
    write(store, 5)
    disk.seconds = 4 * PROMPT
    write(store)
    disk.seconds = 0.0
    write(store, 5)
    assert store.prompt


def test_what_is_slow_meanwhile_does_not_put_the_next_try_off(store, disk, clock):
    disk.seconds = 0.03
    write(store)
    next_try = clock.now + SLOW
    write(store, 4)  # from threads, which wait for the interpreter besides
    clock.now = next_try - 0.01
    assert not store.prompt
    clock.now = next_try + 0.01
    assert store.prompt


def test_while_somebody_writes_for_long_it_runs_in_a_thread(store, clock):
    begun, go_on = threading.Event(), threading.Event()

    def long():
        with store.writing():
            begun.set()
            go_on.wait(30)

    writer = threading.Thread(target=long)
    writer.start()
    assert begun.wait(30)
    assert store.prompt, "a moment is worth waiting for"
    clock.now += 2 * PROMPT
    assert not store.prompt
    assert where(store)[0].startswith("store")
    go_on.set()
    writer.join(30)
    assert store.prompt
    assert where(store)[0] == threading.current_thread().name


def test_when_something_is_to_be_settled_it_runs_in_a_thread(store, monkeypatch):
    settled = []
    monkeypatch.setattr(rules, "anything_due", lambda store, now: not settled)
    monkeypatch.setattr(rules, "_settle", lambda store, now: settled.append(threading.current_thread().name))
    short, _ = where(store)
    assert short.startswith("store")
    assert settled == [short]
