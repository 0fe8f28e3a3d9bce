"""Files of Amazon Berkeley Objects, in folders as the tars unpack, or still in the tars: found and read by one name."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.collect.files import MOST_BYTES, NotTaken, mark_of
from schemas.errors import UserError

_LISTINGS = "listings/metadata/listings_"
_IMAGES = "images/metadata/images.csv.gz"


@dataclass
class AboFiles:
    """The data set at a folder. Names are as in the tars: `listings/metadata/…`, `images/small/…`."""

    root: Path
    _members: dict[str, tuple[int, int, int]] = field(default_factory=dict)  # name to handle, offset, bytes
    _handles: list[int] = field(default_factory=list)

    def __enter__(self) -> AboFiles:
        """Read what the tars hold. Raises UserError when this is not the data set."""
        if not self.root.is_dir():
            raise UserError(f"{self.root}: {'is a file' if self.root.exists() else 'no such folder'}; expected {_WHAT}")
        for path in sorted(self.root.glob("abo-*.tar")):
            self._index(path)
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            os.close(handle)

    def _index(self, path: Path) -> None:
        handle = os.open(path, os.O_RDONLY)
        self._handles.append(handle)
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        name = member.name.removeprefix("./")
                        self._members.setdefault(name, (handle, member.offset_data, member.size))
                    archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
        except tarfile.TarError as error:
            raise UserError(f"{path}: cannot be read as a tar ({error}); fetch it again, or unpack it") from error

    def names(self, start: str) -> list[str]:
        """Names that begin so, sorted."""
        folder = self.root / start.rpartition("/")[0]
        here = [path.relative_to(self.root).as_posix() for path in folder.glob("*") if path.is_file()]
        return sorted({name for name in (*here, *self._members) if name.startswith(start)})

    def listings(self) -> list[str]:
        """Files of listings. Raises UserError when there are none."""
        found = [name for name in self.names(_LISTINGS) if name.endswith((".json.gz", ".json"))]
        if not found:
            raise UserError(f"{self.root}: holds no {_LISTINGS}*.json.gz; expected {_WHAT}")
        return found

    def licenses(self) -> list[str]:
        """License files, wherever they lie."""
        here = [
            path.relative_to(self.root).as_posix()
            for path in (*self.root.glob("LICENSE*"), *self.root.glob("*/LICENSE*"))
        ]
        packed = [name for name in self._members if name.rpartition("/")[2].startswith("LICENSE")]
        return sorted({*here, *packed})

    def images_csv(self) -> Iterator[str]:
        """Lines of the table of pictures."""
        if not self.mark(_IMAGES):
            raise UserError(f"{self.root}: holds no {_IMAGES}; expected {_WHAT}")
        return self.lines(_IMAGES)

    def lines(self, name: str) -> Iterator[str]:
        """Lines of a text file, unpacked as they are read."""
        number = 0
        try:
            for line in self._raw_lines(name):
                yield line
                number += 1
        except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
            what = "is cut off" if isinstance(error, EOFError) else f"is broken ({error})"
            raise UserError(f"{name}: {what} after line {number}; no table has changed. Fetch it again") from error

    def _raw_lines(self, name: str) -> Iterator[str]:
        raw: io.RawIOBase | io.BufferedReader
        place = self.root / name
        raw = place.open("rb") if place.is_file() else io.BufferedReader(_Slice(*self._members[name]))
        with raw, gzip.open(raw) if name.endswith(".gz") else raw as unpacked:  # type: ignore[arg-type]
            for line in unpacked:
                yield line.decode("utf-8")

    def mark(self, name: str) -> str | None:
        """What tells one version of a file from the next; None where there is none."""
        if marked := mark_of(self.root / name):
            return marked
        return f"tar {self._members[name][1:]}" if name in self._members else None

    def read(self, place: str) -> bytes:
        """The bytes at `abo:NAME`; several threads may ask at once."""
        name = place.removeprefix("abo:")
        path = self.root / name
        if path.is_file() or name not in self._members:
            size = path.stat().st_size
        else:
            size = self._members[name][2]
        if size > MOST_BYTES:
            raise NotTaken(f"larger than {MOST_BYTES / 1e6:g} MB")
        return path.read_bytes() if path.is_file() else self._packed(name)

    def _packed(self, name: str) -> bytes:
        handle, offset, size = self._members[name]
        data = os.pread(handle, size, offset)
        if len(data) != size:
            raise NotTaken("its tar is cut off")
        return data


class _Slice(io.RawIOBase):
    """A file inside a tar, as a file."""

    def __init__(self, handle: int, offset: int, size: int) -> None:
        self._handle, self._at, self._left = handle, offset, size

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        data = os.pread(self._handle, min(len(buffer), self._left), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        self._left -= len(data)
        return len(data)


_WHAT = "the folder of Amazon Berkeley Objects: listings/ and images/, or abo-listings.tar and abo-images-small.tar"
