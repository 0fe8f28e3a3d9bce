"""The report's page in a real browser: everything is seen, on a phone and a desk, by keyboard, and nothing is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from train.report import report, write_report
from train.run import Request, train

pytestmark = pytest.mark.browser
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LOOKS = pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])


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


class Seen:
    """The page as a browser shows it, with what went wrong and what it asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)


Open = Callable[..., Seen]


@pytest.fixture
def opened(chromium: Any, page_file: Path) -> Iterator[Open]:
    """A function that opens the report at a width, in light or dark."""
    pages = []

    def open_it(width: int = 1200, scheme: str = "light") -> Seen:
        page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        pages.append(page)
        seen = Seen(page)
        page.goto(page_file.as_uri())
        return seen

    yield open_it
    for page in pages:
        page.close()


@LOOKS
def test_it_fits_asks_for_nothing_and_passes_axe(opened: Open, width: int, scheme: str) -> None:
    seen = opened(width, scheme)
    page = seen.page
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    found = axe.run(page, options={"runOnly": WCAG}).response["violations"]
    assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in seen.asked if not url.startswith(("file:", "data:"))] == []
    assert seen.errors == []


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
    page = opened(width, scheme).page
    plots = page.locator("svg.plot")
    assert plots.count() == 3
    assert page.locator(".chart").first.locator(".dot").count() == 4  # ResNet18, ViT twice, Semi-ViT's smaller pool
    for plot in plots.all():
        assert plot.get_attribute("aria-label")
        assert plot.locator("path.line").count() >= 1
        outside, smallest = plot.evaluate("""svg => {
            const frame = svg.getBoundingClientRect(), words = [...svg.querySelectorAll('text')];
            const out = [...words, ...svg.querySelectorAll('circle')].filter(one => {
                const box = one.getBoundingClientRect();
                return box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom;
            });
            return [out.map(one => one.textContent), Math.min(...words.map(one => one.getBoundingClientRect().height))];
        }""")
        assert outside == []
        assert smallest >= 9, "words that nobody can read"


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
    page.keyboard.press("ArrowRight")  # a wide table is read by arrow keys
    page.wait_for_function("document.querySelector('#t2 + .scroll').scrollLeft > 0")
    summary = page.locator("summary", has_text="Every run")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details:last-of-type table").is_visible()
    page.locator("nav a", has_text="5.2").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("Math.abs(document.querySelector('#s52').getBoundingClientRect().top) < 200")
