"""A real crowd server for the tests of both of its sides."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from curate.crowd.server.keys import issue
from curate.crowd.server.model import check_output
from curate.crowd.server.store import open_store
from tests.curate.crowd.server import sheet
from tests.postgres_cluster import throwaway_postgres


@dataclass
class CrowdServer:
    """A running `curate crowd serve` with one requester's key."""

    url: str
    access_key: str
    secret: str
    db: str
    pictures: Path
    process: subprocess.Popen[str]
    replied: set[str] = field(default_factory=set)  # operations that have answered

    def client(self, **changes: Any) -> Any:
        """A boto3 client of the requester."""
        import boto3
        from botocore.config import Config

        made = boto3.client(
            "mturk",
            **{
                "endpoint_url": self.url,
                "region_name": "us-east-1",
                "aws_access_key_id": self.access_key,
                "aws_secret_access_key": self.secret,
                "config": Config(retries={"total_max_attempts": 1}),
                **changes,
            },
        )
        made.meta.events.register("before-parse.mturk", self._check)
        return made

    def _check(self, operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
        """Every reply that any test gets is what the service model says."""
        if response_dict["status_code"] == 200:
            reply = json.loads(response_dict["body"])
            # the model's pattern for a QuestionId has capitals and digits only; real identifiers do not
            for report in ("AssignmentReviewReport", "HITReviewReport"):
                for result in reply.get(report, {}).get("ReviewResults", []):
                    result.pop("QuestionId", None)
            check_output(operation_model.name, reply)
            self.replied.add(operation_model.name)

    def sql(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        """Look into the database behind the server's back, or change it; the rows."""
        store = open_store(self.db)
        with store.writing() as connection:
            result = connection.execute(text(query), values)
            rows = [tuple(row) for row in result] if result.returns_rows else []
        store.close()
        return rows

    def stop(self) -> int:
        """End it with SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@pytest.fixture(scope="session")
def start_crowd() -> Callable[..., CrowdServer]:
    """Start a server over a database; further arguments go to `curate crowd serve`."""

    def start(db: str, pictures: Path, *arguments: str) -> CrowdServer:
        store = open_store(db)
        access_key, secret = issue(store, "tests")
        store.close()
        command = [sys.executable, "-P", "-m", "curate.cli", "crowd", "serve", "--port", "0", "--db", db]
        process = subprocess.Popen(
            [*command, "--pictures", str(pictures), *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, f"the server ended with {process.wait(timeout=10)}"
        url = json.loads(said)["url"]
        return CrowdServer(url, access_key, secret, db, pictures, process)

    return start


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Make an empty database in a PostgreSQL of the tests' own; its URL. Skips where PostgreSQL is not installed."""
    from sqlalchemy import create_engine

    with throwaway_postgres() as url:

        def make() -> str:
            if url is None:
                pytest.skip("no initdb found: PostgreSQL is not installed")
            name = f"crowd_{os.urandom(4).hex()}"
            engine = create_engine(url, isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
            engine.dispose()
            return url.rpartition("/")[0] + f"/{name}"

        yield make


@pytest.fixture(params=["sqlite", "postgres"])
def each_db(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new database: once SQLite, once PostgreSQL."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres")())
    return f"sqlite:///{tmp_path / 'crowd.db'}"


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def crowd_server(
    request: pytest.FixtureRequest, start_crowd: Callable[..., CrowdServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CrowdServer]:
    """A crowd server on a free loopback port, one for all tests of a file; all of them once on each database."""
    folder = tmp_path_factory.mktemp("crowd")
    pictures = folder / "blobs"
    pictures.mkdir()
    on_postgres = request.param == "postgres"
    db = request.getfixturevalue("postgres")() if on_postgres else f"sqlite:///{folder / 'crowd.db'}"
    server = start_crowd(db, pictures)
    yield server
    if server.process.poll() is None:
        server.stop()
    if server.process.stdout is not None:
        server.process.stdout.close()


@dataclass
class Person:
    """A worker as a program: the JSON variants of the pages."""

    http: Any
    csrf: str
    worker_id: str

    def get(self, path: str) -> Any:
        """A page as JSON."""
        return self.http.get(path).json()

    def post(self, path: str, **fields: Any) -> Any:
        """Send a form as this person; the HTTP response."""
        return self.http.post(path, data={**fields, "csrf": self.csrf})

    def group(self, hit_type_id: str) -> Any:
        """One group of work as this person sees it, or None."""
        return next((g for g in self.get("/work")["groups"] if g["hit_type_id"] == hit_type_id), None)

    def answer(self, hit_type_id: str, answer: str) -> str:
        """Accept a HIT of the group and say the same of every picture; the assignment's id."""
        accepted = self.post(f"/accept/{hit_type_id}").json()
        task = self.get(accepted["url"])["task"]
        sent = self.post(accepted["url"], **{picture["image_id"]: answer for picture in task["pictures"]})
        assert sent.json() == {"submitted": True}, sent.text
        return str(accepted["assignment_id"])


@pytest.fixture
def join(crowd_server: CrowdServer) -> Iterator[Callable[..., Person]]:
    """Sign up a new worker."""
    import httpx

    opened = []

    def make(name: str = "Bo", simulated: bool = False) -> Person:
        http = httpx.Client(base_url=crowd_server.url, headers={"Accept": "application/json"}, timeout=30)
        opened.append(http)
        form = {"name": name, "csrf": http.get("/join").json()["csrf"]} | ({"simulated": "1"} if simulated else {})
        assert http.post("/join", data=form).status_code == 303
        work = http.get("/work").json()
        return Person(http, work["csrf"], work["worker_id"])

    yield make
    for http in opened:
        http.close()


HTML = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2011-11-11/HTMLQuestion.xsd"


@pytest.fixture(scope="session")
def html_question() -> Callable[[str], str]:
    """HTML as an HTMLQuestion."""
    return lambda html: (
        f'<HTMLQuestion xmlns="{HTML}"><HTMLContent><![CDATA[{html}]]></HTMLContent>'
        "<FrameHeight>0</FrameHeight></HTMLQuestion>"
    )


@pytest.fixture(scope="session")
def our_question(html_question: Callable[[str], str]) -> Callable[..., str]:
    """A question of ours about some pictures."""
    from schemas.question import Choice, PictureAsked, TaskPage, embed

    def make(*image_ids: str, choices: str = "dots plain") -> str:
        page = TaskPage(
            task="apron",
            question={"en": "Which pattern?", "es": "¿Qué estampado?"},
            question_version=1,
            taxonomy_version=1,
            choices=[Choice(key=key, name={"en": key.capitalize()}) for key in choices.split()],
            pictures=[PictureAsked(image_id=i, url=f"/picture/{i}") for i in image_ids or ("a" * 64,)],
        )
        return html_question(f"<!doctype html><html><body>{embed(page)}</body></html>")

    return make


@pytest.fixture
def post_hit(crowd_server: CrowdServer, our_question: Callable[..., str]) -> Callable[..., Any]:
    """Create a HIT of ours, changed as said; each in a group of its own unless it has a title."""
    client = crowd_server.client()

    def make(**changes: Any) -> Any:
        values = {
            "Title": f"Look at pictures {os.urandom(4).hex()}",
            "Description": "Say what they show",
            "Reward": "0.10",
            "LifetimeInSeconds": 3600,
            "AssignmentDurationInSeconds": 600,
            "Question": our_question(),
        }
        return client.create_hit(**{**values, **changes})["HIT"]

    return make


@pytest.fixture(scope="module")
def pictures(crowd_server: CrowdServer) -> list[str]:
    """Ten large plain pictures: image ids."""
    return sheet.paint(crowd_server.pictures)


@pytest.fixture
def hit(post_hit: Callable[..., Any], html_question: Callable[[str], str]) -> Callable[..., str]:
    """Post a HIT of the task of 26 patterns about these pictures; its type."""

    from schemas.question import embed

    def make(ids: Sequence[str], classes: int = 26, practice: Sequence[str] = (), **changes: Any) -> str:
        html = f"<!doctype html><html><body>{embed(sheet.task(ids, classes, practice))}</body></html>"
        return str(post_hit(Question=html_question(html), MaxAssignments=9, **changes)["HITTypeId"])

    return make


@pytest.fixture
def at_work(
    chromium: Any, join: Callable[..., Person], hit: Callable[..., str], pictures: list[str]
) -> Iterator[Callable[..., Any]]:
    """A person who has accepted a HIT and looks at it; (page, person, address)."""
    opened = []

    def make(ids: Sequence[str] | None = None, options: dict[str, Any] | None = None, **changes: Any) -> Any:
        person = join()
        kind = hit(ids or pictures[:3], **changes)
        url = person.post(f"/accept/{kind}").json()["url"]
        browser = sheet.browser_of(chromium, person, **(options or {}))
        page = browser.__enter__()
        opened.append(browser)
        page.goto(f"{person.http.base_url}{url}")
        page.wait_for_selector(".item.current")
        return page, person, url

    yield make
    for browser in opened:
        browser.__exit__(None, None, None)


@dataclass
class Mailbox:
    """A real SMTP server that keeps what it gets; it takes nothing for addresses that begin with `refused`."""

    url: str
    mails: list[dict[str, Any]]


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server on a free loopback port."""
    from email import message_from_bytes, policy

    controller_module = pytest.importorskip("aiosmtpd.controller")
    mails: list[dict[str, Any]] = []

    class Keep:
        async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
            if address.startswith("refused"):
                return "550 nobody here"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            message = message_from_bytes(envelope.content, policy=policy.default)
            mails.append({"from": envelope.mail_from, "to": envelope.rcpt_tos, "message": message})
            return "250 OK"

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = controller_module.Controller(Keep(), hostname="127.0.0.1", port=port)
    controller.start()
    yield Mailbox(f"smtp://127.0.0.1:{port}", mails)
    controller.stop()
