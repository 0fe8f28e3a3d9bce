from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.crowd.server.answer_keys import parse_answer_key
from curate.crowd.server.documents import ANSWER_KEY
from curate.crowd.server.errors import RequestError

scores = st.integers(-1000, 1000)
INT = st.integers(-(2**31), 2**31 - 1)


def key(questions, mapping=""):
    """AnswerKey XML from {question: ([(set, points)], default or None)}."""
    body = ""
    for name, (options, default) in questions.items():
        body += f"<Question><QuestionIdentifier>{name}</QuestionIdentifier>"
        for marked, points in options:
            body += "<AnswerOption>" + "".join(
                f"<SelectionIdentifier>{m}</SelectionIdentifier>" for m in sorted(marked)
            )
            body += f"<AnswerScore>{points}</AnswerScore></AnswerOption>"
        body += "" if default is None else f"<DefaultScore>{default}</DefaultScore>"
        body += "</Question>"
    wrapped = f"<QualificationValueMapping>{mapping}</QualificationValueMapping>" if mapping else ""
    return f'<AnswerKey xmlns="{ANSWER_KEY}">{body}{wrapped}</AnswerKey>'


def earning(points, mapping):
    """The value of a single answer that earns so many points."""
    return parse_answer_key(key({"q": ([({"a"}, points)], None)}, mapping)).score({"q": ["a"]})


def percentage(maximum):
    return f"<PercentageMapping><MaximumSummedScore>{maximum}</MaximumSummedScore></PercentageMapping>"


def scale(multiplier):
    return f"<ScaleMapping><SummedScoreMultiplier>{multiplier}</SummedScoreMultiplier></ScaleMapping>"


def ranges(rows, outside):
    body = "".join(
        f"<SummedScoreRange><InclusiveLowerBound>{low}</InclusiveLowerBound><InclusiveUpperBound>{high}</InclusiveUpperBound>"
        f"<QualificationValue>{value}</QualificationValue></SummedScoreRange>"
        for low, high, value in rows
    )
    return f"<RangeMapping>{body}<OutOfRangeQualificationValue>{outside}</OutOfRangeQualificationValue></RangeMapping>"


@given(
    st.dictionaries(
        st.sampled_from("pqrs"),
        st.tuples(
            st.dictionaries(st.frozensets(st.sampled_from("abc"), min_size=1), scores, min_size=1), st.none() | scores
        ),
        min_size=1,
    ),
    st.dictionaries(st.sampled_from("pqrs"), st.lists(st.sampled_from("abc"))),
)
def test_the_sum_counts_exact_sets_and_defaults(questions, answers):
    parsed = parse_answer_key(
        key({name: (list(options.items()), default) for name, (options, default) in questions.items()})
    )
    expected = 0
    for name, (options, default) in questions.items():
        expected += options.get(frozenset(answers.get(name, ())), default or 0)
    assert parsed.score(answers) == expected


@given(INT, st.integers(1, 2**31 - 1))
def test_a_percentage_is_the_nearest_whole_number(points, maximum):
    exact = Fraction(100 * points, maximum)
    if abs(exact) < 2**31:
        value = earning(points, percentage(maximum))
        assert abs(value - exact) <= Fraction(1, 2)
        assert value == math.floor(exact + Fraction(1, 2))  # a half goes up


@pytest.mark.parametrize(
    ("points", "maximum", "value"), [(2, 3, 67), (1, 3, 33), (1, 8, 13), (-1, 8, -12), (0, 5, 0), (5, 5, 100)]
)
def test_percentages_that_people_know(points, maximum, value):
    assert earning(points, percentage(maximum)) == value


@given(st.integers(-10_000, 10_000), st.decimals(-1000, 1000, places=3))
def test_a_scale_multiplies_and_rounds(points, multiplier):
    exact = points * Fraction(multiplier)
    assert abs(earning(points, scale(multiplier)) - exact) <= Fraction(1, 2) + Fraction(1, 1000)


@given(st.lists(st.tuples(scores, scores, scores), min_size=1, max_size=5), scores, scores)
def test_the_first_range_that_holds_the_sum_gives_the_value(rows, outside, points):
    expected = next((value for low, high, value in rows if low <= points <= high), outside)
    assert earning(points, ranges(rows, outside)) == expected


@given(INT, INT, st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_every_value_fits_the_protocol(first, second, multiplier):
    for mapping in ("", scale(multiplier), percentage(1)):
        xml = key({"q": ([({"a"}, first)], second), "r": ([({"a"}, first)], second)}, mapping)
        assert -(2**31) <= parse_answer_key(xml).score({"q": ["a"], "r": ["b"]}) < 2**31


@pytest.mark.parametrize(
    "xml",
    [
        key({"q": ([({"a"}, 1)], None)}).replace(
            "</AnswerKey>", key({"q": ([({"a"}, 1)], None)}).split(">", 1)[1]
        ),  # q twice
        key({"q": ([({"a"}, 1)], None)}, scale("NaN")),
        key({"q": ([({"a"}, 1)], None)}, scale("INF")),
        key({"q": ([({"a"}, 1)], None)}, percentage(0)),
        key({"q": ([({"a"}, 2**31)], None)}),
        key({"q": ([], 1)}),
    ],
    ids=["twice", "NaN", "INF", "percent of nothing", "too big", "no option"],
)
def test_keys_that_cannot_score_are_refused(xml):
    with pytest.raises(RequestError):
        parse_answer_key(xml)
