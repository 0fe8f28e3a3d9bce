"""A page as a tree, parsed once for every reader, with what its head says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.etree
from w3lib.encoding import html_to_unicode

from curate.collect.extract.values import address_of, clean

_NO_TEXT = {"script", "style", "noscript", "template"}
_INLINE = {"a", "b", "bdi", "bdo", "em", "font", "i", "ins", "mark", "s", "small", "span", "strong", "sub", "sup", "u"}
_CENTS = re.compile(r"superscript|\bsup\b|\bcents?\b|fraction|decimals?\b", re.I)
_FOR_EARS = re.compile(r"\b(?:visually-?hidden|sr-only|g-hdn|screen-?reader-?(?:only|text))\b", re.I)
_GENERIC_ENDINGS = {"ai", "co", "eu", "fm", "io", "me", "to", "tv"}  # two letters that say nothing of a country
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
whole_text = lxml.etree.XPath("string()")  # of an element, what is inside it too
DEEPEST = 400  # levels of nesting that are climbed; what lies deeper is read as if it stood alone


@dataclass
class Document:
    """A page and where it came from."""

    tree: Any  # lxml's root element
    url: str
    microdata: bool = True  # whether there can be any: asked of the text, which is quicker than of the tree

    @cached_property
    def base(self) -> str:
        """What relative addresses on the page stand on."""
        tag = self.tree.find(".//base[@href]")
        try:
            return urljoin(self.url, tag.get("href").strip()) if tag is not None else self.url
        except ValueError:
            return self.url

    @cached_property
    def metas(self) -> dict[str, list[str]]:
        """Contents of the meta tags by property or name, in lower case, in order."""
        found: dict[str, list[str]] = {}
        for tag in self.tree.iter("meta"):
            name = (tag.get("property") or tag.get("name") or "").strip().lower()
            if name and (content := clean(tag.get("content") or "")):
                found.setdefault(name, []).append(content)
        return found

    def meta(self, *names: str) -> str | None:
        """The first content of the first of these meta tags that is there."""
        return next((self.metas[name][0] for name in names if name in self.metas), None)

    @cached_property
    def language(self) -> str:
        """The page's language as it says, or nothing."""
        return (self.tree.get("lang") or self.tree.get(_XML_LANG) or "").strip()

    @cached_property
    def country(self) -> str | None:
        """Two letters from the page's language, else from the ending of its address."""
        if region := re.search(r"[-_]([A-Za-z]{2})$", self.language):
            return region[1].upper()
        ending = (urlsplit(self.url).hostname or "").rsplit(".", 1)[-1]
        if len(ending) != 2 or not ending.isalpha() or ending in _GENERIC_ENDINGS:
            return None
        return {"uk": "GB"}.get(ending, ending.upper())

    @cached_property
    def canonical(self) -> str | None:
        """The address that the page gives itself."""
        for tag in self.tree.iter("link"):
            if "canonical" in (tag.get("rel") or "").lower().split() and (
                address := address_of(tag.get("href"), self.base)
            ):
                return address
        return None

    @cached_property
    def title(self) -> str | None:
        """What stands in <title>."""
        tag = self.tree.find(".//title")
        return clean(whole_text(tag)) if tag is not None else None

    @cached_property
    def headings(self) -> list[tuple[Any, str]]:
        """The h1 of the page with their text, in order."""
        return [(tag, text) for tag in self.tree.iter("h1") if (text := visible_text(tag))]


def read_document(body: bytes, url: str, content_type: str | None = None) -> Document | None:
    """Parse a page of any encoding; None for what is no HTML at all."""
    _, text = html_to_unicode(content_type, body)
    # not lxml.html's parser: its elements cost four times as much to walk through
    parser = lxml.etree.HTMLParser(encoding="utf-8", huge_tree=True)
    try:
        tree = lxml.etree.fromstring(text.replace("\0", "").encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.LxmlError, ValueError):
        return None
    if tree is None:
        return None
    return Document(tree, url, microdata="itemprop" in text or "ITEMPROP" in text)


def visible_text(tag: Any, longest: int = 2_000) -> str | None:
    """The text of an element as a person sees it: without scripts, styles and what is only there for screen readers.

    Blocks are set apart by a space, inline elements are not, and raised cents get their point back.
    """
    parts: list[str] = []
    size = 0
    skipped = None
    for event, inner in lxml.etree.iterwalk(tag, events=("start", "end", "comment", "pi")):
        if event == "start":
            if skipped is None and inner is not tag and _is_hidden(inner):
                skipped = inner
            text = _opened(inner, parts) if skipped is None else None
        else:
            text = inner.tail if inner is not tag and skipped in (None, inner) else None
            if inner is skipped:
                skipped = None
            if event == "end" and inner.tag not in _INLINE:
                text = f" {text or ''}"
        if text:
            parts.append(" ".join(f".{text}.".split())[1:-1])  # blanks to one, those at both ends kept
            size += len(parts[-1].strip())
            if size > longest:
                break
    return clean("".join(parts)[:longest])


def _is_hidden(tag: Any) -> bool:
    return tag.tag in _NO_TEXT or bool(_FOR_EARS.search(tag.get("class", "")))


def _opened(tag: Any, before: list[str]) -> str:
    """The text that an element begins with, and what sets it apart from the text before."""
    text = tag.text or ""
    raised = tag.tag == "sup" or (tag.tag in _INLINE and _CENTS.search(tag.get("class", "")))
    if raised and re.fullmatch(r"\s*\d\d\s*", text) and "".join(before[-3:]).rstrip()[-1:].isdigit():
        return f".{text.strip()}"
    return text if tag.tag in _INLINE else f" {text}"
