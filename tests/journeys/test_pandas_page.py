"""Every snippet of docs/pandas.md runs and prints what the page says.

python tests/journeys/test_pandas_page.py      writes what they print into the page, after sample_data changed
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

import pandas as pd

PAGE = Path(__file__).parents[2] / "docs" / "pandas.md"
SNIPPET = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<said>.*?)```\n)?", re.DOTALL)


def look(code: str, names: dict[str, Any]) -> str:
    """Run a snippet; what its last expression prints."""
    *before, last = ast.parse(code).body
    exec(compile(ast.Module(before, []), str(PAGE), "exec"), names)
    assert isinstance(last, ast.Expr), "a snippet ends with something to look at"
    with pd.option_context("display.width", 100, "display.max_columns", 20, "display.max_rows", 60):
        return str(eval(compile(ast.Expression(last.value), str(PAGE), "eval"), names)) + "\n"


def test_every_snippet_prints_what_the_page_says(root: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(root)
    page, names = PAGE.read_text(encoding="utf-8"), {}
    found = list(SNIPPET.finditer(page))
    assert len(found) >= 10
    assert page.count("```python") == len(found)
    for snippet in found:
        assert look(snippet["code"], names) == snippet["said"], snippet["code"]


def main() -> None:
    """Write the page anew."""
    os.chdir(PAGE.parents[1])
    names: dict[str, Any] = {}
    page = PAGE.read_text(encoding="utf-8")
    written = SNIPPET.sub(lambda s: f"```python\n{s['code']}```\n\n```text\n{look(s['code'], names)}```\n", page)
    PAGE.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
