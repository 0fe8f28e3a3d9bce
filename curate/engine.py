"""One step over many jobs: in this process, in a pool of processes, or over Daft on one machine or a Ray cluster.

A step is a pure function of one job that pickle can name: a function at the top of a module. The engine knows nothing of what
it does, and the step nothing of the engine. Results come as they are done.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import chain
from multiprocessing import get_context
from typing import Any, Literal, TypeVar

from schemas.errors import UserError
from schemas.storage import overlapped

J = TypeVar("J")
R = TypeVar("R")
BATCH = 32  # jobs that travel together


@dataclass(frozen=True)
class Engine:
    """Where the work is done."""

    name: Literal["pool", "daft"] = "pool"
    ray: str | None = None  # address of a Ray cluster, for Daft: ray://host:10001, or auto

    def __post_init__(self) -> None:
        if self.ray and self.name != "daft":
            raise UserError(f"--ray {self.ray}: a Ray cluster is reached through Daft; say --engine daft too")


POOL = Engine()


def each(
    step: Callable[[J], R],
    jobs: Sequence[J],
    engine: Engine = POOL,
    small: int = 2_000,
    batch: int = BATCH,
    threads: int = 1,
) -> Iterator[R]:
    """What the step makes of every job, in no order. Raises UserError where the engine is not installed.

    Args:
        step: a pure function at the top of a module.
        jobs: what it is called with; pickled, so they name files and do not hold them.
        engine: where.
        small: fewer jobs are done in this process by the pool: starting others takes longer than the work.
        batch: jobs that travel together; no more than what is lost when a machine of a cluster dies.
        threads: jobs under way at once in each process; more than one where they wait for a network.
    """
    batches = [jobs[at : at + batch] for at in range(0, len(jobs), batch)]
    work = partial(_all, step, threads=threads)
    if engine.name == "daft":
        yield from chain.from_iterable(_over_daft(work, batches, engine.ray))
    elif len(jobs) < small or cores() < 2:
        yield from overlapped(step, jobs, threads)
    else:  # forkserver: a plain fork hangs when the parent has used torch, polars or daft
        with get_context("forkserver").Pool(cores(), _leave_ctrl_c) as pool:
            yield from chain.from_iterable(pool.imap_unordered(work, batches))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(step: Callable[[J], R], jobs: Sequence[J], threads: int) -> list[R]:
    """Batch in, batch out."""
    return list(overlapped(step, jobs, threads))


def _leave_ctrl_c() -> None:
    """Let Ctrl-C be the business of the process that began the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Step:
    """The work as Daft's workers hold it: unpickled once, called with a pickled batch."""

    def __init__(self, work: bytes) -> None:
        self.work = pickle.loads(work)

    def __call__(self, batch: bytes) -> bytes:
        """The pickled results of a pickled batch, or what a person can put right."""
        try:
            return pickle.dumps(self.work(pickle.loads(batch)))
        except UserError as error:  # raised here it would come out as an error of Daft's
            return pickle.dumps(error)


def _over_daft(
    work: Callable[[Sequence[J]], list[R]], batches: list[Sequence[J]], ray: str | None
) -> Iterator[list[R]]:
    """The batches' results. Each batch is a row of its own: Daft spreads rows over processes, or over a cluster's machines."""
    daft = _daft(ray)
    if not batches:
        return
    worker: Any = type(
        "Worker", (_Step,), {"__call__": daft.method(return_dtype=daft.DataType.binary())(_Step.__call__)}
    )
    limits: dict[str, Any] = {"ray_options": {"num_cpus": 1}} if ray else {"use_process": True}
    step = daft.cls(worker, max_concurrency=_workers(ray), **limits)(pickle.dumps(work))
    rows = daft.from_pydict({"batch": [pickle.dumps(batch) for batch in batches]}).into_batches(1)
    for row in rows.select(step(daft.col("batch")).alias("done")).iter_rows(results_buffer_size="num_cpus"):
        done = pickle.loads(row["done"])
        if isinstance(done, UserError):
            raise done
        yield done


def _daft(ray: str | None) -> Any:
    """The library, with its runner set."""
    if not find_spec("daft"):
        raise UserError("--engine daft needs Daft: pip install 'consenso[scale]'")
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")  # nobody is told what runs here
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")  # ours is on the screen already
    import daft

    if ray:
        if not find_spec("ray"):
            raise UserError(f"--ray {ray} needs Ray here and on the cluster: pip install ray")
        daft.set_runner_ray(None if ray == "auto" else ray, noop_if_initialized=True)
    return daft


def _workers(ray: str | None) -> int:
    """Processes that work at once: one a core, here or in the whole cluster."""
    if not ray:
        return cores()
    import ray as cluster

    if not cluster.is_initialized():
        cluster.init(address=ray)
    return max(1, int(cluster.cluster_resources().get("CPU", 1)))
