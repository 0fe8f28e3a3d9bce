"""Answers so far: kept by the server until the assignment ends, for their worker alone. Real server, real HTTP."""

from __future__ import annotations

import json
import re

import pytest
from sqlalchemy import create_engine, text

from schemas.question import Choice, PictureAsked, PracticePicture, TaskPage, embed

A, B = "a" * 64, "b" * 64


@pytest.fixture
def accepted(join, post_hit):
    """A worker with an open HIT of ten seconds at least; (person, its address)."""

    def make(**changes):
        person = join()
        hit = post_hit(**changes)
        return person, person.post(f"/accept/{hit['HITTypeId']}").json()["url"]

    return make


def kept(person, url):
    """The drafts as the page carries them: field to value."""
    html = person.http.get(url, headers={"Accept": "text/html"}).text
    found = json.loads(re.search(r'id="drafts">(.*?)</script>', html).group(1))
    return {draft["field"]: draft["value"] for draft in found}


def rows(crowd_server):
    engine = create_engine(crowd_server.db)
    with engine.connect() as connection:
        count = connection.scalar(text("select count(*) from draft"))
    engine.dispose()
    return count


def test_several_drafts_travel_in_one_body_and_the_later_of_a_field_counts(accepted):
    person, url = accepted()
    assert person.post(f"{url}/draft", field=A, value="dots", seconds="1.5").status_code == 204
    both = {"field": [A, B], "value": ["plain", "dots"], "seconds": ["2", ""]}
    assert person.post(f"{url}/draft", **both).status_code == 204
    assert kept(person, url) == {A: "plain", B: "dots"}
    person.post(f"{url}/draft", field=B, value="", seconds="3")  # taken back
    assert kept(person, url) == {A: "plain", B: ""}


@pytest.mark.parametrize(
    "fields",
    [{}, {"field": A}, {"field": [A, B], "value": "dots", "seconds": "1"}, {"field": "", "value": "dots", "seconds": "1"},
     {"field": "x" * 300, "value": "dots", "seconds": "1"}, {"field": A, "value": "x" * 10_001, "seconds": "1"},
     {"field": A, "value": "nul\0", "seconds": "1"}],
)  # fmt: skip
def test_a_draft_that_is_none_is_refused(accepted, fields):
    person, url = accepted()
    reply = person.post(f"{url}/draft", **fields)
    assert (reply.status_code, reply.json()["error"]) == (400, "An answer is not one of the choices.")
    assert kept(person, url) == {}


@pytest.mark.parametrize("seconds", ["nan", "inf", "-1", "soon", "1e999"])
def test_a_time_that_is_none_is_left_out(accepted, seconds):
    person, url = accepted()
    assert person.post(f"{url}/draft", field=A, value="dots", seconds=seconds).status_code == 204
    html = person.http.get(url, headers={"Accept": "text/html"}).text
    assert json.loads(re.search(r'id="drafts">(.*?)</script>', html).group(1))[0]["seconds"] is None


def test_markup_in_a_draft_stays_text(accepted):
    person, url = accepted()
    nasty = "</script><script>alert(1)</script>'; drop table draft; --"
    person.post(f"{url}/draft", field=A, value=nasty, seconds="1")
    assert kept(person, url) == {A: nasty}


def test_nobody_reads_or_writes_somebody_elses_drafts(accepted, join):
    _, url = accepted()
    stranger = join("Eve")
    assert stranger.post(f"{url}/draft", field=A, value="dots", seconds="1").status_code == 404
    assert stranger.http.get(url).status_code == 404


def test_a_draft_needs_the_forms_token(accepted):
    person, url = accepted()
    reply = person.http.post(f"{url}/draft", data={"field": A, "value": "dots", "seconds": "1", "csrf": "guess"})
    assert reply.status_code == 403


def test_drafts_go_when_the_hit_is_sent_or_given_back(crowd_server, accepted):
    before = rows(crowd_server)
    sent, url = accepted()
    sent.post(f"{url}/draft", field=A, value="dots", seconds="1")
    returned, other = accepted()
    returned.post(f"{other}/draft", field=A, value="dots", seconds="1")
    assert rows(crowd_server) == before + 2
    assert sent.post(url, **{A: "plain"}).json() == {"submitted": True}
    assert returned.post(f"{other}/return").json() == {"returned": True}
    assert rows(crowd_server) == before
    assert sent.post(f"{url}/draft", field=A, value="dots", seconds="1").status_code == 409
    assert returned.post(f"{other}/draft", field=A, value="dots", seconds="1").status_code == 410


def test_after_the_deadline_a_draft_is_refused_and_the_kept_ones_are_gone(crowd_server, accepted):
    person, url = accepted(AssignmentDurationInSeconds=30)
    before = rows(crowd_server)
    person.post(f"{url}/draft", field=A, value="dots", seconds="1")
    engine = create_engine(crowd_server.db)  # the clock cannot be moved, so the deadline is
    with engine.begin() as connection:
        past = text("update assignment set deadline = 1 where assignment_id = :id")
        connection.execute(past, {"id": url.rsplit("/", 1)[1]})
    engine.dispose()
    reply = person.post(f"{url}/draft", field=A, value="plain", seconds="1")
    assert (reply.status_code, reply.json()["error"]) == (
        410,
        "The time for this HIT is over; it went to somebody else.",
    )
    person.get("/work")  # whoever comes next brings the store to the present
    assert rows(crowd_server) == before


def test_every_assignment_has_an_order_of_its_own_and_keeps_it(join, post_hit, our_question):
    pictures = [f"{n:064x}" for n in range(8)]
    hit = post_hit(Question=our_question(*pictures), MaxAssignments=5)
    orders = []
    for _ in range(5):
        person = join()
        url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
        order = [picture["image_id"] for picture in person.get(url)["task"]["pictures"]]
        assert sorted(order) == pictures
        page = person.http.get(url, headers={"Accept": "text/html"}).text
        assert re.findall(r'data-field="(.*?)"', page) == order
        assert [choice["key"] for choice in person.get(url)["task"]["choices"]] == ["dots", "plain"]
        orders.append(tuple(order))
    assert len(set(orders)) > 1


def practice_hit(post_hit, html_question, **changes):
    page = TaskPage(
        task="apron", question={"en": "Which pattern?"}, question_version=1, taxonomy_version=1,
        choices=[Choice(key=key, name={"en": key.capitalize()}) for key in ("dots", "plain")],
        pictures=[PictureAsked(image_id=A, url=f"/picture/{A}")],
        practice=[PracticePicture(image_id=B, url=f"/picture/{B}", label="dots", explanation="Look: <b>dots</b>.")],
    )  # fmt: skip
    return post_hit(Question=html_question(f"<!doctype html><html><body>{embed(page)}</body></html>"), **changes)


def test_practice_is_a_page_of_its_own_and_never_part_of_the_hit(join, post_hit, html_question):
    hit = practice_hit(post_hit, html_question)
    person = join()
    (each,) = person.get(f"/practice/{hit['HITTypeId']}")["practice"]
    assert (each["image_id"], each["label"]) == (B, "dots")
    html = person.http.get(f"/practice/{hit['HITTypeId']}", headers={"Accept": "text/html"}).text
    assert "Look: &lt;b&gt;dots&lt;/b&gt;." in html
    assert person.group(hit["HITTypeId"])["practice"] == 1
    url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    assert person.get(url)["task"]["practice"] == []
    assert B not in person.http.get(url, headers={"Accept": "text/html"}).text


def test_work_without_practice_has_no_such_page(join, post_hit):
    person = join()
    hit = post_hit()
    assert person.http.get(f"/practice/{hit['HITTypeId']}").status_code == 404
    assert person.http.get("/practice/NOSUCHTYPE").status_code == 404


def test_the_list_tells_pay_waiting_and_the_own_pace(join, post_hit):
    person = join()
    hit = post_hit(Title="Pace", Reward="0.25")
    for _ in range(2):
        post_hit(Title="Pace", Reward="0.25")
    assert person.group(hit["HITTypeId"])["usd_per_hour"] is None
    for _ in range(3):
        person.answer(hit["HITTypeId"], "dots")
    post_hit(Title="Pace", Reward="0.25")
    group = person.group(hit["HITTypeId"])
    assert group["pictures"] == 1
    assert group["usd_per_hour"] == 900.0  # a program answers within a second, which is the least that counts
    html = person.http.get("/work", headers={"Accept": "text/html"}).text
    assert re.search(r"waiting</dt><dd>\$0\.75<", html)
