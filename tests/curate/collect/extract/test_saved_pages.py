"""84 saved pages of real shops, scored as the benchmark does: every page counts, none is left out."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.collect.extract import read_page

pytestmark = pytest.mark.shared_data


@pytest.fixture(scope="module")
def bench() -> Any:
    path = Path(__file__).parents[3] / "benchmarks" / "bench_extract.py"
    spec = importlib.util.spec_from_file_location("bench_extract", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_extract"] = module  # its dataclasses look for themselves there
    spec.loader.exec_module(module)
    return module


def test_the_targets_hold_on_saved_pages_of_real_shops(bench: Any, shared_data: Callable[[str], Path]) -> None:
    scores, _ = bench.score(bench.ours, shared_data("pages"))
    misses = {name: one.misses for name, one in scores.items()}
    assert all(one.right + one.wrong + one.missing == 84 for name, one in scores.items() if name != "brand"), (
        "a page is hidden"
    )
    assert scores["name"].right >= 80, misses["name"]
    assert scores["image"].right >= 78, misses["image"]
    assert scores["price"].right >= 68, misses["price"]
    assert scores["price"].precision >= 0.93, misses["price"]
    assert scores["sku"].right >= 55, misses["sku"]
    assert scores["sku"].wrong <= 12, misses["sku"]
    assert scores["brand"].known == 64
    assert scores["brand"].precision >= 0.90, misses["brand"]
    assert scores["brand"].recall >= 0.70, misses["brand"]


def test_most_hold_without_site_rules_too_as_on_a_host_never_seen(
    bench: Any, shared_data: Callable[[str], Path]
) -> None:
    scores, _ = bench.score(bench.unruled, shared_data("pages"))
    assert scores["name"].right >= 80
    assert scores["image"].right >= 78
    assert scores["price"].right >= 68
    assert scores["price"].precision >= 0.93
    assert scores["brand"].precision >= 0.90


def test_a_crawl_takes_most_of_them_for_product_pages(bench: Any, shared_data: Callable[[str], Path]) -> None:
    """Only what a page says of itself makes it one, never a guess at what is seen."""
    pages = [read_page(body, truth["url"]) for _, body, truth in bench.saved_pages(shared_data("pages"))]
    listings = [page.listing for page in pages if page.listing]
    assert len(listings) >= 82
    assert all(listing.columns["title"] and listing.pictures for listing in listings)
