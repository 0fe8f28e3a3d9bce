"""A backup is one moment of the store, taken under load, and goes back into either kind of database."""

from __future__ import annotations

import json
import sys
import threading
import zipfile

import pytest
from sqlalchemy import insert, select

from curate.cli import app
from curate.crowd.server.keys import issue
from curate.crowd.server.operations.call import Call
from curate.crowd.server.operations.hits import OPERATIONS as HITS
from curate.crowd.server.schema import assignments, hits, settings, tables
from curate.crowd.server.sessions import join
from curate.crowd.server.store import now, open_store
from curate.crowd.server.workers import accept, submit
from schemas.command import exit_code


@pytest.fixture
def curate(monkeypatch, capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["curate", *arguments])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def other_db(each_db, tmp_path, request):
    """A new database of the other kind."""
    if each_db.startswith("sqlite"):
        return request.getfixturevalue("postgres")()
    return f"sqlite:///{tmp_path / 'other.db'}"


def post(store, our_question, count=1, title="t"):
    data = {
        "Title": title,
        "Description": "d",
        "Reward": "0.10",
        "Question": our_question(),
        "MaxAssignments": 1_000_000,
        "LifetimeInSeconds": 3600,
        "AssignmentDurationInSeconds": 600,
        "AutoApprovalDelayInSeconds": 3600,
    }
    return [HITS["CreateHIT"](Call(store, "team", now()), data)["HIT"] for _ in range(count)]


def fill(store, our_question):
    """A key, a setting with every kind of letter, workers, HITs, an answer, an open assignment."""
    issue(store, "team")
    with store.writing() as connection:
        connection.execute(insert(settings).values(name="consent", value="Línea 1\nlinea 2 — 'x' \"y\" \u2028 👍"))
    hit = post(store, our_question, 3)[0]
    for number, answer in enumerate(["<answer>1</answer>", None]):
        worker, _ = join(store, f"Bo {number}", simulated=False)
        taken = accept(store, worker, hit["HITTypeId"])
        if answer:
            submit(store, taken, answer)


def everything(url):
    store = open_store(url)
    with store.reading() as connection:
        rows = {t.name: sorted(map(tuple, connection.execute(select(t))), key=str) for t in tables.sorted_tables}
    store.close()
    return rows


def test_a_backup_of_one_kind_restores_into_both(each_db, other_db, tmp_path, our_question, curate):
    store = open_store(each_db)
    fill(store, our_question)
    store.close()
    file = tmp_path / "crowd.zip"
    code, out, err = curate("crowd", "backup", str(file), "--db", each_db)
    assert (code, err) == (0, "")
    assert file.stat().st_mode & 0o077 == 0
    assert curate("crowd", "restore", str(file), "--db", other_db)[0] == 0
    assert everything(other_db) == everything(each_db)
    again = open_store(other_db)
    post(again, our_question)  # the numbers go on after the restored ones
    with again.reading() as connection:
        assert sorted(connection.scalars(select(hits.c.seq))) == [1, 2, 3, 4]
    again.close()
    assert f"-> {file}" in out


def test_a_backup_under_load_is_one_moment(each_db, other_db, tmp_path, our_question, curate):
    """HITs and assignments are counted in the same transaction, so a torn copy shows."""
    store = open_store(each_db)
    hit = post(store, our_question)[0]
    stop, sent = threading.Event(), []

    def answer():
        while not stop.is_set():
            worker, _ = join(store, "Bo", simulated=False)
            taken = accept(store, worker, hit["HITTypeId"])
            submit(store, taken, f"<a>{taken}</a>")
            sent.append(taken)

    threads = [threading.Thread(target=answer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            while len(sent) < 20 * (number + 1):
                threads[0].join(0.01)
                assert threads[0].is_alive()
            before = set(sent)
            file = tmp_path / f"{number}.zip"
            assert curate("crowd", "backup", str(file), "--db", each_db)[0] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    store.close()
    assert curate("crowd", "restore", str(file), "--db", other_db)[0] == 0
    restored = open_store(other_db)
    with restored.reading() as connection:
        rows = connection.execute(select(assignments)).all()
        counts = connection.execute(select(hits.c.taken, hits.c.pending)).one()
    restored.close()
    assert counts.taken == len(rows)
    assert counts.pending == sum(row.status == "Accepted" for row in rows)
    done = {row.assignment_id for row in rows if row.status == "Submitted"}
    assert before <= done
    assert all(row.answer == f"<a>{row.assignment_id}</a>" for row in rows if row.status == "Submitted")


def test_a_database_with_something_in_it_is_not_restored_into(each_db, tmp_path, our_question, curate):
    store = open_store(each_db)
    fill(store, our_question)
    store.close()
    before = everything(each_db)
    file = str(tmp_path / "crowd.zip")
    curate("crowd", "backup", file, "--db", each_db)
    code, out, err = curate("crowd", "restore", file, "--db", each_db)
    assert (code, out) == (1, "")
    assert err.startswith("error: the database already holds ")
    assert err.endswith("restore needs an empty one\n")
    assert everything(each_db) == before


def rewrite(file, name, change):
    """Change one member of a zip."""
    with zipfile.ZipFile(file) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(file, "w") as archive:
        for each, data in members.items():
            archive.writestr(each, data)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("hit.jsonl", lambda data: data.splitlines(keepends=True)[0], "holds 1 rows of hit where its manifest says 3"),
        ("hit.jsonl", lambda data: data[:-20], "is not a whole backup"),
        ("manifest.json", lambda data: json.dumps({**json.loads(data), "version": 9}), "of store version 9"),
        ("manifest.json", lambda data: b"{}", "is not a whole backup"),
    ],
)
def test_a_torn_or_foreign_file_restores_nothing(tmp_path, our_question, curate, name, change, says):
    db, new = f"sqlite:///{tmp_path / 'crowd.db'}", f"sqlite:///{tmp_path / 'new.db'}"
    store = open_store(db)
    fill(store, our_question)
    store.close()
    file = tmp_path / "crowd.zip"
    curate("crowd", "backup", str(file), "--db", db)
    rewrite(file, name, change)
    code, out, err = curate("crowd", "restore", str(file), "--db", new)
    assert (code, out) == (1, "")
    assert says in err
    assert err.count("\n") == 1
    assert not any(rows for table, rows in everything(new).items() if table != "schema_version")


def test_a_file_that_is_none_is_refused(tmp_path, curate):
    (tmp_path / "x.zip").write_text("hello")
    for name, says in (("x.zip", "is not a whole backup"), ("missing.zip", "missing.zip: no such file; ")):
        code, _, err = curate("crowd", "restore", str(tmp_path / name), "--db", f"sqlite:///{tmp_path / 'new.db'}")
        assert (code, err.count("\n")) == (1, 1)
        assert says in err


def test_only_the_newest_are_kept_and_nothing_else_is_touched(tmp_path, curate):
    db, target = f"sqlite:///{tmp_path / 'crowd.db'}", str(tmp_path / "crowd-{time}.zip")
    (tmp_path / "crowd-of-mine.zip").write_text("mine")
    for _ in range(4):
        assert curate("crowd", "backup", target, "--db", db, "--keep", "2")[0] == 0
    assert len(list(tmp_path.glob("crowd-2*.zip"))) == 2
    assert (tmp_path / "crowd-of-mine.zip").read_text() == "mine"
    code, _, err = curate("crowd", "backup", str(tmp_path / "x.zip"), "--db", db, "--keep", "2")
    assert (code, err) == (1, "error: --keep 2: needs {time} in the file's name, got 'x.zip'\n")
