"""A saved page from a file, and what was read from it in words."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path

from curate.collect.extract.product import Product
from curate.collect.extract.values import address_of
from schemas.errors import UserError

LARGEST = 200_000_000  # bytes of a page, unpacked


def read_file(path: Path) -> bytes:
    """The bytes of a saved page, unpacked when it is gzip, whatever it is called. Raises UserError when it cannot be read."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            body = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such file; `curate extract` reads a page that was saved, FILE.html or FILE.html.gz"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); save the page again") from error
    if len(body) > LARGEST:
        raise UserError(f"{path}: is larger than {LARGEST // 1_000_000} MB, which no product page is")
    return body


def page_url(url: str) -> str:
    """The address as it was given. Raises UserError when it is none."""
    if not address_of(url, ""):
        raise UserError(
            f"--url {url[:80]!r} is not an address; give the one the page was saved from, http://… or https://…"
        )
    return url.strip()


def say(product: Product, as_json: bool = False) -> str:
    """A product as one JSON object, or as a table of field, value and source for people."""
    shown = product.shown()
    if as_json:
        return json.dumps(shown, ensure_ascii=False, indent=2)
    sources = shown.pop("sources")
    images = shown.pop("images")
    if not sources.keys() - {"url_id"}:
        return f"nothing found{_broken(product)}: neither structured data nor rules nor a heading tell of a product"
    lines = [f"{'field':12}  {'from':10}  value"]
    for name, value in shown.items():
        source = sources.get("price" if name == "price_raw" else name, "")
        if name != "image":
            lines.append(f"{name:12}  {source:10}  {'-' if value is None else value}")
    lines += [
        f"{'image ' + str(number):12}  {sources.get('images', ''):10}  {image}"
        for number, image in enumerate(images, 1)
    ]
    if not images:
        lines.append(f"{'image':12}  {'':10}  -")
    said = "sells this product" if product.sold_here else "is not taken for a product page by a crawl"
    return "\n".join([*lines, f"the page {said}{_broken(product)}"])


def _broken(product: Product) -> str:
    count = product.broken_blocks
    return f"; {count} JSON-LD block{'s' if count > 1 else ''} could not be read" if count else ""
