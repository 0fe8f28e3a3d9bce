"""Killed with -9 under load: every answer that a client saw accepted is there. CONSENSO_KILLS=50 for more random moments."""

from __future__ import annotations

import os
import random
import threading
from dataclasses import dataclass, field

import httpx
import pytest
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import func, select

from curate.crowd.server.schema import assignments, drafts, hits, tokens
from curate.crowd.server.sessions import csrf, join
from curate.crowd.server.store import open_store

PICTURE = "a" * 64
KILLS = int(os.environ.get("CONSENSO_KILLS", "5"))
POINTS = [
    f"{what}-{when}"
    for what in ("accept", "draft", "submit", "create", "store")
    for when in ("before-commit", "committed")
]


@dataclass
class Seen:
    """What the clients were told."""

    created: dict[str, str] = field(default_factory=dict)  # token -> hit_id
    accepted: set[str] = field(default_factory=set)
    saved: set[str] = field(default_factory=set)
    submitted: dict[str, str] = field(default_factory=dict)  # assignment_id -> answer


def load(server, tokens_of_people, our_question, seen, stop):
    """Threads of people who answer and of a requester who posts, until the server is gone."""

    def person(token):
        rng = random.Random(token)
        http = httpx.Client(
            base_url=server.url, cookies={"consenso_worker": token}, headers={"Accept": "application/json"}, timeout=20
        )
        form = {"csrf": csrf(token)}
        with http:
            while not stop.is_set():
                try:
                    got = http.post(f"/accept/{GROUP[server.db]}", data=form)
                    if got.status_code == 409:
                        continue
                    taken = got.json()
                    seen.accepted.add(taken["assignment_id"])
                    answer = rng.choice(["dots", "plain"])
                    draft = {"field": PICTURE, "value": answer, "seconds": "1", **form}
                    if http.post(f"{taken['url']}/draft", data=draft).status_code == 204:
                        seen.saved.add(taken["assignment_id"])
                    if http.post(taken["url"], data={PICTURE: answer, **form}).status_code == 200:
                        seen.submitted[taken["assignment_id"]] = answer
                except (httpx.TransportError, ValueError):
                    return

    def requester():
        client = server.client()
        number = 0
        while not stop.is_set():
            token = f"{server.url}-{number}"
            number += 1
            try:
                seen.created[token] = post(client, our_question, token)["HITId"]
            except (BotoCoreError, ClientError):
                return

    threads = [threading.Thread(target=person, args=[token]) for token in tokens_of_people]
    threads.append(threading.Thread(target=requester))
    for thread in threads:
        thread.start()
    return threads


GROUP: dict[str, str] = {}


def post(client, our_question, token):
    return client.create_hit(
        Title="killed",
        Description="d",
        Reward="0.05",
        LifetimeInSeconds=3600,
        AssignmentDurationInSeconds=3600,
        MaxAssignments=9,
        Question=our_question(PICTURE),
        UniqueRequestToken=token,
    )["HIT"]


def run_until_dead(start_crowd, db, folder, our_question, seen, kill_after=None):
    """Start a server, load it, and have it die: by itself, or after so many answers more."""
    server = start_crowd(db, folder)
    with server.process.stdout:
        if db not in GROUP:
            GROUP[db] = post(server.client(), our_question, "first")["HITTypeId"]
        store = open_store(db)
        people = [join(store, f"w{n}", simulated=True)[1] for n in range(6)]
        store.close()
        stop = threading.Event()
        before = len(seen.submitted)
        threads = load(server, people, our_question, seen, stop)
        if kill_after is not None:
            while len(seen.submitted) < before + kill_after and any(thread.is_alive() for thread in threads):
                threads[0].join(0.002)
            server.process.kill()
        code = server.process.wait(timeout=120)
        stop.set()
        for thread in threads:
            thread.join()
    return code


def check(db, seen):
    """Everything that a client was told is in the store, and the store's own sums are right."""
    store = open_store(db)
    with store.reading() as connection:
        rows = {row.assignment_id: row for row in connection.execute(select(assignments))}
        kept = dict(connection.execute(select(tokens.c.token, tokens.c.result_id)).all())
        there = set(connection.scalars(select(hits.c.hit_id)))
        saved = set(connection.scalars(select(drafts.c.assignment_id)))
        counts = connection.execute(
            select(hits.c.taken, hits.c.pending, hits.c.max_assignments, func.count(assignments.c.assignment_id))
            .join(assignments, isouter=True)
            .group_by(hits.c.hit_id, hits.c.taken, hits.c.pending, hits.c.max_assignments)
        ).all()
        pending = connection.scalar(select(func.count()).where(assignments.c.status == "Accepted"))
    store.close()
    assert seen.submitted
    assert {i: rows[i].status for i in seen.submitted} == dict.fromkeys(seen.submitted, "Submitted")
    for identifier, answer in seen.submitted.items():
        assert f"<FreeText>{answer}</FreeText>" in rows[identifier].answer
    assert seen.accepted <= set(rows)
    assert {i for i in seen.saved if rows[i].status == "Accepted"} <= saved
    assert seen.created.items() <= kept.items()
    assert len(set(kept.values())) == len(kept)
    assert set(kept.values()) == there, "a HIT without its token, or a token without its HIT"
    assert all(taken == n <= most for taken, _, most, n in counts)
    assert sum(row[1] for row in counts) == pending


@pytest.mark.parametrize("point", POINTS)
def test_it_may_die_at_every_named_moment(each_db, start_crowd, our_question, tmp_path, monkeypatch, point):
    if point.startswith("store") and each_db.startswith("postgres"):
        pytest.skip("only SQLite's writes share a commit")
    passing = 40 if point.startswith("store") else 8
    seen = Seen()
    monkeypatch.setenv("CONSENSO_CRASH_AT", f"{point}:{passing}")
    assert run_until_dead(start_crowd, each_db, tmp_path, our_question, seen) == 137
    check(each_db, seen)


def test_it_may_die_at_any_moment_again_and_again(each_db, start_crowd, our_question, tmp_path):
    rng, seen = random.Random(7), Seen()
    for _ in range(KILLS):
        code = run_until_dead(start_crowd, each_db, tmp_path, our_question, seen, kill_after=rng.randint(1, 60))
        assert code == -9
        check(each_db, seen)
