"""The pack: a manifest's pictures as small JPEGs in a few Parquet files beside it. Written by `curate pack`, read by `train`.

apron-pack/
  apron.parquet             the manifest, byte for byte
  apron.pack-0000.parquet   PACK rows: train, val, test, unlabeled, each in the order of its rank; then -0001, -0002, …
  SHA256SUMS                for `sha256sum -c`; written last, so a folder without it is no pack yet

A row group holds at most GROUP_ROWS pictures, so a reader that needs a tenth of the pool reads a tenth of the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from schemas.errors import TableError, UserError
from schemas.tables import PACK

SUMS = "SHA256SUMS"
STAGING = ".packing"  # files in work
GROUP_ROWS = 64  # pictures in a row group, about 1.5 MB: what reading one picture costs
PART_ROWS = 4096  # pictures in a file, about 100 MB: what a kill can cost
INFO = "consenso.pack"  # key of the file metadata that holds the Format, the splits and what the rows are

_PART = re.compile(r"(?P<task>.+)\.pack-(?P<number>\d{4,})\.parquet")
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64}) [ *](?P<name>[^/\n]+)")


@dataclass(frozen=True)
class Format:
    """How the pictures of a pack are made; equal formats give equal JPEGs of equal originals."""

    side_px: int = 256  # short side; a picture smaller than that stays as it is
    quality: int = 90  # facts and figures: docs/pack.md
    subsampling: str = "4:2:0"
    algo: str = "pack-1"  # goes up when the code makes other pixels

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Format:
        """The format that a file's metadata names; entries it does not know are another algo's and compare unequal."""
        known = {name: info[name] for name in ("side_px", "quality", "subsampling", "algo") if name in info}
        return cls(**{**known, "algo": known.get("algo", "unknown")})

    def as_json(self) -> dict[str, Any]:
        """For a file's metadata."""
        return asdict(self)


@dataclass(frozen=True)
class Pack:
    """A finished pack on disk; making this object reads one footer and SHA256SUMS."""

    folder: Path
    task: str
    parts: tuple[Path, ...]
    sums: Mapping[str, str]  # file name to sha256
    format: Format
    splits: tuple[str, ...] | None  # what was packed; None = a manifest without splits, whole

    @property
    def manifest(self) -> Path:
        """The manifest that the pictures were packed for."""
        return self.folder / f"{self.task}.parquet"

    def describe(self) -> str:
        """What it is, for a person."""
        return f"pack {self.folder}, {len(self._places)} pictures, short side {self.format.side_px} px"

    def missing(self, image_ids: Collection[str]) -> list[str]:
        """Those of the pictures that have no row here, neither a JPEG nor a reason."""
        return [image_id for image_id in image_ids if image_id not in self._places]

    def read(self, image_ids: Collection[str]) -> Iterator[tuple[str, bytes | None, str | None]]:
        """Each of the pictures that are here, once, in file order: image_id, JPEG, and why there is none.

        Only row groups that hold one of them are read, one at a time. Raises TableError for a damaged file.
        """
        wanted = set(image_ids)
        for path in self.parts:
            with Part(path) as part:
                for group, ids in part.groups():
                    if wanted.isdisjoint(ids):
                        continue
                    for row in part.rows(group, ("image_id", "jpeg", "dropped")):
                        if row["image_id"] in wanted:
                            yield row["image_id"], row["jpeg"], row["dropped"]

    def jpeg(self, image_id: str) -> bytes:
        """One picture. Reads its row group, about 1.5 MB; raises UserError when there is none, with the reason."""
        if image_id not in self._places:
            raise UserError(f"{self.folder}: holds no picture {image_id}")
        number, group, row = self._places[image_id]
        with Part(self.parts[number]) as part:
            found = part.rows(group, ("jpeg", "dropped"))[row]
        if found["jpeg"] is None:
            raise UserError(f"{self.folder}: picture {image_id} was dropped: {found['dropped']}")
        return bytes(found["jpeg"])

    @cached_property
    def _places(self) -> dict[str, tuple[int, int, int]]:
        return dict(places(self.parts))


def places(parts: Sequence[Path]) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """Where each picture is: its image_id, and the number of its file, row group and row. Reads no picture."""
    for number, path in enumerate(parts):
        with Part(path) as part:
            for group, ids in part.groups():
                for row, image_id in enumerate(ids):
                    yield image_id, (number, group, row)


class Part:
    """One file of a pack, open for reading; its pages are checked as they are read.

    Raises TableError when it is missing, damaged, or something else, now or while reading.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq

        self.path = path
        with _damage_named(path):
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        meta = self._file.schema_arrow.metadata or {}
        if meta.get(b"consenso.table") != PACK.name.encode() or INFO.encode() not in meta:
            self.close()
            raise TableError(f"{path}: is no file of a pack. {PACK.name} is written by `{PACK.made_by}`.")
        self.info: dict[str, Any] = json.loads(meta[INFO.encode()])  # its Format, the splits, what its rows are

    def groups(self) -> Iterator[tuple[int, list[str]]]:
        """The number of each row group and its image_ids."""
        ids = self.column("image_id")
        start = 0
        for group in range(self._file.metadata.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            yield group, ids[start : start + rows]
            start += rows

    def column(self, name: str) -> list[Any]:
        """A column of all rows."""
        with _damage_named(self.path):
            values: list[Any] = self._file.read(columns=[name])[name].to_pylist()
        return values

    def rows(self, group: int, columns: Sequence[str] = PACK.names) -> list[dict[str, Any]]:
        """The rows of one row group."""
        with _damage_named(self.path):
            rows: list[dict[str, Any]] = self._file.read_row_group(group, columns=list(columns)).to_pylist()
        return rows

    def reasons(self) -> dict[str, str]:
        """Its pictures that have no JPEG, and why."""
        pairs = zip(self.column("image_id"), self.column("dropped"), strict=True)
        return {image_id: reason for image_id, reason in pairs if reason is not None}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """What pyarrow says of a file that cannot be read, as one line with the way out."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise TableError(f"{path}: is missing; copy the whole folder again, or run `curate pack`") from None
    except (pa.ArrowException, OSError) as error:
        detail = str(error).splitlines()[0]
        raise TableError(
            f"{path}: is damaged ({detail}); `sha256sum -c {SUMS}` finds what differs: copy it again, or run `curate pack`"
        ) from error


def part_name(task: str, number: int) -> str:
    """The name of a pack's file."""
    return f"{task}.pack-{number:04d}.parquet"


def part_files(folder: Path, task: str | None = None) -> list[Path]:
    """The files of a pack that lie in a folder, in order, finished or not; of one task or of any."""
    found = [(match, path) for path in folder.glob("*.parquet") if (match := _PART.fullmatch(path.name))]
    mine = [(int(m["number"]), path) for m, path in found if task is None or m["task"] == task]
    return [path for _, path in sorted(mine)]


def read_sums(folder: Path) -> dict[str, str]:
    """SHA256SUMS of a folder: file name to sha256. Raises UserError when it is not in that format."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        lines = ["not text"]
    matches = [_LINE.fullmatch(line) for line in lines]
    bad = [number for number, match in enumerate(matches, 1) if match is None]
    if bad:
        raise UserError(f"{folder / SUMS}: line {bad[0]} is no `sha256  name` line; run `curate pack` again")
    return {match["name"]: match["sha256"] for match in matches if match}


def is_pack(folder: Path) -> bool:
    """Whether a folder holds a pack, be it unfinished, damaged, or one whose files are gone while its sums name them."""
    if not folder.is_dir():
        return False
    if part_files(folder) or (folder / STAGING).exists():
        return True
    sums = folder / SUMS
    return sums.exists() and ".pack-0000.parquet" in sums.read_text(encoding="utf-8", errors="replace")


def open_pack(folder: Path) -> Pack:
    """The pack in a folder, or of a file in it. Raises UserError when it is unfinished or files are missing."""
    folder = Path(folder)
    folder = folder if folder.is_dir() else folder.parent
    if not is_pack(folder):
        raise UserError(f"{folder}: holds no pack; make one with `curate pack --out {folder}`")
    if not (folder / SUMS).exists():
        raise UserError(
            f"{folder}: this pack is unfinished, it has no {SUMS}; run `curate pack` again, or copy the whole folder"
        )
    sums = read_sums(folder)
    listed = [match for name in sums if (match := _PART.fullmatch(name))]
    if not listed:
        raise UserError(f"{folder / SUMS}: names no file of a pack; run `curate pack` again")
    parts = tuple(folder / match.string for match in sorted(listed, key=lambda match: int(match["number"])))
    absent = [path.name for path in parts if not path.exists()]
    if absent:
        raise UserError(
            f"{folder}: {len(absent)} of {len(parts)} files are missing, the first is {absent[0]}; copy it again"
        )
    with Part(parts[0]) as part:
        info = part.info
    splits = info.get("splits")
    return Pack(folder, listed[0]["task"], parts, sums, Format.of(info), None if splits is None else tuple(splits))
