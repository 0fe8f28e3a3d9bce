"""A file is written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from schemas.files import clear_killed, whole, write_text


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


def test_parts_of_killed_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    path = tmp_path / "labels.parquet"
    for pid in (dead.pid, os.getpid()):
        path.with_name(f"labels.parquet.{pid}.part").touch()
    clear_killed(path)
    assert [part.name for part in tmp_path.iterdir()] == [f"labels.parquet.{os.getpid()}.part"]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_the_part_of_a_killed_process_that_nobody_waited_for_goes(tmp_path: Path) -> None:
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path = tmp_path / "labels.parquet"
    path.with_name(f"labels.parquet.{killed.pid}.part").touch()
    clear_killed(path)
    assert len(list(tmp_path.iterdir())) == 1, "it runs"
    killed.kill()
    os.waitid(os.P_PID, killed.pid, os.WEXITED | os.WNOWAIT)  # it ended, and its number is still taken
    os.kill(killed.pid, 0)
    clear_killed(path)
    assert list(tmp_path.iterdir()) == []
    killed.communicate()
