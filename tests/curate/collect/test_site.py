"""Site rules are checked whole before anything is fetched, and a fault is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.collect.site import Site, full_size, read_site, shipped, site_of
from schemas.errors import UserError

RULES = """
marketplace: Tianguis
hosts: [tianguis.example]
country: MX
product_url: '/p/\\d+'
next_page: 'a.next::attr(href)'
fields:
  name: h1::text
  sku: [{url: '/p/(\\d+)'}, {css: '.code::text', regex: '\\d+'}]
image_rewrite: [{find: '_s(\\.jpg)$', replace: '\\1'}]
limits: {max_pages: 100, delay: 2, connections: 1}
permission: our own shop
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_of_rules_says_where_everything_is(tmp_path: Path) -> None:
    site = read_site(written(tmp_path, RULES))
    assert site.fields["name"][0].css == "h1::text"
    assert [select.url or select.regex for select in site.fields["sku"]] == [r"/p/(\d+)", r"\d+"]
    assert (site.limits.max_pages, site.limits.delay, site.limits.connections) == (100, 2, 1)
    assert (site.is_product("https://tianguis.example/p/7"), site.is_product("https://tianguis.example/")) == (
        True,
        False,
    )
    assert full_size("https://i.example/a_s.jpg", site) == "https://i.example/a.jpg"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("marketplace: Tianguis", "marketplace: Field required"),
        ("hosts: [tianguis.example]", "hosts: Field required"),
        ("name: h1::text\nname: 'h1['", r"'h1\[' is not a CSS selector"),
        ("country: MX\ncountry: Mexico", "country: .*got 'Mexico'"),
        ("product_url: '/p/\\d+'\nproduct_url: '/p/('", r"product_url.0: '/p/\(' is not a regular expression"),
        (
            "hosts: [tianguis.example]\nhosts: ['https://tianguis.example/']",
            "hosts.0: .*got 'https://tianguis.example/'",
        ),
        ("name: h1::text\ntitle: h1::text", "fields: title is none of name, image"),
        ("replace: '\\1'\nreplace: '\\2'", "replace names group 2, but find has 1"),
        ("connections: 1\nconnections: 0", "limits.connections: .*got '0'"),
        ("permission: our own shop\nspeed: 3", "speed: Extra inputs.*known keys: marketplace, hosts"),
        ("{url: '/p/(\\d+)'}\n{regex: 'x'}", "needs exactly one of css, url and value"),
    ],
)
def test_a_fault_names_its_key(tmp_path: Path, change: str, said: str) -> None:
    before, _, after = change.partition("\n")
    assert before in RULES
    with pytest.raises(UserError, match=said) as caught:
        read_site(written(tmp_path, RULES.replace(before, after)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "a: !!python/object:os.system x", "[" * 5000])
def test_what_is_no_yaml_of_rules_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(UserError) as caught:
        read_site(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"no such file.*amazon"):
        read_site(tmp_path / "other.yaml")


@pytest.mark.parametrize(
    ("host", "mine"),
    [
        ("shop.com", True), ("www.shop.com", True), ("shop.co.uk", True), ("m.shop.com.mx", True), ("shop.de:8443", True),
        ("notshop.com", False), ("shop.evil.example.com", False), ("shop.com.evil.org", False), ("shop", False),
    ],
)  # fmt: skip
def test_a_site_has_many_endings_and_no_look_alikes(host: str, mine: bool) -> None:
    assert Site(marketplace="s", hosts=("shop.*",)).serves(f"https://{host}/p") is mine


def test_your_own_rules_come_before_the_shipped_ones() -> None:
    own = Site(marketplace="mine", hosts=("amazon.com",))
    found, german = site_of("https://www.amazon.com/dp/1", [own]), site_of("https://www.amazon.de/dp/1", [own])
    assert found is own
    assert german in shipped()
    assert site_of("https://nobody.example/") is None


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("https://cdn.shopify.com/s/files/1/a-5_grande.jpg?v=16", "https://cdn.shopify.com/s/files/1/a-5.jpg?v=16"),
        (
            "https://s.example/cdn/shop/products/a_300x300_crop_center@2x.png",
            "https://s.example/cdn/shop/products/a.png",
        ),
        ("https://cdn.shopify.com/s/a_SL1000.jpg", "https://cdn.shopify.com/s/a_SL1000.jpg"),
        ("https://s.example/dw/image/v2/B/on/a.jpg?sw=513&sh=654&sm=fit", "https://s.example/dw/image/v2/B/on/a.jpg"),
        ("https://s.example/cdn/shop/files/a.jpg?v=169&width=1920", "https://s.example/cdn/shop/files/a.jpg?v=169"),
        (
            "https://a.vteximg.com.br/arquivos/ids/170815-500-auto/a.jpg?v=6",
            "https://a.vteximg.com.br/arquivos/ids/170815/a.jpg?v=6",
        ),
        ("https://s.example/_next/image?url=%2Fimg%2Fa.jpg&w=1920&q=75", "https://s.example/img/a.jpg"),
        (
            "https://s.example/_next/image?url=javascript%3A1&w=1920",
            "https://s.example/_next/image?url=javascript%3A1&w=1920",
        ),
        ("https://s.example/a_large.jpg?sw=5", "https://s.example/a_large.jpg?sw=5"),
    ],
)
def test_platforms_say_their_size_in_the_address(given: str, full: str) -> None:
    assert full_size(given) == full
