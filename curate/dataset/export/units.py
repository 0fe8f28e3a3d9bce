"""Work in units: each is done once, in any process, and its record is what a run after a kill goes on from."""

from __future__ import annotations

import fcntl
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from curate.dataset.export.choose import Chosen
from curate.dataset.export.place import UNITS, WORKERS, Place, put
from schemas.engine import cores, fork_server
from schemas.errors import Interrupted
from schemas.progress import progress

SMALL_SET = 2_000  # below this many pictures, starting processes takes longer than the work
Record = dict[str, Any]  # what a unit says it did; JSON


@dataclass(frozen=True)
class Unit:
    """A run of neighboring rows of one split: what one process does in one go."""

    number: int
    split: str
    start: int  # rows of the export
    stop: int

    @property
    def name(self) -> str:
        """Also the name of its record."""
        return f"{self.number:05d}-{self.split}"


@dataclass(frozen=True)
class Job:
    """A unit as it travels to a process: its rows, and where to write."""

    unit: Unit
    rows: pa.Table
    part: Path


def cut(chosen: Chosen, *, most_bytes: float = float("inf"), most_rows: int = 1_000) -> list[Unit]:
    """Units of at most `most_rows` pictures and about `most_bytes` of original bytes, never across a split."""
    units: list[Unit] = []
    begin, held = 0, 0
    splits, sizes = chosen.rows["split"].tolist(), chosen.rows["size"].tolist()
    for row, (split, size) in enumerate(zip(splits, sizes, strict=True)):
        full = row - begin >= most_rows or held + size > most_bytes
        if row > begin and (full or split != splits[begin]):
            units.append(Unit(len(units), splits[begin], begin, row))
            begin, held = row, 0
        held += size
    return [*units, Unit(len(units), splits[begin], begin, len(splits))]


def do_units(
    place: Place,
    rows: pd.DataFrame,
    units: Sequence[Unit],
    columns: Sequence[str],
    work: Callable[[Job], Record],
    *,
    processes: int | None = None,
) -> list[Record]:
    """Do every unit that has no record yet; returns the records of all units, in order.

    `work` is a function of a module, called with the unit's rows as an Arrow table of `columns`; in several processes when
    that pays, or in as many as asked. On Ctrl-C what is done stays done.
    """
    records = [place.part / UNITS / f"{unit.name}.json" for unit in units]
    todo = [(unit, record) for unit, record in zip(units, records, strict=True) if not record.exists()]
    left = sum(unit.stop - unit.start for unit, _ in todo)
    jobs = (Job(unit, _slice(rows, unit, columns), place.part) for unit, _ in todo)
    several = min(processes or (cores() if left >= SMALL_SET else 1), len(todo))
    try:
        with progress(len(rows), "pictures", done=len(rows) - left) as bar:
            for (unit, record), said in zip(todo, _results(jobs, work, place, several), strict=True):
                put(record, json.dumps(said).encode())
                bar.update(unit.stop - unit.start)
    except KeyboardInterrupt:
        raise Interrupted("stopped; run the same command again to go on: what is done is kept") from None
    return [json.loads(record.read_bytes()) for record in records]


def _results(jobs: Iterator[Job], work: Callable[[Job], Record], place: Place, processes: int) -> Iterator[Record]:
    if processes < 2:
        yield from map(work, jobs)
        return
    with fork_server().Pool(processes, _begin, (place.part / WORKERS,)) as pool:
        yield from pool.imap(work, jobs)


_held: Any = None  # the lock of a worker process, for as long as it lives


def _begin(workers: Path) -> None:
    """Begin a worker process: leave Ctrl-C to the parent, and show that somebody writes here as long as this one lives."""
    global _held
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _held = workers.open("a")
    fcntl.flock(_held, fcntl.LOCK_SH)


def _slice(rows: pd.DataFrame, unit: Unit, columns: Sequence[str]) -> pa.Table:
    return pa.Table.from_pandas(rows.iloc[unit.start : unit.stop][list(columns)], preserve_index=False)
