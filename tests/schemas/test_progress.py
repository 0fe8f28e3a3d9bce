"""Where nobody watches, progress is whole lines and few of them."""

from __future__ import annotations

import sys

import pytest

import schemas.progress
from schemas.progress import progress


def test_a_quiet_bar_writes_lines_and_no_carriage_return(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas.progress, "QUIET_SECONDS", 0)
    with progress(3, "pictures") as bar:
        for _ in range(3):
            bar.update()
    said = capsys.readouterr().err
    assert "\r" not in said
    assert "pictures" in said
    assert "3/3" in said


def test_short_work_says_nothing_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(3, "pictures") as bar:
        bar.update(3)
    assert not sys.stderr.isatty()
    assert capsys.readouterr().err == ""
