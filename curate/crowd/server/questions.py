"""Question data: what a HIT or a test asks. Forms, answer keys and answers have files of their own; here they come together."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from lxml import etree

from curate.crowd.server.answer_keys import AnswerKey, parse_answer_key
from curate.crowd.server.answers import answers_xml
from curate.crowd.server.documents import ANSWER_KEY, ANSWERS, EXTERNAL, FORM, HTML, MAX_BYTES, read_document
from curate.crowd.server.forms import Form, form_of, parse_form
from schemas.question import TaskPage, extract

__all__ = [
    "ANSWERS",
    "ANSWER_KEY",
    "FORM",
    "MAX_BYTES",
    "AnswerKey",
    "Asked",
    "Form",
    "answers_xml",
    "parse_answer_key",
    "parse_question",
    "parse_test",
]


@dataclass(frozen=True)
class Asked:
    """What a HIT asks. One of: our own task, somebody's HTML, an outside page, a form."""

    task: TaskPage | None = None
    html: str = ""
    url: str = ""
    form: Form | None = None
    height: int = 0


@lru_cache(maxsize=256)
def parse_question(xml: str) -> Asked:
    """What the Question of a HIT asks; raises BadXml or BadInput when it is none of the four kinds."""
    root = read_document(xml, "Question", HTML, EXTERNAL, *FORM)
    match etree.QName(root).localname:
        case "HTMLQuestion":
            html = root.findtext("{*}HTMLContent") or ""
            return Asked(task=extract(html), html=html, height=int(root.findtext("{*}FrameHeight")))
        case "ExternalQuestion":
            url = (root.findtext("{*}ExternalURL") or "").strip()
            return Asked(url=url, height=int(root.findtext("{*}FrameHeight")))
        case _:
            return Asked(form=form_of(root))


def parse_test(xml: str) -> Form:
    """The QuestionForm of a test."""
    return parse_form(xml, "Test")
