"""The worker's pages as programs see them, over HTTP against a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import func, select

from curate.crowd.server.questions import ANSWER_KEY, FORM
from curate.crowd.server.schema import assignments
from curate.crowd.server.store import open_store

A, B = "a" * 64, "b" * 64


@pytest.fixture
def client(crowd_server):
    return crowd_server.client()


@pytest.fixture
def make_test(client):
    """A test of two questions, right answers yes and no, its score in percent."""

    def make(name, retry=None, keyed=True):
        questions = "".join(
            f"<Question><QuestionIdentifier>{q}</QuestionIdentifier><IsRequired>true</IsRequired><QuestionContent><Text>"
            f"{q}?</Text></QuestionContent><AnswerSpecification><SelectionAnswer><Selections><Selection>"
            "<SelectionIdentifier>yes</SelectionIdentifier><Text>Yes</Text></Selection><Selection><SelectionIdentifier>no"
            "</SelectionIdentifier><Text>No</Text></Selection></Selections></SelectionAnswer></AnswerSpecification></Question>"
            for q in ("q1", "q2")
        )
        key = "".join(
            f"<Question><QuestionIdentifier>{q}</QuestionIdentifier><AnswerOption><SelectionIdentifier>{right}"
            "</SelectionIdentifier><AnswerScore>1</AnswerScore></AnswerOption></Question>"
            for q, right in (("q1", "yes"), ("q2", "no"))
        )
        percent = "<PercentageMapping><MaximumSummedScore>2</MaximumSummedScore></PercentageMapping>"
        wrapped = f"<QualificationValueMapping>{percent}</QualificationValueMapping>"
        changes = {"RetryDelayInSeconds": retry} if retry is not None else {}
        if keyed:
            changes["AnswerKey"] = f'<AnswerKey xmlns="{ANSWER_KEY}">{key}{wrapped}</AnswerKey>'
        return client.create_qualification_type(
            Name=name,
            Description="d",
            QualificationTypeStatus="Active",
            Test=f'<QuestionForm xmlns="{FORM[1]}">{questions}</QuestionForm>',
            TestDurationInSeconds=600,
            **changes,
        )["QualificationType"]["QualificationTypeId"]

    return make


def needing(identifier, mark=60, guarded="Accept"):
    rule = {"QualificationTypeId": identifier, "Comparator": "GreaterThanOrEqualTo", "IntegerValues": [mark]}
    return [{**rule, "ActionsGuarded": guarded}]


def test_simulated_people_have_ids_of_their_own(join):
    assert join(simulated=True).worker_id.startswith("ASIM")
    assert not join().worker_id.startswith("ASIM")


def test_answers_arrive_as_one_field_a_picture(client, post_hit, our_question, join):
    hit, person = post_hit(Question=our_question(A, B)), join()
    url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    sent = person.post(url, **{A: "dots", B: "cannot_see", f"seconds.{A}": "2.50", f"seconds.{B}": "1e9", "x": "y"})
    assert sent.json() == {"submitted": True}
    (answer,) = client.list_assignments_for_hit(HITId=hit["HITId"])["Assignments"]
    assert answer["WorkerId"] == person.worker_id
    fields = [A, "dots", f"seconds.{A}", "2.50", B, "cannot_see"]
    found = answer["Answer"].split("QuestionFormAnswers.xsd", 1)[1]
    assert [text for text in found.replace("<", ">").split(">") if text in fields] == fields
    assert "1e9" not in found


def test_an_answer_left_out_or_made_up_is_refused_and_can_be_sent_again(post_hit, our_question, join):
    hit, person = post_hit(Question=our_question(A, B)), join()
    url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    assert person.post(url, **{A: "dots"}).status_code == 400
    assert person.post(url, **{A: "dots", B: "<script>"}).status_code == 400
    assert person.post(url, **{A: "dots", B: "plain"}).status_code == 200
    again = person.post(url, **{A: "dots", B: "plain"})
    assert (again.status_code, again.json()) == (409, {"error": "already submitted"})


def test_an_open_assignment_is_given_again_and_a_done_hit_never(post_hit, join):
    hit, person = post_hit(MaxAssignments=2), join()
    first = person.post(f"/accept/{hit['HITTypeId']}").json()
    assert person.post(f"/accept/{hit['HITTypeId']}").json() == first
    person.answer(hit["HITTypeId"], "dots")
    none = person.post(f"/accept/{hit['HITTypeId']}")
    assert (none.status_code, none.json()) == (409, {"error": "no work left"})


def test_a_hit_given_back_is_free_for_others(post_hit, join):
    hit, first, second = post_hit(), join(), join()
    url = first.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    assert second.post(f"/accept/{hit['HITTypeId']}").status_code == 409
    assert first.post(f"{url}/return").json() == {"returned": True}
    assert second.post(f"/accept/{hit['HITTypeId']}").status_code == 200


def test_many_at_once_never_take_more_than_there_is(crowd_server, client, our_question, join):
    values = {"Title": "race", "Description": "d", "Reward": "0.05", "AssignmentDurationInSeconds": 60}
    kind = client.create_hit_type(**values)["HITTypeId"]
    made = {"HITTypeId": kind, "LifetimeInSeconds": 60, "MaxAssignments": 3, "Question": our_question()}
    hits = [client.create_hit_with_hit_type(**made)["HIT"]["HITId"] for _ in range(2)]
    people = [join() for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda person: person.post(f"/accept/{kind}").status_code, people * 2))
    store = open_store(crowd_server.db)
    counts = (assignments.c.hit_id, func.count(), func.count(assignments.c.worker_id.distinct()))
    with store.reading() as connection:
        rows = connection.execute(
            select(*counts).where(assignments.c.hit_id.in_(hits)).group_by(assignments.c.hit_id)
        ).all()
    store.close()
    assert sorted(map(tuple, rows)) == sorted((hit, 3, 3) for hit in hits)
    assert set(replies) == {200, 409}


def test_the_test_opens_the_work(client, post_hit, join, make_test):
    test = make_test("opens", retry=0)
    hit, person = post_hit(QualificationRequirements=needing(test)), join()
    group = person.group(hit["HITTypeId"])
    (standing,) = group["qualifications"]
    assert (group["qualified"], standing["state"], standing["pass_mark"]) == (False, "needed", 60)
    assert person.post(f"/accept/{hit['HITTypeId']}").json() == {"error": "not qualified"}
    questions = person.get(standing["test_url"])["questions"]
    assert [(q["id"], [c["id"] for c in q["choices"]]) for q in questions] == [
        ("q1", ["yes", "no"]),
        ("q2", ["yes", "no"]),
    ]
    assert person.post(standing["test_url"], q1="yes", q2="yes").json() == {
        "score": 50,
        "passed": False,
        "pass_mark": 60,
    }
    assert person.group(hit["HITTypeId"])["qualifications"][0]["state"] == "failed"
    assert person.post(standing["test_url"], q1="yes", q2="no").json()["passed"] is True
    assert client.get_qualification_score(QualificationTypeId=test, WorkerId=person.worker_id)["Qualification"][
        "IntegerValue"
    ] == (100)
    assert person.group(hit["HITTypeId"])["qualified"] is True
    person.answer(hit["HITTypeId"], "dots")


def test_a_test_without_retry_delay_is_taken_once(post_hit, join, make_test):
    test = make_test("once")
    hit, person = post_hit(QualificationRequirements=needing(test)), join()
    assert person.post(f"/test/{test}", q1="no", q2="yes").json()["score"] == 0
    assert person.post(f"/test/{test}", q1="yes", q2="no").status_code == 409
    assert person.group(hit["HITTypeId"])["qualifications"][0]["test_url"] is None


def test_a_test_half_filled_does_not_count_as_taken(join, make_test):
    test, person = make_test("half"), join()
    assert person.post(f"/test/{test}", q1="yes").status_code == 400
    assert person.post(f"/test/{test}", q1="yes", q2="no").json()["score"] == 100


def test_a_test_without_a_key_waits_for_the_requester(client, post_hit, join, make_test):
    test = make_test("judged by hand", keyed=False)
    hit, person = post_hit(QualificationRequirements=needing(test)), join()
    assert person.post(f"/test/{test}", q1="yes", q2="no").json()["score"] is None
    assert person.group(hit["HITTypeId"])["qualifications"][0]["state"] == "pending"
    client.associate_qualification_with_worker(QualificationTypeId=test, WorkerId=person.worker_id, IntegerValue=80)
    assert person.group(hit["HITTypeId"])["qualified"] is True
    held = client.list_workers_with_qualification_type(QualificationTypeId=test)["Qualifications"]
    assert [(q["WorkerId"], q["IntegerValue"]) for q in held] == [(person.worker_id, 80)]
    client.disassociate_qualification_from_worker(QualificationTypeId=test, WorkerId=person.worker_id)
    assert person.group(hit["HITTypeId"])["qualified"] is False


def test_work_hidden_from_strangers_is_not_listed(post_hit, join, make_test):
    rule = needing(make_test("hidden"), guarded="DiscoverPreviewAndAccept")
    hit = post_hit(QualificationRequirements=rule)
    assert join().group(hit["HITTypeId"]) is None


def test_a_name_of_a_qualification_is_used_once_and_found_again(client, make_test):
    first = make_test("found again")
    with pytest.raises(
        client.exceptions.RequestError, match=r"You have already created a QualificationType with this name\."
    ):
        make_test("found again")
    listed = client.list_qualification_types(Query="found again", MustBeRequestable=True, MustBeOwnedByCaller=True)
    assert [kind["QualificationTypeId"] for kind in listed["QualificationTypes"]] == [first]


def test_nobody_sees_or_answers_what_is_anothers(post_hit, join):
    hit, mine, other = post_hit(), join(), join()
    url = mine.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    assert other.http.get(url).status_code == 404
    assert other.post(url, **{A: "dots"}).status_code == 404
    assert other.post(f"{url}/return").status_code == 404


def test_a_form_from_elsewhere_is_refused(post_hit, join):
    hit, person = post_hit(), join()
    person.csrf = "guessed"
    assert person.post(f"/accept/{hit['HITTypeId']}").status_code == 403
    assert person.http.post(f"/accept/{hit['HITTypeId']}").status_code == 403


def test_without_a_session_there_is_only_the_door(crowd_server):
    assert httpx.get(f"{crowd_server.url}/work", headers={"Accept": "application/json"}).status_code == 401
    browser = httpx.get(f"{crowd_server.url}/work")
    assert (browser.status_code, browser.headers["location"]) == (303, "/join")


@pytest.mark.parametrize("name", ["", "   ", "x" * 81, "a\x00b"])
def test_a_name_that_is_none_is_refused(crowd_server, name):
    with httpx.Client(base_url=crowd_server.url, headers={"Accept": "application/json"}) as http:
        csrf = http.get("/join").json()["csrf"]
        assert http.post("/join", data={"name": name, "csrf": csrf}).status_code == 400


NASTY = "<script>alert(1)</script>'; DROP TABLE worker; --"


def test_html_and_sql_in_texts_stay_text(post_hit, our_question, join):
    title = NASTY + str(id(object()))
    hit = post_hit(Title=title, Description=NASTY)
    person = join(name=NASTY)
    page = person.http.get("/work", headers={"Accept": "text/html"})
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert person.group(hit["HITTypeId"])["title"] == title


def test_cookies_are_out_of_reach_of_scripts(crowd_server):
    with httpx.Client(base_url=crowd_server.url) as http:
        csrf = http.get("/join", headers={"Accept": "application/json"}).json()["csrf"]
        cookie = http.post("/join", data={"name": "Bo", "csrf": csrf}).headers["set-cookie"].lower()
    assert "consenso_worker=" in cookie
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


FOREIGN = (
    '<form action="https://www.mturk.com/mturk/externalSubmit"><input name="assignmentId"><textarea name="note">'
    "</textarea></form>"
)


def test_a_page_written_for_mturk_is_served_in_its_sandbox_and_sends_by_assignment_alone(
    crowd_server, client, post_hit, html_question, join
):
    hit, person = post_hit(Question=html_question(FOREIGN)), join()
    accepted = person.post(f"/accept/{hit['HITTypeId']}").json()
    assert person.get(accepted["url"])["task"] is None
    around = person.http.get(accepted["url"], headers={"Accept": "text/html"}).text
    assert 'sandbox="allow-scripts allow-forms"' in around
    assert f"assignmentId={accepted['assignment_id']}" in around
    inside = httpx.get(f"{crowd_server.url}/frame/{accepted['assignment_id']}")  # the frame has no cookie
    assert 'action="/mturk/externalSubmit"' in inside.text
    assert "sandbox allow-scripts" in inside.headers["content-security-policy"]
    sent = {"assignmentId": accepted["assignment_id"], "note": 'she said "hi"', "tag": ["a", "b"]}
    assert httpx.post(f"{crowd_server.url}/mturk/externalSubmit", data=sent).status_code == 200
    assert httpx.post(f"{crowd_server.url}/mturk/externalSubmit", data=sent).status_code == 409
    assert httpx.post(f"{crowd_server.url}/mturk/externalSubmit", data={"assignmentId": "3X"}).status_code == 404
    (answer,) = client.list_assignments_for_hit(HITId=hit["HITId"])["Assignments"]
    assert '<FreeText>she said "hi"</FreeText>' in answer["Answer"]
    assert "<FreeText>a|b</FreeText>" in answer["Answer"]


def test_a_frame_shows_nothing_to_somebody_else_and_no_page_of_ours(crowd_server, post_hit, html_question, join):
    foreign, ours, holder, other = post_hit(Question=html_question(FOREIGN)), post_hit(), join(), join()
    frame, raw = (
        f"/frame/{holder.post('/accept/' + hit['HITTypeId']).json()['assignment_id']}" for hit in (foreign, ours)
    )
    assert holder.http.get(frame).status_code == 200
    assert other.http.get(frame).status_code == 404
    for path in (raw, f"/preview/frame/{ours['HITId']}"):
        for who in (holder.http.get, lambda address: httpx.get(crowd_server.url + address)):
            reply = who(path)
            assert reply.status_code == 404
            assert A not in reply.text


@pytest.mark.parametrize("language", ["en", "es", "pt"])
def test_every_page_speaks_three_languages(post_hit, join, language):
    hit, person = post_hit(), join()
    html = {"Accept": "text/html", "Accept-Language": f"{language}-XX,en;q=0.5"}
    url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    page = person.http.get(url, headers=html).text
    assert f'<html lang="{language}">' in page
    assert {"en": "Send answers", "es": "Enviar respuestas", "pt": "Enviar respostas"}[language] in page
    assert {"en": "Which pattern?", "es": "¿Qué estampado?", "pt": "Which pattern?"}[language] in page


def test_too_many_fields_are_refused(join, post_hit):
    hit, person = post_hit(), join()
    url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    assert person.post(url, **{f"f{n}": "x" for n in range(3000)}).status_code == 400
