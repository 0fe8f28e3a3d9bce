"""Two servers on one PostgreSQL: whoever comes first, nothing is given twice."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from botocore.exceptions import ClientError
from sqlalchemy import func, select

from curate.crowd.server.schema import assignments, hit_types, hits
from curate.crowd.server.sessions import csrf, join
from curate.crowd.server.store import open_store


@pytest.fixture(scope="module")
def two_servers(postgres, start_crowd, tmp_path_factory):
    db, folder = postgres(), tmp_path_factory.mktemp("pictures")
    servers = [start_crowd(db, folder) for _ in range(2)]
    yield servers
    for server in servers:
        assert server.stop() == 0
        server.process.stdout.close()


@pytest.fixture(scope="module")
def store(two_servers):
    opened = open_store(two_servers[0].db)
    yield opened
    opened.close()


def values(our_question, **changes):
    return {
        "Title": "race",
        "Description": "d",
        "Reward": "0.05",
        "AssignmentDurationInSeconds": 60,
        "LifetimeInSeconds": 600,
        "MaxAssignments": 3,
        "Question": our_question(),
        **changes,
    }


def everybody(calls, threads=16):
    """Make the calls at once."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda call: call(), calls))


def test_racing_workers_never_take_more_than_there_is(two_servers, store, our_question):
    client = two_servers[0].client()
    made = [client.create_hit(**values(our_question))["HIT"] for _ in range(4)]
    people = [join(store, f"w{n}", False)[1] for n in range(16)]

    def accept(token, server):
        with httpx.Client(
            base_url=server.url, cookies={"consenso_worker": token}, headers={"Accept": "application/json"}
        ) as http:
            return http.post(f"/accept/{made[0]['HITTypeId']}", data={"csrf": csrf(token)})

    calls = [lambda t=token, s=server: accept(t, s) for token in people for server in two_servers for _ in range(2)]
    random.Random(0).shuffle(calls)
    replies = everybody(calls)
    assert {reply.status_code for reply in replies} == {200, 409}, [r.text for r in replies if r.status_code == 500]
    with store.reading() as connection:
        taken = connection.execute(
            select(assignments.c.hit_id, func.count(), func.count(assignments.c.worker_id.distinct())).group_by(
                assignments.c.hit_id
            )
        ).all()
        most = connection.scalar(
            select(func.count())
            .select_from(assignments)
            .group_by(assignments.c.worker_id)
            .order_by(func.count().desc())
            .limit(1)
        )
        counted = connection.execute(select(hits.c.taken, hits.c.pending).distinct()).all()
    assert sorted(map(tuple, taken)) == sorted((hit["HITId"], 3, 3) for hit in made)
    assert most == 1, "one person holds two HITs of one group, in two tabs"
    assert [tuple(row) for row in counted] == [(3, 3)]


def test_racing_equal_tokens_make_one_hit(two_servers, store, our_question):
    clients = [server.client() for server in two_servers]

    def create(client, number):
        try:
            asked = values(our_question, Title=f"token {number}", UniqueRequestToken=f"t{number}")
            return client.create_hit(**asked)["HIT"]["HITId"]
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["TurkErrorCode"].rpartition(".")[2]

    for number in range(5):
        got = everybody([lambda c=client, n=number: create(c, n) for client in clients * 4], 8)
        ids = [answer for answer in got if isinstance(answer, str)]
        assert len(ids) == 1, got
        assert got.count(("RequestError", "HITAlreadyExists")) == 7
    with store.reading() as connection:
        titles = select(hits.c.hit_id).join(hit_types).where(hit_types.c.title.startswith("token"))
        assert len(connection.execute(titles).all()) == 5


def test_racing_equal_hit_types_are_one(two_servers, our_question):
    clients = [server.client() for server in two_servers]
    kind = {name: value for name, value in values(our_question, Title="same").items() if name in KIND}
    got = everybody([lambda c=client: c.create_hit_type(**kind)["HITTypeId"] for client in clients * 6], 12)
    assert len(set(got)) == 1


KIND = ("Title", "Description", "Reward", "AssignmentDurationInSeconds")


def test_the_same_form_sent_twice_at_once_counts_once(two_servers, store, our_question):
    hit = two_servers[0].client().create_hit(**values(our_question, Title="twice"))["HIT"]
    token = join(store, "twice", False)[1]
    form = {"csrf": csrf(token)}
    head = {"Accept": "application/json"}
    with httpx.Client(base_url=two_servers[0].url, cookies={"consenso_worker": token}, headers=head) as http:
        url = http.post(f"/accept/{hit['HITTypeId']}", data=form).json()["url"]

        def send(server):
            return httpx.post(
                server.url + url, data={**form, "a" * 64: "dots"}, headers=head, cookies={"consenso_worker": token}
            ).status_code

        codes = everybody([lambda s=server: send(s) for server in two_servers * 3], 6)
    assert sorted(codes) == [200, 409, 409, 409, 409, 409]
    with store.reading() as connection:
        assert connection.scalar(select(hits.c.pending).where(hits.c.hit_id == hit["HITId"])) == 0
