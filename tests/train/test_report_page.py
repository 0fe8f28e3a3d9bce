"""The report's page in a real browser: everything is seen, on a phone and a desk, by keyboard, and nothing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.train.pages import LOOKS, Seen
from train.report import report, write_report
from train.run import Request, train

pytestmark = pytest.mark.browser


@pytest.fixture
def page_file(shop: Path, ask: Callable[..., Request], tmp_path: Path) -> Path:
    """A report that has every part: three methods, two shares of the labels, two pools."""
    runs = [shop / "runs" / name for name in ("apron-resnet18-100-s0", "apron-vit-50-s0", "apron-vit-100-s0")]
    for count in (6, 24):
        out = shop / "runs" / f"apron-semivit-50-u{count}-s0"
        train(ask(shop / "apron.parquet", "semivit", "semi_steps=2", label_fraction=0.5, unlabeled=str(count),
                  stage1=runs[1], out=out))  # fmt: skip
        runs.append(out)
    write_report(report(runs), tmp_path / "report.html")
    return tmp_path / "report.html"


Open = Callable[..., Seen]


@pytest.fixture
def opened(chromium: Any, page_file: Path) -> Iterator[Open]:
    """A function that opens the report at a width, in light or dark."""
    seen: list[Seen] = []

    def open_it(*look: Any) -> Seen:
        seen.append(Seen(chromium, page_file, *look))
        return seen[-1]

    yield open_it
    for one in seen:
        one.page.close()


@LOOKS
def test_it_fits_asks_for_nothing_and_passes_axe(opened: Open, width: int, scheme: str) -> None:
    opened(width, scheme).is_fine()


def test_all_tables_are_there_with_a_row_for_each_run(opened: Open) -> None:
    page = opened().page
    heads = page.locator("h2").all_inner_texts()
    assert [head.split(":")[0] for head in heads] == [
        "Table 1", "Table 2", "Table 3", "5.1 Which method, with how many labels", "5.2 Where it goes wrong",
        "How to read this",
    ]  # fmt: skip
    assert page.locator("#t2 + .scroll tbody tr").count() == 5
    assert page.locator("#t3 + .scroll tbody tr").count() == 2
    assert "Does Semi-ViT with 50% of the labels match ViT with all of them?" in page.locator(".answer").inner_text()
    assert page.locator(".answer + .scroll tbody tr").count() == 2
    assert page.locator(".matrix tbody td").count() == 9
    assert sum(map(int, page.locator(".matrix tbody td").all_text_contents())) == 18
    page.get_by_text("Every run").click()
    assert page.locator("details:last-of-type tbody tr").count() == 5


@LOOKS
def test_plots_are_drawn_inside_their_frames_and_their_words_are_large_enough(
    opened: Open, width: int, scheme: str
) -> None:
    seen = opened(width, scheme)
    assert seen.plots_are_drawn() == 3
    assert (
        seen.page.locator(".chart").first.locator(".dot").count() == 4
    )  # ResNet18, ViT twice, Semi-ViT's smaller pool


def test_every_picture_loads_and_says_what_it_is(opened: Open) -> None:
    page = opened().page
    pictures = page.locator("img")
    assert pictures.count() >= 2 * page.locator(".twins figure").count() > 0
    assert page.locator(".gallery img").count() > 0
    for picture in pictures.all():
        picture.scroll_into_view_if_needed()
        picture.evaluate("one => one.decode()")
        assert picture.evaluate("one => one.naturalWidth") > 0
        assert picture.get_attribute("alt")


def test_what_a_mouse_can_do_a_keyboard_can(opened: Open) -> None:
    page = opened(390).page
    reached = set()
    for _ in range(page.locator("a, summary, .scroll").count()):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => e.tagName + ' ' + (e.getAttribute('aria-label') || e.textContent))(document.activeElement)"
            )
        )
    assert {"A Data", "A How to read this", "SUMMARY Every run"} <= reached
    assert {"DIV Table 2: methods and label shares", "DIV Table 3: the unlabeled pool", "DIV Confusion"} <= reached
    table = page.locator("#t2 + .scroll")
    table.focus()
    table.evaluate("one => one.addEventListener('scrollend', () => { window.moved = one.scrollLeft })")
    page.keyboard.press("ArrowRight")  # a wide table is read by arrow keys
    page.wait_for_function("window.moved > 0")  # a browser forgets a jump that begins while something still scrolls
    summary = page.locator("summary", has_text="Every run")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details:last-of-type table").is_visible()
    page.locator("nav a", has_text="5.2").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("Math.abs(document.querySelector('#s52').getBoundingClientRect().top) < 200")
