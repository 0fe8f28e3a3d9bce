"""Pictures as files of an export: hard links where the file system can, else copies; JPEGs where they are re-encoded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from curate.dataset.export.choose import Chosen
from curate.dataset.export.encode import UNREADABLE, Encoding, read_or_why, reencode
from curate.dataset.export.place import Place, put
from curate.dataset.export.units import Job, Record, cut, do_units
from schemas.storage import is_remote, overlapped, threads_for


@dataclass(frozen=True)
class Placed:
    """Where the pictures of an export ended up."""

    rows: pd.DataFrame  # the chosen rows that are there, with `target`; `width_px`, `height_px` of the file written
    failed: list[tuple[str, str]]  # image_id and why it could not be read
    said: list[str]


def place_pictures(
    place: Place, chosen: Chosen, targets: Sequence[str], encoding: Encoding, *, copy: bool = False
) -> Placed:
    """Put each chosen picture at its target, a path relative to the export; links share their bytes with the original."""
    for folder in sorted({os.path.dirname(target) for target in targets}):  # noqa: PTH120 - a string, 300,000 times
        (place.part / folder).mkdir(parents=True, exist_ok=True)
    rows = chosen.rows.assign(target=list(targets))
    plain = [encoding.keeps(path) for path in rows["path"]]
    units = cut(chosen)
    work = partial(_place, encoding=encoding, copy=copy)
    records = do_units(
        place, rows, units, ["image_id", "path", "file", "target"], work, processes=1 if all(plain) else None
    )
    failed = [(image_id, why) for record in records for image_id, why in record["failed"]]
    sizes = {int(k) + u.start: wh for u, r in zip(units, records, strict=True) for k, wh in r["sizes"].items()}
    if sizes:
        written = pd.DataFrame.from_dict(sizes, orient="index", columns=["width_px", "height_px"])
        for name in written:
            rows.loc[written.index, name] = written[name].astype("Int32")
    rows = rows[~rows["image_id"].isin({image_id for image_id, _ in failed})].reset_index(drop=True)
    return Placed(rows, failed, _say(encoding, len(plain) - sum(plain), sum(r["copied"] for r in records), copy))


def _say(encoding: Encoding, made: int, copied: int, copy: bool) -> list[str]:
    said = []
    if encoding.side is None and made:
        said.append(f"{made:,} pictures re-encoded as JPEG: readers of this format do not know their kind of file")
    if copied and not copy:
        said.append(f"{copied:,} pictures copied: a hard link cannot reach from where they are to this file system")
    return said


def _place(job: Job, encoding: Encoding, copy: bool) -> Record:
    """Link, copy or re-encode the pictures of one unit."""
    failed, sizes, copied = [], {}, 0
    rows = job.rows.to_pylist()
    read = partial(_content, encoding=encoding)
    for number, (row, data) in enumerate(zip(rows, overlapped(read, rows, threads_for(_files(rows))), strict=True)):
        target = job.part / row["target"]
        if data is None:
            copied += copy or not _link(row["file"], target)
            if copy or not target.exists():
                _copy(Path(row["file"]), target)
            continue
        try:
            if isinstance(data, Exception):
                raise data
            if encoding.keeps(row["path"]):
                copied += 1
            else:
                data, *sizes[number] = reencode(data, encoding.side)
        except UNREADABLE as error:
            failed.append((row["image_id"], str(error).splitlines()[0] if str(error) else type(error).__name__))
            continue
        put(target, data)
    return {"failed": failed, "sizes": sizes, "copied": int(copied)}


def _files(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["file"] for row in rows]


def _content(row: dict[str, Any], encoding: Encoding) -> bytes | Exception | None:
    """The bytes of a row's picture or why there are none; None where its file goes out as it is."""
    return None if encoding.keeps(row["path"]) and not is_remote(row["file"]) else read_or_why(row["file"])


def _link(source: str, target: Path) -> bool:
    """Hard-link the file itself, not a link to it; False where the file system cannot."""
    try:
        os.link(os.path.realpath(source), target)
    except FileExistsError:  # an earlier, killed run made it
        return target.samefile(source)
    except OSError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.copyfile(source, part)
    part.replace(target)
