"""QuestionForm: the questions of a HIT or a test, as MTurk's own pages showed them. Both namespaces, 2005-10-01 and 2017-11-06."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from lxml import etree

from curate.crowd.server import patterns
from curate.crowd.server.documents import FORM, read_document
from curate.crowd.server.errors import BadInput, BadXml
from curate.crowd.server.formatted import formatted, plain
from curate.crowd.server.patterns import Pattern

RESERVED = "csrf"  # a field of our own forms
_ONLY_ONE = ("radiobutton", "dropdown", "combobox")


@dataclass(frozen=True)
class Block:
    """One thing to read, to look at or to listen to. Only the fields of its kind are filled."""

    kind: str  # title, text, list, formatted, media
    text: str = ""  # the words; of media, what stands in for it
    items: tuple[str, ...] = ()
    html: str = ""  # safe, see `formatted`
    url: str = ""
    medium: str = ""  # image, audio, video, other
    width: str = ""
    height: str = ""
    own_window: bool = False  # may be opened in a window of its own (Binary; an EmbeddedBinary stays in the page)


@dataclass(frozen=True)
class Choice:
    """One answer that can be marked."""

    id: str
    text: str
    block: Block | None = None  # where it is more than a text


@dataclass(frozen=True)
class FreeText:
    """What may be typed."""

    numeric: bool = False
    minimum: int | None = None
    maximum: int | None = None
    min_length: int = 0
    max_length: int | None = None
    patterns: tuple[Pattern, ...] = ()
    default: str = ""
    lines: int = 1


@dataclass(frozen=True)
class Question:
    """One question of a form: choices to mark (`least` to `most` of them), or a text to type."""

    id: str
    name: str
    required: bool
    content: tuple[Block, ...]
    choices: list[Choice] = field(default_factory=list)  # empty: a free text
    style: str = "radiobutton"
    least: int = 1
    most: int = 1
    other: FreeText | None = None  # an answer of one's own beside the choices
    free: FreeText | None = None

    @property
    def several(self) -> bool:
        """Whether more than one choice may be marked."""
        return self.most > 1

    @property
    def texts(self) -> list[str]:
        """The words of the question."""
        return _texts(self.content)

    @property
    def pictures(self) -> list[str]:
        """The addresses of its pictures."""
        return [block.url for block in self.content if block.medium == "image"]

    @property
    def simple(self) -> bool:
        """Whether it is one picture, words, and one choice among words to make: what the labeling sheet can show."""
        told = all(block.kind in ("text", "title") or block.medium == "image" for block in self.content)
        worded = bool(self.choices) and all(choice.block is None for choice in self.choices)
        one = self.required and not self.several and self.least == 1 and self.other is None
        return told and worded and one and self.style != "checkbox" and len(self.pictures) == 1


@dataclass(frozen=True)
class Overview:
    """Something to read before the questions that follow."""

    content: tuple[Block, ...]


@dataclass(frozen=True)
class Form:
    """A QuestionForm: overviews and questions, in the order in which they stand."""

    parts: tuple[Overview | Question, ...]

    @cached_property
    def questions(self) -> list[Question]:
        """The questions alone."""
        return [part for part in self.parts if isinstance(part, Question)]

    @cached_property
    def overview(self) -> list[str]:
        """The words of the overviews."""
        return [text for part in self.parts if isinstance(part, Overview) for text in _texts(part.content)]

    @cached_property
    def simple(self) -> bool:
        """Whether the labeling sheet can show it whole: pictures one after the other, words before them."""
        worded = all(
            b.kind in ("text", "title", "list") for p in self.parts if isinstance(p, Overview) for b in p.content
        )
        first = next(number for number, part in enumerate(self.parts) if isinstance(part, Question))
        return (
            worded
            and all(isinstance(p, Question) for p in self.parts[first:])
            and all(q.simple for q in self.questions)
        )


def _texts(blocks: tuple[Block, ...]) -> list[str]:
    listed = [[f"• {item}" for item in b.items] if b.kind == "list" else [b.text] for b in blocks if b.kind != "media"]
    return [text for texts in listed for text in texts if text]


@lru_cache(maxsize=256)
def parse_form(xml: str, what: str) -> Form:
    """The form; raises BadXml or BadInput when it is none, or asks for something that this server does not have."""
    return form_of(read_document(xml, what, *FORM))


def form_of(root: Any) -> Form:
    """The form of a valid document."""
    parts = tuple(_part(element) for element in root.iterchildren("{*}Overview", "{*}Question"))
    form = Form(parts)
    if not form.questions:
        raise BadXml("QuestionForm: has no <Question>")
    names = [question.id for question in form.questions]
    if twice := next((name for number, name in enumerate(names) if name in names[:number]), None):
        raise BadXml(f"QuestionForm: QuestionIdentifier {twice[:80]!r} is used twice")
    return form


def _part(element: Any) -> Overview | Question:
    if _kind(element) == "Overview":
        return Overview(_content(element, "Overview"))
    identifier = _text(element, "QuestionIdentifier")
    if not identifier or identifier == RESERVED:
        raise BadInput(f"QuestionIdentifier {identifier!r} cannot be used: choose another name")
    where = f"question {identifier[:80]!r}"
    values: dict[str, Any] = {
        "id": identifier,
        "name": _text(element, "DisplayName"),
        "required": _text(element, "IsRequired") in ("true", "1"),
        "content": _content(element.find("{*}QuestionContent"), where),
    }
    answer = next(element.find("{*}AnswerSpecification").iterchildren(etree.Element))
    match _kind(answer):
        case "FreeTextAnswer":
            return Question(**values, free=_free(answer, where))
        case "SelectionAnswer":
            return Question(**values, **_selection(answer, where))
        case kind:
            raise BadInput(
                f"{where}: <{kind}> is not supported here; let workers paste an address into a FreeTextAnswer"
            )


def _content(element: Any, where: str) -> tuple[Block, ...]:
    return tuple(_block(part, where) for part in element.iterchildren(etree.Element))


def _block(element: Any, where: str) -> Block:
    match _kind(element):
        case "Title" | "Text" as kind:
            return Block(kind.lower(), text=(element.text or "").strip())
        case "List":
            return Block("list", items=tuple((item.text or "").strip() for item in element.iterfind("{*}ListItem")))
        case "FormattedContent":
            html = formatted(element.text or "", where)
            return Block("formatted", text=plain(html), html=html)
        case "Binary":
            return _media(element, element.find("{*}MimeType"), own_window=True)
        case "EmbeddedBinary":
            return _media(element, element.find("{*}EmbeddedMimeType"), own_window=False)
        case kind:
            raise BadInput(f"{where}: <{kind}> is not supported: browsers show neither Flash nor Java applets any more")


def _media(element: Any, mime: Any, own_window: bool) -> Block:
    medium = _text(mime, "Type").split("/")[0].lower()
    return Block(
        "media",
        text=_text(element, "AltText"),
        url=_text(element, "DataURL"),
        medium=medium if medium in ("image", "audio", "video") else "other",
        width=_pixels(_text(element, "Width")),
        height=_pixels(_text(element, "Height")),
        own_window=own_window,
    )


def _pixels(text: str) -> str:
    """A measure that a browser takes as it is; anything else is left to the browser."""
    number = text.removesuffix("px")
    return number if number.isdecimal() and 0 < int(number) <= 5000 else ""


def _free(element: Any, where: str) -> FreeText:
    numeric, length = element.find("{*}Constraints/{*}IsNumeric"), element.find("{*}Constraints/{*}Length")
    least, most = (_number(numeric, "minValue"), _number(numeric, "maxValue")) if numeric is not None else (None, None)
    short, long = (_number(length, "minLength"), _number(length, "maxLength")) if length is not None else (None, None)
    for low, high, names in ((least, most, "minValue and maxValue"), (short, long, "minLength and maxLength")):
        if low is not None and high is not None and low > high:
            raise BadXml(f"{where}: nothing is between {names} ({low} and {high})")
    regexes = element.findall("{*}Constraints/{*}AnswerFormatRegex")
    return FreeText(
        numeric=numeric is not None,
        minimum=least,
        maximum=most,
        min_length=short or 0,
        max_length=long,
        patterns=tuple(
            patterns.read(r.get("regex"), r.get("flags", ""), r.get("errorText", ""), where) for r in regexes
        ),
        default=element.findtext("{*}DefaultText") or "",
        lines=min(int(_text(element, "NumberOfLinesSuggestion") or 1), 50),
    )


def _number(element: Any, name: str) -> int | None:
    value = element.get(name)
    return None if value is None else int(value)


def _selection(element: Any, where: str) -> dict[str, Any]:
    choices = [_choice(item, where) for item in element.iterfind("{*}Selections/{*}Selection")]
    known = [choice.id for choice in choices]
    if twice := next((name for number, name in enumerate(known) if name in known[:number]), None):
        raise BadXml(f"{where}: SelectionIdentifier {twice[:80]!r} is used twice")
    other = element.find("{*}Selections/{*}OtherSelection")
    least = int(_text(element, "MinSelectionCount") or 1)
    most = int(_text(element, "MaxSelectionCount") or max(1, least))
    there = len(choices) + (other is not None)
    if least > most or least > there:
        raise BadXml(f"{where}: MinSelectionCount {least} cannot be reached (at most {min(most, there)} can be marked)")
    style = _text(element, "StyleSuggestion") or ("radiobutton" if most == 1 else "checkbox")
    return {
        "choices": choices,
        "least": least,
        "most": most,
        "style": "checkbox" if most > 1 and style in _ONLY_ONE else style,
        "other": None if other is None else _free(other, f"{where}: OtherSelection"),
    }


def _choice(element: Any, where: str) -> Choice:
    identifier = _text(element, "SelectionIdentifier")
    if not identifier:
        raise BadXml(f"{where}: a SelectionIdentifier is empty")
    block = _block(element[-1], where) if _kind(element[-1]) != "Text" else None
    text = block.text if block else _text(element, "Text")
    return Choice(identifier, text or identifier, block)


def _text(parent: Any, name: str) -> str:
    return (parent.findtext(f"{{*}}{name}") or "").strip()


def _kind(element: Any) -> str:
    return etree.QName(element).localname
