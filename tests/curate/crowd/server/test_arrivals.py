"""How people get in: invitations, e-mail, panels, consent. Real HTTP against a real server, commands as a person types them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from curate.crowd.server import settings
from curate.crowd.server.store import open_store


class Browser:
    """A browser of somebody: its cookies, and the forms of the pages it is shown."""

    def __init__(self, url):
        self.http = httpx.Client(base_url=url, follow_redirects=False, timeout=30)

    def get(self, path):
        return self.http.get(path)

    def send(self, page, path=None, **fields):
        """Send the first form of a page, changed as said; the page that follows."""
        shown = self.http.get(page)
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', shown.text))
        return self.http.post(path or page, data={**hidden, **fields})

    @property
    def worker_id(self):
        return self.http.get("/work", headers={"Accept": "application/json"}).json().get("worker_id")


@pytest.fixture
def browser(crowd_server) -> Iterator[object]:
    """New browsers of one server."""
    opened = []

    def make(url=crowd_server.url):
        opened.append(Browser(url))
        return opened[-1]

    yield make
    for one in opened:
        one.http.close()


@pytest.fixture
def curate(crowd_server):
    """Run `curate crowd …` on the server's database; what it printed."""

    def run(*words, fails=False):
        command = [sys.executable, "-m", "curate.cli", "crowd", *words, "--db", crowd_server.db]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == (1 if fails else 0), done.stderr
        return done.stderr if fails else done.stdout.strip()

    return run


def test_an_invitation_lets_one_person_in_and_is_spent(crowd_server, curate, browser):
    link = curate("invite", "--note", "Ana", "--url", crowd_server.url)
    path = link.removeprefix(crowd_server.url)
    ana, other = browser(), browser()
    assert "You are invited" in ana.get(path).text
    assert ana.send(path, name="Ana").headers["location"] == "/work"
    assert ana.worker_id.startswith("A")
    assert "ask whoever runs this server for a new link" in ana.send("/work", "/leave").text
    assert other.get(path).status_code == 410
    assert path.rsplit("/", 1)[1] not in str(crowd_server.sql("SELECT * FROM invitation"))
    assert "Ana" in curate("invitations")


def test_a_revoked_or_expired_invitation_lets_nobody_in(crowd_server, curate, browser):
    first, second = (curate("invite", "--note", n, "--url", crowd_server.url, "--uses", "5") for n in ("one", "two"))
    curate("uninvite", first)
    crowd_server.sql("UPDATE invitation SET expires_at = 1 WHERE note = 'two'")
    for link in (first, second):
        assert "not valid any more" in browser().get(link.removeprefix(crowd_server.url)).text
    assert "no open invitation" in curate("uninvite", first, fails=True)


def test_a_new_device_leads_to_the_same_worker_and_the_lost_one_is_out(crowd_server, curate, browser):
    lost, new = browser(), browser()
    lost.send("/join", name="Eva")
    worker = lost.worker_id
    assert "you start anew" in lost.send("/work", "/leave").text
    link = curate("invite", "--worker", worker, "--end-sessions", "--url", crowd_server.url)
    assert lost.get("/work").headers["location"] == "/join"
    path = link.removeprefix(crowd_server.url)
    assert "Welcome back" in new.get(path).text
    new.send(path)
    assert new.worker_id == worker
    assert "no worker" in curate("invite", "--worker", "ANOBODY", fails=True)


def test_people_of_a_panel_come_back_as_themselves_and_leave_with_the_code(
    crowd_server, curate, browser, post_hit, our_question
):
    said = curate("panels", "add", "prolific", "--completion-code", "C0DE", "--url", crowd_server.url)
    assert said.endswith("PROLIFIC_PID={{%PROLIFIC_PID%}}&STUDY_ID={{%STUDY_ID%}}&SESSION_ID={{%SESSION_ID%}}")
    arrival = "/arrive/prolific?PROLIFIC_PID=5f0a&STUDY_ID=s1&SESSION_ID=x1"
    first, again = browser(), browser()
    first.send(arrival, "/arrive/prolific")
    again.send(arrival.replace("x1", "x2"), "/arrive/prolific")
    assert first.worker_id == again.worker_id
    assert "Not quite yet" in again.get("/done").text
    assert "come back by the link of the study" in again.send("/work", "/leave").text
    group = post_hit()["HITTypeId"]
    csrf = re.search(r'name="csrf" value="(\w+)"', again.get("/work").text)[1]
    page = again.http.post(f"/accept/{group}", data={"csrf": csrf}).headers["location"]
    assert again.http.post(page, data={"csrf": csrf, "a" * 64: "dots"}).headers["location"] == "/work?done=1"
    done = again.get("/done").text
    assert "https://app.prolific.com/submissions/complete?cc=C0DE" in done
    assert "1 came, 1 done" in curate("panels", "list")
    assert f"5f0a,{again.worker_id},s1,x2,1,C0DE,True" in curate("panels", "codes", "prolific")


def test_a_panel_without_a_code_gives_each_worker_one_that_its_owner_can_check(crowd_server, curate, browser):
    curate("panels", "add", "class", "--worker-parameter", "student")
    codes = set()
    for student in ("ann", "bob"):
        person = browser()
        person.send(f"/arrive/class?student={student}", "/arrive/class")
        crowd_server.sql("UPDATE panel SET min_assignments = 0 WHERE panel = 'class'")
        codes.add(re.search(r"<output>(\w{10})</output>", person.get("/done").text)[1])
    listed = json.loads(curate("panels", "codes", "class", "--json"))
    assert {row["code"] for row in listed} == codes
    assert len(codes) == 2


@pytest.mark.parametrize(
    "query",
    ["", "student=", "student=%7B%7B%25PROLIFIC_PID%25%7D%7D", "student=<script>", "student=a&study=%0d%0ax", "x=1"],
)
def test_an_arrival_that_names_nobody_is_refused(curate, browser, query):
    curate("panels", "add", "odd", "--worker-parameter", "student", "--study-parameter", "study")
    reply = browser().get(f"/arrive/odd?{query}")
    assert reply.status_code == 400
    assert "<script>" not in reply.text


def test_an_arrival_never_opens_an_account_that_has_another_way_in(crowd_server, curate, browser):
    curate("panels", "add", "guests", "--worker-parameter", "pid")
    guest, thief, known = browser(), browser(), browser()
    known.send(curate("invite", "--note", "K", "--url", crowd_server.url).removeprefix(crowd_server.url), name="K")
    guest.send("/arrive/guests?pid=p1", "/arrive/guests")
    curate("merge-workers", known.worker_id, guest.worker_id, "--yes")
    assert guest.worker_id == known.worker_id
    refused = thief.send("/arrive/guests?pid=p1", "/arrive/guests")
    assert refused.status_code == 403
    assert thief.worker_id is None


def test_a_closed_panel_lets_nobody_in_and_bad_panels_are_explained(curate, browser):
    curate("panels", "add", "gone", "--worker-parameter", "pid")
    curate("panels", "close", "gone")
    assert browser().get("/arrive/gone?pid=1").status_code == 404
    assert "--worker-parameter says" in curate("panels", "add", "mine", fails=True)
    assert "--completion-code is needed" in curate("panels", "add", "prolific", fails=True)
    odd = ("--worker-parameter", "p", "--completion-url")
    assert "it may hold" in curate("panels", "add", "mine", *odd, "https://x.org/{secret}", fails=True)
    assert "it may hold" in curate("panels", "add", "mine", *odd, "javascript:alert(1)", fails=True)


def test_consent_is_asked_before_any_work_and_again_when_its_version_changes(
    crowd_server, curate, browser, post_hit, join, tmp_path
):
    robot, person = join(simulated=True), browser()
    person.send("/join", name="Iris")
    file = tmp_path / "consent.md"
    try:
        for version in ("1", "2"):
            file.write_text(
                f"# What we ask\n\nYou look at pictures, <b>freely</b>. Text {version}.\n\n- stop any time\n"
            )
            curate("consent", "set", str(file), "--version", version)
            assert person.get("/work").headers["location"] == "/consent"
            assert person.http.post(f"/accept/{post_hit()['HITTypeId']}").headers["location"] == "/consent"
            page = person.get("/consent").text
            assert "&lt;b&gt;freely" in page
            assert "<li>stop any time</li>" in page
            assert person.send("/consent", text_hash="0").status_code == 409
            assert person.send("/consent").headers["location"] == "/work"
            assert person.get("/work").status_code == 200
        kept = crowd_server.sql("SELECT version, text_hash FROM consent ORDER BY version")
        assert [version for version, _ in kept] == ["1", "2"]
        assert kept[0][1] != kept[1][1]
        assert "worker_id" in robot.get("/work")
        file.write_text("Other words")
        assert "give the new text a new version" in curate("consent", "set", str(file), "--version", "2", fails=True)
        assert "accepted by 1" in curate("consent", "show")
    finally:
        curate("consent", "unset")
    late = browser()
    late.send("/join", name="Late")
    assert late.get("/work").status_code == 200


def test_a_session_ends_after_its_life_and_gets_a_new_token_every_week(crowd_server, browser):
    person = browser()
    person.send("/join", name="Old")
    worker, first = person.worker_id, person.http.cookies["consenso_worker"]
    aged = "UPDATE worker_session SET created_at = created_at - :age WHERE worker_id = :id"
    crowd_server.sql(aged, age=8 * 24 * 3600, id=worker)
    assert person.get("/work").status_code == 200
    assert person.http.cookies["consenso_worker"] != first
    person.http.cookies.set("consenso_worker", first, domain="127.0.0.1")
    crowd_server.sql(aged, age=61, id=worker)  # the old token's last minute is over
    assert httpx.get(f"{crowd_server.url}/work", cookies={"consenso_worker": first}).headers["location"] == "/join"


def test_cookies_are_out_of_reach_and_devices_and_addresses_are_kept_as_keyed_hashes(crowd_server, browser):
    person = browser()
    reply = person.send("/join", name="Kim")
    given = [line for name, line in reply.headers.multi_items() if name == "set-cookie"]
    assert len(given) == 2
    assert all("HttpOnly" in line and "SameSite=lax" in line and "Secure" not in line for line in given)
    key = open_store(crowd_server.db)
    secret = settings.secret(key)
    key.close()
    found = crowd_server.sql("SELECT device, address FROM worker_session WHERE worker_id = :id", id=person.worker_id)
    device = person.http.cookies["consenso_device"]
    assert found == [(settings.keyed(secret, "device", device), settings.keyed(secret, "address", "127.0.0.1"))]


def test_a_code_by_mail_leads_to_one_worker_an_address_and_is_spent_once(
    start_crowd, tmp_path, mailbox, browser, monkeypatch
):
    monkeypatch.setenv("CURATE_SMTP_URL", mailbox.url)
    monkeypatch.setenv("CURATE_MAIL_FROM", "crowd@example.org")
    server = start_crowd(f"sqlite:///{tmp_path / 'crowd.db'}", tmp_path, "--signup", "email")
    try:
        first, second, guesser = (browser(server.url) for _ in range(3))
        assert first.send("/join", "/join", name="X").status_code == 403  # by name alone nobody comes
        first.send("/join", "/email", email="Ana@Example.org", name="Ana")
        code = mailbox.code("ana@example.org")
        assert "Ana" not in mailbox.last
        assert server.url in mailbox.last
        assert (
            first.send("/email", "/email/code", email="ana@example.org", code=code.lower()).headers["location"]
            == "/work"
        )
        worker = first.worker_id
        assert second.send("/email", "/email/code", email="ana@example.org", code=code).status_code == 400
        second.send("/join", "/email", email="ana@example.org", name="Somebody")
        second.send("/email", "/email/code", email="ana@example.org", code=mailbox.code("ana@example.org"))
        assert second.worker_id == worker
        assert "come back with a code sent to your e-mail" in second.send("/work", "/leave").text
        guesser.send("/join", "/email", email="ana@example.org", name="")
        code = mailbox.code("ana@example.org")
        for _ in range(5):
            assert guesser.send("/email", "/email/code", email="ana@example.org", code="AAAAAAAA").status_code == 400
        assert guesser.send("/email", "/email/code", email="ana@example.org", code=code).status_code == 400
        guesser.send("/join", "/email", email="ana@example.org", name="")
        server.sql("UPDATE email_code SET created_at = created_at - 1801")
        late = mailbox.code("ana@example.org")
        assert guesser.send("/email", "/email/code", email="ana@example.org", code=late).status_code == 400
        guesser.send("/join", "/email", email="ana@example.org", name="")
        assert guesser.send("/join", "/email", email="ana@example.org", name="").status_code == 429
        assert guesser.send("/join", "/email", email="no address", name="").status_code == 400
    finally:
        server.stop()
        server.process.stdout.close()


class Mailbox:
    """What a real SMTP server took."""

    def __init__(self):
        self.taken = []

    async def handle_DATA(self, server, session, envelope):
        self.taken.append((envelope.rcpt_tos[0], envelope.content.decode()))
        return "250 OK"

    @property
    def last(self):
        return self.taken[-1][1] if self.taken else ""  # aiosmtpd looks at every member before any mail came

    def code(self, to):
        """The code of the newest mail; it was taken before the page that asked for it came back."""
        assert self.taken[-1][0] == to
        return re.search(r"\b([A-Z2-9]{4}-[A-Z2-9]{4})\b", self.last)[1]


@pytest.fixture
def mailbox():
    controller = pytest.importorskip("aiosmtpd.controller")
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = controller.Controller(box, hostname="127.0.0.1", port=port)
    running.start()
    box.url = f"smtp://127.0.0.1:{port}"
    yield box
    running.stop()


def test_sign_up_by_email_without_a_mail_server_is_explained(tmp_path, monkeypatch):
    monkeypatch.delenv("CURATE_SMTP_URL", raising=False)
    words = ["crowd", "serve", "--port", "0", "--db", f"sqlite:///{tmp_path / 'c.db'}", "--signup", "email"]
    done = subprocess.run([sys.executable, "-m", "curate.cli", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, "CURATE_SMTP_URL" in done.stderr) == (1, True)
