"""`curate extract` as a person types it."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.cli import app
from schemas.command import exit_code

URL = "https://shop.example/p/12345"
PAGE = '<h1>Apron</h1><script type="application/ld+json">{"@type": "Product", "name": "Apron", "image": ["/1.jpg", "/2.jpg"]}</script>'
Said = tuple[int, str, str]


@pytest.fixture
def curate(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*words: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, words)])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_json_has_every_field_and_its_source(curate: Callable[..., Said], tmp_path: Path) -> None:
    file = tmp_path / "page.html.gz"
    file.write_bytes(gzip.compress(PAGE.encode()))
    code, out, _ = curate("extract", file, "--url", URL, "--json")
    shown = json.loads(out)
    assert code == 0
    assert list(shown) == [
        "name", "image", "images", "price", "currency", "sku", "product_id", "gtin", "mpn", "brand", "availability",
        "price_raw", "url_id", "sources",
    ]  # fmt: skip
    assert (shown["image"], shown["images"]) == (
        "https://shop.example/1.jpg",
        ["https://shop.example/1.jpg", "https://shop.example/2.jpg"],
    )
    assert shown["sources"] == {"name": "json-ld", "image": "json-ld", "images": "json-ld", "url_id": "url"}


def test_a_table_for_people_has_a_line_a_field_and_a_picture(curate: Callable[..., Said], tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(PAGE + '<script type="application/ld+json">{"a"</script>')
    code, out, _ = curate("extract", file, "--url", URL)
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["name", "json-ld", "Apron"] in lines
    assert ["price", "-"] in lines
    assert ["image", "2", "json-ld", "https://shop.example/2.jpg"] in lines
    assert out.splitlines()[-1] == "the page sells this product; 1 JSON-LD block could not be read"
    file.write_text("")
    assert curate("extract", file, "--url", URL)[1].startswith("nothing found")


def test_rules_of_your_own_come_first(curate: Callable[..., Said], tmp_path: Path) -> None:
    file, rules = tmp_path / "page.html", tmp_path / "shop.yaml"
    file.write_text(PAGE + "<b id=t>My apron</b>")
    rules.write_text("marketplace: shop\nhosts: shop.example\nfields: {name: '#t'}\n")
    assert ["name", "rules", "My", "apron"] in [
        line.split() for line in curate("extract", file, "--url", URL, "--site", rules)[1].splitlines()
    ]
    rules.write_text("marketplace: shop\nhosts: shop.example\nfields: {name: '#t['}\n")
    code, out, err = curate("extract", file, "--url", URL, "--site", rules)
    assert (code, out) == (1, "")
    assert "'#t[' is not a CSS selector" in err
    rules.write_text("marketplace: shop\nhosts: shop.example.org\n")
    code, out, err = curate("extract", file, "--url", URL, "--site", rules)
    assert (code, out) == (1, "")
    assert "its rules are for shop.example.org" in err


def test_what_cannot_be_read_is_said_in_one_line(curate: Callable[..., Said], tmp_path: Path) -> None:
    cut = tmp_path / "cut.html.gz"
    cut.write_bytes(gzip.compress(PAGE.encode())[:40])
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    cases: list[tuple[Path, str, str]] = [
        (tmp_path / "no.html", URL, "no such file"), (cut, URL, "cannot be read"), (tmp_path, URL, "cannot be read"),
        (page, "shop.example", "--url 'shop.example' is not an address"), (page, "ftp://shop.example", "is not an address"),
    ]  # fmt: skip
    for file, url, said in cases:
        code, out, err = curate("extract", file, "--url", url)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert said in err
