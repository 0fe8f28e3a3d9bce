"""Where original bytes are kept: a folder or a bucket, reached in the same way and under the same names.

A name is relative (`blobs/ab/abcd….jpg`); a place is a whole path or `s3://bucket/key`. Tables hold the relative name of what
lies in the workspace, and the whole place of what lies in a bucket, so whoever reads a table needs nothing else to find it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from schemas.errors import UserError
from schemas.s3 import SCHEME, bucket_and_key, clear_errors, client, is_missing


class Storage(ABC):
    """Bytes by name. What is written is there whole or not at all."""

    where: str  # a path, or s3://bucket/prefix

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
            return (self.root / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str) -> bytes:  # noqa: D102
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes, link: Path | None = None) -> None:  # noqa: D102
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            if not (link and _linked(link, part)):
                with part.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

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

    def __init__(self, where: str) -> None:
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
                return bytes(client().get_object(Bucket=self.bucket, Key=self._key(name))["Body"].read())
            except ClientError as error:
                if is_missing(error):
                    raise FileNotFoundError(2, "no such object", self.said(name)) from None
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
        with clear_errors(self.said(prefix), "ListObjectsV2"):
            pages = client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
            for page in pages:
                for item in page.get("Contents", ()):
                    yield item["Key"].removeprefix(f"{self.prefix}/" if self.prefix else "")

    def sweep(self, prefix: str = "") -> int:  # noqa: D102
        return 0  # an upload is there whole or not at all


def storage_at(where: str | Path) -> Storage:
    """The folder at a path, or the bucket at `s3://bucket/prefix`. Nothing is touched yet."""
    return Bucket(str(where)) if str(where).startswith(SCHEME) else Folder(Path(where))


def place_of(root: Path, said: str) -> Path | str:
    """The whole place of what a table's path column says: below `root`, or where it says itself (`s3://…`)."""
    return said if said.startswith(SCHEME) else root / said


def read_place(place: Path | str) -> bytes:
    """The bytes at a place. Raises OSError for a file and FileNotFoundError for an object that is not there."""
    if not str(place).startswith(SCHEME):
        return Path(place).read_bytes()
    folder, _, name = str(place).rpartition("/")
    return Bucket(folder).read(name)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
