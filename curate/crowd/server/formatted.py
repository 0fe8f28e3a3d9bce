"""FormattedContent: the part of XHTML that MTurk allowed inside questions, rewritten from an allow-list.

What comes out is built anew, tag by tag: nothing of the requester's markup passes through. What is not on the list is refused when
a HIT or a test is created, so that a requester hears of it.
"""

from __future__ import annotations

import re
from html.entities import html5
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from curate.crowd.server.documents import parse
from curate.crowd.server.errors import BadXml


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAGS = _names(
    "a b big blockquote br center cite code col colgroup dd del dl dt em font h1 h2 h3 h4 h5 h6 hr i img ins li ol p pre q s "
    "small strike strong sub sup table tbody td tfoot th thead tr u ul"
)
_EMPTY = _names("br col hr img")
_EVERYWHERE = _names("align bgcolor dir height lang title valign width")
_OF_TAG = {
    "a": frozenset({"href"}),
    "font": frozenset({"color", "face", "size"}),
    "img": frozenset({"alt", "src", "border", "hspace", "vspace"}),
    "ol": frozenset({"start", "type"}),
    "ul": frozenset({"type"}),
    "li": frozenset({"value"}),
    "table": frozenset({"border", "cellpadding", "cellspacing", "summary"}),
    "td": frozenset({"colspan", "rowspan", "headers", "nowrap"}),
    "th": frozenset({"colspan", "rowspan", "scope", "nowrap"}),
    "col": frozenset({"span"}),
    "colgroup": frozenset({"span"}),
}
# Part of MTurk's subset, without a meaning on our pages: left out in silence.
_IGNORED = _names(
    "abbr accesskey axis char charoff charset cite clear compact coords datetime frame hreflang id ismap longdesc name nohref "
    "noshade rel rev rules shape tabindex target type usemap border size start value summary span headers scope"
)
_ADDRESS = {"href": re.compile(r"(https?://|mailto:)", re.IGNORECASE), "src": re.compile(r"https?://", re.IGNORECASE)}
_XML_OWN = {"amp", "lt", "gt", "quot", "apos"}


def formatted(xhtml: str, where: str) -> str:
    """Safe HTML with the same words and looks; raises BadXml for anything that MTurk's subset of XHTML does not have."""
    root = parse(f"<div>{_without_names(xhtml)}</div>", f"{where}: FormattedContent")
    return _inside(root, where)


def plain(html: str) -> str:
    """The words of what `formatted` gave."""
    words = re.sub(r"<[^>]*>", " ", html)
    for name, letter in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        words = words.replace(name, letter)
    return " ".join(words.split())


def _without_names(xhtml: str) -> str:
    """HTML's names for letters (&nbsp;) as the letters; XML knows five of them only."""

    def letter(found: re.Match[str]) -> str:
        name = found.group(1)
        return found.group() if name in _XML_OWN else html5.get(f"{name};", found.group())

    return re.sub(r"&([A-Za-z][A-Za-z0-9]*);", letter, xhtml)


def _inside(element: Any, where: str) -> str:
    parts = [escape(element.text or "")]
    for child in element:
        if isinstance(child.tag, str):
            parts.append(_tag(child, where))
        parts.append(escape(child.tail or ""))  # a comment leaves what follows it
    return "".join(parts)


def _tag(element: Any, where: str) -> str:
    name = etree.QName(element)
    tag = name.localname
    if tag not in _TAGS or name.namespace not in (None, "http://www.w3.org/1999/xhtml"):
        raise BadXml(f"{where}: FormattedContent: <{tag[:40]}> is not allowed")
    written = "".join(f" {key}={quoteattr(value)}" for key, value in _attributes(element, tag, where))
    if tag in _EMPTY:
        return f"<{tag}{written}>"
    return f"<{tag}{written}>{_inside(element, where)}</{tag}>"


def _attributes(element: Any, tag: str, where: str) -> list[tuple[str, str]]:
    kept = []
    for key, value in element.items():
        if key in _EVERYWHERE or key in _OF_TAG.get(tag, ()):
            if key in _ADDRESS and not _ADDRESS[key].match(value.strip()):
                raise BadXml(f"{where}: FormattedContent: {key}={value.strip()[:40]!r} is not a web address")
            kept.append((key, value.strip() if key in _ADDRESS else value))
        elif key not in _IGNORED:
            raise BadXml(f"{where}: FormattedContent: the attribute {key[:40]!r} of <{tag}> is not allowed")
    if tag == "a":
        kept += [("target", "_blank"), ("rel", "noopener noreferrer")]
    if tag == "img" and "alt" not in element.keys():  # noqa: SIM118 (an element is not a dict)
        kept.append(("alt", ""))
    return kept
