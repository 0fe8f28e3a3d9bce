"""Pictures packed into files of bounded size, several processes at once, numbered when all are there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from curate.dataset.export.encode import UNREADABLE, Encoding, read_or_why, reencode
from curate.dataset.export.place import UNITS, Place
from curate.dataset.export.units import Job, Record, Unit
from schemas.storage import overlapped, threads_for

Sample = tuple[dict[str, Any], bytes]  # a row and the bytes of its picture


class Writer(Protocol):
    """One shard that is being written."""

    def add(self, row: dict[str, Any], picture: bytes) -> None:
        """Take in one picture."""

    def close(self) -> None:
        """Write what is left and close the file."""


def write_shards(job: Job, ending: str, most_bytes: int, encoding: Encoding, begin: Callable[[Path], Writer]) -> Record:
    """Pack the unit's pictures into shards of at most `most_bytes` of pictures each (one picture may be larger).

    The record names the shards, how many pictures each holds, and which pictures could not be read.
    """
    failed: list[tuple[str, str]] = []
    shards: list[tuple[str, int]] = []
    writer, held, count = None, 0, 0
    for row, picture in _pictures(job, encoding, failed):
        if writer is not None and held + len(picture) > most_bytes:
            shards.append((_keep(writer, job, len(shards), ending), count))
            writer = None
        if writer is None:
            writer, held, count = begin(_part(job, ending)), 0, 0
        writer.add(row, picture)
        held += len(picture)
        count += 1
    if writer is not None:
        shards.append((_keep(writer, job, len(shards), ending), count))
    return {"failed": failed, "shards": shards}


def _pictures(job: Job, encoding: Encoding, failed: list[tuple[str, str]]) -> Iterator[Sample]:
    """Each row with the bytes that go out, one at a time; those that cannot be read are added to `failed`."""
    rows = job.rows.to_pylist()
    places = [row["file"] for row in rows]
    for row, data in zip(rows, overlapped(read_or_why, places, threads_for(places)), strict=True):
        try:
            if isinstance(data, Exception):
                raise data
            if not encoding.keeps(row["path"]):
                data, _, _ = reencode(data, encoding.side)
        except UNREADABLE as error:
            failed.append((row["image_id"], str(error).splitlines()[0] if str(error) else type(error).__name__))
            continue
        yield row | {"name": encoding.name(row["image_id"], row["path"])}, data


def _part(job: Job, ending: str) -> Path:
    return job.part / UNITS / f"{job.unit.name}{ending}.{os.getpid()}.part"


def _keep(writer: Writer, job: Job, number: int, ending: str) -> str:
    """Close a shard and give it its name within the unit."""
    writer.close()
    name = f"{job.unit.name}.{number}{ending}"
    _part(job, ending).replace(job.part / UNITS / name)
    return name


def number_shards(
    place: Place, units: Sequence[Unit], records: Sequence[Record], name: Callable[[str, int, int], str]
) -> dict[str, list[tuple[str, int]]]:
    """Move the shards to their final names, `name(split, number, of how many)`; returns names and counts per split.

    Run again after a kill it moves what was not moved yet.
    """
    by_split: dict[str, list[tuple[str, int]]] = {}
    for unit, record in zip(units, records, strict=True):
        by_split.setdefault(unit.split, []).extend((shard, count) for shard, count in record["shards"])
    done: dict[str, list[tuple[str, int]]] = {}
    for split, shards in by_split.items():
        for number, (shard, count) in enumerate(shards):
            final = name(split, number, len(shards))
            source, target = place.part / UNITS / shard, place.part / final
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.exists():
                source.replace(target)
            done.setdefault(split, []).append((final, count))
    return done
