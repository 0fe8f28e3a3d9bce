from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from curate.crowd.question import LIMIT, hotkeys, html_question, task_page, with_confused
from curate.tasks import make_task
from schemas.errors import UserError
from schemas.question import extract
from schemas.task import Task

IDS = [f"{number:064x}" for number in range(400)]


def task_of(*names: str, **hotkey: str) -> Task:
    return Task.model_validate(
        {
            "task": "t",
            "question": {"en": "Which?"},
            "classes": [{"key": n, "name": {"en": n.capitalize()}, "hotkey": hotkey.get(n)} for n in names],
        }
    )


def test_the_page_carries_its_task_whatever_the_texts_hold() -> None:
    task = make_task("apron")
    nasty = task.model_copy(update={"question": {"en": "a ]]> </script> & <b> \"q\" 'q'?"}})
    page = task_page(nasty, IDS[:10], "http://127.0.0.1:1/picture")
    xml = ElementTree.fromstring(html_question(page))
    assert [child.tag.split("}")[1] for child in xml] == ["HTMLContent", "FrameHeight"]
    assert extract(xml[0].text or "") == page


def test_classes_without_a_hotkey_get_the_first_free_letter_of_their_name() -> None:
    assert hotkeys(task_of("dots", "dashes", "plain", plain="d")) == {"plain": "d", "dots": "o", "dashes": "a"}


def test_the_undo_key_is_only_given_on_purpose() -> None:
    assert hotkeys(task_of("zz", "zzz"))["zz"] != "z"
    assert hotkeys(task_of("zz", "zzz", zz="z"))["zz"] == "z"


def test_a_hundred_classes_share_what_keys_there_are() -> None:
    keys = hotkeys(task_of(*(f"class{n}" for n in range(100))))
    given = [key for key in keys.values() if key]
    assert len(given) == len(set(given)) == 35


def test_a_question_that_is_too_large_says_how_many_pictures_fit() -> None:
    task = make_task("apron")
    with pytest.raises(UserError) as fault:
        html_question(task_page(task, IDS, "http://127.0.0.1:8055/picture"))
    fit = int(str(fault.value).split(" fit:")[0].split()[-1])
    assert len(html_question(task_page(task, IDS[:fit], "http://127.0.0.1:8055/picture")).encode()) <= LIMIT
    with pytest.raises(UserError, match=r"lower crowd\.pictures_per_hit"):
        html_question(task_page(task, IDS[: fit + 3], "http://127.0.0.1:8055/picture"))


def test_fifty_pictures_and_twenty_six_long_classes_fit() -> None:
    task = task_of(*(f"a-rather-long-class-name-{n}" for n in range(26)))
    assert len(html_question(task_page(task, IDS[:50], "https://crowd.example.org/picture")).encode()) < LIMIT


def test_what_the_task_file_says_of_confused_classes_wins_over_what_was_found() -> None:
    task = Task.model_validate(
        {
            "task": "t",
            "question": {"en": "Which?"},
            "classes": [
                {"key": "a", "name": {"en": "A"}, "confused_with": ["c"]},
                {"key": "b", "name": {"en": "B"}, "confused_with": []},
                {"key": "c", "name": {"en": "C"}},
                {"key": "d", "name": {"en": "D"}},
            ],
        }
    )
    found = {"a": ["b"], "b": ["a"], "c": ["gone", "c", "a", "b", "d"]}
    page = task_page(with_confused(task, found), IDS[:1], "")
    assert {c.key: c.confused_with for c in page.choices} == {"a": ["c"], "b": [], "c": ["a", "b", "d"], "d": []}


def test_hints_give_way_where_the_page_would_be_too_large() -> None:
    names = [f"a-rather-long-class-name-{n:03d}" for n in range(100)]
    task = with_confused(task_of(*names), {name: [other for other in names[:4] if other != name] for name in names})
    url, count = "http://127.0.0.1:8055/picture", 150
    while len(html_question(task_page(task, IDS[:count], url)).encode()) > LIMIT - 200:
        count -= 1
    crowded = extract(ElementTree.fromstring(html_question(task_page(task, IDS[:count], url)))[0].text or "")
    roomy = extract(ElementTree.fromstring(html_question(task_page(task, IDS[:20], url)))[0].text or "")
    assert crowded is not None
    assert roomy is not None
    assert len(crowded.pictures) == count
    assert {len(choice.confused_with) for choice in roomy.choices} == {3}


@pytest.mark.browser
def test_on_any_other_endpoint_the_page_is_a_form_that_works(tmp_path: Path, chromium: object) -> None:
    page = task_page(make_task("apron"), IDS[:2], "http://127.0.0.1:9/picture")
    text = ElementTree.fromstring(html_question(page))[0].text or ""
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    tab = chromium.new_page()  # type: ignore[attr-defined]
    sent = {}

    def answer(route: object) -> None:
        sent["url"], sent["body"] = route.request.url, route.request.post_data  # type: ignore[attr-defined]
        route.fulfill(body="thanks")  # type: ignore[attr-defined]

    tab.route("**/mturk/externalSubmit", answer)
    address = (tmp_path / "page.html").as_uri()
    tab.goto(address)
    assert tab.locator("#send").is_disabled()  # a preview cannot be sent
    tab.goto(address + "?assignmentId=3ABC&hitId=3H&workerId=AW&turkSubmitTo=http%3A%2F%2F127.0.0.1%3A9")
    assert tab.locator("select").count() == 2
    tab.select_option(f'select[name="{IDS[0]}"]', "dots")
    tab.select_option(f'select[name="{IDS[1]}"]', "cannot_see")
    tab.click("#send")
    tab.wait_for_url("**/externalSubmit")
    assert sent["url"] == "http://127.0.0.1:9/mturk/externalSubmit"
    assert sent["body"] == f"assignmentId=3ABC&{IDS[0]}=dots&{IDS[1]}=cannot_see"
    tab.close()
