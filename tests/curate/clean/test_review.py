"""`curate dedup --review` in a real browser: keys and mouse decide, each decision is on disk at once, and dedup follows it."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import httpx
import likenesses
import pytest
from typer.testing import CliRunner

from curate.clean.review.texts import TEXTS, choose
from curate.cli import app
from curate.workspace import Workspace
from schemas.tables import CLUSTERS, DECISIONS

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture
def alike(workspace: Workspace, tmp_path: Path) -> tuple[Workspace, dict[str, str]]:
    return workspace, likenesses.fill(workspace, tmp_path / "photos")


def decisions(workspace: Workspace) -> dict[frozenset[str], str]:
    rows = DECISIONS.read_if_there(workspace.table("decisions"))
    pairs = zip(rows["image_id_a"], rows["image_id_b"], strict=True)
    return dict(zip(map(frozenset, pairs), rows["decision"], strict=True))


def together(workspace: Workspace, a: str, b: str) -> bool:
    CliRunner().invoke(app, ["dedup", "--workspace", str(workspace.root)], catch_exceptions=False)
    home = CLUSTERS.read(workspace.table("clusters")).set_index("image_id")["cluster_id"]
    return bool(home[a] == home[b])


def go_in(http: httpx.Client, url: str) -> tuple[str, dict[str, str]]:
    """Go in as a browser does; the first pair's page and what its form carries."""
    http.get(url)
    page = http.get("/", follow_redirects=True).text
    return page, dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


@pytest.mark.browser
def test_a_person_decides_by_keys_and_mouse_undoes_and_dedup_follows(
    alike: tuple[Workspace, dict[str, str]], chromium: Any
) -> None:
    workspace, ids = alike
    gray, recolored = (frozenset((ids[n], ids[f"{n} copy"])) for n in ("gray", "recolored"))
    assert not together(workspace, *gray)
    faults: list[str] = []
    with likenesses.review(workspace) as (url, _):
        page = chromium.new_context(locale="en-US").new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
        page.goto(url)
        assert page.get_by_role("heading", name="Are these the same photo?").is_visible()
        shown = [frozenset(re.findall("[0-9a-f]{64}", page.url))]
        assert page.get_by_role("img").count() == 2
        page.keyboard.press("m")
        page.get_by_text("Written: the same photo.").wait_for()
        assert decisions(workspace) == {shown[0]: "same"}
        page.keyboard.press("Backspace")
        page.get_by_text("Taken back.").wait_for()
        assert decisions(workspace) == {}
        assert frozenset(re.findall("[0-9a-f]{64}", page.url)) == shown[0]
        for _ in range(2):
            now = frozenset(re.findall("[0-9a-f]{64}", page.url))
            if now == gray:
                page.get_by_role("button", name="Same photo").click()
            else:
                page.keyboard.press("k")  # as it is now: apart
            page.wait_for_function("before => !location.href.includes(before)", arg=sorted(now)[0])
        page.get_by_role("heading", name="Nothing is left to decide").wait_for()
        assert decisions(workspace) == {gray: "same", recolored: "different"}
        page.get_by_role("link", name="Look through what was joined").click()
        first = re.findall("[0-9a-f]{64}", page.url)
        page.get_by_role("button", name="Different").click()
        page.get_by_text("Written: different.").wait_for()
        page.context.close()
    assert faults == []
    assert together(workspace, *gray)
    assert not together(workspace, *recolored)
    assert not together(workspace, *first)


def test_a_decision_outlives_kill_9_and_the_next_review_can_take_it_back(
    alike: tuple[Workspace, dict[str, str]],
) -> None:
    workspace, _ = alike
    with likenesses.review(workspace) as (url, process), httpx.Client(base_url=url.split("/enter")[0]) as http:
        _, form = go_in(http, url)
        assert http.post("/decide", data={**form, "decision": "same"}).status_code == 303
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert decisions(workspace) == {frozenset((form["a"], form["b"])): "same"}
    with likenesses.review(workspace) as (url, _), httpx.Client(base_url=url.split("/enter")[0]) as http:
        page, form = go_in(http, url)
        assert "1 of 2 decided" in page
        assert http.post("/undo", data=form).status_code == 303
    assert decisions(workspace) == {}


def test_only_this_browser_and_forms_of_our_own_are_let_in_and_only_pictures_of_pairs_are_shown(
    alike: tuple[Workspace, dict[str, str]],
) -> None:
    workspace, _ = alike
    with likenesses.review(workspace) as (url, _), httpx.Client(base_url=url.split("/enter")[0]) as http:
        assert http.get("/").status_code == 403
        _, form = go_in(http, url)
        assert http.get(f"/picture/{form['a']}").headers["content-type"] == "image/jpeg"
        assert http.get(f"/picture/{'0' * 64}").status_code == 404
        assert http.post("/decide", data={**form, "csrf": "x", "decision": "same"}).status_code == 403
        assert http.post("/decide", data={**form, "decision": "perhaps"}).status_code == 409
        assert http.post("/decide", data={**form, "a": "0" * 64, "decision": "same"}).status_code == 409
        assert http.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert decisions(workspace) == {}


@pytest.mark.browser
def test_the_pages_pass_axe_and_fit_a_phone(alike: tuple[Workspace, dict[str, str]], chromium: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    workspace, _ = alike
    with likenesses.review(workspace) as (url, _):
        context = chromium.new_context(locale="pt-BR", **PHONE)
        page = context.new_page()
        page.goto(url)
        assert page.get_by_role("heading", name="São a mesma foto?").is_visible()
        for path in ("/", "/?show=joined", "/pair/a/b"):
            page.goto(url.split("/enter")[0] + path)
            found = axe.run(page, options={"runOnly": WCAG}).response["violations"]
            assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        context.close()


def test_without_pairs_the_message_says_what_to_do(workspace: Workspace) -> None:
    result = CliRunner().invoke(app, ["dedup", "--review", "--workspace", str(workspace.root)])
    assert "run `curate dedup` first" in str(result.exception)


def test_every_language_has_every_text() -> None:
    assert {frozenset(texts) for texts in TEXTS.values()} == {frozenset(TEXTS["en"])}
    assert [choose(None, "pt-BR,en;q=0.5"), choose("es", "en"), choose(None, "xx")] == ["pt", "es", "en"]
