"""How a test is scored: the AnswerKey of a qualification type."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any

from curate.crowd.server.documents import ANSWER_KEY, read_document
from curate.crowd.server.errors import BadXml

_LOWEST, _HIGHEST = -(2**31), 2**31 - 1  # an IntegerValue of the protocol


@dataclass(frozen=True)
class Percentage:
    """The sum as a share of the best one, in percent."""

    maximum: int

    def value(self, total: int) -> int:
        """Rounded to the nearest whole number, halves up."""
        return _nearest(Fraction(100 * total, self.maximum))


@dataclass(frozen=True)
class Scale:
    """The sum times a number."""

    multiplier: Fraction

    def value(self, total: int) -> int:
        """Rounded to the nearest whole number, halves up."""
        return _nearest(total * self.multiplier)


@dataclass(frozen=True)
class Ranges:
    """A value for each range of sums, the first that fits, and one for all other sums."""

    ranges: tuple[tuple[int, int, int], ...]
    outside: int

    def value(self, total: int) -> int:
        """The value of the first range that holds the sum."""
        return next((value for low, high, value in self.ranges if low <= total <= high), self.outside)


@dataclass(frozen=True)
class AnswerKey:
    """What sets of selections earn, by question, a default for all other answers, and how the sum becomes the value."""

    options: dict[str, list[tuple[frozenset[str], int]]]
    defaults: dict[str, int]
    mapping: Percentage | Scale | Ranges | None = None

    def score(self, answers: Mapping[str, Iterable[str]]) -> int:
        """The value that these answers earn: an exact match of the marked set scores, anything else the default, else 0.

        Without a mapping it is the sum. Values beyond 32 bits become the nearest that the protocol can say.
        """
        total = sum(self._points(question, frozenset(answers.get(question, ()))) for question in self.options)
        value = self.mapping.value(total) if self.mapping else total
        return min(max(value, _LOWEST), _HIGHEST)

    def _points(self, question: str, marked: frozenset[str]) -> int:
        for selection, points in self.options[question]:
            if marked == selection:
                return points
        return self.defaults.get(question, 0)


def _nearest(number: Fraction) -> int:
    return floor(number + Fraction(1, 2))


@lru_cache(maxsize=64)
def parse_answer_key(xml: str) -> AnswerKey:
    """How a test is scored; raises BadXml when it is no AnswerKey."""
    root = read_document(xml, "AnswerKey", ANSWER_KEY)
    options: dict[str, list[tuple[frozenset[str], int]]] = {}
    defaults: dict[str, int] = {}
    for question in root.findall("{*}Question"):
        name = _text(question, "QuestionIdentifier")
        if name in options:
            raise BadXml(f"AnswerKey: QuestionIdentifier {name[:80]!r} is used twice")
        options[name] = [_option(option) for option in question.findall("{*}AnswerOption")]
        if default := _text(question, "DefaultScore"):
            defaults[name] = int(default)
    return AnswerKey(options, defaults, _mapping(root.find("{*}QualificationValueMapping")))


def _option(element: Any) -> tuple[frozenset[str], int]:
    marked = frozenset((item.text or "").strip() for item in element.findall("{*}SelectionIdentifier"))
    return marked, int(_text(element, "AnswerScore"))


def _mapping(element: Any) -> Percentage | Scale | Ranges | None:
    if element is None:
        return None
    part = next(element.iterchildren("{*}PercentageMapping", "{*}ScaleMapping", "{*}RangeMapping"))
    if part.tag.endswith("PercentageMapping"):
        maximum = int(_text(part, "MaximumSummedScore"))
        if maximum <= 0:
            raise BadXml(f"AnswerKey: MaximumSummedScore {maximum} must be above 0")
        return Percentage(maximum)
    if part.tag.endswith("ScaleMapping"):
        text = _text(part, "SummedScoreMultiplier")
        if text in ("INF", "-INF", "NaN"):
            raise BadXml(f"AnswerKey: SummedScoreMultiplier {text} is not a number that can be multiplied with")
        return Scale(Fraction(float(text)).limit_denominator(10**9))
    names = ("InclusiveLowerBound", "InclusiveUpperBound", "QualificationValue")
    rows = [[int(_text(row, name)) for name in names] for row in part.findall("{*}SummedScoreRange")]
    ranges = tuple((row[0], row[1], row[2]) for row in rows)
    return Ranges(ranges, int(_text(part, "OutOfRangeQualificationValue")))


def _text(parent: Any, name: str) -> str:
    return (parent.findtext(f"{{*}}{name}") or "").strip()
