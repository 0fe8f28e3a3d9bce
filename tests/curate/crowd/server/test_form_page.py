"""A QuestionForm in a real browser: everything that the schema allows, shown, answered, refused and sent."""

from __future__ import annotations

import io
import re
import struct
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lxml import etree
from PIL import Image

from curate.crowd.server.documents import ANSWER_KEY, ANSWERS, FORM, read_document

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def media():
    """A server of pictures and sounds, as a requester has one; its address."""
    picture, sound = io.BytesIO(), io.BytesIO()
    drawing = Image.new("RGB", (480, 320), "#d9e4f2")
    drawing.paste("#1d4f91", (140, 60, 340, 260))
    drawing.save(picture, "PNG")
    with wave.open(sound, "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", n * 97 % 3000) for n in range(4000)))
    files = {"/p.png": ("image/png", picture.getvalue()), "/s.wav": ("audio/wav", sound.getvalue())}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            kind, body = files.get(self.path, ("text/plain", b""))
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def binary(media, kind="image", path="/p.png", alt="a blue square"):
    return f"<Binary><MimeType><Type>{kind}</Type></MimeType><DataURL>{media}{path}</DataURL><AltText>{alt}</AltText></Binary>"


def question(identifier, content, answer, required=True, name=""):
    display = f"<DisplayName>{name}</DisplayName>" if name else ""
    return (
        f"<Question><QuestionIdentifier>{identifier}</QuestionIdentifier>{display}<IsRequired>{str(required).lower()}</IsRequired>"
        f"<QuestionContent>{content}</QuestionContent><AnswerSpecification>{answer}</AnswerSpecification></Question>"
    )


def choosing(style, least=1, most=1, other=False, choices=None):
    options = choices or "".join(
        f"<Selection><SelectionIdentifier>{c}</SelectionIdentifier><Text>{c.title()}</Text></Selection>"
        for c in ("hat", "cap", "scarf")
    )
    own = "<OtherSelection/>" if other else ""
    return (
        f"<SelectionAnswer><MinSelectionCount>{least}</MinSelectionCount><MaxSelectionCount>{most}</MaxSelectionCount>"
        f"<StyleSuggestion>{style}</StyleSuggestion><Selections>{options}{own}</Selections></SelectionAnswer>"
    )


def free(constraints="", rest=""):
    return f"<FreeTextAnswer><Constraints>{constraints}</Constraints>{rest}</FreeTextAnswer>"


def everything(media):
    pictured = "".join(
        f"<Selection><SelectionIdentifier>{i}</SelectionIdentifier>{binary(media, alt=f'picture {i}')}</Selection>"
        for i in ("one", "two")
    )
    formatted = (
        "<FormattedContent><![CDATA[<p>Please <b>look</b> before you answer. <a href='https://example.org/'>More about hats</a></p>"
        "<table><tr><th>Word</th><th>Means</th></tr><tr><td>brim</td><td>the edge</td></tr></table>]]></FormattedContent>"
    )
    return (
        f'<QuestionForm xmlns="{FORM[1]}"><Overview><Title>Hats and caps</Title><Text>Five minutes about what people wear.\nThank you!</Text>'
        f"<List><ListItem>Look at every picture.</ListItem><ListItem>Say what you see, not what you guess.</ListItem></List>{formatted}</Overview>"
        + question(
            "radio",
            f"<Text>What is this?</Text>{binary(media)}",
            choosing("radiobutton", other=True),
            name="The picture",
        )
        + question("boxes", "<Text>What goes with it?</Text>", choosing("checkbox", 2, 3))
        + question("menu", "<Text>Which would you wear?</Text>", choosing("dropdown"))
        + question("combo", "<Text>And your friends?</Text>", choosing("combobox", other=True), required=False)
        + question("list", "<Text>Which is the warmest?</Text>", choosing("list"))
        + question("many", "<Text>Which have you got?</Text>", choosing("multichooser", 0, 3), required=False)
        + question("pictures", "<Text>Which picture is sharper?</Text>", choosing("radiobutton", choices=pictured))
        + question(
            "sound",
            f"<Text>What do you hear?</Text>{binary(media, 'audio', '/s.wav', 'a tone')}",
            free(rest="<DefaultText>A tone</DefaultText><NumberOfLinesSuggestion>3</NumberOfLinesSuggestion>"),
        )
        + question("age", "<Text>How old is it, in years?</Text>", free('<IsNumeric minValue="0" maxValue="200"/>'))
        + question(
            "code",
            "<Text>The code on the label</Text>",
            free(
                '<Length minLength="2" maxLength="8"/><AnswerFormatRegex regex="^[a-z]+-\\d$" flags="i" errorText="Letters, a dash, a digit"/>'
            ),
        )
        + "</QuestionForm>"
    )


@pytest.fixture
def page(chromium, crowd_server):
    context = chromium.new_context(locale="en-US", viewport={"width": 1100, "height": 900})
    opened = context.new_page()
    failures = []
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.on("console", lambda message: failures.append(message.text) if "Content Security" in message.text else None)
    opened.goto(crowd_server.url + "/join")
    opened.fill("#name", "Ana")
    opened.click(".button")
    opened.wait_for_url("**/work")
    yield opened
    context.close()
    assert failures == []


def accept(page, hit):
    page.goto(page.url)
    page.locator("article", has_text=hit["Title"]).locator("button").click()
    page.wait_for_url("**/assignment/**")
    return page.url.rsplit("/", 1)[1]


def fill(page):
    page.check("input[name=radio][value=cap]")
    page.check("input[name=boxes][value=hat]")
    page.check("input[name=boxes][value=scarf]")
    page.select_option("select[name=menu]", "scarf")
    page.locator("#q4-box .own").fill('a <turban> & "more"')
    page.select_option("select[name=list]", "hat")
    page.check("input[name=pictures][value=two]")
    page.fill("[name=age]", "12")
    page.fill("[name=code]", "Ab-1")


def answers(crowd_server, assignment):
    return crowd_server.client().get_assignment(AssignmentId=assignment)["Assignment"]["Answer"]


@pytest.fixture
def hit(post_hit, media):
    return post_hit(Question=everything(media), MaxAssignments=9)


def test_a_form_is_shown_answered_and_sent(page, hit, crowd_server):
    assignment = accept(page, hit)
    assert page.locator(".overview .formatted a").get_attribute("rel") == "noopener noreferrer"
    assert page.locator(".overview .listed li").count() == 2
    page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.wait_for_function("document.querySelector('audio').duration > 0.4")
    assert page.input_value("[name=sound]") == "A tone"
    fill(page)
    page.click("#send")
    page.wait_for_url("**/work?done=1")
    xml = answers(crowd_server, assignment)
    read_document(xml, "answers", ANSWERS)
    assert "\n" not in xml
    assert '<OtherSelectionText>a &lt;turban&gt; &amp; "more"</OtherSelectionText>' in xml
    found = {
        a[0].text: [(etree.QName(part).localname, part.text) for part in a[1:]] for a in etree.fromstring(xml.encode())
    }
    chosen = "SelectionIdentifier"
    assert found == {
        "radio": [(chosen, "cap")], "boxes": [(chosen, "hat"), (chosen, "scarf")], "menu": [(chosen, "scarf")],
        "combo": [("OtherSelectionText", 'a <turban> & "more"')], "list": [(chosen, "hat")], "many": [], "pictures": [(chosen, "two")],
        "sound": [("FreeText", "A tone")], "age": [("FreeText", "12")], "code": [("FreeText", "Ab-1")],
    }  # fmt: skip


def test_what_is_wrong_is_said_beside_the_question_and_nothing_is_lost(page, hit, crowd_server):
    assignment = accept(page, hit)
    fill(page)
    page.fill("[name=age]", "old")
    page.fill("[name=code]", "12345")
    page.click("#send")
    page.wait_for_selector("[role=alert]")
    assert page.locator(".fault").all_inner_texts() == [
        "Please write a number, with digits.",
        "Letters, a dash, a digit",
    ]
    assert page.evaluate("document.activeElement.name") == "age"
    assert page.locator("[name=age]").get_attribute("aria-describedby") == "q9-note q9-fault"
    assert page.is_checked("input[name=radio][value=cap]")
    assert page.locator("#q4-box .own").input_value() == 'a <turban> & "more"'
    page.goto(page.url.split("?")[0])  # and again from the address, after a fault or a reload: kept in the browser
    assert page.input_value("[name=code]") == "12345"
    page.fill("[name=age]", "12")
    page.fill("[name=code]", "Ab-1")
    page.click("#send")
    page.wait_for_url("**/work?done=1")
    assert "<FreeText>Ab-1</FreeText>" in answers(crowd_server, assignment)


def test_how_many_may_be_chosen_is_said_before_anything_is_sent(page, hit):
    accept(page, hit)
    box = page.locator("input[name=boxes]").first
    assert box.evaluate("box => box.validationMessage") == "Choose at least 2."
    page.check("input[name=boxes][value=hat]")
    page.check("input[name=boxes][value=cap]")
    assert box.evaluate("box => box.validationMessage") == ""


def test_a_form_works_without_script_and_in_other_languages(chromium, crowd_server, hit):
    context = chromium.new_context(locale="es-ES", java_script_enabled=False)
    page = context.new_page()
    page.goto(crowd_server.url + "/join")
    page.fill("#name", "Ana")
    page.click(".button")
    assignment = accept(page, hit)
    fill(page)
    page.select_option("select[name=combo]", label="Otra respuesta")  # without script nothing chooses it for her
    page.fill("[name=age]", "999")
    page.click("#send")
    assert page.locator(".fault").all_inner_texts() == ["El número debe ser 200 como máximo."]
    page.fill("[name=age]", "9")
    page.click("#send")
    page.wait_for_url("**/work?done=1")
    assert "<FreeText>9</FreeText>" in answers(crowd_server, assignment)
    context.close()


@pytest.mark.parametrize("width", [1100, 390])
def test_no_rule_of_accessibility_is_broken(page, hit, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.set_viewport_size({"width": width, "height": 860})
    accept(page, hit)
    rules = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
    for _ in range(2):
        found = axe.run(page, options=rules).response["violations"]
        assert [(v["id"], [n["html"][:120] for n in v["nodes"]]) for v in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.evaluate("document.getElementById('form').noValidate = true")  # once more with what is wrong beside it
        page.click("#send")
        page.wait_for_selector(".fault")


def test_a_test_of_questions_is_a_form_too_and_is_scored(page, crowd_server, post_hit):
    client = crowd_server.client()
    key = (
        f'<AnswerKey xmlns="{ANSWER_KEY}"><Question><QuestionIdentifier>boxes</QuestionIdentifier><AnswerOption><SelectionIdentifier>hat'
        "</SelectionIdentifier><SelectionIdentifier>cap</SelectionIdentifier><AnswerScore>7</AnswerScore></AnswerOption>"
        "<DefaultScore>-2</DefaultScore></Question></AnswerKey>"
    )
    asked = question("boxes", "<Text>Which are for the head?</Text>", choosing("checkbox", 1, 3)) + question(
        "why", "<Text>Why?</Text>", free()
    )
    kind = client.create_qualification_type(
        Name="About hats", Description="d", QualificationTypeStatus="Active", TestDurationInSeconds=600, AnswerKey=key,
        Test=f'<QuestionForm xmlns="{FORM[0]}">{asked}</QuestionForm>', RetryDelayInSeconds=0,
    )["QualificationType"]["QualificationTypeId"]  # fmt: skip
    rule = {"QualificationTypeId": kind, "Comparator": "GreaterThanOrEqualTo", "IntegerValues": [5]}
    hit = post_hit(QualificationRequirements=[rule])

    def take(*marked):
        page.goto(f"{crowd_server.url}/test/{kind}")
        for choice in ("hat", "cap", "scarf"):
            page.set_checked(f"input[name=boxes][value={choice}]", choice in marked)
        page.fill("[name=why]", "heads")
        page.click("#send")
        page.wait_for_selector(".result")
        return page.locator(".score strong").inner_text()

    assert take("hat") == "-2"
    assert take("hat", "cap") == "7"
    assert re.search("Start labeling", page.goto(crowd_server.url + "/work").text())
    assert hit["HITStatus"] == "Assignable"
