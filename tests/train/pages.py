"""A page as a browser shows it, with what went wrong on it and what it asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
LOOKS = pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])


class Seen:
    """One page, open."""

    def __init__(self, chromium: Any, file: Path, width: int = 1200, scheme: str = "light") -> None:
        self.width = width
        self.errors: list[str] = []
        self.asked: list[str] = []
        self.page = page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.goto(file.as_uri())

    def is_fine(self) -> None:
        """Everything opened, it fits, is accessible, asks for nothing and says no error."""
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        self.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        found = axe.run(self.page, options={"runOnly": WCAG}).response["violations"]
        assert [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in found] == []
        assert self.page.evaluate("document.documentElement.scrollWidth") <= self.width
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []
        assert self.errors == []

    def plots_are_drawn(self) -> int:
        """Each plot has a name, something in it, all of it inside its frame, and words large enough; how many there are."""
        plots = self.page.locator("svg.plot").all()
        for plot in plots:
            assert plot.get_attribute("aria-label")
            assert plot.locator("path.line, path.thin, .dot").count() >= 1
            outside, smallest = plot.evaluate(
                """svg => {
                const frame = svg.getBoundingClientRect(), words = [...svg.querySelectorAll('text')];
                const out = [...words, ...svg.querySelectorAll('circle')].filter(one => {
                    const box = one.getBoundingClientRect();
                    return box.left < frame.left || box.right > frame.right || box.top < frame.top || box.bottom > frame.bottom;
                });
                return [out.map(one => one.textContent), Math.min(...words.map(one => one.getBoundingClientRect().height))];
            }"""
            )
            assert outside == []
            assert smallest >= 9, "words that nobody can read"
        return len(plots)
