"""Where nobody watches, progress is whole lines and few of them."""

from __future__ import annotations

import re
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


def test_slow_pictures_are_told_by_the_second(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas.progress, "QUIET_SECONDS", 0)
    with progress(3, "stage1", " pictures") as bar:
        bar.start_t -= 100  # as if a picture took longer than a second
        bar.update(3)
        bar.refresh()
    last = capsys.readouterr().err.splitlines()[-1]
    assert "3/3" in last
    assert re.search(r"\d pictures/s\]$", last)
