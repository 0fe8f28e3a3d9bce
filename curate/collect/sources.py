"""Where a crawl begins: one URL, or a file of them, and what sitemaps and feeds list, here or on a site.

A sitemap (also an index of sitemaps), RSS, Atom, CSV, JSON lines or one URL a line, each also gzipped; a file may be Parquet too.
"""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import lxml.etree

from curate.collect.extract import address_of
from curate.collect.url_column import is_parquet, urls_of
from schemas.errors import UserError

LIST_BYTES = 50_000_000  # of a list when unpacked: what sitemaps.org allows one sitemap
COLUMNS = ("url", "link", "product_url", "page_url", "loc")
_LIST = re.compile(r"\.(xml|rss|atom|csv|tsv|jsonl|ndjson|txt)(\.gz)?$|\.gz$", re.I)
_ROOTS = {"urlset", "sitemapindex", "rss", "feed", "rdf"}


class SourceError(ValueError):
    """A list of addresses that cannot be read, and why."""


@dataclass
class Listed:
    """Addresses that a list holds: further lists, and pages."""

    lists: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)


def is_list(url: str) -> bool:
    """Whether an address ends like a sitemap or feed, which may be larger than a page."""
    return bool(_LIST.search(urlsplit(url).path))


def read_list(data: bytes, url: str, kind: str = "") -> Listed | None:
    """The addresses in a sitemap or feed that came from `url`; None when it is something else, such as a page.

    Addresses that are none are left out. Raises SourceError for a list that is cut off, too large, or broken.
    """
    data = unpacked(data) if data[:2] == b"\x1f\x8b" else data
    start = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"<"):
        root = re.search(rb"<(?:[a-z0-9]+:)?([a-z]+)[\s/>]", re.sub(rb"<[?!][^>]*>|<!--.*?-->", b"", start, flags=re.S))
        return _read_xml(data, url) if root and root[1].decode() in _ROOTS else None
    name = urlsplit(url).path.lower().removesuffix(".gz")
    if name.endswith((".csv", ".tsv")) or "text/csv" in kind:
        places: Iterable[str] = _of_csv(_text(data), "\t" if name.endswith(".tsv") else None)
    elif name.endswith((".jsonl", ".ndjson")) or "ndjson" in kind:
        places = _of_json_lines(_text(data))
    elif name.endswith(".txt") or kind.startswith("text/plain"):
        places = [line for line in _text(data).splitlines() if not line.lstrip().startswith("#")]
    else:
        return None
    return Listed([], _addresses(places, url))


def _addresses(places: Iterable[str], base: str) -> list[str]:
    return list(dict.fromkeys(address for place in places if (address := address_of(place, base))))


def unpacked(data: bytes) -> bytes:
    """Gzipped bytes unpacked, at most LIST_BYTES of them. Raises SourceError for a cut or broken gzip, and for a bomb."""
    reader = zlib.decompressobj(wbits=31)
    try:
        whole = reader.decompress(data, LIST_BYTES + 1)
    except zlib.error as error:
        raise SourceError(f"a broken gzip ({error})") from error
    if len(whole) > LIST_BYTES:
        raise SourceError(f"larger than {LIST_BYTES / 1e6:g} MB when unpacked")
    if not reader.eof:
        raise SourceError("a gzip that is cut off")
    return whole


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _read_xml(data: bytes, url: str) -> Listed:
    """A sitemap, an index of sitemaps, RSS (g:link too) or Atom; nothing outside the file is ever loaded."""
    parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    try:
        tree = lxml.etree.fromstring(data, parser)
    except (lxml.etree.XMLSyntaxError, ValueError) as error:
        raise SourceError(f"a sitemap or feed that is no XML ({str(error)[:120]})") from error
    lists, pages, following = [], [], []
    for node in tree.iter("{*}loc", "{*}link"):
        above = _name(node.getparent())
        place = (node.text or "").strip() or node.get("href", "")
        if above == "sitemap":
            lists.append(place)
        elif above in ("url", "item") or (above == "entry" and node.get("rel", "alternate") == "alternate"):
            pages.append(place)
        elif above in ("feed", "channel") and node.get("rel") == "next":
            following.append(place)
    return Listed(_addresses([*lists, *following], url), _addresses(pages, url))


def _name(node: lxml.etree._Element | None) -> str:
    return "" if node is None or not isinstance(node.tag, str) else lxml.etree.QName(node).localname.lower()


def _of_csv(text: str, delimiter: str | None) -> Iterator[str]:
    head = text.split("\n", 1)[0]
    delimiter = delimiter or max(",;\t", key=head.count)
    rows = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    names = {name.strip().lower(): name for name in rows.fieldnames or () if name}
    column = next((names[name] for name in COLUMNS if name in names), None)
    if column is None:
        raise SourceError(
            f"no column of addresses ({', '.join(COLUMNS)}); found {', '.join(list(names)[:8]) or 'none'}"
        )
    try:
        yield from (row[column] or "" for row in rows)
    except csv.Error as error:
        raise SourceError(f"line {rows.line_num} is no CSV ({error})") from error


def _of_json_lines(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise SourceError(f"line {number} is no JSON") from error
        found = next((row[name] for name in COLUMNS if isinstance(row, dict) and name in row), None)
        if not isinstance(found, str):
            raise SourceError(f"line {number} has no address ({', '.join(COLUMNS)})")
        yield found


def start_urls(start: str | None, ruled: Sequence[str] = ()) -> list[str]:
    """The addresses to begin with: one URL, or those of a file: one a line (# begins a comment), a sitemap, a feed, Parquet.

    Without either those that the rules of a site name (`ruled`). Raises UserError where there is none.
    """
    if start is None:
        if not ruled:
            raise UserError("say where to begin: a URL, a file of URLs, or --site RULES.yaml with `start`")
        return list(ruled)
    if start.lower().startswith(("http://", "https://")):
        return _checked([(1, start)], "URL")
    path = Path(start)
    if not path.is_file():
        raise UserError(f"{start}: neither a URL (http://… or https://…) nor a file of URLs")
    try:
        if is_parquet(path):
            return _some(_addresses(urls_of(path, COLUMNS), ""), str(path))
        data = path.read_bytes()
        data = unpacked(data) if data[:2] == b"\x1f\x8b" else data
        listed = None if path.name.endswith((".txt", ".txt.gz")) else read_list(data, f"file:///{path.name}")
        if listed is not None:
            return _some([*listed.lists, *listed.pages], str(path))
        return _checked(enumerate(data.decode("utf-8-sig").splitlines(), start=1), str(path))
    except SourceError as error:
        raise UserError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not a text file of URLs, one a line ({error.reason})") from error


def _checked(lines: Iterable[tuple[int, str]], where: str) -> list[str]:
    urls = []
    for number, line in lines:
        line = line.strip()
        if line and not line.startswith("#"):
            if not (url := address_of(line, "")):
                raise UserError(f"{where}, line {number}: {line[:80]!r} is not an address (http://… or https://…)")
            urls.append(url)
    return _some(urls, where)


def _some(urls: list[str], where: str) -> list[str]:
    if not urls:
        raise UserError(f"{where}: holds no URL")
    return list(dict.fromkeys(urls))
