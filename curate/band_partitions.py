"""All near pairs of more hashes than one memory holds: each band's keys in partitions on disk, partitions joined two by two.

Two partitions meet when the leading bits of their keys differ in no more bits than the band allows. Each meeting is a job of
its own for any engine, and pairs that an earlier band has found are known by the two hashes alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.band_join import Found
from curate.bands import Band, plan
from curate.neighbors import tools_for
from schemas.engine import POOL, Engine, each
from schemas.files import whole

LEAD = 4  # leading bits of a key: 16 partitions a band
_ROW = np.dtype([("hash", "<u8"), ("at", "<i8")])


@dataclass(frozen=True)
class _Meeting:
    """Two partitions of one band, or one with itself."""

    folder: Path
    bands: tuple[Band, ...]
    number: int  # of the band
    parts: tuple[int, int]
    lead: int
    bits: int


def partition(blocks: Iterable[np.ndarray], bits: int, count: int, folder: Path, lead: int = LEAD) -> list[_Meeting]:
    """Write the hashes into a file for each band and leading bits of its key; returns the jobs of `join_partitions`.

    Args:
        blocks: uint64 arrays, one after the other; positions count on from block to block.
        bits: the largest distance.
        count: hashes in all, about; the bands are chosen for it.
        folder: where the files go, 16 bytes a hash and band.
        lead: leading bits of a key, at most as many as the narrowest band has.
    """
    bands = plan(count, bits)
    lead = min(lead, *(band.width for band in bands))
    files = [[(folder / f"band-{b}-{p:03d}").open("wb") for p in range(1 << lead)] for b in range(len(bands))]
    begin = 0
    for block in blocks:
        rows = np.empty(len(block), _ROW)
        rows["hash"], rows["at"] = block, np.arange(begin, begin + len(block))
        for band, outs in zip(bands, files, strict=True):
            leading = band.keys(block) >> (band.width - lead)
            ordered = rows[np.argsort(leading, kind="stable")]
            ends = np.cumsum(np.bincount(leading, minlength=1 << lead))
            for out, some in zip(outs, np.split(ordered, ends[:-1]), strict=True):
                out.write(some.tobytes())
        begin += len(block)
    for out in (one for outs in files for one in outs):
        out.close()
    return [
        _Meeting(folder, bands, number, (a, b), lead, bits)
        for number, band in enumerate(bands)
        for a in range(1 << lead)
        for b in range(a, 1 << lead)
        if (a ^ b).bit_count() <= band.most
    ]


def join_partitions(meetings: list[_Meeting], engine: Engine = POOL) -> Iterator[Path]:
    """Join all meetings; yields the .npy file of each, int64 [3, pairs]: position, larger position, distance. No pair is twice."""
    yield from each(join_meeting, meetings, engine, small=2, batch=1)


def join_meeting(meeting: _Meeting) -> Path:
    """Join two partitions, or one with itself, and write their pairs whole."""
    band, earlier = meeting.bands[meeting.number], meeting.bands[: meeting.number]
    first, second = meeting.parts
    a, b = (np.fromfile(meeting.folder / f"band-{meeting.number}-{part:03d}", _ROW) for part in meeting.parts)
    inner = Band(
        band.shift, band.width - meeting.lead, band.most - (first ^ second).bit_count()
    )  # all else is the same
    tools = tools_for(len(a) + len(b))
    table = tools.sort_by_band(np.ascontiguousarray(b["hash"]), inner, len(b))
    flags = np.zeros(len(b), np.uint32)
    if first == second:
        found: Iterator[Found] = tools.join(table, meeting.bits, earlier, flags)
    else:  # asked in the order of their keys, so that the buckets they look into lie side by side
        asked = tools.sort_by_band(np.ascontiguousarray(a["hash"]), inner, len(a))
        a = a[asked.order]
        found = tools.query(table, asked.hashes, meeting.bits, earlier, flags)
    blocks = [np.stack([a["at"][i], b["at"][j], distance]) for i, j, distance in found]
    pairs = np.concatenate(blocks, axis=1) if blocks else np.empty((3, 0), np.int64)
    pairs[:2].sort(axis=0)
    path = meeting.folder / f"pairs-{meeting.number}-{first:03d}-{second:03d}.npy"
    with whole(path) as part, part.open("wb") as out:
        np.save(out, pairs)
    return path
