"""Batches made ahead: while the device computes a step, a thread makes the pictures of the next ones and sends them there.

Which pictures a step needs is a function of its number alone, so making them early changes nothing but the time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
import torch

from train import ranks
from train.augment import Batch
from train.data import Shuffled
from train.feed.pictures import Pictures
from train.ranks import part_of
from train.transfer import Blocks

AHEAD = 2  # batches being made or waiting

Key = tuple[int, int, int]  # step, part, parts
Begun = Future[tuple[Batch, torch.cuda.Event | None]]  # a batch, and when its copy is done


class Maker:
    """Makes batches in a thread of its own, and on a GPU copies them over a stream of their own.

    On a CPU a batch lasts until the next one is finished: its memory is then the next but two's. `close` ends the thread; a maker that is asked again afterwards begins another.
    """

    def __init__(self, pictures: Pictures, device: torch.device) -> None:
        self.pictures = pictures
        self._device = device
        self._thread: ThreadPoolExecutor | None = None
        self._blocks = Blocks(AHEAD + 1) if device.type == "cpu" else None  # those being made, and the one in use
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":  # a new thread would begin on the first GPU, whichever this process has
            self._device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
            self._stream = torch.cuda.Stream(self._device)

    def begin(self, positions: np.ndarray) -> Begun:
        """Start on a batch."""
        if not self.pictures.makes_ahead:  # it is there already; asking for it is work for the device
            there: Begun = Future()
            there.set_result((self.pictures.batch(positions).to(self._device), None))
            return there
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "batches")
        return self._thread.submit(self._make, positions)

    def finish(self, begun: Begun) -> Batch:
        """The batch: this process waits until its copy has begun, the GPU's own work until it is done."""
        batch, copied = begun.result()
        if copied is not None:
            now = torch.cuda.current_stream(self._device)
            now.wait_event(copied)
            for tensor in (batch.pixels, batch.sizes):
                tensor.record_stream(now)
        return batch

    def _make(self, positions: np.ndarray) -> tuple[Batch, torch.cuda.Event | None]:
        if self._stream is None:
            return self.pictures.batch(positions, self._blocks).to(self._device), None
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            return self.pictures.batch(positions).to(self._device), self._stream.record_event()

    def close(self) -> None:
        """End the thread; what it has begun is waited for, what it has not is dropped."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None


class Feed:
    """The batches of a stage, step after step.

    It expects what training asks for: the parts of this process in turn, step after step. Anything else is made on the spot.
    """

    def __init__(self, pictures: Pictures, positions: np.ndarray, batches: Shuffled, device: torch.device) -> None:
        self._positions, self._batches = positions, batches
        self._maker = Maker(pictures, device)
        self._begun: dict[Key, tuple[np.ndarray, Begun]] = {}

    def take(self, step: int, part: int = 0, parts: int = 1) -> tuple[np.ndarray, Batch]:
        """The row numbers of one step, or of one part of it, and their pictures on the device; the next ones are begun."""
        key = (step, part, parts)
        if key not in self._begun:
            self.close()
            self._begun[key] = self._begin(key)
        rows, batch = self._begun.pop(key)
        if self._maker.pictures.makes_ahead:
            for _ in range(AHEAD):
                key = following(key)
                self._begun[key] = self._begun.get(key) or self._begin(key)
        return rows, self._maker.finish(batch)

    def _begin(self, key: Key) -> tuple[np.ndarray, Begun]:
        step, part, parts = key
        rows = part_of(self._batches.batch(step), part, parts)
        return rows, self._maker.begin(self._positions[rows])

    def close(self) -> None:
        """End the thread and forget what was made."""
        self._maker.close()
        self._begun.clear()


def following(key: Key) -> Key:
    """What a process asks for after this: the parts of a step are cut evenly among the processes, each takes its own in turn."""
    step, part, parts = key
    own = max(1, parts // ranks.size())
    first = part - part % own
    return (step, part + 1, parts) if part + 1 < first + own else (step + 1, first, parts)


def in_turn(pictures: Pictures, batches: Sequence[np.ndarray], device: torch.device) -> Iterator[Batch]:
    """Batches of pictures on the device, in order, some made ahead."""
    with closing(Maker(pictures, device)) as maker:
        begun: deque[Begun] = deque()
        for positions in batches:
            begun.append(maker.begin(positions))
            if len(begun) > AHEAD:
                yield maker.finish(begun.popleft())
        while begun:
            yield maker.finish(begun.popleft())
