"""What is read from 84 saved product pages, scored against their truth, beside plain extruct; and what a page costs.

Run: python tests/benchmarks/bench_extract.py [--pages DIR] [--misses] [--no-peer] [--unseen]

Every page counts in every score: an unread page is a miss, and a value on a page whose truth has none is a wrong one.
Extruct's row merges its json-ld, microdata and opengraph, as people use it. --unseen reads without site rules.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.collect.extract import Product, extract, parse_price

ROOT = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "pages"
BY_DIGITS = ("stockcenter.com.ar", "paris.cl")  # their truth writes thousands as decimals: 2.449 for $ 2.449
IDS = ("sku", "product_id", "mpn", "url_id")


@dataclass
class Score:
    """Counts over all pages of one field."""

    right: int = 0
    wrong: int = 0
    missing: int = 0
    known: int = 0  # pages whose truth has the field
    misses: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 0.0

    @property
    def recall(self) -> float:
        return self.right / self.known if self.known else 0.0


Scores = dict[str, Score]


def saved_pages(root: Path = ROOT) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
    """Name, bytes and truth of each page."""
    for name, truth in json.loads((root / "ground-truth.json").read_text(encoding="utf-8")).items():
        yield name, gzip.decompress((root / "html" / f"{name}.html.gz").read_bytes()), truth


def score(read: Callable[[bytes, str], dict[str, Any]], root: Path = ROOT) -> tuple[Scores, float]:
    """The scores of a reader, and the CPU seconds it took for all pages."""
    scores = {name: Score() for name in ("name", "image", "price", "sku", "brand")}
    seconds = 0.0
    for name, body, truth in saved_pages(root):
        began = time.process_time()
        found = read(body, truth["url"])
        seconds += time.process_time() - began
        label = f"{name[:8]} {urlsplit(truth['url']).hostname}"
        _there(scores["name"], found.get("name"), label)
        _there(scores["image"], found.get("image"), label)
        _judge(scores["price"], found.get("price"), truth.get("price"), _same_price(truth["url"]), label)
        _judge_id(scores["sku"], found, truth, label)
        if "brand" in truth:
            _judge(scores["brand"], found.get("brand"), truth["brand"], _same_text, label)
    return scores, seconds


def _there(score: Score, value: Any, label: str) -> None:
    score.known += 1
    score.right += bool(value)
    score.missing += not value
    score.misses += [] if value else [label]


def _judge(score: Score, value: Any, accepted: list[str] | None, same: Callable[[Any, str], bool], label: str) -> None:
    score.known += accepted is not None
    if value is None:
        score.missing += 1
    elif any(same(value, one) for one in accepted or ()):
        score.right += 1
        return
    else:
        score.wrong += 1
    if value is not None or accepted:
        score.misses.append(f"{label}: {value!r} is none of {accepted}")


def _same_price(url: str) -> Callable[[Any, str], bool]:
    def digits(value: Any) -> str:
        return re.sub(r"\D", "", str(value)).strip("0")

    if urlsplit(url).hostname.removeprefix("www.") in BY_DIGITS:
        return lambda value, accepted: digits(value) == digits(accepted)
    return lambda value, accepted: value == parse_price(accepted)


def _same_text(value: Any, accepted: str) -> bool:
    return " ".join(str(value).split()).casefold() == " ".join(accepted.split()).casefold()


def _judge_id(score: Score, found: dict[str, Any], truth: dict[str, Any], label: str) -> None:
    """Right where an accepted value is the sku, the product id, the mpn or the number in the address, but for its dots."""
    accepted = truth.get("sku", ())
    given = [str(found[name]) for name in IDS if found.get(name)]
    score.known += bool(accepted)
    if any(_alike(value) == _alike(one) for value in given for one in accepted):
        score.right += 1
        return
    score.wrong += bool(given)
    score.missing += not given
    score.misses.append(f"{label}: {given} has none of {list(accepted)}")


def _alike(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()


def ours(body: bytes, url: str) -> dict[str, Any]:
    """`curate extract`."""
    return extract(body, url).shown()


def unruled(body: bytes, url: str) -> dict[str, Any]:
    """`curate extract` on a host that no rules are for."""
    from curate.collect.extract.document import read_document
    from curate.collect.extract.product import read_page_product

    page = read_document(body, url)
    return (read_page_product(page) if page else Product()).shown()


def plain_extruct(body: bytes, url: str) -> dict[str, Any]:
    """extruct: json-ld, then microdata, then opengraph, a Product at any depth, the first value of each field."""
    import extruct

    data = extruct.extract(
        body, base_url=url, syntaxes=["json-ld", "microdata", "opengraph"], uniform=True, errors="ignore"
    )
    found: dict[str, Any] = {}
    for syntax in ("json-ld", "microdata"):
        for node in _product_nodes(data[syntax]):
            offer = node.get("offers") or {}
            offer = offer[0] if isinstance(offer, list) and offer else offer
            said = {name: node.get(name) for name in ("name", "image", "sku", "mpn", "brand")}
            said |= {"product_id": node.get("productID")}
            said["price"] = (offer.get("price") or offer.get("lowPrice")) if isinstance(offer, dict) else None
            for name, value in said.items():
                value = value[0] if isinstance(value, list) and value else value
                value = value.get("name") or value.get("url") if isinstance(value, dict) else value
                if value not in (None, "", []):
                    found.setdefault(name, value)
    for node in data["opengraph"]:
        tags = {"name": "og:title", "image": "og:image", "price": "product:price:amount", "brand": "product:brand"}
        for name, tag in tags.items():
            value = node.get(tag)
            if value:
                found.setdefault(name, value[0] if isinstance(value, list) else value)
    found["price"] = parse_price(str(found["price"])) if "price" in found else None
    return found


def _product_nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        for one in value:
            yield from _product_nodes(one)
    elif isinstance(value, dict):
        if "Product" in str(value.get("@type")):
            yield value
        for inner in value.values():
            yield from _product_nodes(inner)


def show(title: str, scores: Scores, seconds: float, pages: int) -> None:
    """Print one reader's table."""
    print(f"\n{title}: {1000 * seconds / pages:.1f} ms of CPU a page")
    print(f"{'field':8}{'known':>7}{'right':>7}{'wrong':>7}{'none':>7}{'precision':>11}{'recall':>8}")
    for name, one in scores.items():
        print(f"{name:8}{one.known:7}{one.right:7}{one.wrong:7}{one.missing:7}{one.precision:11.3f}{one.recall:8.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, default=ROOT)
    parser.add_argument("--misses", action="store_true", help="name the pages that are not right")
    parser.add_argument("--no-peer", action="store_true", help="leave extruct out")
    parser.add_argument("--unseen", action="store_true", help="without site rules too, as a new host is read")
    asked = parser.parse_args()
    readers = {"curate extract": ours}
    if asked.unseen:
        readers["curate extract without site rules"] = unruled
    if not asked.no_peer:
        readers["extruct, merged"] = plain_extruct
    for title, read in readers.items():
        scores, seconds = score(read, asked.pages)
        show(title, scores, seconds, scores["name"].known)
        if asked.misses:
            for name, one in scores.items():
                print(f"\n{name}:", *one.misses, sep="\n  ")


if __name__ == "__main__":
    main()
