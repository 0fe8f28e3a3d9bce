"""The same step over the same jobs gives the same results, in a pool and over Daft; a failing one is not swallowed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.workspace import Workspace
from schemas.engine import POOL, Engine, each
from schemas.errors import UserError

needs_daft = pytest.mark.skipif(not find_spec("daft"), reason="the extra `scale` (Daft) is not installed")
ENGINES = [pytest.param(POOL, id="pool"), pytest.param(Engine("daft"), id="daft", marks=needs_daft)]


def squared(job: int) -> tuple[int, int, int]:
    return job, job * job, os.getpid()


def refused(job: int) -> int:
    if job == 70:
        raise ValueError(f"job {job} is not to be done")
    return job


@pytest.mark.parametrize("engine", ENGINES)
def test_every_job_is_done_once_in_other_processes(engine: Engine) -> None:
    done = list(each(squared, range(500), engine, small=0))
    assert sorted((job, value) for job, value, _ in done) == [(job, job * job) for job in range(500)]
    assert os.getpid() not in {pid for _, _, pid in done}


@pytest.mark.parametrize("engine", ENGINES)
def test_no_jobs_are_no_work(engine: Engine) -> None:
    assert list(each(squared, [], engine, small=0)) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_step_that_fails_fails_the_run(engine: Engine) -> None:
    with pytest.raises(Exception, match="job 70 is not to be done"):
        list(each(refused, range(100), engine, small=0))


def test_few_jobs_are_done_here() -> None:
    assert {pid for _, _, pid in each(squared, range(5))} == {os.getpid()}


def test_a_ray_cluster_is_reached_through_daft_alone() -> None:
    with pytest.raises(UserError, match="say --engine daft too"):
        Engine("pool", "ray://head:10001")


@pytest.mark.skipif(bool(find_spec("daft")), reason="Daft is installed here")
def test_without_daft_one_line_says_what_to_install() -> None:
    with pytest.raises(UserError, match=r"--engine daft needs Daft: pip install 'consenso\[scale\]'"):
        list(each(squared, range(5), Engine("daft")))


@needs_daft
def test_check_over_daft_writes_what_check_alone_writes(workspace: Workspace, root: Path) -> None:
    from schemas.tables import PICTURES

    pictures = sorted((root / "sample_data" / "shop" / "blobs").rglob("*.*"))
    folder = workspace.root.parent / "photos"
    folder.mkdir()
    for path in pictures[:70]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.jpg").write_bytes(pictures[1].read_bytes()[:500])
    there = ["--workspace", str(workspace.root)]
    run = CliRunner().invoke(app, ["import", "folder", str(folder), *there], catch_exceptions=False)
    assert run.exit_code == 0
    tables = []
    for options in ([], ["--engine", "daft", "--again"]):
        run = CliRunner().invoke(app, ["check", *there, *options], catch_exceptions=False)
        assert "71 pictures checked" in run.stdout
        tables.append(PICTURES.read(workspace.table("pictures")))
    assert tables[0].equals(tables[1])
    assert tables[0]["dropped"].str.startswith("broken").sum() == 2  # one of the sample is broken too
