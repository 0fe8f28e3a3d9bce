"""Values as pages write them, made plain: text, addresses, lists."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urldefrag, urljoin, urlsplit

from w3lib.url import safe_url_string

LONGEST_URL = 4_000
LONGEST_TEXT = 20_000  # characters of one value; more is no name and no price
_UNSEEN = re.compile(
    r"[\u200b-\u200f\u2028-\u202e\u2060\ufeff\ue000-\uf8ff\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)  # marks, icon fonts, halves of letters
_LONG = re.compile(r"^(?=\d*[A-Z])(?=\D*\d\D*\d)[A-Z0-9]{6,20}$|\d{5,}(?=\D*$)")
_SHORT = re.compile(r"(?<!\d)\d{4}(?!\d)")
_NUMBERED = ("sku", "childsku", "pid", "productid", "product_id", "itemid", "item", "id")  # of a query, best first


@dataclass
class Found:
    """What one source says of the page's product: fields as written, pictures in order, and whether it is a product."""

    fields: dict[str, str] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    product: bool = False

    def put(self, name: str, *values: Any) -> None:
        """Keep the first value that is text, unless there is one already."""
        if name not in self.fields and (text := first_text(*values)):
            self.fields[name] = text


def as_list(value: Any) -> list[Any]:
    """A list as it is, nothing as an empty one, anything else as a list of one."""
    return value if isinstance(value, list) else [] if value is None else [value]


def dig(node: Any, *names: str) -> Any:
    """What stands at the end of a path of keys; of lists the first element. None where the path breaks off."""
    for name in names:
        node = node[0] if isinstance(node, list) and node else node
        node = node.get(name) if isinstance(node, dict) else None
    return node


def text_of(value: Any, depth: int = 0) -> str | None:
    """A value as plain text: strings, finite numbers, {"name": …}, {"@value": …}, the first of a list."""
    if depth > 5:
        return None
    if isinstance(value, list):
        return first_text(*value[:20], depth=depth + 1)
    if isinstance(value, dict):
        return first_text(value.get("name"), value.get("@value"), value.get("value"), depth=depth + 1)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) >= 10**30:  # no number of a shop; longer ones cannot even be written
        return None
    return clean(str(value))


def clean(text: str) -> str | None:
    """One line without entities, marks that nobody sees and icons; None when nothing is left."""
    plain = _UNSEEN.sub("", html.unescape(text[:LONGEST_TEXT]))
    return " ".join(plain.split()) or None


def first_text(*values: Any, depth: int = 0) -> str | None:
    """The first of the values that is text."""
    return next((text for value in values if (text := text_of(value, depth))), None)


def words(text: str | None) -> str:
    """Letters and digits in lower case, words apart by one space and a space around: for finding one text in another."""
    found = " ".join(re.findall(r"[^\W_]+", (text or "").lower()))
    return f" {found} "


def address_of(value: Any, base: str) -> str | None:
    """An absolute http(s) address without its fragment; None for anything else, and for ones no server would take."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST_URL:
        return None
    return _address(value, base)


_CLEAN_URL = re.compile(r"https?://[a-z0-9.-]+(:[1-5]?\d{1,4})?/[A-Za-z0-9/._~-]*", re.ASCII)


@lru_cache(256)  # a page names its picture in every syntax it speaks
def _address(value: str, base: str) -> str | None:
    if _CLEAN_URL.fullmatch(value):  # most are, and nothing changes them
        return value
    try:
        full = urldefrag(safe_url_string(urljoin(base, value.strip().replace("&amp;", "&")))).url
        parts = urlsplit(full)
        parts.port  # noqa: B018 - raises for a port that is no number
    except ValueError:
        return None
    return full if parts.scheme in ("http", "https") and parts.hostname and len(full) <= LONGEST_URL else None


def same_host(a: str, b: str) -> bool:
    """Whether two addresses are of one host."""
    return urlsplit(a).netloc.lower() == urlsplit(b).netloc.lower()


def id_in(url: str) -> str | None:
    """The number that an address has for its product: of the query (sku=…, pid=…), else the last long one of the path.

    A number has five digits or more, or is made of capitals and digits (B07C8KMQQ6); four digits do where nothing else is.
    """
    parts = urlsplit(url)
    asked = {name.lower(): value for name, value in parse_qsl(parts.query)}
    for name in _NUMBERED:
        if re.fullmatch(r"(?=.*\d)[\w.-]{4,40}", asked.get(name, "")):
            return asked[name]
    tokens = re.findall(r"[A-Za-z0-9]+", re.sub(r"\.[a-z]{2,5}$", "", unquote(parts.path)))[::-1]
    for pattern in (_LONG, _SHORT):
        if found := next((match for token in tokens if (match := pattern.search(token))), None):
            return found[0]
    return None
