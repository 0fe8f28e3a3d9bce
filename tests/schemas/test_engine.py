"""The same step over the same jobs gives the same results, in a pool and over Daft; a failing one is not swallowed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import _ExecutorManagerThread as Thread
from contextlib import suppress
from importlib.util import find_spec
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.workspace import Workspace
from schemas.engine import POOL, Engine, cores, each, fork_server
from schemas.errors import UserError

needs_daft = pytest.mark.skipif(not find_spec("daft"), reason="the extra `scale` (Daft) is not installed")
needs_cores = pytest.mark.skipif(cores() < 2, reason="one core: what would be a pool works in the tests' own process")
ENGINES = [pytest.param(POOL, id="pool", marks=needs_cores), pytest.param(Engine("daft"), id="daft", marks=needs_daft)]


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


def dies_once(job: Path) -> int:
    """The first process that gets this job kills itself, as the kernel does when memory runs out."""
    if job.name == "70":
        with suppress(FileExistsError):
            job.touch(exist_ok=False)
            os.kill(os.getpid(), signal.SIGKILL)
    return int(job.name)


def dies(job: int) -> int:
    if job == 70:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


@pytest.mark.parametrize("engine", ENGINES)
def test_the_jobs_of_a_killed_process_are_done_again(engine: Engine, tmp_path: Path) -> None:
    done = list(each(dies_once, [tmp_path / str(n) for n in range(200)], engine, small=0, batch=4))
    assert (tmp_path / "70").exists()
    assert sorted(done) == list(range(200))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_job_that_kills_every_process_is_given_up_aloud(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"were killed 3 times in a row, .* is there too little memory"):
        list(each(dies, range(200), engine, small=0, batch=4))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="a lock of the pool forbids it since Python 3.12")
@needs_cores
@pytest.mark.timeout(60)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_starts_while_another_dies_is_ended_too(
    monkeypatch: pytest.MonkeyPatch, moment: str, tmp_path: Path
) -> None:
    """Python 3.11's pool waits for it forever, or its start fails because the queues are closed by then."""
    inside: Any = ProcessPoolExecutor
    submit, spawn, start, end = inside.submit, inside._spawn_process, ForkServerProcess.start, Thread.terminate_broken
    pools: list[Any] = []
    started: list[ForkServerProcess] = []
    death, second = threading.Event(), threading.Event()

    def submits(pool: Any, *work: Any) -> Any:
        if pool._processes:
            (tmp_path / "die").touch()
            assert death.wait(20)
        return submit(pool, *work)

    def ends(thread: Any, cause: Any) -> None:  # the pool has found out, and has not said so yet
        death.set()
        assert second.wait(20)
        end(thread, cause)

    def spawns(pool: Any) -> None:
        if not pool._processes:
            pools.append(pool)
            death.clear()
            second.clear()
        spawn(pool)

    def starts(process: ForkServerProcess) -> None:
        first = not pools[-1]._processes
        if first or moment == "after":
            start(process)
            started.append(process)
        if not first:
            second.set()
            assert until(lambda: pools[-1]._call_queue._reader.closed)  # the pool has ended those it knew
            if moment == "before":
                start(process)

    monkeypatch.setattr(inside, "submit", submits)
    monkeypatch.setattr(inside, "_spawn_process", spawns)
    monkeypatch.setattr(Thread, "terminate_broken", ends)
    monkeypatch.setattr(ForkServerProcess, "start", starts)
    with pytest.raises(UserError, match="were killed 3 times in a row"):
        list(each(dies_when_told, [tmp_path / "die", tmp_path / "live"], small=0, batch=1))
    assert len(started) == (3 if moment == "before" else 6)
    for process in started:
        process.join(20)
        assert process.exitcode


def dies_when_told(job: Path) -> str:
    if job.name == "die":
        assert until(job.exists)
        os.kill(os.getpid(), signal.SIGKILL)
    return job.name


def until(holds: Callable[[], bool], seconds: float = 20) -> bool:
    """Whether it came to hold in time."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


@pytest.mark.parametrize("engine", ENGINES)
def test_a_users_error_comes_through_as_it_was_raised(engine: Engine) -> None:
    with pytest.raises(UserError, match=r"^job 3: name another$"):
        list(each(put_right, range(100), engine, small=0))


def put_right(job: int) -> int:
    if job == 3:
        raise UserError("job 3: name another")
    return job


@pytest.mark.skipif(not find_spec("daft") or not find_spec("ray"), reason="Daft and Ray are not both installed")
def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.jpg"]}), tmp_path / "a.parquet")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-m", "curate.cli", "hash", str(tmp_path), "--out", str(tmp_path / "out")]
        run = subprocess.run([*command, "--engine", "daft", "--ray", address], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: --ray {address}: no Ray cluster answers there (")
    assert run.stderr.count("\n") == 1


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


def test_processes_of_a_pool_never_hear_ctrl_c_not_even_while_they_start() -> None:
    """Before the work's own first line could say so: a traceback of an import would be shown to whoever pressed it."""
    with ProcessPoolExecutor(1, fork_server()) as pool:
        assert signal.SIGINT in pool.submit(signal.pthread_sigmask, signal.SIG_BLOCK, set()).result()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
