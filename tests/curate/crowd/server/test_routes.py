"""Rules that hold for every route there is: forms carry our secret, pages carry a strict policy."""

from __future__ import annotations

import re

import httpx
import pytest
from starlette.routing import Mount, Route

from curate.crowd.server.app import make_app
from curate.crowd.server.store import open_store

WITHOUT_SESSION = {"/", "/mturk/externalSubmit"}  # signed requests; accepted by the assignment's unguessable id alone
FOR_FRAMES = {"/frame/{identifier}", "/mturk/externalSubmit", "/picture/{identifier}"}


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    """Every (path, method) of the application."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('routes') / 'crowd.db'}")
    app = make_app(store)
    store.close()
    assert all(isinstance(route, (Route, Mount)) for route in app.routes)
    return [(r.path, method) for r in app.routes if isinstance(r, Route) for method in r.methods - {"HEAD"}]


def address(path):
    return re.sub(r"\{\w+(:\w+)?\}", "x", path)


@pytest.mark.parametrize("signed_in", [True, False])
def test_every_form_of_ours_is_refused_without_its_secret(crowd_server, routes, join, signed_in):
    person = (
        join().http if signed_in else httpx.Client(base_url=crowd_server.url, headers={"Accept": "application/json"})
    )
    posts = [path for path, method in routes if method == "POST" and path not in WITHOUT_SESSION]
    assert len(posts) >= 10
    for path in posts:
        for form in ({}, {"csrf": "0" * 32}):
            reply = person.post(address(path), data={**form, "name": "x", "sure": "1"})
            expected = {403} if signed_in else {401, 403}
            assert reply.status_code in expected, (path, reply.status_code)
    assert not signed_in or "worker_id" in person.get("/work").json()


def test_every_page_of_ours_carries_the_strict_policy(crowd_server, routes, join):
    person = join().http
    pages = [path for path, method in routes if method == "GET" and path not in FOR_FRAMES]
    for path in [*pages, "/nowhere", "/static/nothing"]:
        reply = person.get(address(path), headers={"Accept": "text/html"})
        if not reply.headers.get("content-type", "").startswith("text/html"):
            continue
        policy = reply.headers.get("content-security-policy", "")
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy, path
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert not re.search(r"<script(?![^>]* src=)(?![^>]*application/json)|\son\w+=|style=", reply.text), path


def test_external_submit_needs_no_session_and_an_unknown_id_gets_nowhere(crowd_server, post_hit, html_question, join):
    hit, person = post_hit(Question=html_question("<form></form>")), join()
    assignment = person.post(f"/accept/{hit['HITTypeId']}").json()["assignment_id"]
    bare = httpx.Client(base_url=crowd_server.url)
    assert bare.post("/mturk/externalSubmit", data={"assignmentId": "3X", "a": "b"}).status_code == 404
    assert bare.post("/mturk/externalSubmit", data={"assignmentId": assignment, "a": "b"}).status_code == 200
    (answer,) = crowd_server.client().list_assignments_for_hit(HITId=hit["HITId"])["Assignments"]
    assert answer["WorkerId"] == person.worker_id
