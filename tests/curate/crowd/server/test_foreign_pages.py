"""Pages that requesters wrote for MTurk: they work unchanged, and reach nothing outside their frame."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError
from lxml import etree

from curate.crowd.server.documents import ANSWERS, EXTERNAL, FORM, HTML, read_document

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("crowd_server", ["sqlite"], indirect=True, scope="module"),  # test_labeling walks on both
]

# As the documentation of HTMLQuestion tells people to write one: the old address in the form, the ids read from the page's address.
WRITTEN_FOR_MTURK = """<!DOCTYPE html>
<html>
 <head><meta http-equiv="Content-Type" content="text/html; charset=UTF-8"/></head>
 <body>
  <form name="mturk_form" method="post" id="mturk_form" action="https://www.mturk.com/mturk/externalSubmit">
   <input type="hidden" value="" name="assignmentId" id="assignmentId"/>
   <h1>What is in this picture?</h1>
   <p><textarea name="comment" cols="80" rows="3"></textarea></p>
   <label><input type="checkbox" name="seen" value="hat"> a hat</label>
   <label><input type="checkbox" name="seen" value="cap"> a cap</label>
   <p><input type="submit" id="submitButton" value="Submit"/></p>
  </form>
  <script>
   function turkGetParam(name, missing) {
     var found = new RegExp("[?&]" + name + "=([^&#]*)").exec(window.location.search);
     return found ? decodeURIComponent(found[1]) : missing;
   }
   var assignment = turkGetParam("assignmentId", "");
   document.getElementById("assignmentId").value = assignment;
   if (assignment === "ASSIGNMENT_ID_NOT_AVAILABLE") {
     document.getElementById("submitButton").value = "You must ACCEPT the HIT before you can submit the results.";
     document.getElementById("submitButton").disabled = true;
   }
  </script>
 </body>
</html>"""

# The other way: the address to send to comes with the page's own address.
BY_TURK_SUBMIT_TO = """<html><body><form id="f" method="POST"><input type="hidden" name="assignmentId"><input name="color"></form>
<button id="go">Done</button><script>
 const given = new URLSearchParams(window.location.search);
 document.querySelector("[name=assignmentId]").value = given.get("assignmentId");
 document.getElementById("go").onclick = () => {
   document.getElementById("f").action = given.get("turkSubmitTo") + "/mturk/externalSubmit";
   document.getElementById("f").submit();
 };
</script></body></html>"""

# Tries everything that a page in a frame should not be able to do, and shows what came of it.
PRYING = """<html><body><pre id="seen">…</pre><script>
 const tries = {
   parent_document: () => parent.document.body.innerHTML,
   parent_address: () => parent.location.href,
   cookies: () => document.cookie || Promise.reject(new Error("none")),
   localStorage: () => localStorage.length,
   sessionStorage: () => sessionStorage.length,
   indexedDB: () => new Promise((yes, no) => { const r = indexedDB.open("x"); r.onsuccess = yes; r.onerror = () => no(r.error); }),
   work: () => fetch("/work", { credentials: "include" }).then((r) => r.text()),
   own_assignment: () => fetch("/assignment/OWN", { credentials: "include", headers: { Accept: "application/json" } }).then((r) => r.text()),
   other_answers: () => fetch("/assignment/OTHER/state", { credentials: "include" }).then((r) => r.text()),
   session_by_xhr: () => new Promise((yes, no) => {
     const x = new XMLHttpRequest(); x.withCredentials = true; x.onload = () => yes(x.responseText); x.onerror = () => no(new Error("blocked"));
     x.open("GET", "/work"); x.send(); }),
   top_navigation: () => { top.location = "https://example.org/"; return new Promise((_, no) => setTimeout(() => no(new Error("still here")), 500)); },
   popup: () => window.open("/work") || Promise.reject(new Error("none")),
   worker: () => new Worker("/static/label.js") && navigator.serviceWorker.register("/static/label.js"),
 };
 (async () => {
   const seen = {};
   for (const [name, attempt] of Object.entries(tries)) {
     try { seen[name] = "REACHED " + String(await attempt()).slice(0, 60); } catch (error) { seen[name] = "refused: " + error.name; }
   }
   document.getElementById("seen").textContent = JSON.stringify(seen);
   document.title = "done";
 })();
</script></body></html>"""


@pytest.fixture
def page(chromium, crowd_server):
    context = chromium.new_context(locale="en-US")
    opened = context.new_page()
    opened.goto(crowd_server.url + "/join")
    opened.fill("#name", "Ana")
    opened.click(".button")
    opened.wait_for_url("**/work")
    yield opened
    context.close()


def accept(page, crowd_server, hit):
    page.goto(crowd_server.url + "/work")
    page.locator("article", has_text=hit["Title"]).get_by_role("button", name="Start labeling").click()
    page.wait_for_url("**/assignment/**")
    return page.url.rsplit("/", 1)[1], page.frame_locator("#task")


def answers(crowd_server, assignment):
    xml = crowd_server.client().get_assignment(AssignmentId=assignment)["Assignment"]["Answer"]
    read_document(xml, "answers", ANSWERS)
    return {answer[0].text: answer[1].text for answer in etree.fromstring(xml.encode())}


def test_a_page_with_the_old_address_in_its_form_works_unchanged(page, crowd_server, post_hit, html_question):
    hit = post_hit(Question=html_question(WRITTEN_FOR_MTURK))
    assignment, frame = accept(page, crowd_server, hit)
    frame.locator("[name=comment]").fill('A "big" <hat>\nand a cap')
    frame.locator("[value=hat]").check()
    frame.locator("[value=cap]").check()
    assert frame.locator("#submitButton").is_enabled()
    address = parse_qs(urlsplit(page.frames[1].url).query)
    assert address["assignmentId"] == [assignment]
    assert address["hitId"] == [hit["HITId"]]
    assert re.fullmatch("A[A-Z0-9]+", address["workerId"][0])
    assert address["turkSubmitTo"] == [crowd_server.url]
    frame.locator("#submitButton").click()
    page.wait_for_url("**/work?done=1")
    assert answers(crowd_server, assignment) == {"comment": 'A "big" <hat>\nand a cap', "seen": "hat|cap"}


def test_a_page_knows_that_it_is_only_looked_at(page, crowd_server, post_hit, html_question):
    hit = post_hit(Question=html_question(WRITTEN_FOR_MTURK))
    page.goto(f"{crowd_server.url}/preview/{hit['HITTypeId']}")
    button = page.frame_locator("#task").locator("#submitButton")
    assert button.is_disabled()
    assert button.input_value() == "You must ACCEPT the HIT before you can submit the results."
    page.get_by_role("button", name="Start labeling").click()
    page.wait_for_url("**/assignment/**")
    assert page.frame_locator("#task").locator("#submitButton").is_enabled()


def test_a_page_that_asks_where_to_send_works_unchanged(page, crowd_server, post_hit, html_question):
    assignment, frame = accept(page, crowd_server, post_hit(Question=html_question(BY_TURK_SUBMIT_TO)))
    frame.locator("[name=color]").fill("blue")
    frame.locator("#go").click()
    page.wait_for_url("**/work?done=1")
    assert answers(crowd_server, assignment) == {"color": "blue"}


@pytest.fixture
def outside():
    """A requester's own server with a page; its address, and the addresses that were asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Cookie")))
            body = BY_TURK_SUBMIT_TO.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_on_the_requesters_own_server_works_unchanged(page, crowd_server, post_hit, outside):
    url, asked = outside
    xml = (
        f'<ExternalQuestion xmlns="{EXTERNAL}"><ExternalURL>{url}/ask?topic=hats&amp;n=1</ExternalURL><FrameHeight>500</FrameHeight>'
        "</ExternalQuestion>"
    )
    hit = post_hit(Question=xml)
    assignment, frame = accept(page, crowd_server, hit)
    frame.locator("[name=color]").fill("green")
    frame.locator("#go").click()
    page.wait_for_url("**/work?done=1")
    assert answers(crowd_server, assignment) == {"color": "green"}
    (path, cookie) = asked[0]
    query = parse_qs(urlsplit(path).query)
    assert (query["topic"], query["n"], query["assignmentId"], query["hitId"]) == (
        ["hats"],
        ["1"],
        [assignment],
        [hit["HITId"]],
    )
    assert cookie is None


def test_a_page_in_the_frame_reaches_nothing_outside_it(page, crowd_server, post_hit, html_question, join):
    hit = post_hit(Question=html_question("PLACE"), MaxAssignments=2)
    somebody = join("Somebody else")
    theirs = somebody.post(f"/accept/{hit['HITTypeId']}").json()["assignment_id"]
    hit = post_hit(Question=html_question(PRYING.replace("OTHER", theirs)))
    assignment, frame = accept(page, crowd_server, hit)
    page.wait_for_function("frames.length === 1")
    frame.locator("#seen", has_text="parent_document").wait_for()
    seen = json.loads(frame.locator("#seen").inner_text())
    reached = {name: came for name, came in seen.items() if not came.startswith("refused")}
    assert reached == {}, reached
    assert len(seen) == 13
    assert page.url.endswith(f"/assignment/{assignment}")  # nothing led the window elsewhere
    assert len(page.context.pages) == 1


def test_the_frames_own_address_opened_alone_is_as_locked(page, crowd_server, post_hit, html_question):
    """The sandbox comes from the reply's own header, too: a link to the page gains nothing."""
    hit = post_hit(Question=html_question(PRYING.replace("top.location", "top.nothing")))
    _, frame = accept(page, crowd_server, hit)
    frame.locator("#seen", has_text="parent_document").wait_for()
    page.goto(page.frames[1].url)
    page.wait_for_function("document.title === 'done'")
    seen = json.loads(page.locator("#seen").inner_text())
    for name in ("cookies", "localStorage", "sessionStorage", "indexedDB", "work", "session_by_xhr", "own_assignment"):
        assert seen[name].startswith("refused"), (name, seen[name])


def test_a_page_that_sends_nothing_is_told_so_and_can_send_again(crowd_server, post_hit, html_question, join):
    hit, person = post_hit(Question=html_question(WRITTEN_FOR_MTURK)), join()
    assignment = person.post(f"/accept/{hit['HITTypeId']}").json()["assignment_id"]
    empty = person.http.post("/mturk/externalSubmit", data={"assignmentId": assignment})
    assert (empty.status_code, empty.json()) == (400, {"error": "This page sent no answer at all."})
    assert (
        person.http.post("/mturk/externalSubmit", data={"assignmentId": assignment, "comment": ""}).status_code == 200
    )
    assert answers(crowd_server, assignment) == {"comment": None}


# ---- what cannot be a question

ASKED = (
    "<Question><QuestionIdentifier>q</QuestionIdentifier><QuestionContent>{}</QuestionContent><AnswerSpecification><FreeTextAnswer/>"
    "</AnswerSpecification></Question>"
)
GOOD = f'<QuestionForm xmlns="{FORM[1]}">{ASKED.format("<Text>?</Text>")}</QuestionForm>'
LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    ("question", "code"),
    [
        (f'<HTMLQuestion xmlns="{HTML}"><HTMLContent>{"x" * 70_000}</HTMLContent><FrameHeight>0</FrameHeight></HTMLQuestion>',
         "ParameterValidationError"),
        (GOOD[:-3], "XMLParseError"),
        ("<a>" * 20_000, "XMLParseError"),
        (f'<!DOCTYPE x [<!ENTITY l0 "lol">{LAUGHS}]>' + GOOD.replace("?", "&l9;"), "XMLParseError"),
        ('<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + GOOD.replace("?", "&f;"), "XMLParseError"),
        (GOOD.replace("2017-11-06", "2099-01-01"), "XMLParseError"),
        (f'<QuestionForm xmlns="{FORM[1]}">{ASKED.format("<Text>?</Text>") * 2}</QuestionForm>', "XMLParseError"),
        (f'<QuestionForm xmlns="{FORM[1]}">'
         f'{ASKED.format("<FormattedContent><![CDATA[<script>alert(1)</script>]]></FormattedContent>")}</QuestionForm>', "XMLParseError"),
        (f'<ExternalQuestion xmlns="{EXTERNAL}"><ExternalURL>javascript:alert(1)</ExternalURL><FrameHeight>0</FrameHeight>'
         "</ExternalQuestion>", "XMLParseError"),
        (GOOD.replace("?", "\ud800"), "XMLParseError"),
    ],
    ids=["too large", "cut", "deep", "bomb", "outside", "namespace", "twice", "script", "javascript", "surrogate"],
)  # fmt: skip
def test_a_question_that_means_harm_is_a_modeled_error_at_once_and_nothing_is_kept(
    crowd_server, post_hit, question, code
):
    import time

    client = crowd_server.client()
    hits = len(client.list_hits(MaxResults=100)["HITs"])
    post_hit()
    began = time.perf_counter()
    with pytest.raises(ClientError) as error:
        post_hit(Question=question)
    assert time.perf_counter() - began < 2
    assert error.value.response["TurkErrorCode"] == f"AWS.MechanicalTurk.{code}"
    test = {
        "Name": f"t {question[:50]}",
        "Description": "d",
        "QualificationTypeStatus": "Active",
        "TestDurationInSeconds": 60,
    }
    for values in ({"Test": question}, {"Test": GOOD, "AnswerKey": question}):
        with pytest.raises(ClientError) as error:
            client.create_qualification_type(**test, **values)
        assert error.value.response["TurkErrorCode"].startswith("AWS.MechanicalTurk.")
    assert len(client.list_hits(MaxResults=100)["HITs"]) == hits + 1
    assert client.list_qualification_types(MustBeRequestable=False, MustBeOwnedByCaller=True)["NumResults"] == 0
