"""The requester's pages in a real browser, over a real desk, a workspace, and a real crowd whose people have answered."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd
import pytest

from schemas.tables import GIVEN, GOLD, LABELS, LEDGER, VOTES

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Worker:
    """A person at the crowd, by the JSON of its pages."""

    def __init__(self, shop: Shop, name: str) -> None:
        self.shop = shop
        self.http = httpx.Client(base_url=shop.url, headers={"Accept": "application/json"}, timeout=30)
        self.http.post("/join", data={"name": name, "csrf": self.http.get("/join").json()["csrf"]})
        work = self.http.get("/work").json()
        self.id, self.csrf = work["worker_id"], work["csrf"]

    def answer(self, wrong: dict[str, str]) -> None:
        """Pass the test and answer the HIT with the truth, but for the pictures in `wrong`."""
        with closing(self.shop.workspace.project()) as project:
            own = project.execute("SELECT qualification_type_id FROM qualification").fetchone()[0]
        groups = self.http.get("/work").json()["groups"]
        group, test = next((g, q["test_url"]) for g in groups for q in g["qualifications"] if own in str(q["test_url"]))
        questions = self.http.get(test).json()["questions"]
        right = {q["id"]: self.truth(" ".join(q["pictures"]) + q["id"]) for q in questions}
        assert self.http.post(test, data={**right, "csrf": self.csrf}).json()["passed"]
        url = self.http.post(group["accept_url"], data={"csrf": self.csrf}).json()["url"]
        asked = [p["image_id"] for p in self.http.get(url).json()["task"]["pictures"]]
        said = {i: wrong.get(i, self.shop.truth[i]) for i in asked}
        times = {f"seconds.{i}": "2.5" for i in asked}
        assert self.http.post(url, data={**said, **times, "csrf": self.csrf}).json() == {"submitted": True}

    def truth(self, text: str) -> str:
        """The known answer of the picture that a text names."""
        return next(label for image_id, label in self.shop.truth.items() if image_id in text)

    def work_page(self) -> str:
        """What the worker reads on the list of work."""
        return self.http.get("/work", headers={"Accept": "text/html"}).text


@pytest.fixture
def people(open_shop: Shop) -> Iterator[dict[str, Worker]]:
    """Ana, Bo and Cy have answered one HIT of nine pictures; about two of them all three differ."""
    open_shop.curate("hits", "create", "--images", "9", "--yes")
    found = {name: Worker(open_shop, name) for name in ("Ana", "Bo", "Cy")}
    keys = open_shop.workspace.task().keys
    disputed = [i for i in sorted(pictures_asked(open_shop)) if i in open_shop.ids[14:]][:2]
    for shift, person in enumerate(found.values()):
        person.answer({i: keys[(keys.index(open_shop.truth[i]) + shift) % len(keys)] for i in disputed})
    open_shop.curate("hits", "collect")
    yield found
    for person in found.values():
        person.http.close()


def pictures_asked(shop: Shop) -> list[str]:
    with closing(shop.workspace.project()) as project:
        rows = project.execute("SELECT images FROM hit_journal").fetchall()
    return [asked["image_id"] for row in rows for asked in json.loads(row["images"])]


@contextmanager
def desk(shop: Shop, *words: str, crash_at: str = "") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A desk in a process of its own; its address and the process. Ended by SIGTERM, with code 0, where it still runs."""
    env = {**os.environ, **shop.environment(), "CONSENSO_CRASH_AT": crash_at}
    command = [sys.executable, "-m", "curate.cli", *(words or ("desk",)), "--json"]
    process = subprocess.Popen(command, cwd=shop.workspace.root, env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())["url"], process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """A page of the browser that fails the test on a script error or a breach of the security policy."""
    failures, contexts = [], []

    def make(url: str, **options: Any) -> Any:
        context = chromium.new_context(locale="en-US", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda said: failures.append(said.text) if "Content Security" in said.text else None)
        page.goto(url)
        return page

    yield make
    for context in contexts:
        context.close()
    assert failures == []


def entered(http: httpx.Client, url: str) -> str:
    """Go in as a browser does; the secret of its forms."""
    assert http.get(url).status_code == 303
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', http.get("/").text)
    assert found
    return found.group(1)


def table(shop: Shop, kind: Any) -> pd.DataFrame:
    return kind.read(shop.workspace.of_task("apron", kind.name))


def log(shop: Shop, command: str) -> list[dict[str, Any]]:
    lines = (shop.workspace.root / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["command"] == command]


def act(page: Any, kind: str, **fields: str) -> None:
    """Fill in a form of the page, send it, and confirm."""
    form = page.locator("form.act", has=page.locator(f"input[name=kind][value={kind}]")).first
    for name, value in fields.items():
        form.locator(f"[name={name}]").fill(value)
    form.locator("button").click()
    page.locator("h1", has_text="?").wait_for()
    page.locator("form[action='/confirm'] button").click()
    page.get_by_role("heading", name="Done").wait_for()


@pytest.mark.browser
def test_the_dashboard_shows_it_all_and_approves_and_rejects_as_the_commands_do(
    open_shop: Shop, people: dict[str, Worker], open_page: Callable[..., Any]
) -> None:
    shop, bo = open_shop, people["Bo"]
    with desk(shop) as (url, _):
        page = open_page(url)
        assert page.url.endswith("/")
        tiles = page.locator("[data-live=tiles]").inner_text()
        assert "3 of 3" in tiles.replace("\n", " ")
        assert "78 %" in tiles
        assert "7 of 9 pictures have 2 equal votes" in tiles
        assert page.locator("#people tbody tr").count() == 3
        assert page.locator(".disputes > li").count() == 2
        assert page.locator(".disputes > li").first.locator(".vote").count() == 3
        page.locator(f"#people a[href='/worker/{bo.id}']").click()
        act(page, "reject", reason="You said what is <b>not</b> there.")
        assert "1 rejected" in page.locator(".lead").inner_text()
        page.goto(url)
        act(page, "approve")
        assert "2 approved" in page.locator(".lead").inner_text()
    status = table(shop, VOTES).drop_duplicates("assignment_id").set_index("worker_id")["assignment_status"]
    assert status.to_dict() == {bo.id: "Rejected", people["Ana"].id: "Approved", people["Cy"].id: "Approved"}
    ledger = table(shop, LEDGER)
    assert ledger.loc[ledger["kind"] == "earned", "amount_usd"].tolist() == [0.10, 0.10]
    assert "not accepted, and why" in bo.work_page().lower()
    assert "You said what is &lt;b&gt;not&lt;/b&gt; there." in bo.work_page()
    (line,) = log(shop, "hits reject")
    assert line["reason"] == "You said what is <b>not</b> there."
    assert log(shop, "hits approve")[0]["counts"] == {"Approved": 2}
    assert "nothing to judge" in shop.curate("hits", "review", "--yes").stdout


@pytest.mark.browser
def test_a_bonus_is_paid_once_and_a_block_can_be_taken_back(
    open_shop: Shop, people: dict[str, Worker], open_page: Callable[..., Any]
) -> None:
    from curate.crowd.requester import Requester
    from schemas.errors import UserError

    shop, ana = open_shop, people["Ana"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in shop.environment().items():
            patch.setenv(name, value)
        requester = Requester(shop.url)
        try:
            requester.blocked()
        except UserError:
            pytest.skip("this crowd server does not know blocks and bonuses yet")
        with desk(shop) as (url, _):
            page = open_page(url)
            page.goto(f"{url.split('/enter')[0]}/worker/{ana.id}")
            for _ in range(2):
                page.goto(f"{url.split('/enter')[0]}/worker/{ana.id}")
                form = page.locator("form.act", has=page.locator("input[name=kind][value=bonus]"))
                form.locator("[name=usd]").fill("1.50")
                form.locator("[name=reason]").fill("Careful work")
                form.locator("button").click()
                page.locator("h1").wait_for()
                if page.locator("form[action='/confirm']").count():
                    assert "$1.50" in page.locator("h1").inner_text()
                    page.locator("form[action='/confirm'] button").click()
            assert "this bonus has been paid" in page.locator("[role=alert]").inner_text()
            page.goto(f"{url.split('/enter')[0]}/worker/{ana.id}")
            act(page, "block", reason="Two people at one desk")
            assert requester.blocked() == {ana.id: "Two people at one desk"}
            page.goto(f"{url.split('/enter')[0]}/worker/{ana.id}")
            act(page, "unblock", reason="It was a mistake")
            assert requester.blocked() == {}
        assignment = table(shop, VOTES).set_index("worker_id")["assignment_id"][ana.id].iloc[0]
        assert [paid["BonusAmount"] for paid in requester.bonuses(assignment)] == ["1.50"]
    ledger = table(shop, LEDGER)
    assert ledger.loc[ledger["kind"] == "bonus", "amount_usd"].tolist() == [1.50]


def test_a_confirmed_form_sent_twice_acts_once(open_shop: Shop, people: dict[str, Worker]) -> None:
    shop = open_shop
    with desk(shop) as (url, _), httpx.Client(base_url=url.split("/enter")[0], timeout=60) as http:
        csrf = entered(http, url)
        plan = http.post("/ask", data={"csrf": csrf, "kind": "approve"}).text
        assert "$0.30 with fees becomes earned" in plan
        token = re.search(r'name="token" value="([0-9a-f]+)"', plan)
        assert token
        said = [http.post("/confirm", data={"csrf": csrf, "token": token.group(1)}).text for _ in range(2)]
        assert all("3 approved" in text for text in said)
        again = http.post("/ask", data={"csrf": csrf, "kind": "reject", "reason": "too late"})
        assert again.status_code == 409
        assert "may have been judged meanwhile" in again.text
        old = http.post("/confirm", data={"csrf": csrf, "token": "0" * 32})
        assert "earlier run of the desk" in old.text
        empty = http.post("/ask", data={"csrf": csrf, "kind": "bonus", "worker_id": people["Ana"].id, "usd": "1.005"})
        assert "usd must be dollars with two decimals" in empty.text
    assert len(log(shop, "hits approve")) == 1
    assert (table(shop, LEDGER)["kind"] == "earned").sum() == 3


def test_a_desk_killed_while_it_pays_pays_the_rest_and_nobody_twice(open_shop: Shop, people: dict[str, Worker]) -> None:
    shop = open_shop

    def approve_all(url: str) -> None:
        with httpx.Client(base_url=url.split("/enter")[0], timeout=60) as http:
            csrf = entered(http, url)
            plan = http.post("/ask", data={"csrf": csrf, "kind": "approve"}).text
            token = re.search(r'name="token" value="([0-9a-f]+)"', plan)
            assert token
            assert "3 approved" in http.post("/confirm", data={"csrf": csrf, "token": token.group(1)}).text

    with desk(shop, crash_at="after-judged") as (url, process):
        with pytest.raises(httpx.HTTPError):
            approve_all(url)
        assert process.wait(timeout=30) == 137
    with desk(shop) as (url, _):
        approve_all(url)
    ledger = table(shop, LEDGER)
    assert ledger.loc[ledger["kind"] == "earned", "amount_usd"].tolist() == [0.10, 0.10, 0.10]
    assert set(table(shop, VOTES)["assignment_status"]) == {"Approved"}


@pytest.mark.browser
def test_new_answers_appear_by_themselves_and_the_chosen_order_stays(
    open_shop: Shop, open_page: Callable[..., Any]
) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    with desk(shop) as (url, _):
        page = open_page("about:blank")
        page.clock.install()
        page.goto(url)
        assert "Nobody has answered yet" in page.locator("[data-live=workers]").inner_text()
        person = Worker(shop, "Ana")
        person.answer({})
        person.http.close()
        page.clock.run_for(11_000)
        page.get_by_role("button", name="Read 1 new answers").click()
        page.get_by_text("1 new assignments").wait_for()
        page.get_by_role("link", name="Go on").click()
        assert page.locator("#people tbody tr").count() == 1
        page.get_by_role("button", name="Votes").click()
        assert page.locator("#people th", has_text="Votes").get_attribute("aria-sort") == "descending"
        second = Worker(shop, "Bo")
        second.answer({})
        second.http.close()
        shop.curate("hits", "collect")
        page.locator("h1").click()
        page.evaluate("document.activeElement.blur()")
        page.clock.run_for(11_000)
        page.wait_for_function("() => document.querySelectorAll('#people tbody tr').length === 2")
        assert page.locator("#people th", has_text="Votes").get_attribute("aria-sort") == "descending"


def decide(page: Any, key: str) -> None:
    """Press a key and wait for the next page."""
    before = page.locator("#decide").get_attribute("action")
    page.keyboard.press(key)
    page.wait_for_function("a => document.querySelector('#decide')?.getAttribute('action') !== a", arg=before)


@pytest.mark.browser
def test_an_expert_decides_by_key_is_killed_goes_on_and_wins(
    open_shop: Shop, people: dict[str, Worker], open_page: Callable[..., Any]
) -> None:
    shop = open_shop
    listed = [json.loads(line) for line in shop.curate("adjudicate", "--list").stdout.splitlines()]
    assert [len({vote["answer"] for vote in one["votes"]}) for one in listed] == [3, 3]
    with desk(shop, "adjudicate", "--by", "Eva", crash_at="desk-decided") as (url, process):
        page = open_page(url)
        assert page.locator("#count").inner_text() == "1 of 2"
        assert page.locator(".vote").count() == 3
        page.keyboard.press("d")
        assert process.wait(timeout=30) == 137
    given = table(shop, GIVEN)
    assert given[["label", "source", "given_by"]].values.tolist() == [["dots", "expert", "Eva"]]
    with desk(shop, "adjudicate", "--by", "Eva") as (url, _):
        page = open_page(url)
        assert page.locator("#count").inner_text() == "2 of 2"
        decide(page, "h")
        assert "All 2 are decided" in page.locator("h1").inner_text()
        page.get_by_role("button", name="Undo the last one").click()
        page.locator("#decide").wait_for()
        assert len(table(shop, GIVEN)) == 1
        decide(page, "s")
    assert set(table(shop, GIVEN)["label"]) == {"dots", "stripes"}
    shop.curate("aggregate")
    labels = table(shop, LABELS).set_index("image_id")
    assert set(labels.loc[labels["source"] == "expert", "label"]) == {"dots", "stripes"}
    assert set(labels.loc[[one["image_id"] for one in listed], "n_votes"]) == {3}


@pytest.mark.browser
def test_a_second_expert_may_differ_and_take_it_back_and_blind_hides_the_votes(
    open_shop: Shop, people: dict[str, Worker], open_page: Callable[..., Any]
) -> None:
    shop = open_shop
    with desk(shop, "adjudicate", "--by", "Eva") as (url, _):
        decide(open_page(url), "d")
    first = table(shop, GIVEN)["image_id"].iloc[0]
    with desk(shop, "adjudicate", "--by", "Max", "--blind") as (url, _):
        page = open_page(url)
        assert page.locator(".vote").count() == 0
        assert page.locator(".count").count() == 0
        page.keyboard.press("h")
        page.locator(".vote").first.wait_for()
        assert "Decided: Hearts" in page.locator(".chosen").inner_text()
        page.goto(f"{url.split('/enter')[0]}/cards/{first}")
        decide(page, "s")
        assert table(shop, GIVEN).set_index("image_id").loc[first, ["label", "given_by"]].tolist() == ["stripes", "Max"]
        page.get_by_role("button", name="Undo the last one").click()
        page.locator("#decide").wait_for()
    assert table(shop, GIVEN).set_index("image_id").loc[first, ["label", "given_by"]].tolist() == ["dots", "Eva"]
    assert [line["label"] for line in log(shop, "adjudicate")] == ["dots", "hearts", "stripes"]


def test_any_labeled_picture_can_be_decided_again(open_shop: Shop, people: dict[str, Worker]) -> None:
    shop = open_shop
    asked = shop.curate("adjudicate", "--list", "--recheck", "all").stdout.splitlines()
    assert len(asked) == 7
    wanted = json.loads(asked[0])["image_id"]
    (shop.workspace.root / "again.csv").write_text(f"image_id\n{wanted}\n")
    (line,) = shop.curate("adjudicate", "--list", "--recheck", "again.csv").stdout.splitlines()
    assert json.loads(line)["image_id"] == wanted
    (shop.workspace.root / "again.csv").write_text(f"image_id\n{'0' * 64}\n")
    refused = shop.curate("adjudicate", "--list", "--recheck", "again.csv", check=False)
    assert refused.returncode == 1
    assert "1 of 1 pictures were never asked about" in refused.stderr


@pytest.mark.browser
def test_gold_is_labeled_on_the_page_killed_and_gone_on_with(open_shop: Shop, open_page: Callable[..., Any]) -> None:
    shop = open_shop
    shop.curate("hits", "create", "--images", "9", "--yes")
    before = table(shop, GOLD)
    words = ("gold", "label", "--n", "3", "--use", "practice", "--by", "Eva")
    with desk(shop, *words, crash_at="desk-decided") as (url, process):
        page = open_page(url)
        page.get_by_label("Explanation").fill("The dots are small.")
        page.locator(".stage").click()
        page.keyboard.press("d")
        assert process.wait(timeout=30) == 137
    with desk(shop, *words) as (url, _):
        page = open_page(url)
        assert page.locator("#count").inner_text() == "2 of 3"
        decide(page, "s")
        decide(page, "h")
        assert "All 3 are decided" in page.locator("h1").inner_text()
    gold = table(shop, GOLD)
    new = gold[~gold["image_id"].isin(before["image_id"])]
    assert sorted(new["label"]) == ["dots", "hearts", "stripes"]
    assert set(new["use"]) == {"practice"}
    assert new["explanation"].dropna().tolist() == ["The dots are small."]
    assert gold["image_id"].is_unique
    assert not set(pictures_asked(shop)) & set(new["image_id"])
    with desk(shop, "gold", "label", "--n", "40", "--use", "hidden", "--by", "Eva") as (url, _):
        page = open_page(url)
        assert page.locator("#count").inner_text() == "1 of 34"  # 60 pictures, 14 gold, 9 asked, 3 practice


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gold", "label", "--n", "0"), "--n must be 1 or more"),
        (("gold", "label", "--n", "5", "--use", "secret"), "it can be test, hidden, practice"),
        (("adjudicate", "--recheck", "nothing.csv"), "--recheck nothing.csv: cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_said_at_once(open_shop: Shop, words: tuple[str, ...], said: str) -> None:
    done = open_shop.curate(*words, check=False)
    assert done.returncode == 1
    assert said in done.stderr


def test_a_desk_without_its_crowd_says_so(open_shop: Shop) -> None:
    done = open_shop.curate("desk", "--endpoint", "http://127.0.0.1:9", check=False)
    assert done.returncode == 1
    assert "no crowd answers there" in done.stderr


def test_only_the_printed_address_this_host_and_forms_of_our_own_are_let_in(
    open_shop: Shop, people: dict[str, Worker]
) -> None:
    with desk(open_shop) as (url, _):
        base = url.split("/enter")[0]
        for path in ("/", "/cards", f"/picture/{open_shop.ids[0]}", "/static/pages.css", "/own/desk.js"):
            assert httpx.get(base + path).status_code == 403, path
        assert httpx.get(f"{base}/enter?token=guessed").status_code == 403
        with httpx.Client(base_url=base) as http:
            csrf = entered(http, url)
            page = http.get("/")
            assert page.status_code == 200
            assert "script-src 'self'" in page.headers["content-security-policy"]
            assert "unsafe" not in page.headers["content-security-policy"]
            assert http.get("/", headers={"Host": "evil.example"}).status_code == 421
            assert http.get(url, headers={"Host": f"evil.example:{url.split(':')[2].split('/')[0]}"}).status_code == 421
            form = {"kind": "approve"}
            assert http.post("/ask", data=form).status_code == 403
            assert http.post("/ask", data={**form, "csrf": "0" * 40}).status_code == 403
            for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
                sent = http.post("/ask", data={**form, "csrf": csrf}, headers={"Origin": origin})
                assert sent.status_code == 403, origin
            assert http.post("/ask", data={**form, "csrf": csrf}, headers={"Origin": base}).status_code == 200
            assert http.get("/picture/..%2f..%2fworkspace.yaml").status_code == 404
            assert http.get("/nowhere").status_code == 404
        assert log(open_shop, "hits approve") == []


@pytest.mark.browser
@pytest.mark.parametrize("size", [{"viewport": {"width": 1280, "height": 800}}, PHONE], ids=["desktop", "phone"])
def test_every_page_passes_axe_and_fits(
    open_shop: Shop, people: dict[str, Worker], open_page: Callable[..., Any], size: dict[str, Any]
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    shop = open_shop
    with desk(shop) as (url, _):
        base = url.split("/enter")[0]
        page = open_page(url, **size)

        def check(where: str) -> None:
            page.wait_for_load_state("networkidle")
            found = axe.run(page, options={"runOnly": WCAG}).response["violations"]
            assert [(where, v["id"], [n["html"] for n in v["nodes"]][:2]) for v in found] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= size["viewport"]["width"], where

        check("dashboard")
        page.goto(f"{base}/worker/{people['Bo'].id}")
        page.locator("details summary").click()
        check("worker")
        form = page.locator("form.act", has=page.locator("input[name=kind][value=reject]")).first
        form.locator("[name=reason]").fill("Look again")
        form.locator("button").click()
        check("confirm")
        page.goto(f"{base}/cards")
        check("card")
        page.locator("#show-help").click()
        check("help")
        page.keyboard.press("Escape")
        decide(page, "d")
        check("second card")
        decide(page, "d")
        check("done")
        page.goto(f"{base}/worker/nobody")
        check("error")


def test_status_as_json_has_the_figures_of_the_dashboard(open_shop: Shop, people: dict[str, Worker]) -> None:
    figures = json.loads(open_shop.curate("hits", "status", "--json").stdout)
    assert figures["hits"] == {"answered": 1}
    assert figures["assignments"] == {"wanted": 3, "open": 0, "pending": 0, "judged": 0, "submitted": 3}
    assert figures["money"]["reserved_usd"] == pytest.approx(0.30)
    assert sum(figures["answers_an_hour"]) == 3
