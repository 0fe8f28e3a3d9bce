"""Whole walks over the pages: by mouse, touch and keyboard, practice, the test and its result; every page to axe; blind."""

from __future__ import annotations

import re

import pytest

from curate.crowd.server.questions import ANSWER_KEY, FORM
from tests.curate.crowd.server.sheet import DESK, PHONE, browser_of, chosen, count, in_review, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("crowd_server", ["sqlite"], indirect=True, scope="module"),  # test_labeling walks on both
]


def finish(page):
    in_review(page)
    assert page.locator("#strip button").count() == 3


def test_by_mouse_alone_and_the_next_hit_comes_by_itself(at_work, hit, pictures):
    page, _, url = at_work(Title="By mouse")
    hit(pictures[3:5], Title="By mouse")
    for position, name in enumerate(("Dots", "Ikat", "Plain")):
        settle(page, position)
        page.locator(".item.current .choice", has_text=name).click()
    finish(page)
    page.locator("#review [data-setting=next]").check()
    page.locator("#send").click()
    page.wait_for_url(lambda address: "/assignment/" in address and not address.endswith(url))
    assert page.locator(".item").count() == 2


def test_by_touch_alone(at_work):
    page, _, _ = at_work(options=PHONE)
    for position, name in enumerate(("Dots", "Ikat", "Other")):
        settle(page, position)
        page.locator(".item.current .choice", has_text=name).tap()
    finish(page)
    page.locator("#strip button").first.tap()
    settle(page, 0)
    page.locator(".item.current .choice", has_text="Floral").tap()
    in_review(page)
    page.locator("#send").tap()
    page.wait_for_url("**/work?done=1")


def test_by_keyboard_alone_and_the_next_hit_is_one_key_away(at_work, hit, pictures):
    page, _, _ = at_work(Title="By keys")
    hit(pictures[3:5], Title="By keys")
    hit(pictures[5:6], Title="Another kind")
    page.keyboard.press("a")
    settle(page, 1)
    assert (
        page.locator("#said").inner_text() == "Animal print chosen. Picture 2 of 3"
    )  # one message: neither cuts the other off
    page.keyboard.press("r")
    settle(page, 2)
    page.keyboard.press("b")
    finish(page)
    page.keyboard.press("Enter")
    page.wait_for_url("**/work?done=1")
    page.wait_for_function("() => document.activeElement.matches('.button')")
    page.keyboard.press("Enter")
    page.wait_for_url("**/assignment/**")
    assert page.locator(".item").count() == 2


def test_practice_says_at_once_what_was_right_and_counts_nothing(chromium, join, hit, pictures):
    person = join()
    kind = hit(pictures[:3], practice=pictures[3:5])
    with browser_of(chromium, person) as page:
        page.goto(f"{person.http.base_url}/work")
        page.locator(f"a[href='/practice/{kind}']").click()
        page.wait_for_selector(".item.current")
        page.keyboard.press("a")
        truth = page.locator(".item.current .truth")
        assert "Not quite" in truth.inner_text()
        assert "Argyle — Lozenges." in truth.inner_text()
        assert count(page) == "1/2"  # it waits until it was read
        page.keyboard.press("Enter")
        settle(page, 1)
        page.keyboard.press("r")
        assert "Right" in page.locator(".item.current .truth").inner_text()
        page.keyboard.press("Enter")
        in_review(page)
        assert page.locator("#tally").inner_text() == "1/2 right"
        page.keyboard.press("Enter")
        settle(page, 0)  # again, from the start
        assert chosen(page) == [None, None]
    assert person.get("/work")["groups"]
    assert all(
        group["open_assignment"] is None for group in person.get("/work")["groups"] if group["hit_type_id"] == kind
    )


@pytest.fixture(scope="module")
def entry_test(crowd_server, pictures):
    """A test about one picture, which may be taken again after an hour; its id."""
    selection = "<Selection><SelectionIdentifier>{0}</SelectionIdentifier><Text>{0}</Text></Selection>"
    question = (
        "<Question><QuestionIdentifier>q</QuestionIdentifier><IsRequired>true</IsRequired><QuestionContent><Text>Which?</Text>"
        f"<Binary><MimeType><Type>image</Type></MimeType><DataURL>{crowd_server.url}/picture/{pictures[0]}</DataURL>"
        "<AltText>x</AltText></Binary></QuestionContent><AnswerSpecification><SelectionAnswer><Selections>"
        f"{selection.format('dots')}{selection.format('plain')}</Selections></SelectionAnswer></AnswerSpecification></Question>"
    )
    key = (
        "<Question><QuestionIdentifier>q</QuestionIdentifier><AnswerOption><SelectionIdentifier>plain</SelectionIdentifier>"
        "<AnswerScore>1</AnswerScore></AnswerOption></Question>"
    )
    made = crowd_server.client().create_qualification_type(
        Name="One picture", Description="d", QualificationTypeStatus="Active", TestDurationInSeconds=600,
        RetryDelayInSeconds=3600, Test=f'<QuestionForm xmlns="{FORM[0]}">{question}</QuestionForm>',
        AnswerKey=f'<AnswerKey xmlns="{ANSWER_KEY}">{key}</AnswerKey>',
    )  # fmt: skip
    return made["QualificationType"]["QualificationTypeId"]


def test_the_result_says_score_pass_mark_and_when_again(chromium, join, entry_test, hit, pictures):
    rule = {"QualificationTypeId": entry_test, "Comparator": "GreaterThanOrEqualTo", "IntegerValues": [1]}
    hit(pictures[:1], QualificationRequirements=[rule])
    person = join()
    with browser_of(chromium, person) as page:
        page.goto(f"{person.http.base_url}/test/{entry_test}")
        page.locator(".item.current .choice", has_text="dots").click()
        in_review(page)
        page.locator("#send").click()
        page.wait_for_url(f"**/test/{entry_test}/result")
        said = page.locator(".result").inner_text()
        assert "Not passed this time" in said
        assert re.search(r"\b0\s+pass mark 1\b", said)
        assert re.search(r"try again from \d{4}-\d\d-\d\d \d\d:\d\d UTC", said)
        page.reload()  # it is a page, not the answer to a form
        assert page.locator(".result").inner_text() == said
    assert join().http.get(f"/test/{entry_test}/result").status_code == 404


@pytest.mark.parametrize("options", [DESK, PHONE, {**DESK, "color_scheme": "dark"}], ids=["desk", "phone", "dark"])
def test_no_page_has_an_accessibility_violation(
    chromium, join, hit, pictures, entry_test, post_hit, html_question, options
):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tags = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
    found = []

    def check(name):
        result = axe.run(page, options=tags).response
        assert result["passes"], name
        found.extend((name, each["id"], each["nodes"][0]["target"]) for each in result["violations"])

    person = join()
    kind = hit(pictures[:3], practice=pictures[3:4])
    url = person.post(f"/accept/{kind}").json()["url"]
    foreign = post_hit(Question=html_question("<!doctype html><html lang='en'><title>x</title><p>Hello</p></html>"))
    framed = person.post(f"/accept/{foreign['HITTypeId']}").json()["url"]
    base = str(person.http.base_url)
    with browser_of(chromium, person, **options) as page:
        page.goto(f"{base}/test/{entry_test}")
        page.wait_for_selector(".item.current")
        check("test")
        assert person.post(f"/test/{entry_test}", q="dots").json()["score"] == 0
        ours = ("/join", "/work", "/inbox", f"/preview/{kind}", f"/practice/{kind}", f"/test/{entry_test}/result")
        for path in (*ours, framed, "/nowhere"):
            page.goto(base + path)
            check(path)
            if "practice" in path:
                page.locator(".item.current .choice").first.click()
                check("practice told")
        page.goto(base + url)
        page.wait_for_selector(".item.current")
        check("sheet")
        page.keyboard.press("Shift+A")
        check("meaning")
        page.keyboard.press("Escape")
        page.locator("#open-find").click()
        page.keyboard.type("pa")
        check("find")
        page.keyboard.press("Escape")
        page.locator("#show-help").click()
        check("help")
        page.keyboard.press("Escape")
        for position in range(3):
            settle(page, position)
            page.locator(".item.current .choice").nth(position).click()
        in_review(page)
        check("review")
    assert found == []


def test_nothing_of_the_listing_or_of_other_answers_is_on_the_page(at_work, crowd_server, pictures, join):
    page, person, url = at_work(RequesterAnnotation="round 1, listing Red dress 123")
    other = join()
    html = person.http.get(url, headers={"Accept": "text/html"}).text
    assert "Red dress" not in html
    assert other.worker_id not in html
    alts = page.locator(".stage img").evaluate_all("all => all.map(i => i.alt)")
    assert alts == ["Picture 1", "Picture 2", "Picture 3"]
    sources = page.locator(".stage img").evaluate_all("all => all.map(i => new URL(i.src).pathname)")
    assert all(re.fullmatch(r"/picture/[0-9a-f]{64}", source) for source in sources)
