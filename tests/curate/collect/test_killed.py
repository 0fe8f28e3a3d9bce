"""A crawl killed with -9 at every point that matters and at random moments, stopped by Ctrl-C, out of disk: nothing lost or doubled.

CONSENSO_KILLS sets the number of random moments; 5 without it.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from whole import assert_whole, shown

from curate.collect.export import export_here
from curate.collect.fetch import Manners
from curate.collect.plan import Plan
from curate.collect.scrape import scrape
from curate.workspace import Workspace
from schemas.errors import UserError

MANNERS = Manners("tests@example.org", delay=0, allow_private=True, backoff=0.01, timeout=5)
KILLS = int(os.environ.get("CONSENSO_KILLS", "5"))


def crawl(workspace: Workspace, start: str) -> None:
    scrape(workspace, start, Plan(MANNERS), export_here)


def command(workspace: Workspace, site: Any) -> list[str]:
    start = [f"{site.url}/list/0", "--delay", "0", "--allow-private", "-w", str(workspace.root)]
    return [sys.executable, "-m", "curate.cli", "scrape", *start]


def test_a_full_disk_gets_one_clear_line_and_costs_nothing_but_time(
    workspace: Workspace, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import curate.collect.crawl as module

    site.shop(4)
    put, calls = module.put, itertools.count()

    def full(*given: Any) -> Any:
        if next(calls) == 3:
            raise OSError(28, "No space left on device")
        return put(*given)

    monkeypatch.setattr(module, "put", full)
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left on device\); run the same command again"):
        crawl(workspace, f"{site.url}/list/0")
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)


def test_a_database_that_can_grow_no_more_gets_one_clear_line_and_costs_nothing_but_time(
    workspace: Workspace, site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself says that the disk is full, in the middle of the crawl."""
    site.shop(30)
    opened = Workspace.project

    def small(self: Workspace) -> Any:
        connection = opened(self)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        return connection

    monkeypatch.setattr(Workspace, "project", small)
    with pytest.raises(UserError, match=r"cannot be written \(database or disk is full\); run the same command again"):
        crawl(workspace, f"{site.url}/list/0")
    monkeypatch.undo()
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)


# Imported by every process of the crawl, before anything else: it dies at a point, the first time it comes there.
_DIES = """
import os, signal, sys
point, when, after = os.environ["DIES"].split("/")
calls = 0

def die():
    for pid in {os.getpid(), int(os.environ.get("CRAWL", os.getpid()))}:
        if pid != os.getpid():
            os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)

def dying(function):
    def wrapped(*args, **options):
        global calls
        calls += 1
        if calls == int(when) and after == "before":
            die()
        result = function(*args, **options)
        if calls == int(when):
            die()
        return result
    return wrapped

exporting = "curate.collect.export" in sys.orig_argv
if point == "table":
    if exporting:
        os.environ["CRAWL"] = str(os.getppid())  # both die: the crawl holds the lock, the export writes
        from schemas.table import Table
        Table.write_batches = dying(Table.write_batches)
elif not exporting:
    from curate.collect import blobs, crawl, frontier, scrape
    if point == "rename":
        os.replace = dying(os.replace)
    elif point == "blob":
        crawl.put = dying(crawl.put)
    elif point == "row":
        frontier._write = dying(frontier._write)
    elif point == "commit":
        frontier.Frontier.save = dying(frontier.Frontier.save)
    elif point == "start":
        frontier.Frontier.start = dying(frontier.Frontier.start)
    elif point == "sweep":
        scrape.sweep = dying(scrape.sweep)
    elif point == "export":
        scrape.write_tables = dying(scrape.write_tables)
"""
POINTS = {"sweep": (1,), "start": (1,), "rename": (1, 4), "blob": (1, 4), "row": (1, 3, 20), "commit": (1, 2, 3),
          "export": (1,), "table": (1, 2, 3, 4)}  # and at which of its occurrences  # fmt: skip


@pytest.mark.parametrize("point", POINTS)
def test_killed_before_and_after_every_step_it_loses_and_doubles_nothing(
    workspace: Workspace, site: Any, tmp_path: Path, point: str
) -> None:
    """One crawl, killed time and again; the last run ends it."""
    (tmp_path / "dies").mkdir()
    (tmp_path / "dies" / "sitecustomize.py").write_text(_DIES)
    path = os.pathsep.join([str(tmp_path / "dies"), os.environ.get("PYTHONPATH", "")])
    for round, (when, after) in enumerate(itertools.product(POINTS[point], ("before", "after"))):
        site.shop(10 + 3 * round)  # so that every run has something new to do
        environment = {**os.environ, "PYTHONPATH": path, "DIES": f"{point}/{when}/{after}"}
        words = [*command(workspace, site), "--refresh"]
        died = subprocess.run(words, capture_output=True, text=True, timeout=120, env=environment)
        assert died.returncode == -signal.SIGKILL, (point, when, after, died.stdout, died.stderr)
    ended = subprocess.run([*command(workspace, site), "--refresh"], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert_whole(workspace, site)


def test_killed_at_random_moments_it_loses_and_doubles_nothing(workspace: Workspace, site: Any) -> None:
    rng = random.Random(4)
    died = 0
    for round in range(KILLS):
        site.shop(30 + 3 * round)
        goal = len(site.asked) + rng.randint(1, 60)
        words = [*command(workspace, site), "--refresh"]
        running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(site.asked) < goal and running.poll() is None:
            time.sleep(rng.uniform(0, 0.004))
        time.sleep(rng.uniform(0, 0.3))  # any moment will do: also between two batches, and while tables are written
        running.kill()
        running.communicate()
        died += running.returncode == -signal.SIGKILL
    assert died > KILLS / 2  # most of them were in the middle of something
    ended = subprocess.run([*command(workspace, site), "--refresh"], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert_whole(workspace, site)


def test_ctrl_c_finishes_what_is_in_flight_writes_the_tables_and_says_how_to_go_on(
    workspace: Workspace, site: Any
) -> None:
    site.shop(12)
    reached, go_on = threading.Event(), threading.Event()
    good = site.replies["/i/3-1.jpg"]

    def held(asked: int) -> Any:
        reached.set()
        go_on.wait(20)
        return good

    site.replies["/i/3-1.jpg"] = held
    running = subprocess.Popen(command(workspace, site), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert reached.wait(30)
    os.kill(running.pid, signal.SIGINT)
    threading.Timer(0.3, go_on.set).start()
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err.splitlines()[-1].startswith("stopped with ")
    assert "stopping: what is in flight is finished first; Ctrl-C again stops at once" in err
    assert "Run the same command again to go on" in err
    assert hashlib.sha256(good.body).hexdigest() in {image_id for *_, image_id in shown(workspace)}
    site.replies["/i/3-1.jpg"] = good
    crawl(workspace, f"{site.url}/list/0")
    assert_whole(workspace, site)
