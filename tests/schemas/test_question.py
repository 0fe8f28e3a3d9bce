"""The task travels inside the page, whatever its texts hold, and comes out the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from schemas.question import Choice, PictureAsked, TaskPage, embed, extract, say


def page(text: str) -> TaskPage:
    return TaskPage(
        task="apron",
        question={"en": text},
        question_version=1,
        taxonomy_version=1,
        choices=[Choice(key="dots", name={"en": text}, hotkey="d")],
        pictures=[PictureAsked(image_id="ab", url="/picture/ab")],
    )


@given(st.text())
def test_a_page_with_any_text_comes_out_as_it_went_in(text: str) -> None:
    assert extract(f"<html><body>{embed(page(text))}</body></html>") == page(text)


def test_a_text_cannot_end_the_script_early() -> None:
    assert embed(page("</script><script>alert(1)</script>")).count("</script>") == 1


def test_the_page_of_somebody_else_is_none_of_ours() -> None:
    assert extract("<html><form></form></html>") is None
    assert extract('<script type="application/json" id="consenso-task">{"consenso": 1}</script>') is None


def test_a_missing_language_falls_back_to_english_then_to_the_first() -> None:
    assert say({"en": "Dots", "es": "Lunares"}, "pt") == "Dots"
    assert say({"es": "Lunares"}, "pt") == "Lunares"
