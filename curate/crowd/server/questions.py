"""Question data: what a HIT or a test asks, how a test is scored, and the XML that answers come back in.

Read without entities, DTDs or network, whatever a requester sends. QuestionForm is accepted in both namespaces that clients
use (2005-10-01 and 2017-11-06).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from curate.crowd.server.errors import BadInput, BadXml
from schemas.question import TaskPage, extract

MAX_BYTES = 65_535
_BASE = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/"
FORM = tuple(f"{_BASE}{date}/QuestionForm.xsd" for date in ("2005-10-01", "2017-11-06"))
ANSWER_KEY = f"{_BASE}2005-10-01/AnswerKey.xsd"
ANSWERS = f"{_BASE}2005-10-01/QuestionFormAnswers.xsd"
EXTERNAL = f"{_BASE}2006-07-14/ExternalQuestion.xsd"
HTML = f"{_BASE}2011-11-11/HTMLQuestion.xsd"
# What XML 1.0 cannot hold at all: a worker's free text is cleaned of it.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Choice:
    """One answer of a question in a form."""

    id: str
    text: str


@dataclass(frozen=True)
class Question:
    """One question of a QuestionForm."""

    id: str
    name: str
    required: bool
    texts: list[str]
    pictures: list[str]
    choices: list[Choice]  # empty: a free text
    several: bool  # more than one choice may be marked


@dataclass(frozen=True)
class Form:
    """A QuestionForm: an overview and its questions."""

    overview: list[str]
    questions: list[Question]


@dataclass(frozen=True)
class Asked:
    """What a HIT asks. One of: our own task, somebody's HTML, an outside page, a form."""

    task: TaskPage | None = None
    html: str = ""
    url: str = ""
    form: Form | None = None
    height: int = 0


@dataclass(frozen=True)
class AnswerKey:
    """How a test is scored: options by question, a default each, and how the sum becomes the value."""

    options: dict[str, list[tuple[frozenset[str], int]]]
    defaults: dict[str, int]
    mapping: str = ""  # "", percentage, scale, range
    numbers: dict[str, float] = field(default_factory=dict)
    ranges: list[tuple[int, int, int]] = field(default_factory=list)

    def score(self, answers: Mapping[str, Iterable[str]]) -> int:
        """The value that these answers earn: an exact match of the marked set scores, anything else the default."""
        total = sum(self._points(question, frozenset(answers.get(question, ()))) for question in self.options)
        if self.mapping == "percentage":
            return int(100 * total / self.numbers["maximum"] + 0.5)
        if self.mapping == "scale":
            return int(total * self.numbers["multiplier"] + 0.5)
        if self.mapping == "range":
            hit = (value for low, high, value in self.ranges if low <= total <= high)
            return next(hit, int(self.numbers["outside"]))
        return total

    def _points(self, question: str, marked: frozenset[str]) -> int:
        for selection, points in self.options[question]:
            if marked == selection:
                return points
        return self.defaults.get(question, 0)


def _root(xml: str, what: str) -> Any:
    """The parsed document; entities, DTDs and the network stay off."""
    data = xml.encode("utf-8")
    if len(data) > MAX_BYTES:
        raise BadInput(f"{what}: is {len(data):,} bytes; the largest allowed is {MAX_BYTES:,}")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(_without_encoding(data), parser)
    except etree.XMLSyntaxError as error:
        raise BadXml(f"{what}: {error.msg}") from None
    if root.getroottree().docinfo.doctype:
        raise BadXml(f"{what}: a document type is not allowed")
    return root


def _without_encoding(data: bytes) -> bytes:
    """The bytes are UTF-8 by now, whatever encoding the text once declared."""
    return re.sub(rb"^\s*<\?xml[^>]*\?>", b"", data, count=1).lstrip()


def _name(element: Any) -> tuple[str, str]:
    name = etree.QName(element)
    return name.namespace or "", name.localname


@lru_cache(maxsize=256)
def parse_question(xml: str) -> Asked:
    """What the Question of a HIT asks; raises BadXml or BadInput when it is none of the four kinds."""
    root = _root(xml, "Question")
    match _name(root):
        case (space, "HTMLQuestion") if space == HTML:
            html = _text(root, "HTMLContent", required=True)
            return Asked(task=extract(html), html=html, height=_height(root))
        case (space, "ExternalQuestion") if space == EXTERNAL:
            url = _text(root, "ExternalURL", required=True).strip()
            if not url.startswith(("https://", "http://")):
                raise BadXml(f"ExternalQuestion: ExternalURL {url[:80]!r} is not an http address")
            return Asked(url=url, height=_height(root))
        case (space, "QuestionForm") if space in FORM:
            return Asked(form=_form(root))
        case space, name:
            raise BadXml(
                f"Question: <{name}> in namespace {space!r} is not a QuestionForm, HTMLQuestion or ExternalQuestion"
            )


@lru_cache(maxsize=64)
def parse_test(xml: str) -> Form:
    """The QuestionForm of a test."""
    root = _root(xml, "Test")
    space, name = _name(root)
    if name != "QuestionForm" or space not in FORM:
        raise BadXml(f"Test: <{name}> in namespace {space!r} is not a QuestionForm")
    return _form(root)


def _height(root: Any) -> int:
    text = _text(root, "FrameHeight", required=True).strip()
    if not text.isdigit():
        raise BadXml(f"FrameHeight: {text[:40]!r} is not a whole number")
    return int(text)


def _text(parent: Any, name: str, required: bool = False) -> str:
    found = parent.find(f"{{*}}{name}")
    if found is None:
        if required:
            raise BadXml(f"<{_name(parent)[1]}> has no <{name}>")
        return ""
    return "".join(found.itertext())


def _form(root: Any) -> Form:
    questions = [_question(element) for element in root.findall("{*}Question")]
    if not questions:
        raise BadXml("QuestionForm: has no <Question>")
    names = [question.id for question in questions]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise BadXml(f"QuestionForm: QuestionIdentifier {twice[0]!r} is used twice")
    overview = [text for part in root.findall("{*}Overview") for text in _content(part)[0]]
    return Form(overview, questions)


def _question(element: Any) -> Question:
    identifier = _text(element, "QuestionIdentifier", required=True).strip()
    content, spec = element.find("{*}QuestionContent"), element.find("{*}AnswerSpecification")
    if content is None or spec is None or len(spec) == 0:
        raise BadXml(f"question {identifier!r}: needs QuestionContent and AnswerSpecification")
    texts, pictures = _content(content)
    kind = _name(spec[0])[1]
    if kind not in ("SelectionAnswer", "FreeTextAnswer"):
        raise BadXml(f"question {identifier!r}: <{kind}> is not supported; use SelectionAnswer or FreeTextAnswer")
    choices = [_choice(item) for item in spec[0].iterfind("{*}Selections/{*}Selection")]
    if kind == "SelectionAnswer" and not choices:
        raise BadXml(f"question {identifier!r}: SelectionAnswer has no <Selection>")
    most = _text(spec[0], "MaxSelectionCount").strip() or "1"
    several = most.isdigit() and int(most) > 1
    required = _text(element, "IsRequired").strip().lower() in ("true", "1")
    return Question(identifier, _text(element, "DisplayName"), required, texts, pictures, choices, several)


def _choice(element: Any) -> Choice:
    identifier = _text(element, "SelectionIdentifier", required=True).strip()
    text = _text(element, "Text") or _plain(_text(element, "FormattedContent"))
    return Choice(identifier, text.strip() or identifier)


def _content(element: Any) -> tuple[list[str], list[str]]:
    """Texts and picture addresses of a QuestionContent or Overview, in order."""
    texts: list[str] = []
    pictures: list[str] = []
    for part in element:
        match _name(part)[1] if isinstance(part.tag, str) else "":
            case "Title" | "Text":
                texts.append("".join(part.itertext()).strip())
            case "FormattedContent":
                texts.append(_plain("".join(part.itertext())))
            case "List":
                texts += ["• " + "".join(item.itertext()).strip() for item in part.findall("{*}ListItem")]
            case "Binary" | "EmbeddedBinary":
                pictures.append(_text(part, "DataURL", required=True).strip())
            case _:
                pass
    return [text for text in texts if text], pictures


def _plain(html: str) -> str:
    """The words of formatted content: test pages show text, never a requester's markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).strip()


@lru_cache(maxsize=64)
def parse_answer_key(xml: str) -> AnswerKey:
    """How a test is scored; raises BadXml when it is no AnswerKey."""
    root = _root(xml, "AnswerKey")
    if _name(root) != (ANSWER_KEY, "AnswerKey"):
        raise BadXml(f"AnswerKey: <{_name(root)[1]}> in namespace {_name(root)[0]!r} is not an AnswerKey")
    options: dict[str, list[tuple[frozenset[str], int]]] = {}
    defaults: dict[str, int] = {}
    for question in root.findall("{*}Question"):
        name = _text(question, "QuestionIdentifier", required=True).strip()
        options[name] = [_option(option) for option in question.findall("{*}AnswerOption")]
        if default := _text(question, "DefaultScore").strip():
            defaults[name] = _int(default, "DefaultScore")
    return AnswerKey(options, defaults, *_mapping(root))


def _option(element: Any) -> tuple[frozenset[str], int]:
    marked = frozenset("".join(item.itertext()).strip() for item in element.findall("{*}SelectionIdentifier"))
    return marked, _int(_text(element, "AnswerScore", required=True), "AnswerScore")


def _mapping(root: Any) -> tuple[str, dict[str, float], list[tuple[int, int, int]]]:
    mapping = root.find("{*}QualificationValueMapping")
    if mapping is None or len(mapping) == 0:
        return "", {}, []
    kind, part = _name(mapping[0])[1], mapping[0]
    if kind == "PercentageMapping":
        maximum = _int(_text(part, "MaximumSummedScore", required=True), "MaximumSummedScore")
        if maximum <= 0:
            raise BadXml(f"MaximumSummedScore: {maximum} must be above 0")
        return "percentage", {"maximum": maximum}, []
    if kind == "ScaleMapping":
        return "scale", {"multiplier": _float(_text(part, "SummedScoreMultiplier", required=True))}, []
    if kind == "RangeMapping":
        names = ("InclusiveLowerBound", "InclusiveUpperBound", "QualificationValue")
        rows = [
            [_int(_text(row, name, required=True), name) for name in names]
            for row in part.findall("{*}SummedScoreRange")
        ]
        outside = _int(_text(part, "OutOfRangeQualificationValue", required=True), "OutOfRangeQualificationValue")
        return "range", {"outside": outside}, [(row[0], row[1], row[2]) for row in rows]
    raise BadXml(f"QualificationValueMapping: <{kind}> is not a PercentageMapping, ScaleMapping or RangeMapping")


def _int(text: str, what: str) -> int:
    try:
        return int(text.strip())
    except ValueError:
        raise BadXml(f"{what}: {text.strip()[:40]!r} is not a whole number") from None


def _float(text: str) -> float:
    try:
        return float(text.strip())
    except ValueError:
        raise BadXml(f"SummedScoreMultiplier: {text.strip()[:40]!r} is not a number") from None


def answers_xml(fields: Sequence[tuple[str, str]], choices: Iterable[str] = ()) -> str:
    """QuestionFormAnswers: one Answer per field, as FreeText, or as selections for the fields named in `choices`.

    Written on one line and with quotes as they are: clients read it with regular expressions and then as JSON.
    """
    selected: dict[str, list[str]] = {}
    for name, value in fields:
        selected.setdefault(name, []).append(value)
    forms = frozenset(choices)
    body = "".join(_answer(name, values, name in forms) for name, values in selected.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><QuestionFormAnswers xmlns="{ANSWERS}">{body}</QuestionFormAnswers>'


def _answer(name: str, values: list[str], selection: bool) -> str:
    if selection:
        inner = "".join(f"<SelectionIdentifier>{_clean(value)}</SelectionIdentifier>" for value in values)
    else:
        inner = f"<FreeText>{_clean('|'.join(values))}</FreeText>"  # MTurk joins fields of one name with a bar
    return f"<Answer><QuestionIdentifier>{_clean(name)}</QuestionIdentifier>{inner}</Answer>"


def _clean(text: str) -> str:
    return escape(_NOT_XML.sub("", text))
