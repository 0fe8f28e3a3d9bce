"""What reading the pictures found: their bytes one after another, and beside them names, sizes and failures.

Of several processes on one machine one reads, into scratch files without names, and the others map them. The kernel removes
such a file when the last process that holds it is gone, so a killed run leaves nothing.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from schemas.errors import UserError
from train import ranks

MEMORY_LIMIT = 8 * 2**30  # bytes kept in memory; more goes to a scratch file that the system pages
_DESCRIPTORS = Path("/proc/self/fd")  # Linux: what a process has open, also for others of the same user


class Store:
    """Bytes one after another, in memory up to MEMORY_LIMIT; beyond it, or where others map it, in a nameless scratch file."""

    def __init__(self, shared: bool = False) -> None:
        self._memory = io.BytesIO()
        self.file: IO[bytes] | None = _scratch() if shared else None

    def add(self, data: bytes) -> int:
        """Put bytes behind the last ones; how many."""
        if self.file is None and self._memory.tell() + len(data) > MEMORY_LIMIT:
            self.file = _scratch()
            self.file.write(self._memory.getbuffer())
            self._memory = io.BytesIO()
        (self.file or self._memory).write(data)
        return len(data)

    def whole(self) -> np.ndarray:
        """All of them as one flat array, without a copy."""
        if self.file is None:
            return np.frombuffer(self._memory.getbuffer(), dtype=np.uint8)
        self.file.flush()
        return _mapped(self.file)


@dataclass
class Read:
    """What reading found, in the order it came."""

    ids: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # image_id to reason
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # height and width
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))  # bytes kept of each
    kept: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))  # one after another


def once_a_machine(read: Callable[[Store], Read]) -> Read:
    """What one process of this machine reads, in all of them. A UserError of that one is raised in all.

    Where processes cannot see each other's files (no Linux) each reads for itself.
    """
    if ranks.on_machine() == 1 or not _DESCRIPTORS.exists():
        return read(Store())
    if ranks.number_on_machine() > 0:
        offer = ranks.of_machine(None)
        if isinstance(offer, UserError):
            raise offer
        found = _taken(*offer)
        ranks.meet()
        return found
    store = Store(shared=True)
    try:
        found = read(store)
    except UserError as error:
        ranks.of_machine(error)
        raise
    table = _table(found)
    ranks.of_machine((_seen_by_others(table), _seen_by_others(store.file)))
    ranks.meet()  # until the others have mapped the files they stay open here
    return found


def _table(found: Read) -> IO[bytes]:
    """Everything but the pictures' bytes in a scratch file."""
    file = _scratch()
    names = {"ids": found.ids, "failed": list(found.failed), "reasons": list(found.failed.values())}
    arrays: dict[str, Any] = {name: np.array(values, dtype=np.str_) for name, values in names.items()}
    np.savez(file, sizes=found.sizes, lengths=found.lengths, **arrays)
    file.flush()
    return file


def _taken(table: Path, kept: Path) -> Read:
    """What another process of this machine read."""
    with np.load(table) as found:
        failed = dict(zip(found["failed"].tolist(), found["reasons"].tolist(), strict=True))
        return Read(found["ids"].tolist(), failed, found["sizes"], found["lengths"], _mapped(kept))


def _scratch() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _seen_by_others(file: IO[bytes] | None) -> Path:
    assert file is not None
    file.flush()
    return Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")


def _mapped(file: IO[bytes] | Path) -> np.ndarray:
    """A file's bytes as an array that the system pages."""
    size = file.stat().st_size if isinstance(file, Path) else os.fstat(file.fileno()).st_size
    return np.memmap(file, dtype=np.uint8, mode="r") if size else np.zeros(0, np.uint8)
