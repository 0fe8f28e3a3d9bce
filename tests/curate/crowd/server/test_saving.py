"""Nothing that somebody has answered is lost: reload, crash, another device, a server that is gone."""

from __future__ import annotations

import re
import shutil

import pytest

from schemas.question import embed
from tests.curate.crowd.server.sheet import DESK, PHONE, browser_of, chosen, fast, in_review, paint, saved, settle, task

pytestmark = pytest.mark.browser


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
    page.locator("button:focus").press("Enter")
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


def test_an_answer_changed_while_the_one_before_it_was_on_its_way_stays_changed(at_work):
    page, person, url = at_work()
    page.route("**/draft", lambda route: route.abort())
    page.keyboard.press("a")
    settle(page, 1)
    page.keyboard.press("ArrowLeft")
    settle(page, 0)
    page.keyboard.press("r")
    settle(page, 1)
    field = page.locator(".item").first.get_attribute("data-field")
    assert person.post(f"{url}/draft", field=field, value="animal-print", seconds="1").status_code == 204  # late
    page.unroute("**/draft")
    page.reload()
    settle(page, 1)
    assert chosen(page) == ["argyle", None, None]
