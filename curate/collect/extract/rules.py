"""What the rules of a site find on one of its pages."""

from __future__ import annotations

import re
from typing import Any

from parsel import Selector

from curate.collect.extract.document import Document, visible_text
from curate.collect.extract.values import Found, address_of, clean
from curate.collect.site import Select, Site

_OF_TAG = ("data-zoom-image", "data-old-hires", "data-original", "data-src", "src", "href", "content")
MOST = 200  # values of one selector


def by_rules(site: Site, page: Document) -> Found:
    """Each field from the first of its selectors that finds something; of pictures all that it finds."""
    found = Found()
    root = Selector(root=page.tree, type="html")
    for name, selects in site.fields.items():
        values: list[str] = []
        for select in selects:
            values = _find(select, root, page, name == "image")
            if name == "price":
                values = [value for value in values if re.search("[1-9]", value)]
            if values:
                break
        if name == "image":
            found.images = list(dict.fromkeys(full for one in values if (full := address_of(one, page.base))))
        elif values:
            found.put(name, *values)
    told = found.fields.keys() & {"price", "sku", "product_id"}
    found.product = "name" in found.fields and bool(told)
    return found


def _find(select: Select, root: Any, page: Document, pictures: bool) -> list[str]:
    """What one selector finds, in order, each made plain."""
    if select.url is not None:
        return _matched(select.url, [page.url])
    if select.css is None:
        return [select.value or ""]
    nodes = root.css(select.css)[:MOST]
    if select.value is not None:
        return [select.value] if nodes else []
    if select.regex is not None:
        return _matched(select.regex, [text for node in nodes if (text := _whole_text(node))])
    texts = [_address(node) if pictures else _text(node) for node in nodes]
    return [text for text in texts if text]


def _text(node: Any) -> str | None:
    return clean(node.root) if isinstance(node.root, str) else visible_text(node.root)


def _whole_text(node: Any) -> str | None:
    """What a regex is tried on: a script as it is, anything else as a person sees it."""
    if isinstance(node.root, str):
        return clean(node.root)
    return node.root.text if node.root.tag == "script" else visible_text(node.root, longest=20_000)


def _address(node: Any) -> str | None:
    """The address of a picture: the text that was asked for, or the best attribute of the element."""
    if isinstance(node.root, str):
        return clean(node.root)
    return next((node.root.get(name) for name in _OF_TAG if node.root.get(name)), None)


def _matched(pattern: str, texts: list[str]) -> list[str]:
    """All that a pattern finds: the first group that took part, or without groups the whole match."""
    found = [
        next((group for group in match.groups() if group), "") if match.re.groups else match[0]
        for text in texts
        for match in re.finditer(pattern, text)
    ]
    return [text for one in found[:MOST] if (text := clean((one or "").replace("\\/", "/")))]
