"""Where original bytes are kept: a folder or a bucket, reached in the same way and under the same names.

A name is relative (`blobs/ab/abcd….jpg`); a place is a whole path or `s3://bucket/key`. Tables hold the relative name of what
lies in the workspace, and the whole place of what lies in a bucket, so whoever reads a table needs nothing else to find it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from schemas.errors import UserError
from schemas.s3 import SCHEME, body, bucket_and_key, clear_errors, client, is_missing, load

J = TypeVar("J")
R = TypeVar("R")
AT_ONCE = 16  # requests under way at once: each takes tens of milliseconds, nearly all of it waiting
ONE_BY_ONE = 300  # of more objects of one place, their sizes are cheaper to list (a thousand a request) than to ask for


class Storage(ABC):
    """Bytes by name. What is written is there whole or not at all."""

    where: str  # a path, or s3://bucket/prefix
    at_once = 1  # calls that are worth having under way at once

    @abstractmethod
    def said(self, name: str) -> str:
        """A name as tables hold it: relative in a folder, the whole place in a bucket."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of what is there, None where nothing is."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """What is there. Raises FileNotFoundError."""

    @abstractmethod
    def write(self, name: str, data: bytes, link: Path | None = None) -> None:
        """Keep bytes under a name, in place of what was there. `link` is a file that holds them, to be linked where that works."""

    @abstractmethod
    def remove(self, name: str) -> bool:
        """Take away what is there; whether anything was."""

    @abstractmethod
    def names(self, prefix: str = "") -> Iterator[str]:
        """Every name below a prefix that ends with `/`, in no order."""

    @abstractmethod
    def sweep(self, prefix: str = "") -> int:
        """Remove what killed runs left half written below a prefix; how many. Only while nobody else writes."""


class Folder(Storage):
    """Files below a folder, each written to a part beside it, synced and renamed."""

    def __init__(self, root: Path) -> None:
        self.root, self.where = root, str(root)

    def said(self, name: str) -> str:  # noqa: D102
        return name

    def size(self, name: str) -> int | None:  # noqa: D102
        try:
            return os.stat(f"{self.where}/{name}").st_size  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str) -> bytes:  # noqa: D102
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes, link: Path | None = None) -> None:  # noqa: D102
        path = f"{self.where}/{name}"  # texts: a crawl comes here for every picture, and pathlib costs what a stat does
        part = f"{path}.{os.getpid()}-{threading.get_ident()}.part"
        if not os.path.isdir(folder := path.rpartition("/")[0]):  # noqa: PTH112
            Path(folder).mkdir(parents=True, exist_ok=True)
        try:
            if not (link and _linked(link, part)):
                with open(part, "wb") as file:  # noqa: PTH123
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(part, path)  # noqa: PTH105
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def remove(self, name: str) -> bool:  # noqa: D102
        try:
            (self.root / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def names(self, prefix: str = "") -> Iterator[str]:  # noqa: D102
        for where, _, files in os.walk(self.root / prefix):
            for file in files:
                if not file.endswith(".part"):
                    yield (Path(where) / file).relative_to(self.root).as_posix()

    def sweep(self, prefix: str = "") -> int:  # noqa: D102
        left = list((self.root / prefix).rglob("*.part"))
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


class Bucket(Storage):
    """Objects below `s3://bucket/prefix`; each upload is checked by its size and our own sha256 in the object's metadata."""

    at_once = AT_ONCE

    def __init__(self, where: str) -> None:
        load()  # before threads begin: they share this object
        self.bucket, self.prefix = bucket_and_key(where)
        self.where = f"{SCHEME}{self.bucket}/{self.prefix}".rstrip("/")

    def _key(self, name: str) -> str:
        return f"{self.prefix}/{name}".lstrip("/")

    def said(self, name: str) -> str:  # noqa: D102
        return f"{self.where}/{name}"

    def size(self, name: str) -> int | None:  # noqa: D102
        head = self._head(name)
        return None if head is None else int(head["ContentLength"])

    def _head(self, name: str) -> dict | None:
        from botocore.exceptions import ClientError

        with clear_errors(self.said(name), "HeadObject"):
            try:
                return dict(client().head_object(Bucket=self.bucket, Key=self._key(name)))
            except ClientError as error:
                if is_missing(error):
                    return None
                raise

    def read(self, name: str) -> bytes:  # noqa: D102
        from botocore.exceptions import ClientError

        with clear_errors(self.said(name), "GetObject"):
            try:
                return body(self.bucket, self._key(name))
            except ClientError as error:
                if is_missing(error):  # in the words of a file that is not there: the same reason stands in the tables
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.said(name)) from None
                raise

    def write(self, name: str, data: bytes, link: Path | None = None) -> None:  # noqa: D102
        sha256 = hashlib.sha256(data).hexdigest()
        with clear_errors(self.said(name), "PutObject"):
            client().put_object(Bucket=self.bucket, Key=self._key(name), Body=data, Metadata={"sha256": sha256})
        head = self._head(name)
        if head is None or head["ContentLength"] != len(data) or head["Metadata"].get("sha256") != sha256:
            raise UserError(f"{self.said(name)}: S3 holds other bytes than were sent; run the same command again")

    def remove(self, name: str) -> bool:  # noqa: D102
        there = self.size(name) is not None
        if there:
            with clear_errors(self.said(name), "DeleteObject"):
                client().delete_object(Bucket=self.bucket, Key=self._key(name))
        return there

    def names(self, prefix: str = "") -> Iterator[str]:  # noqa: D102
        yield from (name for name, _ in self.listed(prefix))

    def listed(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Every name below a prefix with its bytes, a thousand a request."""
        with clear_errors(self.said(prefix), "ListObjectsV2"):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
            for page in pages:
                for item in page.get("Contents", ()):
                    yield item["Key"].removeprefix(f"{self.prefix}/" if self.prefix else ""), int(item["Size"])

    def sweep(self, prefix: str = "") -> int:  # noqa: D102
        return 0  # an upload is there whole or not at all


def storage_at(where: str | Path) -> Storage:
    """The folder at a path, or the bucket at `s3://bucket/prefix`. Nothing is touched yet."""
    return Bucket(str(where)) if str(where).startswith(SCHEME) else Folder(Path(where))


def is_remote(place: Path | str) -> bool:
    """Whether a place is in a bucket."""
    return str(place).startswith(SCHEME)


def place_of(root: Path | str, said: str) -> Path | str:
    """The whole place of what a table's path column says: below `root`, or where it says itself (`s3://…`)."""
    if said.startswith(SCHEME):
        return said
    return f"{str(root).rstrip('/')}/{said}" if is_remote(root) else Path(root) / said


def read_place(place: Path | str) -> bytes:
    """The bytes at a place. Raises OSError for a file and FileNotFoundError for an object that is not there."""
    if not is_remote(place):
        return Path(place).read_bytes()
    folder, _, name = str(place).rpartition("/")
    return Bucket(folder).read(name)


def sizes(places: Sequence[Path | str]) -> list[int | None]:
    """The bytes at each place, None where nothing is. Of many objects of one bucket and prefix the listing is read."""
    homes: dict[str, list[int]] = {}
    found: list[int | None] = [None] * len(places)
    for at, place in enumerate(places):
        if is_remote(place):
            homes.setdefault(_home(str(place)), []).append(at)
        else:
            found[at] = _file_size(place)
    for home, own in homes.items():
        there = storage_at(home)
        names = [str(places[at]).removeprefix(f"{home}/") for at in own]
        if len(own) > ONE_BY_ONE and isinstance(there, Bucket):
            known = dict(there.listed())
            asked: Iterable[int | None] = map(known.get, names)
        else:
            asked = overlapped(there.size, names, AT_ONCE)
        for at, size in zip(own, asked, strict=True):
            found[at] = size
    return found


def _home(place: str) -> str:
    """What lies above `blobs/` in a place, else its folder."""
    home, found, _ = place.rpartition("/blobs/")
    return home if found else place.rpartition("/")[0]


def _file_size(path: Path | str) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - 300,000 times, and a Path costs more than the call
    except (FileNotFoundError, NotADirectoryError):
        return None


def threads_for(places: Iterable[Path | str]) -> int:
    """How many of these places are worth reading at once: one file after another, several objects of a bucket."""
    return AT_ONCE if any(map(is_remote, places)) else 1


def overlapped(call: Callable[[J], R], items: Iterable[J], threads: int) -> Iterator[R]:
    """What `call` makes of each item, in their order, in so many threads at once; one is none at all.

    At most twice as many items are taken as there are threads, so they may be large.
    """
    if threads == 1:
        yield from map(call, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(call, item))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def check_usable(storage: Storage) -> None:
    """Write, find, read, list and remove something there. Raises UserError in one line where any of it is refused."""
    try:
        _try_out(storage)
    except UserError as error:
        _, _, what = str(error).partition(": ")
        hint = "; docs/storage.md lists what a key must be allowed" if "refused" in what else ""
        raise UserError(f"{storage.where}: {what}{hint}") from error


def _try_out(storage: Storage) -> None:
    name = f"blobs/00/check-{secrets.token_hex(8)}"  # where the pictures will be: a key's rights may end at a prefix
    storage.size(name)  # 403 in place of 404 where the key may not list: then no missing picture could be told
    storage.write(name, b"written by `curate init` to see whether it can be\n")
    try:
        if storage.read(name)[:7] != b"written" or name not in storage.names("blobs/00/"):
            raise UserError(f"{storage.where}: what was just written there is not found again")
    finally:
        storage.remove(name)


def _linked(source: Path, target: str) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
