"""The wheel brings everything it needs, and a stranger's train.py in the folder does not get in its way."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def fresh(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a stranger's train.py and an environment that holds the built wheel; the libraries are borrowed."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "train.py").write_text("raise SystemExit('a stranger was started')\n")
    (folder / "schemas.py").write_text("raise SystemExit('a stranger was imported')\n")
    built = run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder / "dist",
        root,
        cwd=folder,
    )
    assert built.returncode == 0, built.stderr
    wheel = next((folder / "dist").glob("consenso-*.whl"))
    assert run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder).returncode == 0
    python = folder / "env" / "bin" / "python"
    installed = run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder
    )
    assert installed.returncode == 0, installed.stderr
    site = next((folder / "env" / "lib").glob("python*/site-packages"))
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_both_scripts_run_beside_a_stranger(fresh: Path) -> None:
    for script in ("curate", "train"):
        done = run(fresh / "env" / "bin" / script, "--help", cwd=fresh)
        assert done.returncode == 0, done.stderr
        assert f"Usage: {script}" in done.stdout


def test_the_wheel_carries_task_files_and_templates(fresh: Path) -> None:
    done = run(fresh / "env" / "bin" / "curate", "init", "shop", cwd=fresh)
    assert done.returncode == 0, done.stderr
    assert (fresh / "shop" / "tasks" / "apron.yaml").exists()
    package = next((fresh / "env" / "lib").glob("python*/site-packages")) / "curate"
    for needed in (
        "collect/sites",
        "report/templates",
        "crowd/server/templates",
        "crowd/server/static",
        "crowd/server/xsd",
        "clean/review/templates",
        "clean/review/static",
    ):
        assert list((package / needed).iterdir()), needed


def test_a_person_s_error_is_one_line_from_the_installed_scripts(fresh: Path) -> None:
    done = run(fresh / "env" / "bin" / "train", "resnet18", "--manifest", "none.parquet", cwd=fresh)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: none.parquet: no such file")
