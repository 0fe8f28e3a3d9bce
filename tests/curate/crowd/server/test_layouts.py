"""HIT layouts: kept by command, filled in by CreateHIT."""

from __future__ import annotations

import contextlib
import io
import os
import sys

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from curate.cli import app
from curate.crowd.server.layouts import fill, html_question, parameters_of
from curate.crowd.server.questions import parse_question
from schemas.command import exit_code

PAGE = '<form action="https://www.mturk.com/mturk/externalSubmit"><p>${question}</p><img src="${image_url}" alt="${question}"></form>'


@pytest.fixture
def curate(crowd_server, tmp_path):
    """Run `curate crowd layouts …` on the server's database: exit code, stdout, stderr."""

    def run(*words):
        out, err = io.StringIO(), io.StringIO()
        argv = ["curate", "crowd", "layouts", *words, "--db", crowd_server.db]
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(tmp_path),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", argv)
            return exit_code(app, "curate"), out.getvalue(), err.getvalue()

    return run


@pytest.fixture
def layout(curate, tmp_path):
    (tmp_path / "page.html").write_text(PAGE)
    code, out, err = curate("add", "Hats", "page.html", "--requester", "tests", "--frame-height", "400")
    assert code == 0, err
    return out.strip()


def values(**given):
    return [{"Name": name, "Value": value} for name, value in given.items()]


def make(crowd_server, **changes):
    fixed = {"Title": f"Layout {os.urandom(4).hex()}", "Description": "d", "Reward": "0.05", "LifetimeInSeconds": 600}
    return crowd_server.client().create_hit(**fixed, AssignmentDurationInSeconds=60, **changes)["HIT"]


def test_a_layout_is_filled_in_as_it_is(crowd_server, layout, join):
    given = values(question="Hat <b>or</b> not ]]> & ${image_url}?", image_url="https://e.org/1.png?a=1&b=2")
    hit = make(crowd_server, HITLayoutId=layout, HITLayoutParameters=given)
    assert hit["HITLayoutId"] == layout
    asked = parse_question(hit["Question"])
    assert asked.height == 400
    assert "<p>Hat <b>or</b> not ]]> & ${image_url}?</p>" in asked.html  # raw, and once: a value is no layout
    assert 'src="https://e.org/1.png?a=1&b=2"' in asked.html
    person = join()
    accepted = person.post(f"/accept/{hit['HITTypeId']}").json()
    assert "Hat <b>or</b> not" in person.http.get(f"/frame/{accepted['assignment_id']}").text


def test_a_hit_of_a_known_type_takes_a_layout_too(crowd_server, layout):
    client = crowd_server.client()
    kind = client.create_hit_type(Title="Hats", Description="d", Reward="0.05", AssignmentDurationInSeconds=60)[
        "HITTypeId"
    ]
    given = values(question="Hat?", image_url="https://e.org/1.png")
    hit = client.create_hit_with_hit_type(
        HITTypeId=kind, LifetimeInSeconds=600, HITLayoutId=layout, HITLayoutParameters=given
    )["HIT"]
    assert "<p>Hat?</p>" in parse_question(hit["Question"]).html


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"HITLayoutParameters": values(question="x")}, "'image_url' is missing"),
        ({"HITLayoutParameters": values(question="x", image_url="y", color="z")}, r"no place \$\{color\}"),
        ({"HITLayoutParameters": values(question="x", image_url="y") + values(question="z")}, "given twice"),
        ({"HITLayoutParameters": values(question="x" * 70_000, image_url="y")}, "largest allowed is 65,535"),
        ({"HITLayoutParameters": values(question="\x00", image_url="y")}, "XML"),
        ({}, "'question' is missing"),
    ],
)  # fmt: skip
def test_a_layout_filled_in_wrongly_is_refused(crowd_server, layout, changes, said):
    before = len(crowd_server.client().list_hits(MaxResults=100)["HITs"])
    with pytest.raises(ClientError, match=said):
        make(crowd_server, HITLayoutId=layout, **changes)
    assert len(crowd_server.client().list_hits(MaxResults=100)["HITs"]) == before


def test_it_is_a_question_or_a_layout(crowd_server, layout, our_question):
    with pytest.raises(ClientError, match="not both"):
        make(crowd_server, HITLayoutId=layout, Question=our_question())
    with pytest.raises(ClientError, match="not both"):
        make(crowd_server)
    with pytest.raises(ClientError, match="need a HITLayoutId"):
        make(crowd_server, Question=our_question(), HITLayoutParameters=values(a="b"))
    with pytest.raises(ClientError, match="HITLayout 3NONE does not exist") as error:
        make(crowd_server, HITLayoutId="3NONE")
    assert error.value.response["TurkErrorCode"] == "AWS.MechanicalTurk.HITLayoutDoesNotExist"


def test_a_layout_belongs_to_its_requester(crowd_server, layout):
    from curate.crowd.server.keys import issue
    from curate.crowd.server.store import open_store

    store = open_store(crowd_server.db)
    access, secret = issue(store, "somebody else")
    store.close()
    stranger = crowd_server.client(aws_access_key_id=access, aws_secret_access_key=secret)
    with pytest.raises(ClientError, match="does not exist"):
        stranger.create_hit(
            Title="t",
            Description="d",
            Reward="0.05",
            LifetimeInSeconds=600,
            AssignmentDurationInSeconds=60,
            HITLayoutId=layout,
        )


def test_layouts_are_listed_and_shown(curate, layout, tmp_path):
    code, out, _ = curate("list")
    assert code == 0
    assert f"{layout}  " in out
    assert "tests  Hats: question, image_url" in out
    assert curate("show", layout)[1] == curate("show", "Hats")[1] == PAGE
    assert curate("add", "Hats", "page.html", "--requester", "tests", "--frame-height", "400")[1].strip() == layout
    (tmp_path / "page.html").write_text(PAGE + "<p>new</p>")
    newer = curate("add", "Hats", "page.html", "--requester", "tests")[1].strip()
    assert newer != layout
    assert curate("show", "Hats")[1] == PAGE + "<p>new</p>"


@pytest.mark.parametrize(
    ("name", "content", "requester", "said"),
    [
        ("Hats", b"\xff\xfe", "tests", "not UTF-8"),
        ("Hats", b"x" * 70_000, "tests", "largest allowed is 65,535"),
        ("Hats", b"\x00", "tests", "layout 'Hats'"),
        ("Hats", b"x", "nobody", "no requester is called 'nobody'"),
        (" ", b"x", "tests", "1 to 200 characters"),
        ("Hats", None, "tests", "cannot be read"),
    ],
)
def test_what_cannot_be_a_layout_is_said_in_one_line(curate, tmp_path, name, content, requester, said):
    if content is not None:
        (tmp_path / "bad.html").write_bytes(content)
    code, out, err = curate("add", name, "bad.html", "--requester", requester)
    assert (code, out) == (1, "")
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert "no layout is called" in curate("show", "nothing of that name")[2]


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True), st.text("ab${}<]>&", max_size=9))
)
def test_every_place_gets_its_value_once(given):
    html = "".join(f"${{{name}}}|" for name in given)
    assert parameters_of(html) == list(given)
    filled = fill(html, values(**given))
    assert filled == "".join(f"{value}|" for value in given.values())
    assert parse_question(html_question(filled, 0)).html == filled
