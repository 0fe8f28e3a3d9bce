"""A file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.files import whole, write_text


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    write_text(path, "old")

    def fail_half_way() -> None:
        with whole(path) as part:
            part.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_half_way()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.txt"]


def test_a_write_makes_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b.txt", "new")
    assert (tmp_path / "a" / "b.txt").read_text() == "new"
