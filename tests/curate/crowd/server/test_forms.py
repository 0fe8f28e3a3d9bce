"""QuestionForm: what is read, what is refused, which answers are allowed, and how they are written."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from curate.crowd.server.answers import (
    OTHER,
    AnswerError,
    Given,
    answers_xml,
    check_answers,
    form_answers_xml,
    read_answers,
)
from curate.crowd.server.documents import ANSWERS, FORM, read_document
from curate.crowd.server.errors import RequestError
from curate.crowd.server.formatted import formatted, plain
from curate.crowd.server.forms import parse_form
from curate.crowd.server.texts import LANGUAGES, fault


def form(questions, namespace=FORM[1]):
    return f'<QuestionForm xmlns="{namespace}">{questions}</QuestionForm>'


def question(answer, identifier="q", required="false", content="<Text>?</Text>"):
    return (
        f"<Question><QuestionIdentifier>{identifier}</QuestionIdentifier><IsRequired>{required}</IsRequired>"
        f"<QuestionContent>{content}</QuestionContent><AnswerSpecification>{answer}</AnswerSpecification></Question>"
    )


def free(constraints="", rest=""):
    return f"<FreeTextAnswer><Constraints>{constraints}</Constraints>{rest}</FreeTextAnswer>"


def choosing(ids="a b c", least="", most="", style="", other=""):
    counts = (f"<MinSelectionCount>{least}</MinSelectionCount>" if least else "") + (
        f"<MaxSelectionCount>{most}</MaxSelectionCount>" if most else ""
    )
    choices = "".join(
        f"<Selection><SelectionIdentifier>{i}</SelectionIdentifier><Text>{i.upper()}</Text></Selection>"
        for i in ids.split()
    )
    style = f"<StyleSuggestion>{style}</StyleSuggestion>" if style else ""
    other = f"<OtherSelection>{other}</OtherSelection>" if other else ""
    return f"<SelectionAnswer>{counts}{style}<Selections>{choices}{other}</Selections></SelectionAnswer>"


def parsed(xml):
    return parse_form(xml, "Question")


def verdict(answer, *fields, required="false"):
    """What is wrong with these answers to one question ("" = nothing)."""
    try:
        check_answers(parsed(form(question(answer, required=required))), fields)
    except AnswerError as error:
        return error.message
    return ""


NUMBER = '<IsNumeric minValue="1" maxValue="10"/>'
LENGTH = '<Length minLength="2" maxLength="4"/>'
NO_NUMBERS = '<IsNumeric/><AnswerFormatRegex regex="^[A-Z]{2}$" flags="i" errorText="Two letters, please"/>'


@pytest.mark.parametrize(
    ("constraints", "text", "said"),
    [
        ("", "anything <&> at all", ""),
        (NUMBER, "7", ""),
        (NUMBER, " 7.5 ", ""),
        (NUMBER, "0", "too_small"),
        (NUMBER, "10.01", "too_big"),
        (NUMBER, "seven", "not_number"),
        (NUMBER, "1e3", "not_number"),
        (NUMBER, "٣", "not_number"),
        (NUMBER, "NaN", "not_number"),
        ("<IsNumeric/>", "-99999999999999999999", ""),
        (LENGTH, "abcd", ""),
        (LENGTH, "a", "too_short"),
        (LENGTH, "abcde", "too_long"),
        (LENGTH, "a\r\nb", ""),  # three characters: a browser sends a new line as two
        ('<AnswerFormatRegex regex="^[A-Z]{2}$" flags="i" errorText="Two letters, please"/>', "ab", ""),
        ('<AnswerFormatRegex regex="^[A-Z]{2}$" flags="i" errorText="Two {letters}"/>', "abc", "Two {letters}"),
        ('<AnswerFormatRegex regex="^[A-Z]{2}$"/>', "ab", "bad_format"),
        ('<AnswerFormatRegex regex="\\d"/><AnswerFormatRegex regex="^.{3}$" errorText="three"/>', "x1", "three"),
        ('<AnswerFormatRegex regex="b"/>', "abc", ""),  # found anywhere, as in JavaScript
    ],
)
def test_a_free_text_is_held_to_its_constraints(constraints, text, said):
    assert verdict(free(constraints), ("q", text)) == said
    assert verdict(free(constraints), ("q", "  ")) == ""  # nothing said where nothing is required
    assert verdict(free(constraints), required="true") == "not_all"


@pytest.mark.parametrize(
    ("answer", "marked", "said"),
    [
        (choosing(), "a", ""),
        (choosing(), "", ""),
        (choosing(), "a b", "too_many"),
        (choosing(), "x", "bad_answer"),
        (choosing(least="2", most="3"), "a", "too_few"),
        (choosing(least="2", most="3"), "a c", ""),
        (choosing(least="2"), "a c", ""),  # at least two means that two may be marked
        (choosing(most="2"), "a b c", "too_many"),
        (choosing(most="2"), "a a a", ""),  # marked is marked, however often it is sent
    ],
)
def test_as_many_choices_are_marked_as_the_form_asks_for(answer, marked, said):
    assert verdict(answer, *[("q", value) for value in marked.split()]) == said


def test_a_required_choice_has_to_be_made():
    assert verdict(choosing(), required="true") == "not_all"
    assert verdict(choosing(least="0", most="2"), required="true") == ""  # none of them is an answer here


def test_an_answer_of_one_s_own_counts_as_one():
    answer = choosing(most="2", other=f"<Constraints>{LENGTH}</Constraints>")
    assert verdict(answer, ("q", "a"), ("q", OTHER), ("q" + OTHER, "mine")) == ""
    assert verdict(answer, ("q", "a"), ("q", "b"), ("q" + OTHER, "mine")) == "too_many"
    assert verdict(answer, ("q", OTHER), ("q" + OTHER, " ")) == "other_empty"
    assert verdict(answer, ("q" + OTHER, "m")) == "too_short"
    assert verdict(choosing(), ("q", "a"), ("q" + OTHER, "not asked")) == ""  # and is not kept
    (given,) = check_answers(parsed(form(question(answer))), [("q", OTHER), ("q" + OTHER, "mine")])
    assert (given.other, given.marks) == ("mine", [OTHER])


def test_every_fault_is_said_at_once_and_in_every_language():
    xml = form(question(free(NUMBER), "n") + question(choosing(), "c", "true") + question(free(), "f"))
    with pytest.raises(AnswerError) as error:
        check_answers(parsed(xml), [("n", "99"), ("f", "fine")])
    assert {name: found.message for name, found in error.value.faults.items()} == {"n": "too_big", "c": "not_all"}
    said = {fault(error.value.faults["n"], language) for language in LANGUAGES}
    assert len(said) == len(LANGUAGES)
    assert all("10" in text for text in said)


def test_an_expression_that_would_take_for_ever_does_not():
    evil = free('<AnswerFormatRegex regex="^(a+)+$"/>')
    began = time.perf_counter()
    assert verdict(evil, ("q", "a" * 50_000 + "!")) == "bad_format"
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    "xml",
    [
        form(question(free('<AnswerFormatRegex regex="("/>'))),
        form(question(free('<AnswerFormatRegex regex="(?=a)b"/>'))),  # looks ahead: not in linear time
        form(question(free('<AnswerFormatRegex regex="a" flags="x"/>'))),
        form(question(free('<IsNumeric minValue="5" maxValue="4"/>'))),
        form(question(free('<Length minLength="5" maxLength="4"/>'))),
        form(question(choosing("a a"))),
        form(question(choosing(least="4", most="9"))),
        form(question(choosing(least="3", most="2"))),
        form(question(choosing()) + question(free())),  # one identifier twice
        form(question(choosing(), identifier=" ")),
        form(question(choosing(), identifier="csrf")),
        form("<Overview><Text>Nothing is asked</Text></Overview>"),
        form(question("<FileUploadAnswer><MaxFileSizeInBytes>9</MaxFileSizeInBytes><MinFileSizeInBytes>1</MinFileSizeInBytes>"
                      "</FileUploadAnswer>"), FORM[0]),
        form(question(free(), content="<Application><Flash><FlashMovieURL>http://a/</FlashMovieURL><Width>1</Width><Height>1"
                      "</Height></Flash></Application>"), FORM[0]),
        form(question(free(), content="<FormattedContent>&lt;script&gt;alert(1)&lt;/script&gt;</FormattedContent>")),
        form(question(free(), content="<Binary><MimeType><Type>image</Type></MimeType><DataURL>javascript:alert(1)</DataURL>"
                      "<AltText/></Binary>")),
    ],
)  # fmt: skip
def test_forms_that_nobody_could_answer_are_refused(xml):
    with pytest.raises(RequestError):
        parsed(xml)


def test_what_is_not_supported_says_so_by_name():
    upload = "<FileUploadAnswer><MaxFileSizeInBytes>9</MaxFileSizeInBytes><MinFileSizeInBytes>1</MinFileSizeInBytes></FileUploadAnswer>"
    with pytest.raises(RequestError, match="<FileUploadAnswer> is not supported here") as error:
        parsed(form(question(upload), FORM[0]))
    assert error.value.code == "AWS.MechanicalTurk.ParameterValidationError"


@pytest.mark.parametrize(
    ("xhtml", "html"),
    [
        ("<p>Say <b>what</b> you see</p>", "<p>Say <b>what</b> you see</p>"),
        ("a &lt; b &amp; c&nbsp;d &eacute;", "a &lt; b &amp; c\u00a0d é"),
        ('<img src="https://e.org/x.png"/>', '<img src="https://e.org/x.png" alt="">'),
        ('<a href="https://e.org/?a=1&amp;b=2" target="_top">x</a>',
         '<a href="https://e.org/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer">x</a>'),
        ("<table border='1'><tr><td colspan='2'>x</td></tr></table>", '<table border="1"><tr><td colspan="2">x</td></tr></table>'),
        ("x<!-- <script>alert(1)</script> -->y<?pi z?>", "xy"),
        ('<p id="sheet" title="&quot;&gt;&lt;script&gt;">x</p>', "<p title='\"&gt;&lt;script&gt;'>x</p>"),
        ("<![CDATA[<b>]]>", "&lt;b&gt;"),
    ],
)  # fmt: skip
def test_formatted_content_keeps_the_looks_and_nothing_else(xhtml, html):
    assert formatted(xhtml, "q") == html


@pytest.mark.parametrize(
    "xhtml",
    [
        "<script>alert(1)</script>",
        "<SCRIPT>alert(1)</SCRIPT>",
        '<p onclick="alert(1)">x</p>',
        '<p style="background:url(//evil)">x</p>',
        '<a href="javascript:alert(1)">x</a>',
        '<a href=" java&#10;script:alert(1)">x</a>',
        '<a href="data:text/html,x">x</a>',
        '<img src="x" onerror="alert(1)"/>',
        '<img src="//evil/x.png"/>',
        '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        '<p xmlns="http://www.w3.org/2000/svg">x</p>',
        "<iframe src='https://e.org'/>",
        "<form action='https://e.org'><input name='x'/></form>",
        "<meta http-equiv='refresh' content='0'/>",
        "<base href='https://e.org'/>",
        "</div><script>alert(1)</script><div>",
        "<b>never closed",
        "<a>" * 5000,
        '<!DOCTYPE x [<!ENTITY a "b">]>&a;',
    ],
)
def test_formatted_content_with_anything_that_runs_is_refused(xhtml):
    with pytest.raises(RequestError):
        formatted(xhtml, "q")


TAGS = ["p", "b", "a", "img", "script", "svg", "ul", "style", "x:b"]
MARKS = [
    "",
    ' href="https://e.org"',
    ' href="javascript:a"',
    ' onload="a"',
    ' src="https://e.org"',
    " title='\"><script>'",
    ' style="a"',
]


@given(
    st.recursive(
        st.text("a<&>\"' ;", max_size=6),
        lambda inside: st.tuples(st.sampled_from(TAGS), st.sampled_from(MARKS), st.lists(inside, max_size=3)),
        max_leaves=12,
    )
)
def test_whatever_passes_holds_no_way_to_run_something(tree):
    """Read again as a browser would: no tag or attribute outside the list, whatever was written."""

    def write(part):
        if isinstance(part, str):
            return part
        tag, marks, inside = part
        return f"<{tag}{marks}>{''.join(map(write, inside))}</{tag}>"

    try:
        safe = formatted(write(tree), "q")
    except RequestError:
        return
    from lxml import html as browser

    for found in browser.fragment_fromstring(safe, create_parent="main").iter():
        assert found.tag in {"main", "p", "b", "a", "img", "ul"}
        assert set(found.attrib) <= {"href", "src", "title", "target", "rel", "alt"}
        assert not found.get("href", "https:").startswith("javascript")
    assert "<" not in re.sub(r"<[^>]*>", "", safe)
    assert isinstance(plain(safe), str)


def test_content_of_every_kind_is_read_in_its_order():
    content = (
        "<Title>T</Title><Text>Look</Text><List><ListItem>one</ListItem><ListItem>two</ListItem></List>"
        "<FormattedContent><![CDATA[<i>soft</i>]]></FormattedContent>"
        "<Binary><MimeType><Type>audio</Type><SubType>mpeg</SubType></MimeType><DataURL>http://e.org/a.mp3</DataURL><AltText>bells"
        "</AltText></Binary><EmbeddedBinary><EmbeddedMimeType><Type>image</Type><SubType>png</SubType></EmbeddedMimeType><DataURL>"
        "http://e.org/p.png</DataURL><AltText>a hat</AltText><Width>300</Width><Height>50%</Height></EmbeddedBinary>"
    )
    (asked,) = parsed(
        form(
            question(
                free(rest="<DefaultText>d</DefaultText><NumberOfLinesSuggestion>5</NumberOfLinesSuggestion>"),
                content=content,
            )
        )
    ).questions
    assert [block.kind for block in asked.content] == ["title", "text", "list", "formatted", "media", "media"]
    assert asked.texts == ["T", "Look", "• one", "• two", "soft"]
    audio, image = asked.content[4:]
    assert (audio.medium, audio.own_window, image.own_window) == ("audio", True, False)
    assert (image.width, image.height) == ("300", "")  # half of what, only a browser knows
    assert asked.pictures == ["http://e.org/p.png"]
    assert (asked.free.default, asked.free.lines) == ("d", 5)


@pytest.mark.parametrize("style", "radiobutton checkbox list dropdown combobox multichooser".split())  # noqa: SIM905
@pytest.mark.parametrize("most", ["1", "2"])
def test_a_style_for_one_choice_gives_way_where_several_may_be_made(style, most):
    (asked,) = parsed(form(question(choosing(most=most, style=style)))).questions
    one_only = style in ("radiobutton", "dropdown", "combobox")
    assert asked.style == ("checkbox" if most == "2" and one_only else style)


# ---- how answers are written

PRINTED = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(
    st.lists(
        st.builds(Given, PRINTED, st.just(()), st.just(""), PRINTED)
        | st.builds(Given, PRINTED, st.lists(PRINTED).map(tuple), PRINTED),
        min_size=1,
    )
)
def test_answers_are_always_valid_and_on_one_line(given):
    xml = form_answers_xml(given)
    read_document(xml.replace("\n", " "), "answers", ANSWERS)
    assert "\n" not in re.sub(r"<(FreeText|QuestionIdentifier|SelectionIdentifier|OtherSelectionText)>[^<]*", "", xml)


def test_answers_fit_the_published_schema(shared_data):
    schema = etree.XMLSchema(etree.parse(str(shared_data("mturk-xsd") / "2005-10-01" / "QuestionFormAnswers.xsd")))
    given = [
        Given("f", text='{"a": "<&>"}'),
        Given("s", ("a", "b")),
        Given("o", (), "mine"),
        Given("none"),
        Given("empty", text=""),
    ]
    for xml in (form_answers_xml(given), answers_xml([("p1", "dots"), ("p1", "plain")])):
        schema.assertValid(etree.fromstring(xml.encode()))
    assert '<FreeText>{"a": "&lt;&amp;&gt;"}</FreeText>' in form_answers_xml(given)
    assert "<FreeText>dots|plain</FreeText>" in answers_xml([("p1", "dots"), ("p1", "plain")])


def test_answers_are_read_back_as_sets():
    given = [
        Given("f", text=" x "),
        Given("s", ("a", "b")),
        Given("o", ("a",), "mine"),
        Given("none"),
        Given("empty", text=" "),
    ]
    assert read_answers(form_answers_xml(given)) == {
        "f": {"x"}, "s": {"a", "b"}, "o": {"a", "mine"}, "none": frozenset(), "empty": frozenset(),
    }  # fmt: skip
