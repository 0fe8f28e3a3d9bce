"""The answers of workers: checked against their form, written as QuestionFormAnswers, and read back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from curate.crowd.server.documents import ANSWERS
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.forms import Form, FreeText, Question

OTHER = "\x1fother"  # ends the field of an answer of one's own; XML cannot hold it, so no QuestionIdentifier ends so
# What XML 1.0 cannot hold at all: a worker's free text is cleaned of it.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)


@dataclass(frozen=True)
class Given:
    """The answer to one question: marked choices, perhaps an answer of one's own beside them, or a free text."""

    question: str
    selections: tuple[str, ...] = ()
    other: str = ""
    text: str | None = None  # a free text, perhaps empty; None where there were choices

    @property
    def marks(self) -> list[str]:
        """What an AnswerKey compares; an answer of one's own matches no set of choices."""
        return [*self.selections, *([OTHER] if self.other else [])]


class AnswerError(WorkerError):
    """Answers that their form does not allow; `faults` says what is wrong, by question."""

    def __init__(self, faults: Mapping[str, WorkerError]) -> None:
        first = next(iter(faults.values()))
        super().__init__(first.message, 400, **first.values)
        self.faults = faults


def check_answers(form: Form, fields: Sequence[tuple[str, str]]) -> list[Given]:
    """The answers in the order of the form; raises AnswerError where one is missing or is not what the form allows."""
    given: dict[str, list[str]] = {}
    for name, value in fields:
        given.setdefault(name, []).append(value.replace("\r\n", "\n"))
    answers, faults = [], {}
    for question in form.questions:
        try:
            answers.append(_answer_to(question, given))
        except WorkerError as fault:
            faults[question.id] = fault
    if faults:
        raise AnswerError(faults)
    return answers


def _answer_to(question: Question, given: Mapping[str, list[str]]) -> Given:
    values = given.get(question.id, [])
    if question.free is not None:
        if len(values) > 1:
            raise WorkerError("bad_answer", 400)
        text = values[0] if values else ""
        _check_text(question.free, text, question.required)
        return Given(question.id, text=text)
    marked = {value for value in values if value not in ("", OTHER)}
    other = next(iter(given.get(question.id + OTHER, [])), "").strip() if question.other else ""
    if OTHER in values and not other:
        raise WorkerError("other_empty", 400)
    if not marked <= {choice.id for choice in question.choices}:
        raise WorkerError("bad_answer", 400)
    _check_count(question, len(marked) + bool(other))
    if question.other and other:
        _check_text(question.other, other, required=False)
    return Given(question.id, tuple(c.id for c in question.choices if c.id in marked), other)


def _check_count(question: Question, count: int) -> None:
    if count == 0 and not question.required:
        return
    if count == 0 and question.least:
        raise WorkerError("not_all", 400)
    if count < question.least:
        raise WorkerError("too_few", 400, n=question.least)
    if count > question.most:
        raise WorkerError("too_many", 400, n=question.most)


def _check_text(rule: FreeText, text: str, required: bool) -> None:
    """Raise unless the text is what the rule asks for. Nothing typed is fine where nothing is required."""
    if not text.strip():
        if required:
            raise WorkerError("not_all", 400)
        return
    if rule.numeric:
        _check_number(rule, text.strip())
    if len(text) < rule.min_length:
        raise WorkerError("too_short", 400, n=rule.min_length)
    if rule.max_length is not None and len(text) > rule.max_length:
        raise WorkerError("too_long", 400, n=rule.max_length)
    for pattern in rule.patterns:
        if not pattern.matches(_NOT_XML.sub("", text)):
            raise WorkerError(pattern.message or "bad_format", 400)


def _check_number(rule: FreeText, text: str) -> None:
    if not _NUMBER.fullmatch(text):
        raise WorkerError("not_number", 400)
    number = Decimal(text)
    if rule.minimum is not None and number < rule.minimum:
        raise WorkerError("too_small", 400, n=rule.minimum)
    if rule.maximum is not None and number > rule.maximum:
        raise WorkerError("too_big", 400, n=rule.maximum)


# ---- written


def form_answers_xml(given: Iterable[Given]) -> str:
    """QuestionFormAnswers of a form: an Answer for every question, empty where nothing was said."""
    return _document(_answer(answer.question, _inner(answer)) for answer in given)


def answers_xml(fields: Sequence[tuple[str, str]]) -> str:
    """QuestionFormAnswers of a page of one's own: one Answer per field, as FreeText. Fields of one name are joined with a bar, as
    MTurk did.

    Written on one line and with quotes as they are: clients read it with regular expressions and then as JSON.
    """
    texts: dict[str, list[str]] = {}
    for name, value in fields:
        texts.setdefault(name, []).append(value)
    return _document(
        _answer(name, f"<FreeText>{_clean('|'.join(values))}</FreeText>") for name, values in texts.items()
    )


def _inner(answer: Given) -> str:
    if answer.text is not None:
        return f"<FreeText>{_clean(answer.text)}</FreeText>"
    marked = "".join(f"<SelectionIdentifier>{_clean(value)}</SelectionIdentifier>" for value in answer.selections)
    own = f"<OtherSelectionText>{_clean(answer.other)}</OtherSelectionText>" if answer.other else ""
    return marked + own


def _document(answers: Iterable[str]) -> str:
    body = "".join(answers)
    return f'<?xml version="1.0" encoding="UTF-8"?><QuestionFormAnswers xmlns="{ANSWERS}">{body}</QuestionFormAnswers>'


def _answer(name: str, inner: str) -> str:
    return f"<Answer><QuestionIdentifier>{_clean(name)}</QuestionIdentifier>{inner}</Answer>"


def _clean(text: str) -> str:
    return escape(_NOT_XML.sub("", text))


# ---- read back


def read_answers(xml: str) -> dict[str, frozenset[str]]:
    """What we wrote, by question: the set of values, without the white space around them and without empty ones."""
    root = etree.fromstring(xml.encode(), etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
    local: Callable[[Any], str] = lambda element: etree.QName(element).localname  # noqa: E731
    return {
        (answer[0].text or "").strip(): frozenset(
            value for part in answer[1:] if local(part) != "QuestionIdentifier" and (value := (part.text or "").strip())
        )
        for answer in root
    }
