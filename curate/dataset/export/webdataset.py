"""WebDataset: tar files of bounded size that are read one after another, from a disk or over a network."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from curate.dataset.export.choose import Chosen
from curate.dataset.export.encode import Encoding
from curate.dataset.export.place import Exported, Facts, Place, export
from curate.dataset.export.shards import number_shards, write_shards
from curate.dataset.export.units import Job, Record, cut, do_units
from schemas.files import write_text

KNOWN = frozenset({".jpg", ".jpeg", ".png"})  # what its decoder and most loaders open without further ado
TOLD = ("n_votes", "n_agree", "label_probs", "chosen_by", "group_id", "marketplace", "listing_id")


def export_webdataset(
    chosen: Chosen, out: Path, *, side: int | None = None, workers: bool = False, shard_mb: int = 256
) -> Exported:
    """Write `out/train-000000.tar` and so on: image_id.jpg (or .png), image_id.cls (class number), image_id.json.

    Unlabeled pictures have no .cls. `classes.txt` holds the keys in the order of their numbers.
    """
    encoding = Encoding(side, KNOWN)
    told = [*TOLD, *(["votes"] if workers else [])]
    work = partial(_write, encoding=encoding, most_bytes=shard_mb << 20, classes=chosen.classes, told=told)

    def make(place: Place) -> Facts:
        units = cut(chosen, most_bytes=shard_mb << 20, most_rows=20_000)
        records = do_units(place, chosen.rows, units, ["image_id", "path", "file", "label", "split", *told], work)
        shards = number_shards(place, units, records, lambda split, number, _: f"{split}-{number:06d}.tar")
        write_text(place.part / "classes.txt", "".join(f"{key}\n" for key in chosen.classes))
        return {
            "failed": [each for record in records for each in record["failed"]],
            "shards": shards,
            "said": [f"{split}: {{out}}/{_pattern(split, len(found))}" for split, found in shards.items()],
        }

    return export(chosen, out, "webdataset", {"side": side, "workers": workers, "shard_mb": shard_mb}, make)


def _pattern(split: str, shards: int) -> str:
    """The names of all shards of a split as WebDataset's braces say it."""
    return f"{split}-{{000000..{shards - 1:06d}}}.tar" if shards > 1 else f"{split}-000000.tar"


def _write(job: Job, encoding: Encoding, most_bytes: int, classes: Sequence[str], told: Sequence[str]) -> Record:
    """The step of one process."""
    numbers = {key: number for number, key in enumerate(classes)}
    return write_shards(job, ".tar", most_bytes, encoding, lambda path: _Shard(path, numbers, told))


class _Shard:
    """A tar file that takes pictures one by one."""

    def __init__(self, path: Path, numbers: Mapping[str, int], told: Sequence[str]) -> None:
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed by `close`
        self._numbers, self._told = numbers, told

    def add(self, row: dict[str, Any], picture: bytes) -> None:
        """Take in one picture: its bytes, its number, what is known."""
        key, known = row["image_id"], {name: row[name] for name in self._told if row[name] is not None}
        self._put(f"{key}{PurePosixPath(row['name']).suffix}", picture)
        if row["label"] is not None:
            self._put(f"{key}.cls", str(self._numbers[row["label"]]).encode())
            known = {"label": row["label"], **known}
        said = {"image_id": key, "split": row["split"], **known}
        self._put(f"{key}.json", json.dumps(said, ensure_ascii=False).encode())

    def close(self) -> None:
        """Write the end of the archive."""
        self._tar.close()

    def _put(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # time, owner and mode are constants: equal content, equal file
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
