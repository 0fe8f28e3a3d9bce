"""The labeling page as the place of a day's work: nothing is lost, everything is within reach of keys, mouse and thumb."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from contextlib import contextmanager

import pytest
from PIL import Image

from curate.crowd.server.questions import ANSWER_KEY, FORM
from schemas.question import Choice, PictureAsked, PracticePicture, TaskPage, embed

pytestmark = pytest.mark.browser
WORDS = re.split(
    ",",
    "Animal print,Argyle,Abstract,Camouflage,Checks,Chevron,Damask,Dots,Embroidered,Fair isle,Floral,Geometric,Gingham,"
    "Herringbone,Houndstooth,Ikat,Lace,Letters,Ombré,Paisley,Patchwork,Plain,Stripes,Tie-dye,Tropical,Other",
)
DESK = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US"}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "locale": "en-US"}


@pytest.fixture(scope="module")
def pictures(crowd_server):
    """Ten large plain pictures: image ids."""
    return paint(crowd_server.pictures)


def paint(folder):
    ids = []
    for n in range(10):
        buffer = io.BytesIO()
        Image.new("RGB", (1600, 1200), (25 * n, 200 - 15 * n, 90)).save(buffer, "PNG")
        ids.append(hashlib.sha256(buffer.getvalue()).hexdigest())
        path = folder / ids[-1][:2] / f"{ids[-1]}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
    return ids


def task(ids, classes=26, practice=()):
    keys = [re.sub(r"\W+", "-", word.lower()) for word in WORDS]
    pairs = list(zip(keys, WORDS, strict=True))[:classes]
    choices = [
        Choice(
            key=key,
            name={"en": word},
            definition={"en": f"What {word} means."},
            examples=[f"/picture/{ids[0]}"],
            confused_with=["checks"] if key == "chevron" else [],
        )
        for key, word in pairs
    ]
    return TaskPage(
        task="pattern",
        question={"en": "Which pattern?"},
        question_version=1,
        taxonomy_version=1,
        choices=choices,
        pictures=[PictureAsked(image_id=i, url=f"/picture/{i}") for i in ids],
        practice=[PracticePicture(image_id=i, url=f"/picture/{i}", label="argyle", explanation="Lozenges.") for i in practice],
    )  # fmt: skip


@pytest.fixture
def hit(post_hit, html_question):
    """Post a HIT about these pictures."""

    def make(ids, classes=26, practice=(), **changes):
        html = f"<!doctype html><html><body>{embed(task(ids, classes, practice))}</body></html>"
        return post_hit(Question=html_question(html), MaxAssignments=9, **changes)["HITTypeId"]

    return make


@contextmanager
def browser_of(chromium, person, **options):
    """A page of a new browser context in which this person is signed in; it must raise no error."""
    context = chromium.new_context(**{**DESK, **options})
    base = str(person.http.base_url)
    context.add_cookies([{"name": c.name, "value": c.value, "url": base} for c in person.http.cookies.jar])
    page = context.new_page()
    page.set_default_timeout(10_000)
    failures = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda said: failures.append(said.text) if "Content Security" in said.text else None)
    yield page
    context.close()
    assert failures == []


@pytest.fixture
def at_work(chromium, join, hit, pictures):
    """A person who has accepted a HIT and looks at it; (page, person, address)."""
    opened = []

    def make(ids=None, options=None, **changes):
        person = join()
        kind = hit(ids or pictures[:3], **changes)
        url = person.post(f"/accept/{kind}").json()["url"]
        browser = browser_of(chromium, person, **(options or {}))
        page = browser.__enter__()
        opened.append(browser)
        page.goto(f"{person.http.base_url}{url}")
        page.wait_for_selector(".item.current")
        return page, person, url

    yield make
    for browser in opened:
        browser.__exit__(None, None, None)


def count(page):
    return page.locator("#count").inner_text()


def chosen(page):
    """What is chosen, in the page's order."""
    return page.locator(".item").evaluate_all(
        "items => items.map(i => i.querySelector('input:checked')?.value || null)"
    )


def settle(page, position):
    """Wait until this picture (0, 1, …) is in view."""
    page.wait_for_function("n => document.querySelectorAll('.item')[n]?.classList.contains('current')", arg=position)


def in_review(page):
    page.wait_for_selector("#review.current")


def saved(page):
    page.wait_for_selector("#saved.saved")


def fast(page):
    """The keys of the first three classes, one a picture; the second picture is then in view, and so on."""
    for position, key in enumerate("ar"):
        page.keyboard.press(key)
        settle(page, position + 1)


# ---- nothing is lost


def test_answers_come_back_from_the_server_after_a_reload(at_work):
    page, _, _ = at_work()
    fast(page)
    saved(page)
    page.evaluate("localStorage.clear()")
    page.evaluate("window.addEventListener('pagehide', () => localStorage.clear())")
    page.reload()
    settle(page, 2)
    assert chosen(page) == ["animal-print", "argyle", None]


def test_answers_come_back_when_the_browser_crashes(chromium, join, hit, pictures):
    from playwright.sync_api import Error

    person = join()
    url = person.post(f"/accept/{hit(pictures[:3])}").json()["url"]
    address = f"{person.http.base_url}{url}"
    path = next(p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name)))
    doomed = chromium.browser_type.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
    context = doomed.new_context(**DESK)
    context.add_cookies([{"name": c.name, "value": c.value, "url": address} for c in person.http.cookies.jar])
    page = context.new_page()
    page.goto(address)
    fast(page)
    saved(page)
    crash = doomed.new_browser_cdp_session()
    with pytest.raises(Error):
        crash.send("Browser.crash")
    assert not doomed.is_connected()
    with browser_of(chromium, person) as page:
        page.goto(address)
        settle(page, 2)
        assert chosen(page) == ["animal-print", "argyle", None]


def test_of_two_devices_the_newer_answer_counts(chromium, at_work):
    desk, person, url = at_work()
    desk.keyboard.press("a")
    settle(desk, 1)
    saved(desk)
    with browser_of(chromium, person, **PHONE) as phone:
        phone.goto(f"{person.http.base_url}{url}")
        settle(phone, 1)  # it goes on where the other stopped
        phone.locator("#back").tap()
        phone.locator(".item.current .choice", has_text="Dots").tap()
        saved(phone)
    desk.reload()
    settle(desk, 1)
    assert chosen(desk) == ["dots", None, None]


def test_a_server_that_is_gone_for_a_while_loses_nothing(chromium, start_crowd, tmp_path, html_question):
    import httpx

    (tmp_path / "blobs").mkdir()
    ids = paint(tmp_path / "blobs")[:3]
    first = start_crowd(f"sqlite:///{tmp_path / 'crowd.db'}", tmp_path / "blobs")
    html = f"<!doctype html><html><body>{embed(task(ids))}</body></html>"
    client = first.client()
    made = client.create_hit(
        Title="Restart", Description="d", Reward="0.10", LifetimeInSeconds=3600, AssignmentDurationInSeconds=600,
        Question=html_question(html),
    )["HIT"]  # fmt: skip
    context = chromium.new_context(**DESK)
    page = context.new_page()
    page.goto(f"{first.url}/join")
    page.fill("#name", "Ana")
    page.keyboard.press("Enter")
    page.wait_for_url("**/work")
    page.keyboard.press("Enter")
    page.wait_for_url("**/assignment/**")
    page.wait_for_selector(".item.current")
    page.keyboard.press("a")
    settle(page, 1)
    saved(page)
    order = page.locator(".item").evaluate_all("items => items.map(i => i.dataset.field)")
    assert first.stop() == 0
    first.process.stdout.close()
    page.keyboard.press("r")
    settle(page, 2)
    page.wait_for_selector("#saved.waiting")
    assert page.locator("#saved").inner_text() == "Not saved yet"
    page.keyboard.press("b")
    in_review(page)
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#trouble').textContent.includes('kept here')")
    again = start_crowd(first.db, tmp_path / "blobs", "--port", str(httpx.URL(first.url).port))
    try:
        page.wait_for_url("**/work?done=1", timeout=40_000)
        (sent,) = again.client().list_assignments_for_hit(HITId=made["HITId"])["Assignments"]
        found = dict(re.findall(r"Identifier>(\w+)</QuestionIdentifier><FreeText>(.*?)<", sent["Answer"]))
        assert [found[image_id] for image_id in order] == ["animal-print", "argyle", "abstract"]
    finally:
        context.close()
        again.stop()
        again.process.stdout.close()


def test_a_hit_that_is_over_says_so_and_stops_asking(at_work):
    page, person, url = at_work()
    person.post(f"{url}/return")
    page.keyboard.press("a")
    page.wait_for_selector("#saved.refused")
    assert "time for this HIT is over" in page.locator("#saved").inner_text()


# ---- keys


def test_twenty_six_answers_stand_in_three_columns_and_in_one_list_on_a_phone(at_work):
    page, _, _ = at_work()
    left = "all => new Set(all.map(e => Math.round(e.getBoundingClientRect().left))).size"
    choices = page.locator(".item.current .choices .choice")
    assert choices.count() == 26
    assert choices.evaluate_all(left) == 3
    assert len(set(choices.evaluate_all("all => all.map(e => e.dataset.key)"))) == 26
    assert choices.evaluate_all("all => all.every(e => e.getBoundingClientRect().bottom < innerHeight)")
    page.set_viewport_size({"width": 900, "height": 800})
    phone, _, _ = at_work(options=PHONE)
    assert phone.locator(".item.current .choices .choice").evaluate_all(left) == 1
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.locator(".item.current .choices .choice").evaluate_all(
        "all => all.every(e => e.getBoundingClientRect().height >= 44)"
    )


def test_type_ahead_narrows_the_answers_down_and_enter_takes_the_first(at_work):
    page, _, _ = at_work()
    page.keyboard.press("/")
    page.keyboard.type("pai")
    visible = page.locator(".item.current .choice:visible .name")
    assert visible.all_inner_texts() == ["Paisley"]
    page.keyboard.press("Escape")
    assert page.locator(".item.current .choices .choice:visible").count() == 26
    assert chosen(page)[0] is None
    page.keyboard.press("/")
    page.keyboard.type("OMBRE")  # whatever the accents
    page.keyboard.press("Enter")
    settle(page, 1)
    assert chosen(page)[0] == "ombr\u00e9"
    page.keyboard.press("/")
    page.keyboard.type("no such")
    page.keyboard.press("Enter")
    assert page.locator("#find").is_visible()
    assert "0 fitting" in page.locator("#said").inner_text()


def test_undo_takes_the_last_answers_back_one_by_one(at_work):
    page, _, _ = at_work()
    fast(page)
    page.keyboard.press("z")
    settle(page, 1)
    assert chosen(page) == ["animal-print", None, None]
    page.keyboard.press("Backspace")
    settle(page, 0)
    assert chosen(page) == [None, None, None]
    page.keyboard.press("a")
    settle(page, 1)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("r")
    settle(page, 1)
    page.keyboard.press("z")  # back to what it was before
    settle(page, 0)
    assert chosen(page)[0] == "animal-print"
    saved(page)
    page.reload()
    page.wait_for_selector(".item.current")
    assert chosen(page) == ["animal-print", None, None]


def test_going_on_by_itself_and_letter_keys_can_be_switched_off(at_work):
    page, _, _ = at_work()
    page.keyboard.press("?")
    page.locator("#help [data-setting=advance]").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.wait_for_function("() => document.querySelector('.item.current input:checked')")
    page.reload()  # the setting stays in this browser
    page.wait_for_selector(".item.current")
    page.clock.install()
    page.keyboard.press("r")
    page.clock.run_for(2000)
    assert (count(page), chosen(page)[0]) == ("1/3", "argyle")
    page.keyboard.press("Enter")
    settle(page, 1)
    page.keyboard.press("?")
    page.locator("#help [data-setting=keys]").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.keyboard.press("/")
    assert chosen(page)[1] is None
    assert page.locator("#find").is_hidden()


# ---- a closer look


def scale(page):
    return float(page.locator(".item.current .stage").get_attribute("data-scale"))


def test_space_wheel_click_and_pinch_zoom_and_arrows_move_about(at_work):
    page, _, _ = at_work()
    page.wait_for_function("() => document.querySelector('.item.current .stage img').naturalWidth === 1600")
    page.keyboard.press(" ")
    one_to_one = page.locator(".item.current .stage").evaluate(
        "s => Math.max(1600 / s.clientWidth, 1200 / s.clientHeight)"
    )
    assert scale(page) == pytest.approx(one_to_one, abs=0.02)
    before = page.locator(".item.current .stage img").evaluate("i => i.style.transform")
    page.keyboard.press("ArrowRight")
    assert page.locator(".item.current .stage img").evaluate("i => i.style.transform") != before
    assert count(page) == "1/3"
    page.keyboard.press(" ")
    assert scale(page) == 3
    page.keyboard.press(" ")
    assert scale(page) == 1
    page.clock.install()
    page.keyboard.down(" ")  # held: a glance
    assert scale(page) > 1
    page.clock.run_for(1000)
    page.keyboard.up(" ")
    assert scale(page) == 1
    page.locator(".item.current .stage").hover()
    page.mouse.wheel(0, -400)
    page.wait_for_function("() => document.querySelector('.item.current .stage').dataset.scale > 1.5")
    page.keyboard.press("Escape")
    assert scale(page) == 1
    page.locator(".item.current .stage").click()
    assert scale(page) > 1
    assert chosen(page)[0] is None


def test_two_fingers_zoom_on_a_phone(at_work):
    page, _, _ = at_work(options=PHONE)
    touch = page.context.new_cdp_session(page)
    box = page.locator(".item.current .stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def fingers(kind, apart):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}] if apart else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", 30)
    for apart in (40, 55, 75):
        fingers("touchMove", apart)
    fingers("touchEnd", 0)
    assert scale(page) == pytest.approx(2.5, abs=0.4)
    assert page.evaluate("visualViewport.scale") == 1  # the picture grew, not the page


def test_a_meaning_stands_beside_the_picture_on_demand(at_work):
    page, _, _ = at_work()
    panel = page.locator("#about")
    page.keyboard.press("Shift+E")  # chevron: its first free letter
    assert "What Chevron means." in panel.inner_text()
    assert "Often confused with: Checks" in panel.inner_text()
    assert "What Checks means." in panel.inner_text()
    assert "What Chevron means." in page.locator("#said").inner_text()
    assert chosen(page)[0] is None
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    page.locator(".item.current .choice", has_text="Dots").hover()
    panel.wait_for(state="visible")
    assert "What Dots means." in panel.inner_text()
    page.locator("h1").hover()
    panel.wait_for(state="hidden")
    page.keyboard.press("ArrowDown")
    panel.wait_for(state="visible")
    assert "What Animal print means." in panel.inner_text()


def test_a_long_press_asks_for_the_meaning_and_chooses_nothing(at_work):
    page, _, _ = at_work(options=PHONE)
    touch = page.context.new_cdp_session(page)
    box = page.locator(".item.current .choice").first.bounding_box()
    spot = [{"x": box["x"] + 40, "y": box["y"] + 20}]
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": spot})
    page.locator("#about").wait_for(state="visible")
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert "What Animal print means." in page.locator("#about").inner_text()
    assert chosen(page)[0] is None
    page.locator("#close-about").tap()
    page.locator(".item.current .choice").first.tap()
    settle(page, 1)
    assert chosen(page)[0] == "animal-print"


# ---- time and pictures


def test_the_time_left_is_said_at_five_minutes_and_at_one(at_work):
    page, _, _ = at_work(AssignmentDurationInSeconds=330)
    page.clock.install()
    page.reload()
    page.wait_for_selector(".item.current")
    warned = page.locator("#warned")
    assert warned.inner_text() == ""
    page.clock.run_for(40_000)
    assert warned.inner_text() == "Five minutes left."
    assert page.locator(".time.short").count() == 1
    page.clock.run_for(240_000)
    assert warned.inner_text() == "One minute left."
    assert page.locator(".time.last").count() == 1


def test_a_broken_picture_offers_cannot_see(at_work, pictures):
    page, _, _ = at_work(["f" * 64])
    page.locator(".item.current .cannot").click()
    in_review(page)
    assert chosen(page) == ["cannot_see"]


def test_the_next_three_pictures_are_fetched_before_they_are_asked_for(at_work, pictures):
    page, _, _ = at_work(pictures)
    order = page.locator(".item").evaluate_all("items => items.map(i => i.dataset.field)")
    page.wait_for_load_state("networkidle")
    fetched = page.evaluate("performance.getEntriesByType('resource').map(e => e.name.split('/').pop())")
    assert set(order[:4]) <= set(fetched)
    assert set(order[4:]) & set(fetched) <= {pictures[0]}  # which is the sample beside every answer, too


# ---- a whole HIT, each way


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


# ---- practice, the test's result, the list


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
        for path in ("/join", "/work", f"/practice/{kind}", f"/test/{entry_test}/result", framed, "/nowhere"):
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
