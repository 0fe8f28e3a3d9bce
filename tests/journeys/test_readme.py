"""What the README tells a newcomer to type works as it stands there."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest


def blocks(readme: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    return [body for name, body in found if name == language]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_the_story_in_commands_runs_as_written(root: Path, tmp_path: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    story = next(block for block in blocks(readme, "sh") if "curate init" in block)
    (tmp_path / "sample_data").symlink_to(root / "sample_data")
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CURATE_ENDPOINT": f"http://127.0.0.1:{free_port()}",  # two test runs on one machine do not meet at one port
        "HF_HUB_OFFLINE": "1",
    }
    shell = subprocess.Popen(
        ["bash", "-e", "-c", f"set -m\n{story}"], cwd=tmp_path, env=env, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        said, _ = shell.communicate(timeout=500)
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGKILL)
        raise
    assert shell.returncode == 0, said
    for table in ("apron/votes", "apron/labels", "apron", "runs/vit/predictions", "runs/semivit-half/predictions"):
        assert (tmp_path / "shop" / f"{table}.parquet").exists(), table
    assert (tmp_path / "shop" / "report.html").exists()
    look = next(block for block in blocks(readme, "python") if "read_parquet" in block)
    subprocess.run([sys.executable, "-c", look], cwd=tmp_path, check=True, timeout=60)


def test_files_and_folders_that_the_readme_names_exist(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", readme):
        assert link.startswith("http") or (root / link).exists(), link
    tree = next(block for block in blocks(readme, "") if "schemas/" in block)
    parent = ""
    for line in tree.splitlines():
        name = line.split()[0]
        path = f"{parent}{name}" if line.startswith("  ") else name
        parent = parent if line.startswith("  ") else name
        assert (root / path).is_dir(), path


def test_the_makefile_has_both_commands_of_the_first_screen(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    for command in re.findall(r"^make (\S+)", blocks((root / "README.md").read_text(encoding="utf-8"), "sh")[0], re.M):
        assert re.search(rf"^{command}:", makefile, re.M), command
