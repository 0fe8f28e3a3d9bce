"""The labeling page in a real browser: everything by keyboard, as a person would who does it all day."""

from __future__ import annotations

import hashlib
import io
import json
import re

import pytest
from PIL import Image

from curate.crowd.question import html_question as requester_question
from curate.crowd.question import task_page, with_confused
from curate.crowd.server.labeling import hotkeys
from curate.crowd.server.questions import ANSWER_KEY, FORM
from curate.tasks import make_task
from schemas.question import SCRIPT_ID, Choice

pytestmark = pytest.mark.browser
COLORS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def painted(crowd_server):
    """Three plain pictures by color: image ids."""
    ids = {}
    for color in COLORS:
        buffer = io.BytesIO()
        Image.new("RGB", (120, 90), color).save(buffer, "PNG")
        image_id = hashlib.sha256(buffer.getvalue()).hexdigest()
        path = crowd_server.pictures / image_id[:2] / f"{image_id}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
        ids[color] = image_id
    return ids


@pytest.fixture(scope="module")
def work(crowd_server, painted, our_question):
    """A HIT about three pictures for two workers, opened by a test about the same."""
    client = crowd_server.client()
    choices = "".join(
        f"<Selection><SelectionIdentifier>{c}</SelectionIdentifier><Text>{c.title()}</Text></Selection>" for c in COLORS
    )
    questions = "".join(
        f"<Question><QuestionIdentifier>{i}</QuestionIdentifier><IsRequired>true</IsRequired><QuestionContent><Text>Color?"
        f"</Text><Binary><MimeType><Type>image</Type></MimeType><DataURL>{crowd_server.url}/picture/{i}</DataURL>"
        "<AltText>x</AltText></Binary></QuestionContent><AnswerSpecification><SelectionAnswer><Selections>"
        f"{choices}</Selections></SelectionAnswer></AnswerSpecification></Question>"
        for i in painted.values()
    )
    key = "".join(
        f"<Question><QuestionIdentifier>{i}</QuestionIdentifier><AnswerOption><SelectionIdentifier>{c}"
        "</SelectionIdentifier><AnswerScore>1</AnswerScore></AnswerOption></Question>"
        for c, i in painted.items()
    )
    percent = "<PercentageMapping><MaximumSummedScore>3</MaximumSummedScore></PercentageMapping>"
    test = client.create_qualification_type(
        Name="colors",
        Description="d",
        QualificationTypeStatus="Active",
        Test=f'<QuestionForm xmlns="{FORM[0]}">{questions}</QuestionForm>',
        AnswerKey=f'<AnswerKey xmlns="{ANSWER_KEY}">{key}<QualificationValueMapping>{percent}'
        "</QualificationValueMapping></AnswerKey>",
        TestDurationInSeconds=600,
    )["QualificationType"]["QualificationTypeId"]
    rule = {"QualificationTypeId": test, "Comparator": "GreaterThanOrEqualTo", "IntegerValues": [60]}
    return client.create_hit(
        Title="Colors",
        Description="Say the color",
        Reward="0.10",
        LifetimeInSeconds=3600,
        AssignmentDurationInSeconds=600,
        MaxAssignments=9,
        QualificationRequirements=[rule],
        Question=our_question(*painted.values(), choices=" ".join(COLORS)),
    )["HIT"]


@pytest.fixture
def page(chromium, crowd_server):
    context = chromium.new_context(locale="en-US")
    opened = context.new_page()
    failures = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.on("console", lambda message: failures.append(message.text) if "Content Security" in message.text else None)
    opened.goto(crowd_server.url)
    yield opened
    context.close()
    assert failures == []


def color(page):
    """Which picture is in view, by its number."""
    return page.locator(".item.current").get_attribute("aria-label")


def press(page, key):
    """Press a key and wait until the next picture, or the review, is in view."""
    before = color(page)
    page.keyboard.press(key)
    page.wait_for_function("b => document.querySelector('.item.current')?.getAttribute('aria-label') !== b", arg=before)


def enter(page, leads_to):
    """Press Enter on what the page has focused by itself, and wait for where it leads."""
    page.wait_for_function("document.activeElement.matches('#name, .button')")
    page.keyboard.press("Enter")
    page.wait_for_url(leads_to)


def sign_in(page):
    page.wait_for_function("document.activeElement.matches('#name')")
    page.keyboard.type("Ana")
    enter(page, "**/work")


def start(page):
    """Sign in, pass the test, accept a HIT; the assignment's id."""
    sign_in(page)
    enter(page, "**/test/**")
    for key in "rgb":
        press(page, key)
    page.keyboard.press("Enter")
    page.wait_for_selector(".result.good")
    enter(page, "**/work")
    enter(page, "**/assignment/**")
    return page.url.rsplit("/", 1)[1]


def shown(page):
    """The pictures in the order of this assignment."""
    return page.locator(".item").evaluate_all("items => items.map(item => item.dataset.field)")


def answers(crowd_server, assignment):
    xml = crowd_server.client().get_assignment(AssignmentId=assignment)["Assignment"]["Answer"]
    return dict(re.findall(r"<QuestionIdentifier>(.*?)</QuestionIdentifier><FreeText>(.*?)</FreeText>", xml))


def test_from_the_door_through_the_test_to_a_hit_by_keyboard_alone(page, work, painted, crowd_server):
    assignment = start(page)
    order = shown(page)
    press(page, "r")
    press(page, "b")  # a slip
    press(page, "Backspace")
    assert color(page) == "Picture 2 of 3"
    press(page, "g")
    press(page, "0")  # the third does not show
    assert page.locator("#strip button").all_inner_texts() == ["Red", "Green", "I cannot see the picture"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/work?done=1")
    found = answers(crowd_server, assignment)
    assert [found[image_id] for image_id in order] == ["red", "green", "cannot_see"]
    assert all(float(found[f"seconds.{image_id}"]) >= 0 for image_id in order)


def test_arrows_choose_without_moving_on_and_a_reload_loses_nothing(page, work, painted, crowd_server):
    assignment = start(page)
    order = shown(page)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator(".item.current input:checked").get_attribute("value") == "green"
    assert color(page) == "Picture 1 of 3"
    press(page, "Enter")
    press(page, "r")
    page.reload()
    assert color(page) == "Picture 3 of 3"
    press(page, "b")
    page.locator("#strip button").first.click()
    press(page, "r")  # back to the review at once
    assert page.locator("#review.current").is_visible()
    page.keyboard.press("Enter")
    page.wait_for_url("**/work?done=1")
    found = answers(crowd_server, assignment)
    assert [found[image_id] for image_id in order] == ["red", "red", "blue"]


def test_help_and_zoom_open_and_close_by_key(page, work):
    start(page)
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("r")  # keys do nothing behind it
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    assert page.locator(".item.current input:checked").count() == 0
    page.keyboard.press(" ")
    assert page.locator(".item.current .zoomed").count() == 1
    page.keyboard.press(" ")
    assert page.locator(".item.current .zoomed").count() == 0


@pytest.fixture(scope="module")
def look_alikes(crowd_server, painted):
    """A HIT about aprons where people take stripes for zigzags and checks, and dots for plain; its title."""
    task = with_confused(make_task("apron"), {"stripes": ["zigzag", "checks"], "dots": ["plain"]})
    crowd_server.client().create_hit(
        Title="Look-alikes",
        Description="d",
        Reward="0.10",
        LifetimeInSeconds=3600,
        AssignmentDurationInSeconds=600,
        MaxAssignments=9,
        Question=requester_question(task_page(task, [painted["red"]], f"{crowd_server.url}/picture")),
    )
    return "Look-alikes"


def accept(page, title):
    """Sign in and take the HIT with this title."""
    sign_in(page)
    page.locator("article", has_text=title).locator("button").click()
    page.wait_for_url("**/assignment/**")


def test_the_help_says_what_a_class_is_confused_with_when_asked(page, look_alikes):
    accept(page, look_alikes)
    page.keyboard.press("?")
    stripes = page.locator(".meanings > div", has=page.locator(".term", has_text="Stripes"))
    hint = stripes.locator("summary")
    assert hint.inner_text() == "Often confused with: Zigzag, Checks"
    assert not stripes.locator("li").first.is_visible()
    hint.focus()
    page.keyboard.press("Enter")
    assert stripes.locator("li").all_inner_texts() == [
        "Z Zigzag — Lines that turn back and forth: chevron.",
        "C Checks — Lines crossing at right angles: gingham, tartan.",
    ]
    assert page.locator(".confused").count() == 2  # stripes and dots; nothing is said of the others
    page.keyboard.press("z")  # keys answer nothing behind the help
    page.keyboard.press("Escape")
    assert page.locator(".item.current input:checked").count() == 0


def test_the_hint_speaks_the_workers_language_and_fits_a_phone(chromium, crowd_server, look_alikes):
    context = chromium.new_context(
        viewport={"width": 360, "height": 700}, is_mobile=True, has_touch=True, locale="pt-BR"
    )
    page = context.new_page()
    page.goto(crowd_server.url)
    accept(page, look_alikes)
    page.locator("#show-help").tap()
    page.locator(".confused summary", has_text="Ziguezague").tap()
    assert page.locator(".confused summary").first.inner_text() == "Confunde-se muitas vezes com: Ziguezague, Xadrez"
    assert page.locator(".confused li").first.is_visible()
    help_ = page.locator("#help")
    assert help_.evaluate("d => d.scrollWidth <= d.clientWidth")
    context.close()


def test_a_hit_made_before_there_were_hints_still_works(page, crowd_server, painted, html_question):
    made = task_page(make_task("apron"), [painted["red"]], f"{crowd_server.url}/picture").model_dump(mode="json")
    for choice in made["choices"]:
        del choice["confused_with"]
    old = f'<script type="application/json" id="{SCRIPT_ID}">{json.dumps(made)}</script>'
    crowd_server.client().create_hit(
        Title="Old page", Description="d", Reward="0.10", LifetimeInSeconds=3600, AssignmentDurationInSeconds=600,
        Question=html_question(f"<!doctype html><html><body>{old}</body></html>"),
    )  # fmt: skip
    accept(page, "Old page")
    page.keyboard.press("?")
    assert page.locator(".meanings > div").count() == 9
    assert page.locator(".confused").count() == 0
    page.keyboard.press("Escape")
    press(page, "d")
    page.keyboard.press("Enter")
    page.wait_for_url("**/work?done=1")


def test_a_picture_that_does_not_load_says_so(page, work, crowd_server):
    page.route("**/picture/*", lambda route: route.fulfill(status=404))
    start(page)
    page.wait_for_selector(".item.current.no-picture .broken", state="visible")


def test_a_phone_shows_everything_without_scrolling_sideways(chromium, crowd_server, work):
    context = chromium.new_context(
        viewport={"width": 360, "height": 700}, is_mobile=True, has_touch=True, locale="es-ES"
    )
    page = context.new_page()
    page.goto(crowd_server.url)
    start(page)
    for name in ("Red", "Green", "Blue"):
        before = color(page)
        page.locator(".item.current .choice", has_text=name).tap()
        page.wait_for_function(
            "b => document.querySelector('.item.current')?.getAttribute('aria-label') !== b", arg=before
        )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#send").tap()
    page.wait_for_url("**/work?done=1")
    context.close()


def test_without_script_it_is_a_plain_form(chromium, crowd_server, work, painted):
    context = chromium.new_context(java_script_enabled=False, locale="en-US")
    page = context.new_page()
    page.goto(crowd_server.url)
    page.fill("#name", "Bo")
    page.click("text=Start")
    page.click("text=Take the test first")
    for chosen in COLORS:
        page.check(f'input[name="{painted[chosen]}"][value="{chosen}"]')
    page.click("#send")
    assert page.inner_text("h1") == "You passed"
    context.close()


FOREIGN = """<!doctype html><form method="post" id="f"><input type="hidden" name="assignmentId"><input name="said" id="said">
<button>Send</button></form><p id="seen"></p><script>
const q = new URLSearchParams(location.search);
f.action = q.get("turkSubmitTo") + "/mturk/externalSubmit";
f.assignmentId.value = q.get("assignmentId");
let seen = "";
try { seen += parent.document.cookie } catch (e) { seen += "parent closed;" }
try { seen += document.cookie } catch (e) { seen += "cookie closed;" }
try { localStorage.x = 1 } catch (e) { seen += "storage closed" }
document.getElementById("seen").textContent = seen;
</script>"""


def test_a_strangers_page_works_in_its_frame_and_reaches_nothing_else(page, crowd_server, post_hit, html_question):
    hit = post_hit(Question=html_question(FOREIGN), Title="Foreign page")
    sign_in(page)
    page.locator("article", has_text="Foreign page").locator("button").click()
    page.wait_for_url("**/assignment/**")
    frame = page.frame_locator("#task")
    assert frame.locator("#seen").inner_text() == "parent closed;cookie closed;storage closed"
    frame.locator("#said").fill("hello")
    frame.locator("#said").press("Enter")
    page.wait_for_url("**/work?done=1")
    (answer,) = crowd_server.client().list_assignments_for_hit(HITId=hit["HITId"])["Assignments"]
    assert "<FreeText>hello</FreeText>" in answer["Answer"]


def test_every_answer_has_a_key_of_its_own_as_far_as_keys_go():
    choices = [Choice(key=f"c{n}", name={"en": name}) for n, name in enumerate(["Dots", "Dark", "Art deco"])]
    assert hotkeys([*choices, Choice(key="d", name={"en": "D"}, hotkey="d")]) == {
        "c0": "o",
        "c1": "a",
        "c2": "r",
        "d": "d",
    }
    many = hotkeys([Choice(key=f"k{n}", name={"en": f"Class {n}"}) for n in range(40)])
    used = [key for key in many.values() if key]
    assert len(used) == len(set(used)) == 36
