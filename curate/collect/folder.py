"""A folder of pictures comes in: class folders become TRUTH, the originals go to blobs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from curate.collect.blobs import kind_of, name_of, put, sweep
from curate.collect.files import ENDINGS
from curate.collect.merge import add_rows, replace_rows
from curate.forgotten import REASON, Forgotten
from curate.workspace import Workspace, now
from schemas.errors import Interrupted, UserError
from schemas.progress import progress
from schemas.storage import Storage, overlapped
from schemas.tables import APPEARANCES, LISTINGS, PICTURES, TRUTH

SPLIT_FOLDERS = {"train", "training", "val", "valid", "validation", "test"}  # hold class folders, are none
MARKETPLACE = "local"


@dataclass(frozen=True)
class Imported:
    """What an import did, for the line that says so."""

    pictures: int
    new: int
    truth: int
    skipped: int
    torn: int
    forgotten: int


@dataclass(frozen=True)
class Found:
    """What one pass over a folder brought: new rows for four tables, and what is worth saying."""

    pictures: pd.DataFrame
    listings: pd.DataFrame
    appearances: pd.DataFrame
    truth: pd.DataFrame
    skipped: int  # files that are no pictures
    torn: int  # pictures filed under two classes: no truth is known
    forgotten: int = 0  # files that the collection was told to forget


def picture_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder that nobody hid, sorted, links to folders not followed."""
    for where, inside, names in os.walk(folder):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(where) / name


def class_folders(folder: Path) -> list[str]:
    """Names of the folders that hold pictures below `folder`, sorted; none when the pictures lie flat."""
    holders = {path.parent for path in picture_files(folder) if path.suffix.lower() in ENDINGS} - {folder}
    return sorted({holder.name for holder in holders if holder.name not in SPLIT_FOLDERS})


def check_classes(found: list[str], allowed: list[str], where: str, task: str, hint: str = "") -> None:
    """Raise one clear line when some of the names found are not classes of the task."""
    unknown = [name for name in found if name not in allowed]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise UserError(
            f"{where}: {', '.join(map(repr, unknown[:5]))}{more}: no such class in task {task}; "
            f"its classes: {', '.join(allowed)}{hint}"
        )


def read_folder(
    folder: Path,
    storage: Storage,
    at: pd.Timestamp,
    task: str | None = None,
    classes: list[str] | None = None,
    link: bool = False,
    forgotten: Forgotten | None = None,
) -> Found:
    """Take in every picture below `folder`: bytes into blobs now, rows returned for the tables.

    Each file is a listing of its own, called by its path from the folder's own name on. With a task, the name of the
    folder that holds a picture is its known class; `train` and `validation` are looked through.
    """
    ids: dict[str, tuple[str, int]] = {}
    shown: list[tuple[str, str]] = []
    labels: dict[str, set[str]] = {}
    skipped = kept_out = 0
    forgotten = forgotten or Forgotten()
    files = list(picture_files(folder))
    try:
        keep = partial(_keep, storage, link, forgotten, folder)
        for path, kept in zip(files, overlapped(keep, _counted(files), storage.at_once), strict=True):
            if kept is None:
                skipped += 1
                continue
            if isinstance(kept, str):
                kept_out += 1
                continue
            image_id, blob, size = kept
            ids[image_id] = (blob, size)
            shown.append((image_id, _listing_of(path, folder)))
            if classes and path.parent != folder and path.parent.name in classes:
                labels.setdefault(image_id, set()).add(path.parent.name)
    except KeyboardInterrupt:
        raise Interrupted("stopped; run the same command again to go on: what was copied is not copied twice") from None
    except OSError as error:
        raise UserError(f"{error.filename or folder}: {error.strerror}") from error
    local = {"marketplace": MARKETPLACE, "first_seen_at": at}
    known = {image_id: next(iter(names)) for image_id, names in labels.items() if len(names) == 1}
    return Found(
        PICTURES.frame({"image_id": key, "blob": blob, "bytes": size} for key, (blob, size) in ids.items()),
        LISTINGS.frame({**local, "listing_id": place, "source": "folder", "fetched_at": at} for _, place in shown),
        APPEARANCES.frame(
            {**local, "image_id": key, "listing_id": place, "position": 0, "url": place} for key, place in shown
        ),
        TRUTH.frame(
            {"image_id": key, "task": task, "label": label, "source": f"folder {folder.name}"}
            for key, label in known.items()
        ),
        skipped,
        len(labels) - len(known),
        kept_out,
    )


def _keep(
    storage: Storage, link: bool, forgotten: Forgotten, folder: Path, path: Path
) -> tuple[str, str, int] | str | None:
    """Take in one file: image_id, what `blob` says, bytes; REASON for a forgotten one, None for one that is no picture."""
    data = path.read_bytes()
    if path.suffix.lower() not in ENDINGS and kind_of(data) is None:
        return None
    if forgotten and (forgotten.listing(MARKETPLACE, _listing_of(path, folder)) or forgotten.image(name_of(data)[0])):
        return REASON
    return *put(storage, data, path if link else None), len(data)


def _listing_of(path: Path, folder: Path) -> str:
    """What a file of a folder is called as a listing: its path from the folder's own name on."""
    return (Path(folder.name) / path.relative_to(folder)).as_posix()


def _counted(files: list[Path]) -> Iterator[Path]:
    with progress(len(files), "files") as bar:
        for path in files:
            yield path
            bar.update()


def import_folder(
    workspace: Workspace, folder: Path, task: str | None = None, truth: bool = True, link: bool = False
) -> Imported:
    """Take a folder into the workspace: pictures, listings, appearances, and TRUTH where it has class folders.

    Run again it adds only what is new. A class folder that the task does not know is refused before anything is written.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise UserError(
            f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; a folder of pictures is expected"
        )
    named = class_folders(folder) if truth else []
    asked = workspace.task(task) if named or task else None
    if asked and named:
        hint = ". --no-truth takes the pictures without known classes"
        check_classes(named, asked.keys, str(folder), asked.task, hint)
    sweep(workspace.storage)
    classes = asked.keys if asked and named else None
    forgotten = Forgotten.of(workspace)
    name = asked.task if asked else None
    found = read_folder(folder, workspace.storage, pd.Timestamp(now()), name, classes, link, forgotten)
    if not len(found.pictures) and not found.forgotten:
        raise UserError(f"{folder}: holds no pictures ({', '.join(sorted(ENDINGS))} are taken)")
    new = add_rows(PICTURES, workspace.table("pictures"), found.pictures)
    add_rows(LISTINGS, workspace.table("listings"), found.listings)
    add_rows(APPEARANCES, workspace.table("appearances"), found.appearances)
    if asked and len(found.truth):
        replace_rows(TRUTH, workspace.of_task(asked.task, "truth"), found.truth)
    return Imported(len(found.pictures), new, len(found.truth), found.skipped, found.torn, found.forgotten)


def describe(done: Imported) -> str:
    """What an import did, in one line."""
    said = [f"{done.pictures} pictures, {done.new} of them new"]
    notes = (
        (done.truth, "with a known class"),
        (done.torn, "filed under two classes, so with none"),
        (done.skipped, "other files left alone"),
        (done.forgotten, "left out, forgotten"),
    )
    return "; ".join(said + [f"{count} {what}" for count, what in notes if count])
