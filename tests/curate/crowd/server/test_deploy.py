"""The server as others reach it: behind TLS, watched, limited, on a disk that fills up, and ended while people are there."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from botocore.exceptions import ClientError
from starlette.exceptions import HTTPException

from curate.cli import app
from curate.crowd.server.schema import VERSION
from curate.crowd.server.sessions import join
from curate.crowd.server.store import open_store
from curate.crowd.server.traffic import Bucket, bounded_body
from schemas.command import exit_code
from tests.tls_proxy import make_certificate, tls_proxy

JSON = {"Accept": "application/json"}


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path / 'crowd.db'}"


@pytest.fixture
def start(start_crowd, db, tmp_path):
    """Start servers that end with the test."""
    started = []

    def make(*arguments, at=db):
        started.append(start_crowd(at, tmp_path, *arguments))
        return started[-1]

    yield make
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        server.process.stdout.close()


@pytest.fixture
def behind_tls(start, tmp_path):
    """A server behind a TLS proxy: the server, its https address, the certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl found")
    server = start("--forwarded-allow", "127.0.0.1", "--signup", "open")
    certificate, key = make_certificate(tmp_path)
    with tls_proxy(server.url, certificate, key) as url:
        yield server, url, certificate


def hit(our_question, **changes):
    values = {"Title": "t", "Description": "d", "Reward": "0.05", "Question": our_question()}
    return {**values, "LifetimeInSeconds": 600, "AssignmentDurationInSeconds": 600, **changes}


def test_boto3_works_through_tls(behind_tls, our_question):
    server, url, certificate = behind_tls
    client = server.client(endpoint_url=url, verify=str(certificate))
    made = client.create_hit(**hit(our_question))["HIT"]
    assert client.get_hit(HITId=made["HITId"])["HIT"]["Title"] == "t"


@pytest.mark.browser
def test_a_browser_works_through_tls_with_secure_cookies_and_the_right_submit_address(
    behind_tls, chromium, html_question
):
    server, url, _ = behind_tls
    form = (
        '<form action="https://www.mturk.com/mturk/externalSubmit" method="post"><input name="assignmentId" id="a">'
        "<input name='color' value='red'><button>Send</button></form><script>"
        "document.getElementById('a').value = new URLSearchParams(location.search).get('assignmentId')</script>"
    )
    client = server.client()
    made = client.create_hit(**hit(lambda: html_question(form)))["HIT"]
    page = chromium.new_page(ignore_https_errors=True)
    page.goto(url)
    page.fill("input[name=name]", "Bo")
    page.click("form button[type=submit], form button:not([type])")
    page.wait_for_url("**/work")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["consenso_worker"]["secure"]
    assert cookies["consenso_worker"]["httpOnly"]
    page.click(f"form[action='/accept/{made['HITTypeId']}'] button")
    page.wait_for_url("**/assignment/*")
    frame = page.frame_locator("iframe")
    source = page.locator("iframe").get_attribute("src")
    assert f"turkSubmitTo={url.replace(':', '%3A').replace('/', '%2F')}" in source
    frame.locator("button").click()
    page.wait_for_url("**/work?done=1")
    (answer,) = client.list_assignments_for_hit(HITId=made["HITId"])["Assignments"]
    assert "<FreeText>red</FreeText>" in answer["Answer"]
    page.close()


def test_only_a_named_proxy_is_believed(start):
    server = start("--signup", "open")
    head = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
    assert "secure" not in httpx.get(f"{server.url}/join", headers=head).headers["set-cookie"].lower()


def test_behind_a_proxy_sign_up_is_closed_and_keys_are_needed(start, monkeypatch, capsys, tmp_path):
    command = ["curate", "crowd", "serve", "--port", "0", "--db", f"sqlite:///{tmp_path / 'new.db'}"]
    monkeypatch.setattr(sys, "argv", [*command, "--forwarded-allow", "127.0.0.1"])
    assert exit_code(app, "curate") == 1
    assert "no key was issued yet" in capsys.readouterr().err
    server = start("--forwarded-allow", "127.0.0.1")
    assert httpx.get(f"{server.url}/join", headers=JSON).json()["open"] is False


def test_one_address_cannot_sign_up_without_end_and_others_still_can(start):
    server = start("--forwarded-allow", "127.0.0.1", "--signup", "open")
    with httpx.Client(base_url=server.url, headers=JSON) as http:
        form = {"name": "Bo", "csrf": http.get("/join").json()["csrf"]}

        def sign_up(address, door="/join"):
            return http.post(door, data=form, headers={"X-Forwarded-For": address})

        replies = [sign_up("203.0.113.9") for _ in range(80)]
        codes = [reply.status_code for reply in replies]
        assert codes[:60] == [303] * 60
        assert 429 in codes
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        assert refused.json() == {"error": "Too many requests. Please wait a moment."}
        for door in ("/email", "/email/code", "/invited/guess", "/arrive/guess"):
            assert 429 in [sign_up("203.0.113.9", door).status_code for _ in range(3)], door
            assert sign_up("203.0.113.10", door).status_code in (403, 404, 410), door
        assert sign_up("203.0.113.10").status_code == 303


def test_a_bucket_fills_again_and_forgets_nobody_too_early():
    bucket = Bucket(rate=2, burst=3)
    assert [bucket.wait("a", 0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert bucket.wait("b", 0) == 0
    assert bucket.wait("a", 0.5) == 0
    assert bucket.wait("a", 0.5) == 0.5
    assert [bucket.wait("a", 100) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_form_too_large_is_refused_in_words(start):
    server = start()
    reply = httpx.post(f"{server.url}/join", data={f"field{n}": "x" * 900_000 for n in range(6)})
    assert (reply.status_code, "That form is too large." in reply.text) == (413, True)


def test_a_body_that_does_not_arrive_is_given_up():
    async def never():
        await asyncio.Event().wait()

    async def receive():
        await bounded_body(never, "/join", seconds=0.01)()

    with ThreadPoolExecutor(1) as thread:  # a browser test may hold this one's loop
        error = thread.submit(asyncio.run, receive()).exception(timeout=20)
    assert isinstance(error, HTTPException)
    assert error.status_code == 408


def test_health_and_a_log_without_secrets(start_crowd, db, tmp_path, our_question):
    log = tmp_path / "log"
    with log.open("w") as stderr:
        made = subprocess.Popen(
            [sys.executable, "-m", "curate.cli", "crowd", "serve", "--port", "0", "--db", db],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with made.stdout, httpx.Client(base_url=json.loads(made.stdout.readline())["url"], headers=JSON) as http:
        assert http.get("/healthz").json() == {"ok": True, "store_version": VERSION}
        store = open_store(db)
        token = join(store, "Bo", simulated=False)[1]
        store.close()
        http.cookies.set("consenso_worker", token)
        http.get("/assignment/3SECRETSECRET?x=hidden")
        http.get("/no/such/secretpage")
        http.post("/", headers={"X-Amz-Target": "MTurkRequesterServiceV20170117.GetHIT"}, content="{}")
        made.send_signal(signal.SIGTERM)
        assert made.wait(timeout=30) == 0
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    said = [(line.get("method"), line.get("path"), line.get("status"), line.get("operation")) for line in lines]
    assert said == [
        ("GET", "/healthz", 200, None),
        ("GET", "/assignment/{identifier}", 404, None),
        ("GET", "(unknown)", 404, None),
        ("POST", "/", 403, "GetHIT"),
    ]
    assert all(line["ms"] > 0 and line["level"] == "info" and line["time"] for line in lines)
    assert "SECRET" not in text
    assert "secretpage" not in text
    assert "hidden" not in text


@pytest.mark.browser
def test_sigterm_ends_it_with_0_while_a_browser_is_connected(start, chromium):
    server = start("--signup", "open")
    page = chromium.new_page()
    page.goto(server.url)
    with httpx.stream("GET", f"{server.url}/static/label.js") as stream:  # opened and not read to its end
        assert server.stop() == 0
        assert stream.status_code == 200
    page.close()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.getuid() == 0 and shutil.which("mount")
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]).returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing_and_it_goes_on_when_there_is_space(start, small_disk, our_question):
    server = start(at=f"sqlite:///{small_disk / 'crowd.db'}")
    client, made = server.client(), []
    made.append(client.create_hit(**hit(our_question))["HIT"])
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"x" * (free - 150_000))
    code = ""
    while not code:
        try:
            made.append(client.create_hit(**hit(our_question))["HIT"])
        except ClientError as error:
            code = error.response["Error"]["Code"]
    assert code == "ServiceFault"
    with httpx.Client(base_url=server.url) as http:
        csrf = http.get("/join", headers=JSON).json()["csrf"]
        page = http.post("/join", data={"name": "Bo", "csrf": csrf})
        assert (page.status_code, "The server failed. Please try again." in page.text) == (500, True)
        assert http.get("/healthz").status_code == 200  # it can still be read
    ballast.unlink()
    made.append(client.create_hit(**hit(our_question))["HIT"])
    listed = [h["HITId"] for page in client.get_paginator("list_hits").paginate() for h in page["HITs"]]
    assert listed == [each["HITId"] for each in made]
    assert server.stop() == 0
