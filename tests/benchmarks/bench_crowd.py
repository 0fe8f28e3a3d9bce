"""300 people at once on the crowd server: submits a second, and whether what they sent is what it keeps. Run: make bench-crowd

Server and load share the machine's cores. Every answer that a client saw accepted is written down and compared with the store
after the server ended. `--quick` is a tenth; `--parts` names what to run (create, submit, autosave, postgres).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import select

from curate.crowd.server.keys import issue
from curate.crowd.server.schema import assignments, drafts, hits
from curate.crowd.server.sessions import csrf, join
from curate.crowd.server.store import open_store
from schemas.question import Choice, PictureAsked, TaskPage, embed

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.postgres_cluster import throwaway_postgres

HTML = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2011-11-11/HTMLQuestion.xsd"
CLASSES = ["dots", "plain", "striped", "floral", "checked", "animal", "paisley", "other"]
PICTURES = 10
_FIELD = re.compile(r"<QuestionIdentifier>(.*?)</QuestionIdentifier><FreeText>(.*?)</FreeText>")


@dataclass
class Log:
    """What the clients saw: accepted answers by assignment, and how long each request took."""

    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)

    def took(self, what: str, began: float) -> None:
        self.times.setdefault(what, []).append(time.perf_counter() - began)

    def p(self, share: float, *what: str) -> float:
        """A quantile in ms, over the named requests or all of them."""
        every = sorted(t for name, times in self.times.items() if not what or name in what for t in times)
        return 1000 * every[min(len(every) - 1, int(share * len(every)))]


class Server:
    """`curate crowd serve` as a process of its own."""

    def __init__(self, db: str) -> None:
        command = [sys.executable, "-P", "-m", "curate.cli", "crowd", "serve", "--port", "0", "--db", db]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url = json.loads(self.process.stdout.readline())["url"]

    def cpu_seconds(self) -> float:
        """CPU time so far, as Linux counts it: what other work on the machine does not change."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0


def question(number: int) -> str:
    """A HIT of ours: ten pictures."""
    task = TaskPage(
        task="apron",
        question={"en": "Which pattern?"},
        question_version=1,
        taxonomy_version=1,
        choices=[Choice(key=key, name={"en": key}) for key in CLASSES],
        pictures=[
            PictureAsked(image_id=f"{number:054d}{n:010d}", url=f"/picture/{number:054d}{n:010d}")
            for n in range(PICTURES)
        ],
    )
    html = f"<!doctype html><html><body>{embed(task)}</body></html>"
    return f'<HTMLQuestion xmlns="{HTML}"><HTMLContent><![CDATA[{html}]]></HTMLContent><FrameHeight>0</FrameHeight></HTMLQuestion>'


def create(url: str, db: str, count: int) -> float:
    """Create HITs by boto3, one after another; HITs a second."""
    import boto3

    store = open_store(db)
    key, secret = issue(store, "bench")
    store.close()
    client = boto3.client(
        "mturk", endpoint_url=url, region_name="us-east-1", aws_access_key_id=key, aws_secret_access_key=secret
    )
    began = time.perf_counter()
    for number in range(count):
        client.create_hit(
            Title="Which pattern?",
            Description="Say what the pictures show",
            Reward="0.10",
            LifetimeInSeconds=36_000,
            AssignmentDurationInSeconds=3600,
            MaxAssignments=3,
            Question=question(number),
            UniqueRequestToken=f"bench-{number}",
        )
    return count / (time.perf_counter() - began)


def people(db: str, count: int) -> list[str]:
    """Session tokens of new workers."""
    store = open_store(db)
    tokens = [join(store, f"Worker {number}", simulated=True)[1] for number in range(count)]
    store.close()
    return tokens


async def work(url: str, group: str, token: str, log: Log, think: tuple[float, float], autosave: bool) -> None:
    """One person: accept, look, (save each picture,) submit, until nothing is left."""
    rng = random.Random(token)
    headers = {"Accept": "application/json"}
    form = {"csrf": csrf(token)}
    await asyncio.sleep(rng.uniform(0, think[1]))
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(
        url, headers=headers, cookies={"consenso_worker": token}, connector=connector
    ) as http:

        async def ask(what: str, path: str, data: dict[str, str] | None = None) -> tuple[int, Any]:
            began = time.perf_counter()
            async with http.request("POST" if data else "GET", path, data=data) as reply:
                body = await reply.json() if reply.status != 204 else None
            log.took(what, began)
            return reply.status, body

        while True:
            status, got = await ask("accept", f"/accept/{group}", form)
            if status == 409:
                return
            assert status == 200, (status, got)
            _, page = await ask("page", got["url"])
            pause = rng.uniform(*think)
            answers = {picture["image_id"]: rng.choice(CLASSES) for picture in page["task"]["pictures"]}
            if autosave:
                for name, value in answers.items():
                    await asyncio.sleep(pause / PICTURES)
                    saved, _ = await ask(
                        "autosave", f"{got['url']}/draft", {"field": name, "value": value, "seconds": "1.5", **form}
                    )
                    assert saved == 204, saved
            else:
                await asyncio.sleep(pause)
            status, said = await ask("submit", got["url"], {**answers, **form})
            if status == 200:
                assert got["assignment_id"] not in log.answers, "one assignment was submitted twice"
                log.answers[got["assignment_id"]] = answers
            else:
                log.refused[f"{status} {said}"] += 1


def check(db: str, log: Log) -> int:
    """Compare the clients' log with the store; how many answers there are. Lost, doubled or torn ones end the run."""
    store = open_store(db)
    with store.reading() as connection:
        kept = connection.execute(select(assignments).where(assignments.c.status.in_(("Submitted", "Approved")))).all()
        over = connection.execute(select(hits.c.hit_id).where(hits.c.taken > hits.c.max_assignments)).all()
        pending = connection.execute(select(hits.c.hit_id).where(hits.c.pending != 0)).all()
        left = connection.execute(select(drafts.c.field)).all()
    store.close()
    found = {row.assignment_id: dict(_FIELD.findall(row.answer)) for row in kept}
    assert not log.refused, log.refused
    assert found == log.answers, "the store does not hold what the clients saw accepted"
    assert len({(row.hit_id, row.worker_id) for row in kept}) == len(kept)
    assert not over, over
    assert not pending, pending
    assert not left, f"{len(left)} drafts were left behind"
    return len(found)


@dataclass(frozen=True)
class Load:
    """How many people do how much."""

    people: int
    hits: int
    think: tuple[float, float]
    autosave: bool = False


def crowd(name: str, db: str, load: Load, servers: int = 1) -> float:
    """One part of the benchmark; submits a second."""
    running = [Server(db) for _ in range(servers)]
    try:
        made = create(running[0].url, db, load.hits)
        tokens = people(db, load.people)
        store = open_store(db)
        with store.reading() as connection:
            group = connection.scalar(select(hits.c.hit_type_id))
        store.close()
        log = Log()

        async def everybody() -> None:
            urls = [server.url for server in running]
            await asyncio.gather(
                *(
                    work(urls[n % servers], group, token, log, load.think, load.autosave)
                    for n, token in enumerate(tokens)
                )
            )

        cpu = -sum(server.cpu_seconds() for server in running)
        began, load_before = time.perf_counter(), os.getloadavg()[0]
        asyncio.run(everybody())
        seconds = time.perf_counter() - began
        cpu += sum(server.cpu_seconds() for server in running)
    finally:
        for server in running:
            server.stop()
    answers = check(db, log)
    requests = sum(map(len, log.times.values()))
    print(
        f"{name}: {answers:,} answers of {load.people} people, none lost, doubled or torn; {answers / seconds:.0f} submits/s, "
        f"{requests / seconds:.0f} requests/s at {1000 * cpu / requests:.2f} CPU ms of the server each; p50/p99 of all {log.p(0.5):.0f}/{log.p(0.99):.0f} ms, "
        f"of submits {log.p(0.5, 'submit'):.0f}/{log.p(0.99, 'submit'):.0f} ms; CreateHIT {made:.0f}/s; "
        f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after",
        flush=True,
    )
    return answers / seconds


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the answers")
    parser.add_argument("--parts", default="submit,autosave,postgres")
    asked = parser.parse_args()
    parts = asked.parts.split(",")
    count = 350 if asked.quick else 3500
    plain = Load(300, count, (0.5, 1.5))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}; think time 0.5 to 1.5 s")
    with tempfile.TemporaryDirectory() as folder:
        sqlite = 0.0
        if "submit" in parts:
            sqlite = crowd("SQLite", f"sqlite:///{folder}/crowd.db", plain)
        if "autosave" in parts:
            few = Load(300, count // 3, (3.0, 5.0), autosave=True)
            crowd("SQLite, ten autosaves a HIT, 3 to 5 s", f"sqlite:///{folder}/saved.db", few)
        if "postgres" in parts:
            with throwaway_postgres() as url:
                if url is None:
                    print("PostgreSQL: initdb is not on this machine, left out")
                    return
                rate = crowd("PostgreSQL, two servers", url, plain, servers=2)
            if sqlite:
                print(f"PostgreSQL with two servers: {rate / sqlite:.2f} of SQLite's submits/s")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
