from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.cli import app
from curate.workspace import Workspace
from schemas.command import exit_code

Predict = Callable[..., Path]


def report(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["curate", "report", "--workspace", str(workspace.root), *map(str, arguments)])
    return exit_code(app, "curate")


def page_of(workspace: Workspace) -> str:
    return (workspace.root / "report.html").read_text(encoding="utf-8")


def test_an_empty_workspace_has_a_report(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    assert report(monkeypatch, workspace) == 0
    assert "Which pattern does the apron have?" in page_of(workspace)


def test_before_labels_there_are_pictures_and_no_empty_chapters(
    monkeypatch: pytest.MonkeyPatch, shop: Workspace
) -> None:
    assert report(monkeypatch, shop) == 0
    page = page_of(shop)
    assert "Some of the pictures" in page
    assert "Near twins" in page
    assert not re.search(r"<h2[^>]*>(People|Models|Data set|Disagreements|Mistakes)", page)


def test_the_whole_story_is_on_one_page(monkeypatch: pytest.MonkeyPatch, labeled: Workspace, predict: Predict) -> None:
    assert report(monkeypatch, labeled, "-p", predict("resnet18", 5, 10), "-p", predict("vit", 8, 10)) == 0
    page = page_of(labeled)
    for chapter in (
        "Models",
        "The way of the data",
        "Classes",
        "People",
        "Disagreements",
        "Near twins",
        "Data set",
        "Mistakes",
    ):
        assert re.search(rf"<h2[^>]*>{chapter}", page), chapter
    assert "the answers come from simulated workers" in page


def test_nothing_is_fetched_and_no_worker_is_named(monkeypatch: pytest.MonkeyPatch, labeled: Workspace) -> None:
    report(monkeypatch, labeled)
    page = page_of(labeled)
    addresses = re.findall(r'(?:src|href|url\()\s*=?["\'(]?([^"\')>\s]+)', page)
    assert {address.split(":")[0] for address in addresses if not address.startswith("#")} <= {"data"}
    assert "ASIMSECRET" not in page


def test_what_sellers_wrote_stays_text(monkeypatch: pytest.MonkeyPatch, shop: Workspace) -> None:
    report(monkeypatch, shop)
    assert "Tianguis &lt;b&gt;" in page_of(shop)
    assert "Tianguis <b>" not in page_of(shop)


def test_a_picture_that_is_gone_leaves_a_gap_not_an_error(monkeypatch: pytest.MonkeyPatch, labeled: Workspace) -> None:
    for blob in labeled.blobs.rglob("*.jpg"):
        blob.unlink()
    assert report(monkeypatch, labeled) == 0
    assert "no picture" in page_of(labeled)


def test_the_same_state_makes_the_same_page(monkeypatch: pytest.MonkeyPatch, labeled: Workspace) -> None:
    from datetime import UTC, datetime

    from curate.report.gather import gather
    from curate.report.page import render

    data = gather(labeled, labeled.task())
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    assert render(data, [], moment) == render(data, [], moment)


def test_bad_predictions_give_one_line_and_leave_the_old_report(
    monkeypatch: pytest.MonkeyPatch, labeled: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(monkeypatch, labeled)
    before = page_of(labeled)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 cut")
    capsys.readouterr()
    assert report(monkeypatch, labeled, "-p", tmp_path / "cut.parquet") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert page_of(labeled) == before
    assert not list(labeled.root.glob("*.part"))


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1200, "light")])
def test_the_page_fits_a_phone_and_a_desk_and_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, labeled: Workspace, predict: Predict, chromium: Any, width: int, scheme: str
) -> None:
    report(monkeypatch, labeled, "-p", predict("resnet18", 5, 10), "-p", predict("vit", 8, 10))
    asked: list[str] = []
    errors: list[str] = []
    page = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto((labeled.root / "report.html").as_uri())
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("img").first.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('img').naturalWidth > 0")
    assert errors == []
    page.close()
