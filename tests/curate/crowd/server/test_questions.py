from __future__ import annotations

import pytest
from lxml import etree

from curate.crowd.server.errors import RequestError
from curate.crowd.server.questions import (
    ANSWER_KEY,
    ANSWERS,
    FORM,
    MAX_BYTES,
    answers_xml,
    parse_answer_key,
    parse_question,
    parse_test,
)

ONE = (
    "<Question><QuestionIdentifier>q1</QuestionIdentifier><IsRequired>true</IsRequired><QuestionContent>"
    "<Text>Which &lt;b&gt;?</Text><Binary><MimeType><Type>image</Type></MimeType><DataURL>http://127.0.0.1/picture/1</DataURL>"
    "<AltText>x</AltText></Binary></QuestionContent><AnswerSpecification><SelectionAnswer><Selections>"
    "<Selection><SelectionIdentifier>a</SelectionIdentifier><Text>A</Text></Selection>"
    "<Selection><SelectionIdentifier>b</SelectionIdentifier><Text>B</Text></Selection>"
    "</Selections></SelectionAnswer></AnswerSpecification></Question>"
)


def form(questions, namespace=FORM[0]):
    return f'<QuestionForm xmlns="{namespace}">{questions}</QuestionForm>'


def key(mapping="", questions=None):
    plain = "".join(
        f"<Question><QuestionIdentifier>{name}</QuestionIdentifier><AnswerOption><SelectionIdentifier>{right}"
        "</SelectionIdentifier><AnswerScore>1</AnswerScore></AnswerOption></Question>"
        for name, right in (("q1", "a"), ("q2", "b"), ("q3", "c"))
    )
    wrapped = f"<QualificationValueMapping>{mapping}</QualificationValueMapping>" if mapping else ""
    return f'<AnswerKey xmlns="{ANSWER_KEY}">{questions or plain}{wrapped}</AnswerKey>'


@pytest.mark.parametrize("namespace", FORM)
def test_a_form_is_read_in_both_namespaces(namespace):
    (question,) = parse_test(form(ONE, namespace)).questions
    assert (question.id, question.texts, question.pictures) == ("q1", ["Which <b>?"], ["http://127.0.0.1/picture/1"])
    assert [(choice.id, choice.text) for choice in question.choices] == [("a", "A"), ("b", "B")]


PERCENT = "<PercentageMapping><MaximumSummedScore>3</MaximumSummedScore></PercentageMapping>"
SCALE = "<ScaleMapping><SummedScoreMultiplier>2.5</SummedScoreMultiplier></ScaleMapping>"
RANGE = (
    "<RangeMapping><SummedScoreRange><InclusiveLowerBound>2</InclusiveLowerBound><InclusiveUpperBound>3"
    "</InclusiveUpperBound><QualificationValue>10</QualificationValue></SummedScoreRange>"
    "<OutOfRangeQualificationValue>-1</OutOfRangeQualificationValue></RangeMapping>"
)


@pytest.mark.parametrize(
    ("mapping", "answers", "value"),
    [
        ("", {"q1": ["a"], "q2": ["b"], "q3": ["c"]}, 3),
        ("", {"q1": ["a"], "q2": ["a"]}, 1),
        (PERCENT, {"q1": ["a"], "q2": ["b"]}, 67),
        (PERCENT, {"q1": ["a", "b"]}, 0),  # a set that only contains the right one does not match it
        (SCALE, {"q1": ["a"], "q2": ["b"], "q3": ["c"]}, 8),
        (RANGE, {"q1": ["a"], "q2": ["b"]}, 10),
        (RANGE, {"q1": ["a"]}, -1),
    ],
)
def test_a_test_is_scored_by_its_key(mapping, answers, value):
    assert parse_answer_key(key(mapping)).score(answers) == value


def test_other_answers_earn_the_default_and_scores_may_be_negative():
    questions = (
        "<Question><QuestionIdentifier>q1</QuestionIdentifier><AnswerOption><SelectionIdentifier>a</SelectionIdentifier>"
        "<SelectionIdentifier>b</SelectionIdentifier><AnswerScore>5</AnswerScore></AnswerOption>"
        "<DefaultScore>-2</DefaultScore></Question>"
    )
    scored = parse_answer_key(key(questions=questions))
    assert [scored.score({"q1": marked}) for marked in (["b", "a"], ["a"], [])] == [5, -2, -2]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>' + form(ONE).replace("Which", "&b;")
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>' + form(ONE).replace("Which", "&f;")


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "<",
        "<a/>",
        form(""),
        form(ONE + ONE),
        form(ONE.replace("SelectionAnswer", "FileUploadAnswer")),
        form(ONE, "http://example.org"),
        BOMB,
        OUTSIDE,
        form(ONE + " " * MAX_BYTES),
        form("<a>" * 5000),
    ],
)
def test_what_is_no_form_is_refused(xml):
    with pytest.raises(RequestError):
        parse_test(xml)


@pytest.mark.parametrize(
    "xml", ["", "<a/>", key("<Guess/>"), key(PERCENT.replace("3", "0")), key(PERCENT.replace("3", "x"))]
)
def test_what_is_no_answer_key_is_refused(xml):
    with pytest.raises(RequestError):
        parse_answer_key(xml)


def test_our_own_task_is_recognized_inside_its_html(our_question, html_question):
    assert parse_question(our_question()).task.task == "apron"
    foreign = parse_question(html_question("<p>hello</p>"))
    assert (foreign.task, foreign.html) == (None, "<p>hello</p>")


def test_answers_come_back_as_one_line_of_xml_with_quotes_as_they_are():
    xml = answers_xml([("p1", '{"a": "<&>"}'), ("p2", "x\x00y")])
    assert '<FreeText>{"a": "&lt;&amp;&gt;"}</FreeText>' in xml
    assert "\n" not in xml
    root = etree.fromstring(xml.encode())
    texts = {answer[0].text: answer[1].text for answer in root}
    assert texts == {"p1": '{"a": "<&>"}', "p2": "xy"}
    assert etree.QName(root).namespace == ANSWERS
