"""The inbox, the preview and the request for a qualification: as programs see them, and in a real browser."""

from __future__ import annotations

import os
import re

import httpx
import pytest

HTML = {"Accept": "text/html"}
PAGE = '<form action="https://www.mturk.com/mturk/externalSubmit"><input name="assignmentId"><input name="x"></form>'


@pytest.fixture
def client(crowd_server):
    return crowd_server.client()


@pytest.fixture
def held(client):
    """A new qualification type that somebody must hold."""

    def make(guarded="Accept"):
        made = client.create_qualification_type(
            Name=f"Steady hand {os.urandom(3).hex()}", Description="d", QualificationTypeStatus="Active"
        )
        identifier = made["QualificationType"]["QualificationTypeId"]
        return [{"QualificationTypeId": identifier, "Comparator": "Exists", "ActionsGuarded": guarded}]

    return make


def test_a_hit_is_previewed_without_accepting_it(client, post_hit, join):
    hit, person = post_hit(), join()
    seen = person.get(f"/preview/{hit['HITTypeId']}")
    assert (seen["hit_id"], seen["assignment_id"]) == (hit["HITId"], "ASSIGNMENT_ID_NOT_AVAILABLE")
    page = person.http.get(f"/preview/{hit['HITTypeId']}", headers=HTML).text
    assert "Which pattern?" in page
    assert '<input type="radio"' not in page
    assert client.get_hit(HITId=hit["HITId"])["HIT"]["NumberOfAssignmentsAvailable"] == 1


@pytest.mark.parametrize(
    ("guarded", "status"), [("Accept", 200), ("PreviewAndAccept", 403), ("DiscoverPreviewAndAccept", 404)]
)
def test_a_preview_is_as_open_as_the_requirement_says(post_hit, join, held, guarded, status):
    hit, person = post_hit(QualificationRequirements=held(guarded)), join()
    assert person.http.get(f"/preview/{hit['HITTypeId']}").status_code == status
    group = person.group(hit["HITTypeId"])
    assert (group is None) == (status == 404)
    assert group is None or group["may_preview"] == (status == 200)


def test_a_page_written_for_mturk_learns_that_it_is_a_preview(crowd_server, post_hit, html_question, join):
    hit, person = post_hit(Question=html_question(PAGE)), join()
    around = person.http.get(f"/preview/{hit['HITTypeId']}", headers=HTML).text
    url = re.search(r'src="(/preview/frame/[^"]+)"', around)[1].replace("&amp;", "&")
    assert "assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE" in url
    assert "workerId" not in url
    inside = httpx.get(crowd_server.url + url)
    assert 'action="/mturk/externalSubmit"' in inside.text
    assert inside.headers["content-security-policy"].startswith("sandbox allow-scripts allow-forms;")
    sent = httpx.post(f"{crowd_server.url}/mturk/externalSubmit", data={"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"})
    assert sent.status_code == 404
    assert httpx.get(f"{crowd_server.url}/preview/frame/3NOSUCHHIT").status_code == 404


@pytest.mark.parametrize("path", ["/inbox", "/preview/3X"])
def test_strangers_are_shown_the_door(crowd_server, path):
    assert httpx.get(crowd_server.url + path, headers={"Accept": "application/json"}).status_code == 401


def test_a_request_for_nothing_is_refused(join, crowd_server):
    person = join()
    assert person.post("/qualification/3NO").status_code == 404
    person.csrf = "guessed"
    assert person.post("/qualification/3NO").status_code == 403


def violations(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
    return [(v["id"], [n["target"] for n in v["nodes"]]) for v in found.response["violations"]]


@pytest.mark.browser
def test_a_person_asks_previews_and_reads_by_keyboard(
    crowd_server, client, chromium, post_hit, held, html_question, join, tmp_path
):
    rule = held()
    title = f"Hold still {os.urandom(2).hex()}"
    post_hit(Title=title, QualificationRequirements=rule)
    shots = os.environ.get("CONSENSO_SCREENSHOTS")
    for size, name in (({"width": 1280, "height": 800}, "desktop"), ({"width": 390, "height": 780}, "phone")):
        context = chromium.new_context(viewport=size, locale="en-US")
        page = context.new_page()
        page.goto(f"{crowd_server.url}/join")
        page.get_by_label("Your name").fill("Bo")
        page.keyboard.press("Enter")
        page.wait_for_url("**/work")
        group = page.get_by_role("article").filter(has_text=title)
        if shots:
            page.screenshot(path=f"{shots}/work-{name}.png", full_page=True)
        assert violations(page) == []
        group.get_by_role("link", name="Preview").focus()
        page.keyboard.press("Enter")
        page.get_by_role("heading", name=title).wait_for()
        if shots:
            page.screenshot(path=f"{shots}/preview-{name}.png", full_page=True)
        assert violations(page) == []
        assert page.get_by_role("button", name="Start labeling").count() == 0  # not qualified yet
        page.get_by_role("link", name="Back to the work").click()
        group.get_by_role("button", name=re.compile("Request: Steady hand")).press("Enter")
        page.get_by_text("the requester decides").wait_for()
        named = {"QualificationTypeId": rule[0]["QualificationTypeId"]}
        (asked,) = client.list_qualification_requests(**named)["QualificationRequests"]
        client.accept_qualification_request(QualificationRequestId=asked["QualificationRequestId"])
        page.goto(f"{crowd_server.url}/work")
        page.get_by_role("link", name="Messages 1 new").press("Enter")
        page.get_by_role("heading", name=re.compile("You are qualified: Steady hand")).wait_for()
        if shots:
            page.screenshot(path=f"{shots}/inbox-{name}.png", full_page=True)
        assert violations(page) == []
        page.get_by_role("link", name="Back to the work").click()
        assert page.get_by_role("link", name="Messages", exact=True).count() == 1
        assert group.get_by_role("button", name="Start labeling").count() == 1
        context.close()
