"""A QuestionForm as a page: everything to read, see and hear, and fields that ask for what the form allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from curate.crowd.server.answers import OTHER, AnswerError
from curate.crowd.server.forms import Form, Overview, Question
from curate.crowd.server.texts import fault, words
from curate.crowd.server.visit import Visit

_LIST_ROWS = 8  # of a list box; longer ones scroll
SAID_BY_SCRIPT = ("time_left", "too_few", "too_many")
_WORDLESS = ("checkbox", "radiobutton")  # styles whose choices may be pictures; the others are menus of words


@dataclass(frozen=True)
class Field:
    """One question as the page shows it, with what was answered before and what is wrong with that."""

    question: Question
    number: int
    kind: str  # text, area, radio, checkbox, menu, box (a list of which one is chosen), boxes (of which several are)
    given: tuple[str, ...]
    other: str
    fault: str

    @property
    def html_id(self) -> str:
        """How the page calls the field; identifiers may hold anything."""
        return f"q{self.number}"

    @property
    def rows(self) -> int:
        """The height of a list box."""
        return min(len(self.question.choices) + bool(self.question.other), _LIST_ROWS)


def form_page(
    visit: Visit,
    form: Form,
    action: str,
    title: str,
    seconds_left: int,
    error: AnswerError | None = None,
    **values: Any,
) -> Response:
    """The page; after answers that were not allowed the same page with them and what is wrong, so that nothing is lost."""
    faults = {name: fault(found, visit.language) for name, found in error.faults.items()} if error else {}
    given: dict[str, list[str]] = {}
    for name, value in visit.fields():
        given.setdefault(name, []).append(value)
    known: dict[str, Any] = {
        "parts": _parts(form, given, faults),
        "title": title,
        "action": action,
        "seconds_left": seconds_left,
        "failed": bool(faults),
        "OTHER": OTHER,
        "safe": Markup,  # for what `formatted` has rebuilt, and nothing else
        "script": {key: words(visit.language)[key] for key in SAID_BY_SCRIPT},
        "test": None,
        "give_back": "",
    }
    return visit.page("form.html", error.status if error else 200, **{**known, **values})


def _parts(form: Form, given: Mapping[str, Sequence[str]], faults: Mapping[str, str]) -> list[Overview | Field]:
    parts: list[Overview | Field] = []
    number = 0
    for part in form.parts:
        if isinstance(part, Overview):
            parts.append(part)
        else:
            number += 1
            parts.append(_field(part, number, given, faults.get(part.id, "")))
    return parts


def _field(question: Question, number: int, given: Mapping[str, Sequence[str]], wrong: str) -> Field:
    default = [question.free.default] if question.free and question.free.default else []
    other = next(iter(given.get(question.id + OTHER, [])), question.other.default if question.other else "")
    values = tuple(given.get(question.id, default))
    return Field(question, number, _kind(question), values, other, wrong)


def _kind(question: Question) -> str:
    if question.free is not None:
        return "area" if question.free.lines > 1 else "text"
    style = question.style
    if style not in _WORDLESS and any(choice.block for choice in question.choices):
        style = "checkbox" if question.several else "radiobutton"
    if style in ("list", "multichooser"):
        return "boxes" if question.several else "box"
    return {"radiobutton": "radio", "checkbox": "checkbox"}.get(style, "menu")
