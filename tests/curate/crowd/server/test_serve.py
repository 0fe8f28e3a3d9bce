"""The process: how it starts, what it says, how it ends."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from curate.cli import app
from curate.crowd.server.serve import is_loopback, listen
from curate.crowd.server.store import open_store
from schemas.command import exit_code
from schemas.errors import UserError


@pytest.fixture
def db(tmp_path):
    return f"sqlite:///{tmp_path / 'crowd.db'}"


@pytest.fixture
def server(start_crowd, db, tmp_path):
    running = start_crowd(db, tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.wait()
    running.process.stdout.close()


@pytest.fixture
def curate(monkeypatch, capsys, tmp_path):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["curate", *arguments])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_ctrl_c_ends_it_with_0(server):
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=20) == 0


def test_sigterm_ends_it_with_0_even_while_clients_are_connected(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as half_asked, httpx.Client() as idle:
        half_asked.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf a body")
        idle.get(f"{server.url}/join")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0
    assert server.process.stdout.read() == ""  # the one line was all


def test_what_was_answered_survives_kill_9(server, start_crowd, db, tmp_path):
    client = server.client()
    values = {"Title": "t", "Description": "d", "Reward": "0.05", "AssignmentDurationInSeconds": 60}
    made = [client.create_hit_type(**{**values, "Title": f"t{n}"})["HITTypeId"] for n in range(5)]
    server.process.kill()
    server.process.wait()
    rows = sqlite3.connect(db.removeprefix("sqlite:///")).execute("SELECT hit_type_id FROM hit_type")
    assert sorted(row[0] for row in rows) == sorted(made)
    again = start_crowd(db, tmp_path)
    assert again.stop() == 0
    again.process.stdout.close()


def test_accepted_connections_do_not_wait_for_more():
    """Without TCP_NODELAY every request costs 40 ms; asyncio sets it only where the socket says that it is TCP."""
    import asyncio

    seen = []

    class Look(asyncio.Protocol):
        def connection_made(self, transport):
            accepted = transport.get_extra_info("socket")
            seen.append(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def once(made):
        served = await asyncio.get_running_loop().create_server(Look, sock=made)
        async with served:
            _, writer = await asyncio.open_connection(*made.getsockname())
            writer.close()
            await writer.wait_closed()

    with listen("127.0.0.1", 0) as made, ThreadPoolExecutor(1) as thread:  # a browser test may hold this one's loop
        thread.submit(asyncio.run, once(made)).result()
    assert seen
    assert all(seen)


def test_a_port_in_use_is_one_clear_line(curate, db):
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        code, _, said = curate("crowd", "serve", "--db", db, "--port", str(port))
    assert code == 1
    assert said.startswith(f"error: --host 127.0.0.1 --port {port}: cannot listen there (Address already in use)")


def test_an_address_that_others_reach_needs_a_key_first(curate, db):
    code, _, said = curate("crowd", "serve", "--db", db, "--host", "0.0.0.0", "--port", "0")
    assert code == 1
    assert "no key was issued yet" in said


def test_sign_up_is_closed_where_others_reach_it(start_crowd, db, tmp_path):
    server = start_crowd(db, tmp_path, "--host", "0.0.0.0")
    with server.process.stdout, httpx.Client(base_url=server.url) as http:
        assert "closed" in http.get("/join").text
        csrf = http.get("/join", headers={"Accept": "application/json"}).json()["csrf"]
        assert http.post("/join", data={"name": "Bo", "csrf": csrf}).status_code == 403
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--db", "crowd.db"], "is not a database URL"),
        (["--db", "oracle://x"], "needs the Python package"),
        (["--db", "sqlite://"], "needs a database file"),
        (["--db", "sqlite:////no/such/folder/crowd.db"], "no such folder"),
        (["--db", "sqlite:///x.db", "--signup", "maybe"], "must be open, email or closed"),
        (["--db", "sqlite:///x.db", "--pictures", "nowhere"], "no such folder"),
        (["--db", "sqlite:///x.db", "--host", "127.0.0.1.5"], "no key was issued yet"),
    ],
)
def test_wrong_settings_are_one_clear_line(curate, arguments, says):
    code, out, said = curate("crowd", "serve", "--port", "0", *arguments)
    assert (code, out) == (1, "")
    assert says in said
    assert said.count("\n") == 1


def test_a_database_from_a_newer_program_is_refused(db):
    open_store(db).close()
    with sqlite3.connect(db.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    with pytest.raises(UserError, match="version 99"):
        open_store(db)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "crowd.db").write_text("hello " * 1000)
    with pytest.raises(UserError, match="cannot be opened"):
        open_store(f"sqlite:///{tmp_path / 'crowd.db'}")


def test_only_its_owner_can_read_the_database(db):
    open_store(db).close()
    assert Path(db.removeprefix("sqlite:///")).stat().st_mode & 0o077 == 0


def test_keys_are_issued_listed_and_revoked(curate, server, db):
    issued = json.loads(curate("crowd", "keys", "issue", "team", "--db", db, "--json")[1])
    key, secret = issued["access_key_id"], issued["secret_access_key"]
    client = server.client(aws_access_key_id=key, aws_secret_access_key=secret)
    assert client.get_account_balance()["AvailableBalance"]
    listed = curate("crowd", "keys", "list", "--db", db)[1]
    assert f"{key}  " in listed
    assert secret not in listed
    assert curate("crowd", "keys", "revoke", key, "--db", db) == (0, f"{key} revoked\n", "")
    with pytest.raises(Exception, match="security token"):
        client.get_account_balance()
    wrong = f"error: no key {key!r} in use; `curate crowd keys list` shows them\n"
    assert curate("crowd", "keys", "revoke", key, "--db", db) == (1, "", wrong)


@pytest.mark.parametrize(
    ("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("x.org", False)]
)
def test_loopback_is_known(host, local):
    assert is_loopback(host) is local
