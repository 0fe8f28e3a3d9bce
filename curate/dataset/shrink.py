"""One original to one small JPEG: as a person sees it, short side as asked, nothing of the file but its pixels.

Kept free of heavy imports: the processes of `curate pack` load this file and little else.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, parent_process

from schemas.engine import process_pool
from schemas.pack import Format
from schemas.picture import TooManyPixels, as_seen, open_picture, reuse_memory, upright_size
from schemas.storage import overlapped, read_place, threads_for

CHUNK = 16  # pictures a process is given at a time
SMALL_SET = 300  # below this many pictures, starting processes takes longer than the work
LONGEST = 4  # a picture longer than so many times its short side keeps its middle; `train` looks at twice
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Small:
    """A picture of the pack, or why there is none."""

    jpeg: bytes | None = None
    width_px: int | None = None
    height_px: int | None = None
    dropped: str | None = None


def shrink(data: bytes, form: Format) -> Small:
    """The picture in these bytes as a JPEG with its short side at form.side_px; a smaller one stays as large as it is.

    A JPEG that is at least four times as large as needed is decoded at a half, a quarter or an eighth (`draft`), so that
    the filter still has twice the pixels it writes. Comments, EXIF and profiles are left out.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with open_picture(data) as image:
            width, height = upright_size(image)
            image.draft("RGB", (2 * form.side_px, 2 * form.side_px))
            seen = as_seen(image)
            left, top = _overhang(seen.width, seen.height), _overhang(seen.height, seen.width)
            box = (left, top, seen.width - left, seen.height - top)
            small = seen.resize(_target(width, height, form.side_px), Image.Resampling.BICUBIC, box)
            small.info = {}  # Pillow would write a comment or XMP into the new file
            sink = io.BytesIO()
            small.save(sink, "JPEG", quality=form.quality, subsampling=form.subsampling)
            return Small(sink.getvalue(), small.width, small.height)
    except TooManyPixels as error:
        return Small(dropped=f"too many pixels ({error})")
    except UnidentifiedImageError:
        return Small(dropped=f"not a picture (begins with {data[:16]!r})" if data else "not a picture (no bytes)")
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        said = " ".join(str(error).split())[:100]
        return Small(dropped=f"broken: {said or type(error).__name__}")


def _overhang(length: int, other: int) -> float:
    """How much goes at each end of a side that is too long for the other one."""
    return max(0.0, (length - LONGEST * other) / 2)


def _target(width: int, height: int, side_px: int) -> tuple[int, int]:
    """Width and height in the pack, from the original's."""
    short = min(width, height)
    scale = min(1.0, side_px / short)
    return tuple(max(1, round(min(length, LONGEST * short) * scale)) for length in (width, height))  # type: ignore[return-value]


Job = tuple[str, str]  # image_id and place


def shrink_files(jobs: Sequence[Job], form: Format) -> list[Small]:
    """The pictures at these places made small; the step of a process pool."""
    places = [path for _, path in jobs]
    read = overlapped(_read, places, threads_for(places))  # threads read alone: Pillow would hold them up
    return [_shrunk(image_id, data, form) for (image_id, _), data in zip(jobs, read, strict=True)]


def _read(place: str) -> bytes | OSError:
    try:
        return read_place(place)
    except OSError as error:
        return error


def _shrunk(image_id: str, data: bytes | OSError, form: Format) -> Small:
    if isinstance(data, FileNotFoundError):
        return Small(dropped="no such file")
    if isinstance(data, OSError):
        return Small(dropped=f"its file cannot be read ({data.strerror})")
    if _SHA256.fullmatch(image_id) and hashlib.sha256(data).hexdigest() != image_id:
        return Small(dropped="its file has changed: the bytes are not those of its image_id")
    return shrink(data, form)


def begin_worker() -> None:
    """Leave Ctrl-C to the process that began the pool, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reuse_memory()
    if (parent := parent_process()) is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def made_small(jobs: Sequence[Job], form: Format, workers: int) -> Iterator[Iterator[Small]]:
    """The originals made small, in order, by several processes; few are done in this one.

    Processes, because Pillow holds the interpreter's lock while it encodes.
    """
    chunks = (jobs[start : start + CHUNK] for start in range(0, len(jobs), CHUNK))
    if workers == 1 or len(jobs) < SMALL_SET:
        reuse_memory()
        yield (small for chunk in chunks for small in shrink_files(chunk, form))
        return
    with process_pool(workers, begin_worker, "__main__", "curate.dataset.shrink", "PIL.JpegImagePlugin") as pool:
        yield _in_order(pool, chunks, form, 4 * workers)


def _in_order(pool: ProcessPoolExecutor, chunks: Iterator[Sequence[Job]], form: Format, ahead: int) -> Iterator[Small]:
    """Results in the order of the jobs; never more than `ahead` chunks are under way, so memory stays flat."""
    waiting: deque[Future[list[Small]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(shrink_files, chunk, form))
        if len(waiting) >= ahead:
            yield from waiting.popleft().result()
    while waiting:
        yield from waiting.popleft().result()
