from __future__ import annotations

import pytest

from curate.demo.market import Market, draw_market


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """A small drawn market; tests only read it."""
    return draw_market(tmp_path_factory.mktemp("market"), seed=3, scale=0.16)
