"""A run's pictures read once: decoded and kept, or looked at and decoded anew later. What cannot be read is skipped and listed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from schemas.engine import cores
from schemas.errors import UserError
from schemas.pack import Pack
from schemas.picture import reuse_memory
from schemas.progress import progress
from schemas.storage import is_remote, place_of, read_place, threads_for
from train import ranks
from train.feed.decode import Given, Missing, decode
from train.feed.pictures import InMemory, OnDevice, Pictures, Streamed, starts_of
from train.feed.store import Read, Store, once_a_machine

AHEAD = 256  # pictures being decoded or waiting for their turn
CPU = torch.device("cpu")


def load_pictures(
    rows: pd.DataFrame, source: Path | Pack, side_px: int, hold: str = "memory", device: torch.device = CPU
) -> tuple[Pictures, dict[str, str]]:
    """The pictures of the rows, and why some could not be read (image_id to reason): they are skipped, never fatal.

    Raises UserError when half of them or more are unreadable: then the folder is wrong, not the pictures.

    Args:
        source: a pack, or the folder that the rows' paths start from.
        hold: where they are until a batch wants them: memory, device, or stream (encoded; every batch decodes its own).
    """
    paths = dict(zip(rows["image_id"], rows["path"], strict=True))
    read = once_a_machine(lambda store: _read(paths, source, side_px, hold == "stream", store))
    if read.failed:
        ranks.say(f"warning: {len(read.failed)} pictures cannot be read and are skipped; run.json lists them")
    index = {image_id: position for position, image_id in enumerate(read.ids)}
    starts = starts_of(read.lengths)
    if hold == "device":
        return OnDevice(read.kept, starts, read.sizes, index, device), read.failed
    if hold == "memory":
        return InMemory(read.kept, starts, read.sizes, index), read.failed
    threads = max(1, cores() // ranks.on_machine())
    return Streamed(_encoded(read, starts, paths, source), read.sizes, index, side_px, threads), read.failed


def _read(paths: Mapping[str, str], source: Path | Pack, side_px: int, stream: bool, store: Store) -> Read:
    """Every picture decoded once; kept are the pixels, or with `stream` the JPEGs of a pack or a bucket (files stay files)."""
    found, sizes, lengths = Read(), [], []
    bar = progress(len(paths), "reading pictures", " pictures", shown=ranks.leads())
    reuse_memory()
    with ThreadPoolExecutor(max(cores(), threads_for(paths.values()))) as pool:
        for image_id, encoded, pixels in _in_order(pool, _raw(paths, source), side_px, stream):
            bar.update()
            if isinstance(pixels, str):
                found.failed[image_id] = pixels
                continue
            found.ids.append(image_id)
            sizes.append(pixels.shape[:2])
            lengths.append(store.add(encoded if stream else pixels.tobytes()))
    bar.close()
    _check_failed(found.failed, paths, source)
    found.sizes = np.array(sizes, dtype=np.int64).reshape(-1, 2)
    found.lengths = np.array(lengths, dtype=np.int64)
    found.kept = store.whole()
    return found


def _encoded(
    read: Read, starts: np.ndarray, paths: Mapping[str, str], source: Path | Pack
) -> Callable[[int], bytes | Path]:
    """A function that gives a picture's bytes where they were kept, else its file."""

    def encoded(position: int) -> bytes | Path:
        start, length = starts[position], read.lengths[position]
        if length:
            return read.kept[start : start + length].tobytes()
        assert isinstance(source, Path)
        return Path(place_of(source, paths[read.ids[position]]))

    return encoded


def _check_failed(failed: Mapping[str, str], paths: Mapping[str, str], source: Path | Pack) -> None:
    if not failed or 2 * len(failed) < len(paths):
        return
    first = next(iter(failed))
    where = f"{first[:12]}… of {source.folder}" if isinstance(source, Pack) else place_of(source, paths[first])
    raise UserError(
        f"{len(failed)} of {len(paths)} pictures cannot be read, the first is {where} ({failed[first]}). "
        "Where are they? Name the folder that the manifest's paths start from, or a pack, with --pictures DIR"
    )


def _raw(paths: Mapping[str, str], source: Path | Pack) -> Iterator[tuple[str, Given]]:
    """Each picture as a place or as bytes, or why it is not there."""
    if isinstance(source, Pack):
        for image_id, jpeg, dropped in source.read(paths):
            yield image_id, jpeg if jpeg is not None else Missing(dropped or "no picture")
        return
    for image_id, path in paths.items():
        yield image_id, place_of(source, path)


def _in_order(
    pool: ThreadPoolExecutor, raw: Iterator[tuple[str, Given]], side_px: int, stream: bool
) -> Iterator[tuple[str, bytes, np.ndarray | str]]:
    """The pictures encoded (where `stream` keeps that) and decoded, in order; only some hundred are under way at a time."""
    waiting: deque[tuple[str, Future[tuple[bytes, np.ndarray | str]]]] = deque()
    for image_id, given in raw:
        waiting.append((image_id, pool.submit(_one, given, side_px, stream)))
        if len(waiting) >= AHEAD:
            first, done = waiting.popleft()
            yield first, *done.result()
    for first, done in waiting:
        yield first, *done.result()


def _one(given: Given, side_px: int, stream: bool) -> tuple[bytes, np.ndarray | str]:
    """One picture: the bytes that streaming keeps of it, and its pixels or why it has none."""
    if stream and isinstance(given, str) and is_remote(given):
        try:
            given = read_place(given)
        except FileNotFoundError:
            return b"", "no such file"
    return given if isinstance(given, bytes) else b"", decode(given, side_px)
