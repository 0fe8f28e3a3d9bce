"""JSON-LD of a page, one script at a time, so that a broken block does not hide the next."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from curate.collect.extract.document import whole_text

_BEFORE = re.compile(r"(?:\s|<!--[^{}]*?-->|<!--|/\*[^{}]*?\*/|//(?:[^\n{}]*\n)?|<!\[CDATA\[)*")
LARGEST_BROKEN = 500_000  # characters of a block that is worth mending; that is slow


def json_ld(tree: Any) -> tuple[list[Any], int]:
    """All JSON-LD values of a page, and how many blocks could not be read."""
    items: list[Any] = []
    broken = 0
    for script in tree.iter("script"):
        if script.get("type", "").split(";")[0].strip().lower() != "application/ld+json":
            continue
        text = whole_text(script).strip()
        if not text:
            continue
        try:
            value = _read(text)
        except (ValueError, RecursionError):
            broken += 1
        else:
            items += value if isinstance(value, list) else [value]
    return items, broken


def _read(text: str) -> Any:
    """JSON, as strict as it needs to be: line breaks in strings, comments around and inside, a comma too many, entities."""
    try:
        return json.loads(text, strict=False)
    except ValueError:
        bare = text[_BEFORE.match(text).end() :]  # type: ignore[union-attr]  # it matches nothing too
        bare = bare[: max(bare.rfind("}"), bare.rfind("]")) + 1]
    try:
        return json.JSONDecoder(strict=False).raw_decode(bare)[0]  # what stands behind the first value is left alone
    except ValueError:
        if len(bare) > LARGEST_BROKEN:
            raise
    if "&quot;" in bare:
        return json.loads(html.unescape(bare), strict=False)
    from extruct.jsonld import jstyleson  # JSON as people write it; heavy to import, and few blocks need it

    return jstyleson.loads(re.sub(r",(\s*[}\]])", r"\1", bare), strict=False)
