"""Files written whole: a reader sees the old file or the new one, never a half."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield `path` with `.part` added; when the block ends well it is synced and renamed, else it is removed.

    Two processes that write the same path at once do not mix: the part file carries the process id.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def clear_killed(path: Path) -> None:
    """Remove the part files of `path` whose process is gone: it was killed and cannot remove them itself."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        pid = part.name.removesuffix(".part").rsplit(".", 1)[1]
        if pid.isdigit() and not _runs(int(pid)):
            part.unlink(missing_ok=True)


def _runs(pid: int) -> bool:
    """Whether a process is there and alive; one that was killed and that nobody waited for still has its number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:  # gone since, or a system without /proc
        return not Path("/proc/self/stat").exists()
    return stat.rpartition(b")")[2].split()[:1] != [b"Z"]


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, in UTF-8."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a binary file whole."""
    with whole(path) as part:
        part.write_bytes(data)


def sha256_of(path: Path) -> str:
    """sha256 of a file's bytes, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
