"""One step over many jobs: in this process, in a pool of processes, or over Daft on one machine or a Ray cluster.

A step is a pure function of one job that pickle can name: a function at the top of a module. The engine knows nothing of what
it does, and the step nothing of the engine. Results come as they are done. When a process or a machine dies, the jobs it had
in hand are done again, so doing a job twice must do no harm.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
from multiprocessing import forkserver, get_context, resource_tracker
from typing import Any, Literal, TypeVar

from schemas.errors import UserError
from schemas.storage import overlapped

J = TypeVar("J")
R = TypeVar("R")
Batches = list[tuple[int, Sequence[J]]]  # with their numbers
BATCH = 32  # jobs that travel together
TRIES = 3  # deaths in a row without a batch done between them, after which it is given up


@dataclass(frozen=True)
class Engine:
    """Where the work is done."""

    name: Literal["pool", "daft"] = "pool"
    ray: str | None = None  # address of a Ray cluster, for Daft: host:6379, ray://host:10001, or auto

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
    """What the step makes of every job, in no order. What the step raises is raised here.

    Raises UserError where the engine is not installed, and when processes die again and again.

    Args:
        step: a pure function at the top of a module.
        jobs: what it is called with; pickled, so they name files and do not hold them.
        engine: where.
        small: fewer jobs are done in this process by the pool: starting others takes longer than the work.
        batch: jobs that travel together, and that are done again when their process dies.
        threads: jobs under way at once in each process; more than one where they wait for a network.
    """
    batches: Batches[J] = list(enumerate(jobs[at : at + batch] for at in range(0, len(jobs), batch)))
    run: Callable[[Callable[[Sequence[J]], list[R]], Batches[J]], Iterator[tuple[int, list[R]]]]
    if engine.name == "daft":
        run = partial(_over_daft, ray=engine.ray, daft=_daft(engine.ray))
    elif len(jobs) < small or cores() < 2:
        yield from overlapped(step, jobs, threads)
        return
    else:
        run = _over_pool
    yield from chain.from_iterable(_to_the_end(partial(run, partial(_all, step, threads=threads)), batches))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _all(step: Callable[[J], R], jobs: Sequence[J], threads: int) -> list[R]:
    """Batch in, batch out."""
    return list(overlapped(step, jobs, threads))


class _Died(Exception):
    """A process or a machine is gone; the step itself did not fail."""


def _to_the_end(run: Callable[[Batches[J]], Iterator[tuple[int, R]]], batches: Batches[J]) -> Iterator[R]:
    """The results of all batches: those that were in hand when a process died are begun again."""
    left, deaths = dict(batches), 0
    while left:
        try:
            for number, done in run(list(left.items())):
                del left[number]
                deaths = 0
                yield done
        except _Died as died:
            deaths += 1
            if deaths == TRIES:
                raise UserError(
                    f"the processes that work were killed {TRIES} times in a row, {len(left)} of {len(batches)} batches are not "
                    f"done ({died}); is there too little memory? The same command goes on from what is kept"
                ) from died


def fork_server(*preload: str) -> Any:
    """The context of a pool whose processes never hear Ctrl-C, not even while they start: their traceback would be shown.

    The modules are imported once, not once a process. A plain fork hangs when the parent has used torch, polars or daft.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    resource_tracker.ensure_running()  # it is part of the server's start, and would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by what is started now
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


@contextmanager
def process_pool(processes: int, begin: Callable[[], None], *preload: str) -> Iterator[ProcessPoolExecutor]:
    """A pool that ends with the block, at once where the block fails: nobody waits for what is under way.

    Raises BrokenProcessPool when a process died, also where that shows as a start that finds its queues closed.
    """
    pool = ProcessPoolExecutor(processes, fork_server(*preload), begin)
    try:
        yield pool
    except BaseException as error:
        # After a death too: the pool ends the processes it knows, and Python 3.11 would wait forever for one being started then.
        for process in list((pool._processes or {}).values()):  # Python 3.14 calls this pool.terminate_workers()
            process.terminate()
        if isinstance(error, OSError) and pool._broken:
            raise BrokenProcessPool(str(pool._broken)) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _over_pool(work: Callable[[Sequence[J]], R], batches: Batches[J]) -> Iterator[tuple[int, R]]:
    """The batches' numbers and results, from as many processes as there are cores."""
    waiting = iter(batches)
    try:
        with process_pool(cores(), _begin, _module(work)) as pool:
            running: dict[Future[R], int] = {}
            while True:
                for number, batch in islice(waiting, 3 * cores() - len(running)):
                    running[pool.submit(work, batch)] = number
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    yield number, future.result()
    except BrokenProcessPool as error:
        raise _Died("a process ended suddenly") from error


def _module(work: Any) -> str:
    """Where the step at the bottom of partial functions stands."""
    while isinstance(work, partial):
        work = work.args[0] if work.func is _all else work.func
    return str(work.__module__)


def _begin() -> None:
    """Let Ctrl-C be the business of the process that began the pool, and the other cores that of the other processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _one_core()


def _one_core() -> None:
    """Libraries that this process loads from now on compute in one thread: there is a process for every core."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


class _Step:
    """The work as Daft's workers hold it: called with a pickled batch."""

    def __init__(self, work: bytes) -> None:
        self.work = work

    def __call__(self, batch: bytes) -> bytes:
        """The pickled results of a pickled batch, or what it raised: so whatever Daft raises is not the step's."""
        _one_core()
        number, jobs = pickle.loads(batch)
        try:
            return pickle.dumps((number, pickle.loads(self.work)(jobs), None))
        except Exception as error:
            if not isinstance(error, UserError):  # where it was raised is for us, not for a user
                error.add_note(traceback.format_exc())
            try:
                return pickle.dumps((number, None, error))
            except Exception:  # some exceptions cannot travel
                return pickle.dumps((number, None, RuntimeError(traceback.format_exc())))


def _over_daft(
    work: Callable[[Sequence[J]], R], batches: Batches[J], ray: str | None, daft: Any
) -> Iterator[tuple[int, R]]:
    """The batches' results. Each batch is a row of its own: Daft spreads rows over processes, or over a cluster's machines."""
    worker: Any = type(
        "Worker", (_Step,), {"__call__": daft.method(return_dtype=daft.DataType.binary())(_Step.__call__)}
    )
    limits: dict[str, Any] = {"cpus": 1} if ray else {"use_process": True}
    step = daft.cls(worker, max_concurrency=_workers(ray), **limits)(pickle.dumps(work))
    rows = daft.from_pydict({"batch": [pickle.dumps(batch) for batch in batches]}).into_batches(1)
    found = rows.select(step(daft.col("batch")).alias("done")).iter_rows(results_buffer_size="num_cpus")
    atexit.register(found.close)  # left open, it would wait at the end for a thread that is gone
    try:
        while (row := _next(found)) is not None:
            number, done, failed = pickle.loads(row["done"])
            if failed is not None:
                raise failed
            yield number, done
    finally:
        atexit.unregister(found.close)
        found.close()


def _next(found: Iterator[dict[str, bytes]]) -> dict[str, bytes] | None:
    """The next row, None after the last. Whatever Daft raises means that a worker is gone: what the step raises comes as a row."""
    try:
        return next(found, None)
    except Exception as error:
        raise _Died(" ".join(str(error).split())[-200:]) from error


def _daft(ray: str | None) -> Any:
    """The library, with its runner set."""
    if not find_spec("daft"):
        raise UserError("--engine daft needs Daft: pip install 'consenso[scale]'")
    os.environ.update(_QUIET)
    import daft

    if ray:
        _join_cluster(ray)
        daft.set_runner_ray(noop_if_initialized=True)
    if daft.get_or_infer_runner_type() != ("ray" if ray else "native"):
        raise UserError("Daft works elsewhere in this process already, and knows one place a process")
    return daft


_QUIET = {"DAFT_ANALYTICS_ENABLED": "0", "DAFT_PROGRESS_BAR": "0"}  # nobody is told what runs here; the bar is ours


def _join_cluster(address: str) -> None:
    """Be a driver of the Ray cluster there; what its machines print stays in Ray's logs."""
    if not find_spec("ray"):
        raise UserError(f"--ray {address} needs Ray here and on the cluster: pip install ray")
    import ray

    if ray.is_initialized():
        return
    try:
        if address != "auto":  # Ray itself asks for minutes
            host, _, port = address.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, runtime_env={"env_vars": _QUIET}, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"--ray {address}: no Ray cluster answers there ({said}); start one with `ray start --head`"
        ) from error


def _workers(ray: str | None) -> int:
    """Processes that work at once: one a core, here or in the whole cluster."""
    if not ray:
        return cores()
    import ray as cluster

    return max(1, int(cluster.cluster_resources().get("CPU", 1)))
