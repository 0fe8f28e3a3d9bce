"""The labeling page piece by piece: answers, keys, zoom, meanings, time, pictures."""

from __future__ import annotations

import pytest

from tests.curate.crowd.server.sheet import PHONE, chosen, count, fast, in_review, saved, settle

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("crowd_server", ["sqlite"], indirect=True, scope="module"),  # test_labeling walks on both
]


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
