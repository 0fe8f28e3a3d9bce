"""`curate hits collect` of 1,000 and 10,000 HITs of ten pictures, three answers each, from a real server: time, memory, calls.

Run: python tests/benchmarks/bench_collect.py [--hits 1000 10000]. HITs and answers are put into the server's SQLite through its
own store, as pages and workers would have left them; keys, server, requests and project.db are the real ones. Collected
are all answers; then once more with nothing new; then with 1 HIT in 100 judged at the server meanwhile.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import insert, text

from curate.crowd import budget, journal
from curate.crowd.journal import Asked, Entry
from curate.crowd.question import html_question, task_page
from curate.crowd.server.keys import issue
from curate.crowd.server.questions import answers_xml
from curate.crowd.server.schema import assignments, hit_types, hits, workers
from curate.crowd.server.store import Store, new_id, open_store
from curate.database import transaction
from curate.tasks import add_task, make_task
from curate.workspace import Config, Workspace, create_workspace
from schemas.tables import VOTES

PICTURES, ANSWERS, PEOPLE = 10, 3, 300
COLLECT = """
import json, sys, time
from pathlib import Path
from botocore.client import BaseClient
calls, call = [], BaseClient._make_api_call
def counted(self, name, arguments):
    calls.append(name)
    return call(self, name, arguments)
BaseClient._make_api_call = counted
from curate.cli import app
from schemas.command import exit_code
began = time.perf_counter()
sys.argv = ["curate", "hits", "collect"]
code = exit_code(app, "curate")
# not ru_maxrss: that of a child begins at its parent's
peak = next(line.split()[1] for line in Path('/proc/self/status').open() if line.startswith('VmHWM'))
said = {"code": code, "seconds": time.perf_counter() - began, "mb": int(peak) / 1024,
        "calls": {name: calls.count(name) for name in sorted(set(calls))}}
print(json.dumps(said))
"""


def main() -> None:
    """Print a line for each collection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, nargs="+", default=[1000, 10_000])
    sizes = parser.parse_args().hits
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; server and collection share them")
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder, crowd(Path(folder)) as (url, store, keys):
            workspace, entries = shop(Path(folder), url, size)
            fill(store, workspace, entries)
            votes = size * PICTURES * ANSWERS
            collect(workspace, keys, f"{size:,} HITs, {votes:,} votes", votes)
            collect(workspace, keys, "  again, nothing new", votes)
            judged = [entry.hit_id for entry in entries[::100]]
            with store.writing() as connection:
                for hit_id in judged:
                    connection.execute(
                        text("UPDATE assignment SET status='Approved', approved_at=submitted_at WHERE hit_id=:h"),
                        {"h": hit_id},
                    )
                    connection.execute(text(f"UPDATE hit SET judged={ANSWERS} WHERE hit_id=:h"), {"h": hit_id})
            collect(workspace, keys, f"  {len(judged)} HITs judged meanwhile", votes)


def collect(workspace: Workspace, keys: dict[str, str], name: str, votes: int) -> None:
    """One collection in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECT], cwd=workspace.root, env={**os.environ, **keys}, capture_output=True, text=True, check=True
    )  # fmt: skip
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["code"] == 0, done.stderr
    found = VOTES.read(workspace.of_task("apron", "votes"), ["assignment_id", "image_id"])
    assert len(found) == votes, (len(found), votes)
    assert not found.duplicated().any()
    print(f"{name:<36} {said['seconds']:6.1f} s  peak {said['mb']:4.0f} MB  calls {said['calls']}", flush=True)


@contextmanager
def crowd(folder: Path) -> Iterator[tuple[str, Store, dict[str, str]]]:
    """A server in a process of its own, its store, and keys for it."""
    url = f"sqlite:///{folder / 'crowd.db'}"
    store = open_store(url)
    identity, secret = issue(store, "bench")
    words = ["-m", "curate.cli", "crowd", "serve", "--db", url, "--port", "0"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen([sys.executable, *words], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert server.stdout is not None
            yield (
                json.loads(server.stdout.readline())["url"],
                store,
                {"AWS_ACCESS_KEY_ID": identity, "AWS_SECRET_ACCESS_KEY": secret},
            )
        finally:
            server.terminate()
            server.wait()
            store.close()


def shop(folder: Path, url: str, size: int) -> tuple[Workspace, list[Entry]]:
    """A workspace whose journal and ledger say that these HITs were made."""
    workspace = create_workspace(folder / "shop", Config(name="bench", contact="bench@example.org", endpoint=url))
    task = make_task("apron")
    task = task.model_copy(update={"crowd": task.crowd.model_copy(update={"budget_usd": 1e6})})
    add_task(workspace, task)
    ids = (hashlib.sha256(str(number).encode()).hexdigest() for number in range(size * PICTURES))
    entries = [
        Entry(
            token=f"{number:032d}", task="apron", round=1, endpoint=url, state="pending",
            images=tuple(Asked(next(ids), "random") for _ in range(PICTURES)), reward_cents=10, max_assignments=ANSWERS,
            question_version=1, taxonomy_version=1, hit_id=new_id(), hit_type_id="T",
        )
        for number in range(size)
    ]  # fmt: skip
    with closing(workspace.project()) as project, transaction(project):
        budget.reserve(project, task, [(entry.token, ANSWERS * budget.price(task).total) for entry in entries])
        journal.write_down(project, entries)
        for entry in entries:
            journal.made(project, entry.token, str(entry.hit_id), "T")
    return workspace, entries


def fill(store: Store, workspace: Workspace, entries: list[Entry]) -> None:
    """The HITs and three answers to each, as the server would hold them."""
    task, now, rng = workspace.task(), time.time(), random.Random(1)
    people = [f"A{number:013d}" for number in range(PEOPLE)]
    with store.writing() as connection:
        for worker in people:
            connection.execute(insert(workers).values(worker_id=worker, name=worker, simulated=False, created_at=now))
        connection.execute(
            insert(hit_types).values(
                hit_type_id="T", requester="bench", title="t", description="d", reward="0.10", assignment_duration=600,
                auto_approval_delay=9e5, requirements="[]", created_at=now,
            )
        )  # fmt: skip
        for start in range(0, len(entries), 1000):
            block = entries[start : start + 1000]
            connection.execute(
                insert(hits),
                [
                    {
                        "hit_id": e.hit_id, "hit_type_id": "T", "requester": "bench", "annotation": e.token,
                        "question": html_question(task_page(task, e.image_ids, "http://127.0.0.1/picture")),
                        "max_assignments": ANSWERS, "taken": ANSWERS, "pending": 0, "judged": 0, "reviewing": False,
                        "created_at": now, "expires_at": now + 9e5,
                    }
                    for e in block
                ],
            )  # fmt: skip
            connection.execute(
                insert(assignments),
                [
                    {
                        "assignment_id": new_id(), "hit_id": e.hit_id, "worker_id": worker, "status": "Submitted",
                        "accepted_at": now - 60, "deadline": now + 600, "submitted_at": now + rng.random() * 60,
                        "auto_approve_at": now + 9e5,
                        "answer": answers_xml(
                            [pair for i in e.image_ids for pair in ((i, rng.choice(task.keys)), (f"seconds.{i}", "2.50"))]
                        ),
                    }
                    for e in block
                    for worker in rng.sample(people, ANSWERS)
                ],
            )  # fmt: skip


if __name__ == "__main__":
    main()
