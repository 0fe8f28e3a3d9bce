"""What each column of a catalogue is taken for: by `--map`, else by the names that shops give their columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.errors import UserError

# Names of Google Merchant, Shopify, WooCommerce and our own tables, as `_plain` writes them; of several the first counts.
NAMES = {
    "listing_id": "listing_id id offer_id item_id product_id asin handle item_sku sku codigo id_producto",
    "url": "url link product_url page_url canonical_link canonical_url permalink mobile_link loc",
    "title": "title name product_name product_title item_name titulo nombre",
    "brand": "brand brand_name manufacturer marca",
    "category": "product_type category product_category google_product_category categories type categoria",
    "price": "price price_raw regular_price variant_price precio amount",
    "currency": "currency price_currency currency_code moneda",
    "country": "country target_country pais",
    "language": "language content_language lang idioma",
    "marketplace": "marketplace",
    "license": "license licence licencia",
    "permission": "permission",
    "seller": "seller seller_name vendor store store_name merchant shop",
    "color": "color colour",
    "gtin": "gtin ean upc barcode variant_barcode isbn",
    "description": "description body_html product_description descripcion",
}
OF_LISTINGS = ("url", "title", "brand", "category", "currency", "country", "language", "license", "permission")
_IMAGES = re.compile(
    r"(main|additional|other|variant|gallery|product)?_?(image|picture|photo|img|foto|imagen)(e?s)?"
    r"(_?(url|link|src|path|file)s?)?_?\d*"
)
_LOCAL = re.compile(r"(image|picture|photo)?_?(path|file|filename|file_name)s?")
_ONE = re.compile(r"\s*(?P<field>[\w.]+)\s*=\s*(?P<column>.+?)\s*(?:\((?P<separator>[^\w\s()]{1,3}|\\t|\\n| )\))?\s*$")


@dataclass
class Columns:
    """Columns by what they are taken for; every other column is an attribute of its own name."""

    of: dict[str, list[str]] = field(default_factory=dict)
    separators: dict[str, str] = field(default_factory=dict)  # of columns that hold many values in one cell
    attributes: dict[str, str] = field(default_factory=dict)  # column to the attribute's name

    def first(self, name: str) -> str | None:
        """The column of a field that has one."""
        return next(iter(self.of.get(name, ())), None)

    def taken_for(self, column: str) -> str:
        """What a column is taken for, in words."""
        split = f", many in a cell, separated by {self.separators[column]!r}" if column in self.separators else ""
        fields = [name for name, columns in self.of.items() if column in columns]
        return (fields[0] if fields else f"attribute {self.attributes.get(column, column)}") + split


def read_map(given: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """Field, column and separator of each part of `listing_id=sku,image_urls=images(;)`. Raises UserError for anything else."""
    found: list[tuple[str, str, str | None]] = []
    for part in re.split(r",(?=\s*[\w.]+\s*=)", ",".join(given)) if given else ():
        match = _ONE.match(part)
        if match is None:
            raise UserError(
                f"--map {part!r}: should look like listing_id=sku,image_urls=images(;): a field, a column, a separator"
            )
        separator = match["separator"]
        found.append((match["field"], match["column"], {"\\t": "\t", "\\n": "\n"}.get(separator, separator)))
    return found


def plan_columns(names: Sequence[str], mapped: Sequence[tuple[str, str, str | None]], where: str) -> Columns:
    """What each column is taken for. Raises UserError, naming the columns found, when ids or pictures have none."""
    columns = Columns()
    for name, column, separator in mapped:
        if column not in names:
            raise UserError(f"{where}: --map {name}={column}: no such column; found {_some(names)}")
        columns.of.setdefault(name, []).append(column)
        if separator:
            columns.separators[column] = separator
    taken = {column for _, column, _ in mapped}
    plain = {_plain(name): name for name in reversed(names) if name not in taken}
    for name, known in NAMES.items():
        if name not in columns.of and (found := next((plain[one] for one in known.split() if one in plain), None)):
            columns.of[name] = [found]
            del plain[_plain(found)]
    if "image_urls" not in columns.of and (pictures := _pictures(plain, names)):
        columns.of["image_urls"] = pictures
    _check(columns, names, where)
    used = {column for group in columns.of.values() for column in group}
    columns.attributes = {name: _plain(name) for name in names if name not in used}
    return columns


def _pictures(plain: dict[str, str], names: Sequence[str]) -> list[str]:
    """Every column of pictures, the main one first, as they stand in the file."""
    for pattern in (_IMAGES, _LOCAL):
        if found := {column for name, column in plain.items() if pattern.fullmatch(name)}:
            return sorted(
                found, key=lambda one: (_plain(one).startswith(("additional", "other", "variant")), names.index(one))
            )
    return []


def _check(columns: Columns, names: Sequence[str], where: str) -> None:
    missing = (
        [] if columns.of.get("listing_id") or columns.of.get("url") else [("listing_id", "no column of listing ids")]
    )
    missing += [] if columns.of.get("image_urls") else [("image_urls", "no column of pictures")]
    if missing:
        say = ",".join(f"{name}=COLUMN" for name, _ in missing)
        raise UserError(f"{where}: {' and '.join(what for _, what in missing)}; found {_some(names)}. Say --map {say}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(name[:40] for name in names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def _plain(name: str) -> str:
    """A column's name in lower case, words joined by `_`, without Google's `g:`."""
    return re.sub(r"[^\w]+", "_", name.strip().casefold().removeprefix("g:")).strip("_") or "column"
