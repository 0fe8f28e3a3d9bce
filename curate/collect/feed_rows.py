"""One row of a catalogue as a listing: text, price, attributes, and its pictures as addresses or files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from curate.collect.extract import address_of
from curate.collect.extract.prices import currency_of, parse_price
from curate.collect.extract.values import LONGEST_URL, text_of
from curate.collect.feed_columns import OF_LISTINGS, Columns
from curate.collect.feed_file import Row
from curate.collect.files import mark_of
from curate.collect.intake import Bad, Entry, Picture

LONGEST_ID = 500
LONGEST_VALUE = 500  # characters of an attribute that a listing keeps
MOST_ATTRIBUTES = 100
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_BETWEEN = re.compile(r"[\s,;|]+(?=(?:https?:)?//)")
_IN_PICTURE = ("url", "src", "link", "contentUrl", "original", "path", "href")  # of pictures that are objects


@dataclass(frozen=True)
class Given:
    """What holds for all rows that do not say otherwise, and where relative pictures are."""

    base: Path | str  # folder of the feed, or its address
    name: str  # of the feed, without ending: the marketplace where nothing else says it
    marketplace: str | None = None
    country: str | None = None
    language: str | None = None
    license: str | None = None
    permission: str | None = None


def entries(rows: Iterator[Row], columns: Columns, given: Given) -> Iterator[Entry | Bad]:
    """A listing a row, or why there is none. Rows that only add pictures to the one above (Shopify) are joined to it."""
    held: Entry | Bad | None = None
    for row in rows:
        entry = Bad(row.line, row.fault) if row.fault else _entry(row, columns, given)
        if isinstance(held, Entry) and isinstance(entry, Entry) and _goes_on(held, entry, columns):
            pictures = tuple({one.url: one for one in (*held.pictures, *entry.pictures)}.values())
            held = replace(held, pictures=pictures, faults=(*held.faults, *entry.faults), rows=held.rows + 1)
            continue
        if held is not None:
            yield held
        held = entry
    if held is not None:
        yield held


def _goes_on(held: Entry, entry: Entry, columns: Columns) -> bool:
    same = (held.marketplace, held.listing_id) == (entry.marketplace, entry.listing_id)
    return same and "title" in columns.of and bool(held.columns["title"]) and not entry.columns["title"]


def _entry(row: Row, columns: Columns, given: Given) -> Entry | Bad:
    def text(name: str) -> str | None:
        return next((said for one in columns.of.get(name, ()) if (said := plain(row.values.get(one)))), None)

    address = _address(text("url"), given)
    listing_id = text("listing_id") or address
    if not listing_id:
        return Bad(row.line, "no listing id")
    if len(listing_id) > LONGEST_ID and listing_id != address:
        return Bad(row.line, f"a listing id of {len(listing_id):,} characters")
    said = {name: text(name) for name in OF_LISTINGS}
    said |= {name: said[name] or getattr(given, name) for name in ("country", "language", "license", "permission")}
    pictures, faults = _pictures(row, columns, given)
    host = urlsplit(address or "").netloc.lower().removeprefix("www.")
    return Entry(
        marketplace=given.marketplace or text("marketplace") or host or given.name,
        listing_id=listing_id,
        columns={
            **said,
            "url": address,
            "title": said["title"] and said["title"][:2_000],
            **_price(row.values.get(columns.first("price") or ""), said["currency"], said["country"]),
            "attributes": _attributes(row, columns) or None,
            "source": "feed",
        },
        pictures=pictures,
        line=row.line,
        faults=faults,
    )


def plain(value: Any) -> str | None:
    """A value of CSV, JSON or Parquet as one line of text; None for nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, Decimal | date):
        value = str(value)
    return text_of(value)


def _address(text: str | None, given: Given) -> str | None:
    base = given.base if isinstance(given.base, str) else ""
    return address_of(text, base) if text else None


def _price(value: Any, currency: str | None, country: str | None) -> dict[str, Any]:
    """As written, as a number, and its currency: "12.90 MXN", 12.9, or {"amount": "12.90", "currencyCode": "MXN"}."""
    if isinstance(value, dict):
        currency = currency or plain(value.get("currency") or value.get("currencyCode") or value.get("currency_code"))
        value = next((value[name] for name in ("amount", "value", "price") if name in value), None)
    raw = plain(value)
    currency = currency_of(currency, country) or currency_of(raw, country)
    number = float(value) if isinstance(value, int | float | Decimal) and raw else parse_price(raw, currency)
    return {"price_raw": raw, "price": number, "currency": currency}


def _attributes(row: Row, columns: Columns) -> dict[str, str]:
    """Every other column that says something, and what `--map` names that is no column of LISTINGS."""
    found: dict[str, str] = {}
    for name, group in columns.of.items():
        if name not in (*OF_LISTINGS, "listing_id", "image_urls", "price", "marketplace"):
            values = [said for one in group if (said := _joined(row.values.get(one)))]
            found |= {name: values[0][:LONGEST_VALUE]} if values else {}
    for column, name in columns.attributes.items():
        if len(found) < MOST_ATTRIBUTES and name not in found and (said := _joined(row.values.get(column))):
            found[name] = said[:LONGEST_VALUE]
    return found


def _joined(value: Any) -> str | None:
    """A value as text, a list as its values with commas between."""
    if isinstance(value, list):
        return ", ".join(said for one in value[:50] if (said := plain(one))) or None
    return plain(value) if not isinstance(value, dict) else plain(json.dumps(value, ensure_ascii=False, default=str))


def _pictures(row: Row, columns: Columns, given: Given) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The pictures of a row, each once, in order, and why others cannot be asked for."""
    found: dict[str, Picture] = {}
    faults = []
    for column in columns.of["image_urls"]:
        for raw in places(row.values.get(column), columns.separators.get(column)):
            picture = _picture(raw, given)
            if isinstance(picture, str):
                faults.append(picture)
            else:
                found.setdefault(picture.url, picture)
    return tuple(found.values()), tuple(faults)


def places(value: Any, separator: str | None = None) -> list[str]:
    """Addresses in a cell: a list as it is, JSON, one text cut at its separator, or where another address begins."""
    if isinstance(value, list):
        return [place for one in value for place in places(one, separator)]
    if isinstance(value, dict):
        return places(next((value[name] for name in _IN_PICTURE if value.get(name)), None))
    if not isinstance(value, str) or not value.strip():
        return []
    if value.lstrip().startswith(("[", "{")):
        try:
            return places(json.loads(value), separator)
        except (ValueError, RecursionError):
            pass
    parts = value.split(separator) if separator else _BETWEEN.split(value)
    return [part.strip() for part in parts if part.strip()]


def _picture(raw: str, given: Given) -> Picture | str:
    """A picture's address or file, or why it is none."""
    if len(raw) > LONGEST_URL and not raw.startswith("data:"):
        return f"an address of {len(raw):,} characters ({raw[:60]}…); up to {LONGEST_URL:,} are taken"
    raw = f"https:{raw}" if raw.startswith("//") else raw
    if isinstance(given.base, str) and not _SCHEME.match(raw):
        raw = urljoin(given.base, raw)
    if raw.lower().startswith(("http:", "https:")):
        address = address_of(raw, "")
        return Picture(address) if address else f"not an address ({raw[:100]})"
    if raw.startswith("s3://"):
        return Picture(raw)
    if (_SCHEME.match(raw) and not raw.startswith("file:")) or isinstance(given.base, str):
        return f"an address that is not fetched ({raw[:60]})"
    return _file(raw, given.base)


def _file(raw: str, folder: Path) -> Picture | str:
    if "\0" in raw:
        return "a file name with a zero byte"
    name = unquote(urlsplit(raw).path) if raw.startswith("file:") else raw.replace("\\", "/")
    root = f"{folder}{os.sep}"  # as text: pathlib takes five times as long, a million times
    place = os.path.normpath(name if name.startswith(os.sep) else root + name)
    return Picture(f"file://{quote(place)}", mark_of(place), place.removeprefix(root))
