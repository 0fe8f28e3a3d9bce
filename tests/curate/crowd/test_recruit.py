"""Prolific through its documented endpoints, played by a real HTTP server; the commands as a person types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from curate.crowd import recruit
from schemas.errors import UserError

URL = "https://crowd.example.org/arrive/prolific?PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}"


class Double:
    """What Prolific's documentation says of these endpoints, and what was asked of it."""

    def __init__(self):
        self.studies, self.submissions, self.bulks, self.paid, self.cut = {}, {}, {}, [], False

    def answer(self, method, path, query, body, token):
        if token != "Token right":
            return 401, {"error": {"status": 401, "detail": "Invalid token"}}
        for pattern, way in self.ways.items():
            if found := re.fullmatch(pattern, f"{method} /api/v1{path}"):
                return way(self, *found.groups(), **({"query": query} if method == "GET" else {"body": body}))
        return 404, {"error": {"detail": f"no endpoint {path}"}}

    def list_studies(self, query):
        return 200, {"results": list(self.studies.values()) if query.get("page") == ["1"] else []}

    def create(self, body):
        needed = {"name", "description", "external_study_url", "completion_codes", "total_available_places", "reward"}
        if missing := needed - body.keys():
            return 400, {"error": {"detail": f"missing {missing}"}}
        identifier = f"5study{len(self.studies)}"
        self.studies[identifier] = {**body, "id": identifier, "status": "UNPUBLISHED"}
        return 201, self.studies[identifier]

    def study(self, identifier, query):
        return 200, self.studies[identifier]

    def publish(self, identifier, body):
        assert body == {"action": "PUBLISH"}
        if self.studies[identifier]["status"] != "UNPUBLISHED":
            return 400, {"error": {"detail": "is published already"}}
        self.studies[identifier]["status"] = "ACTIVE"
        return 200, self.studies[identifier]

    def list_submissions(self, identifier, query):
        page, size = int(query["page"][0]), int(query["page_size"][0])
        return 200, {"results": list(self.submissions.values())[(page - 1) * size : page * size]}

    def approve(self, identifier, body):
        if self.submissions[identifier]["status"] != "AWAITING REVIEW":
            return 409, {"error": {"detail": "not awaiting review"}}
        self.submissions[identifier]["status"] = "APPROVED"
        return 200, self.submissions[identifier]

    def set_up_bonus(self, body):
        cents = sum(int(Decimal(line.split(",")[1]) * 100) for line in body["csv_bonuses"].splitlines())
        identifier = f"bulk{len(self.bulks)}"
        self.bulks[identifier] = body["csv_bonuses"].splitlines()
        return 201, {"id": identifier, "study": body["study_id"], "amount": cents, "fees": cents / 4, "vat": 0,
                     "total_amount": cents * 1.25}  # fmt: skip

    def pay(self, identifier, body):
        self.paid += self.bulks[identifier]  # as documented: asked twice, it pays twice
        return (0, None) if self.cut else (202, "is being processed")

    ways: ClassVar = {
        r"GET /api/v1/studies/": list_studies,
        r"POST /api/v1/studies/": create,
        r"GET /api/v1/studies/(\w+)/": study,
        r"POST /api/v1/studies/(\w+)/transition/": publish,
        r"GET /api/v1/studies/(\w+)/submissions/": list_submissions,
        r"POST /api/v1/submissions/(\w+)/transition/": approve,
        r"POST /api/v1/submissions/bonus-payments/": set_up_bonus,
        r"POST /api/v1/bulk-bonus-payments/(\w+)/pay/": pay,
    }


@pytest.fixture
def double():
    made = Double()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self):
            parts = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
            path = parts.path.removeprefix("/api/v1")
            token = self.headers.get("Authorization")
            status, reply = made.answer(self.command, path, parse_qs(parts.query), body, token)
            if status == 0:
                self.close_connection = True  # the answer is lost on the way
                return
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _reply

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def curate(double, workspace):
    """Run `curate recruit prolific …` in a workspace; what it printed."""

    def run(*words, fails=False, token="right", typed=None):
        environment = {**os.environ, "PROLIFIC_TOKEN": token, "PROLIFIC_API": double.url}
        command = [sys.executable, "-m", "curate.cli", "recruit", "prolific", *words]
        done = subprocess.run(
            command, cwd=workspace.root, env=environment, input=typed, capture_output=True, text=True, check=False
        )
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout + done.stderr

    return run


STUDY = [
    "create-study",
    "--name",
    "Aprons",
    "--description",
    "Say the pattern",
    "--url",
    URL,
    "--completion-code",
    "C0DE",
]
STUDY += ["--places", "20", "--minutes", "10", "--reward", "1.50"]


def test_a_study_is_created_once_and_published_after_its_price_was_said(double, curate):
    assert "unpublished" in curate(*STUDY)
    assert "Publish? [y/N]" in (said := curate(*STUDY, "--publish", typed="n\n", fails=True))
    assert "20 people, 1.50 each: 30.00 plus" in said
    assert "active, made before" in curate(*STUDY, "--publish", "--yes")
    assert "active, made before" in curate(*STUDY, "--publish", "--yes")
    (study,) = double.studies.values()
    assert (study["reward"], study["total_available_places"], study["external_study_url"]) == (150, 20, URL)
    assert study["completion_codes"][0]["code"] == "C0DE"


def test_submissions_are_approved_once_and_only_those_that_wait(double, curate):
    for number in range(120):  # more than one page
        status = "AWAITING REVIEW" if number % 2 else "ACTIVE"
        double.submissions[f"s{number}"] = {"id": f"s{number}", "participant_id": f"p{number}", "status": status}
    assert "120 submissions, 60 wait for approval" in curate("submissions", "5study0")
    assert "does not wait" in curate("approve", "5study0", "--submission", "s0", "--yes", fails=True)
    assert "1 approved" in curate("approve", "5study0", "--submission", "s1", "--yes")
    assert "59 submissions wait" in curate("approve", "5study0", typed="y\n")
    assert "0 approved" in curate("approve", "5study0")
    assert [one["status"] for one in double.submissions.values()].count("APPROVED") == 60


def test_a_bonus_is_paid_once_in_a_batch(double, curate, tmp_path):
    file = tmp_path / "bonus.csv"
    file.write_text("id,amount\nann,4.25\nbob,0.50\n")
    assert "2 bonuses, 4.75 plus Prolific's fees" in curate("bonus", "5s", str(file), typed="n\n", fails=True)
    assert "above --limit 5.00" in curate("bonus", "5s", str(file), "--limit", "5.00", "--yes", fails=True)
    assert double.paid == []
    assert "2 bonuses paid, 5.94 with fees" in curate("bonus", "5s", str(file), "--yes")
    assert "nothing to pay" in curate("bonus", "5s", str(file), "--yes")
    file.write_text("ann,4.25\nbob,0.50\neve,1\n")
    assert "1 bonuses paid" in curate("bonus", "5s", str(file), "--yes")
    assert double.paid == ["ann,4.25", "bob,0.50", "eve,1.00"]
    file.write_text("ann,5\n")
    assert "was paid 4.25 in batch 'bonus', not 5" in curate("bonus", "5s", str(file), "--yes", fails=True)


def test_a_payment_whose_answer_is_lost_is_never_made_again_by_itself(double, curate, tmp_path):
    file = tmp_path / "bonus.csv"
    file.write_text("ann,2.00\n")
    double.cut = True
    assert "did not answer" in curate("bonus", "5s", str(file), "--yes", fails=True)
    double.cut = False
    said = curate("bonus", "5s", str(file), "--yes", fails=True)
    assert "settle bulk0 --paid" in said
    assert double.paid == ["ann,2.00"]
    assert "1 bonuses are paid" in curate("settle", "bulk0", "--paid")
    assert "nothing to pay" in curate("bonus", "5s", str(file), "--yes")
    assert double.paid == ["ann,2.00"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("ann,1\nann,2\n", "stands there twice"),
        ("ann\n", "should be `id,amount`"),
        ("ann,NaN\n", "0.01 to 999.99"),
        ("ann,-1\n", "0.01 to 999.99"),
        ("a\x00n;DROP,1\n", "bonus.csv"),
        ("ann,0.001\n", "0.01 to 999.99"),
        ("", "no bonuses in it"),
    ],
)
def test_bad_bonus_files_are_explained(tmp_path, lines, said):
    file = tmp_path / "bonus.csv"
    file.write_text(lines)
    with pytest.raises(UserError, match=said):
        recruit.read_bonuses(file)


def test_no_token_a_wrong_one_and_a_bare_address_are_explained(curate):
    assert "set PROLIFIC_TOKEN" in curate("submissions", "5s", token="", fails=True)
    assert "401 Invalid token" in curate("submissions", "5s", token="wrong", fails=True)
    bare = [word if word != URL else "https://x.org" for word in STUDY]
    assert "--url lacks {{%PROLIFIC_PID%}}" in curate(*bare, fails=True)
