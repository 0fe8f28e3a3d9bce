"""Pictures that are no web addresses are read, looked at and kept, several at once: files here, in archives, in buckets."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from curate.collect.blobs import kind_of, name_of, put
from curate.collect.intake import Got, Intake
from curate.collect.pixels import too_many_pixels
from curate.forgotten import REASON, Forgotten
from schemas.errors import Interrupted, UserError
from schemas.progress import progress
from schemas.storage import Storage

_OTHERS = (b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")  # BMP, TIFF, JPEG 2000: kept as they are, and named .bin
ENDINGS = {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".avif", ".bmp", ".tif", ".tiff", ".jp2"}
MOST_BYTES = 20_000_000
_TOO_LARGE = f"larger than {MOST_BYTES / 1e6:g} MB"
AT_ONCE = 256  # files whose outcome one transaction takes
Read = Callable[[str], bytes]  # the bytes at a place; raises OSError or NotTaken


class NotTaken(Exception):
    """A picture that is not taken, and why."""


def read_files(intake: Intake, storage: Storage, read: Read, threads: int = 4) -> None:
    """Read the files of a source that wait, keep their bytes, and note what came of each. Run again it goes on.

    `read` is called by several threads. Raises OSError when the storage cannot be written.
    """
    waiting = intake.db.execute(
        "SELECT count(*) FROM frontier WHERE state = 'pending' AND host = ? AND kind = 'file'", (intake.source,)
    ).fetchone()[0]
    if not waiting:
        return

    def one(place: str) -> Got:
        return keep(storage, intake.forgotten, place, read)

    with progress(waiting, "pictures") as bar, ThreadPoolExecutor(threads) as pool:
        try:
            for places in _waiting(intake.db, intake.source):
                intake.save(list(pool.map(one, places)))
                bar.update(len(places))
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def can_go_on(storage: Storage) -> Iterator[None]:
    """Ctrl-C, a full disk, and what else keeps us from writing, as one line that says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped; run the same command again to go on where it was") from None
    except (OSError, sqlite3.OperationalError) as error:
        if isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError):
            raise UserError(
                f"{error.filename}: {error.strerror}; nothing is lost, run the same command again"
            ) from error
        raise UserError(f"{storage.where}: cannot be written ({error}); run the same command again to go on") from error


def _waiting(db: sqlite3.Connection, source: str) -> Iterator[list[str]]:
    last = -1
    query = "SELECT rowid, url FROM frontier WHERE state = 'pending' AND host = ? AND kind = 'file' AND rowid > ?"
    while rows := db.execute(f"{query} ORDER BY rowid LIMIT {AT_ONCE}", (source, last)).fetchall():
        yield [row["url"] for row in rows]
        last = rows[-1]["rowid"]


def keep(storage: Storage, forgotten: Forgotten, place: str, read: Read) -> Got:
    """Read one picture and keep its bytes; what is no picture, or cannot be read, says why. Only our own disk raises."""
    try:
        data = read(place)
    except NotTaken as refusal:
        return Got(place, dropped=str(refusal))
    except FileNotFoundError:
        return Got(place, dropped="no such file")
    except OSError as error:
        return Got(place, dropped=f"cannot be read ({error.strerror or error})"[:200])
    except UserError as error:  # of S3
        if not hasattr(error.__cause__, "response"):
            raise  # it does not answer, or has no key for us: that holds for all
        return Got(place, dropped=str(error).removeprefix(f"{place}: ")[:200])
    return keep_bytes(storage, forgotten, place, data)


def keep_bytes(storage: Storage, forgotten: Forgotten, place: str, data: bytes) -> Got:
    """Keep bytes that were read, unless they are no picture, too large, or forgotten on request."""
    if reason := why_not(data):
        return Got(place, dropped=reason)
    if forgotten.image(name_of(data)[0]):
        return Got(place, dropped=REASON)
    image_id, blob = put(storage, data)
    return Got(place, image_id, blob, len(data))


def why_not(data: bytes) -> str | None:
    """Why bytes are not taken as a picture: `curate check` looks closer."""
    if len(data) > MOST_BYTES:
        return _TOO_LARGE
    if not data:
        return "empty"
    if kind_of(data) is None and not data.startswith(_OTHERS):
        return f"not a picture (begins with {data[:16]!r})"
    return too_many_pixels(data)


def read_local(place: str) -> bytes:
    """The bytes at `file:///path`, or at `s3://bucket/key`."""
    if place.startswith("s3://"):
        from schemas.storage import Bucket

        folder, _, name = place.rpartition("/")
        if (Bucket(folder).size(name) or 0) > MOST_BYTES:
            raise NotTaken(_TOO_LARGE)
        return Bucket(folder).read(name)
    path = local_path(place)
    if path.is_dir():
        raise NotTaken("is a folder")
    if path.stat().st_size > MOST_BYTES:
        raise NotTaken(_TOO_LARGE)
    return path.read_bytes()


def local_path(place: str) -> Path:
    """The path of a `file:` address."""
    return Path(unquote(urlsplit(place).path))


def mark_of(path: Path | str) -> str | None:
    """What tells one version of a file from the next; None where there is none."""
    try:
        stat = os.stat(path)  # noqa: PTH116 - quicker than a Path, a million times
    except (OSError, ValueError):
        return None
    return f"{stat.st_size}-{stat.st_mtime_ns}"


def reasons(found: Sequence[tuple[str, int]]) -> str:
    """Counted reasons in words, the most frequent first."""
    most = sorted(found, key=lambda one: -one[1])
    said = [f"{count} {reason}" for reason, count in most[:5]]
    rest = sum(count for _, count in most[5:])
    return ", ".join(said + ([f"{rest} for other reasons"] if rest else []))
