"""The words of the worker pages: each in three languages, each used, none missing."""

from __future__ import annotations

import re
from pathlib import Path

from curate.crowd.server import form_page, sheet_page, texts

SERVER = Path(texts.__file__).parent


def test_every_word_stands_in_three_languages():
    assert list(texts.LANGUAGES) == ["en", "es", "pt"]
    for key, said in texts._TEXTS.items():
        assert len(said) == 3, key
        assert all(one.strip() == one and one for one in said), key
        assert len({re.sub(r"[^.?!]", "", one[-1:]) for one in said}) == 1, f"{key}: one ends differently"


def test_every_word_that_a_page_or_its_script_says_is_there():
    templates = "".join(path.read_text(encoding="utf-8") for path in (SERVER / "templates").glob("*.html"))
    assert set(re.findall(r"\bt\.([a-z_]+)", templates)) <= set(texts._TEXTS)
    for path in (SERVER / "static").glob("*.js"):
        page = form_page if path.name == "form.js" else sheet_page
        assert set(re.findall(r"\bwords\.([a-z_]+)", path.read_text(encoding="utf-8"))) <= set(page.SAID_BY_SCRIPT), (
            path
        )
    assert {*sheet_page.SAID_BY_SCRIPT, *form_page.SAID_BY_SCRIPT} <= set(texts._TEXTS)


def test_every_refusal_is_said_in_words():
    code = "".join(path.read_text(encoding="utf-8") for path in SERVER.rglob("*.py"))
    refusals = set(re.findall(r'WorkerError\("([a-z_]+)"', code))
    assert "too_late" in refusals
    assert refusals <= set(texts._TEXTS)
