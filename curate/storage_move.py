"""The originals of a workspace go from where they are to another place: copied, checked, then named in the tables.

A row says itself where its picture is, so every mixture of old and new places is whole, and a run that was killed is run again.
What is copied is known by its size under its name, which is the hash of its bytes. Old copies stay until somebody asks for
their removal: `storage-left.json` remembers where.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from curate.database import transaction
from curate.workspace import Workspace, write_config
from schemas.errors import Interrupted, Partial, UserError
from schemas.files import write_text
from schemas.progress import progress
from schemas.storage import (
    Bucket,
    Storage,
    check_usable,
    overlapped,
    place_of,
    read_place,
    sizes,
    storage_at,
    threads_for,
)
from schemas.tables import PICTURES

if TYPE_CHECKING:
    import sqlite3

    import pandas as pd

LEFT = "storage-left.json"


@dataclass(frozen=True)
class Original:
    """A picture to move."""

    image_id: str
    name: str  # blobs/ab/abcd….jpg
    said: tuple[str, ...]  # what tables say of where it is
    bytes: int


@dataclass(frozen=True)
class Plan:
    """What a move has to do."""

    workspace: Workspace
    target: Storage
    pictures: list[Original]
    todo: list[Original]  # not at the target yet

    def describe(self) -> str:
        """How much there is to do, in one line."""
        there = len(self.pictures) - len(self.todo)
        said = f"{len(self.todo):,} pictures to copy to {self.target.where} ({_size(self.todo)})"
        return said + (f"; {there:,} are there already" if there else "")


@dataclass
class Moved:
    """What a move did."""

    where: str
    copied: list[Original] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # image_id to why it could not be copied
    named: int = 0  # pictures whose rows now name the new place
    removed: int = 0
    left: list[str] = field(default_factory=list)  # places that may still hold copies

    def describe(self) -> str:
        """One line for a person."""
        said = f"{len(self.copied):,} pictures copied ({_size(self.copied)}) and checked; {self.named:,} are kept in {self.where}"
        if self.removed:
            said += f"; {self.removed:,} old copies removed"
        if self.left:
            said += f"; copies are left in {', '.join(self.left)}: the same command with --remove removes them"
        return said

    def facts(self) -> dict[str, Any]:
        """The counts, for a log."""
        return {
            "where": self.where,
            "copied": len(self.copied),
            "bytes": sum(one.bytes for one in self.copied),
            "failed": len(self.failed),
            "removed": self.removed,
        }

    def raise_if_partial(self) -> None:
        """Raise Partial when pictures could not be copied."""
        if self.failed:
            image_id, why = next(iter(self.failed.items()))
            raise Partial(
                f"{len(self.failed):,} of the pictures could not be copied; their rows say what they said before. "
                f"The first is {image_id}: {why}"
            )


def _size(originals: Sequence[Original]) -> str:
    count = sum(one.bytes for one in originals)
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def usable(where: str) -> str:
    """A place for originals as workspace.yaml says it, `.` as "". Raises UserError for one that cannot be used."""
    if where == ".":
        return ""
    if any(letter.isspace() for letter in where):
        raise UserError(f"{where!r}: a place in S3 has no spaces; it looks like s3://bucket/prefix")
    bucket = Bucket(where)
    check_usable(bucket)
    return bucket.where


def plan_move(workspace: Workspace, where: str) -> Plan:
    """What it takes to keep all originals at `where`, an `s3://` place or "" for the workspace itself. Changes nothing."""
    target = storage_at(where or workspace.root)
    pictures = _originals(workspace)
    places = [place_of(target.where, one.name) for one in pictures]
    todo = [one for one, size in zip(pictures, sizes(places), strict=True) if size != one.bytes]
    return Plan(workspace, target, pictures, todo)


def move(plan: Plan, remove: bool = False) -> Moved:
    """Copy what is not there, name the new place in the tables and in workspace.yaml, and with `remove` clear the old ones.

    Call it with the workspace's lock. A picture that cannot be read, or whose bytes are not those of its image_id, stays as
    it is. Raises Interrupted on Ctrl-C, and UserError for a full disk or what S3 refuses; the same call goes on from there.
    """
    workspace, target = plan.workspace, plan.target
    held = dict.fromkeys([*left_places(workspace), workspace.storage.where])
    old = [place for place in held if place != target.where]
    _remember(workspace, [*old, target.where])
    moved = Moved(target.where)
    _copy(plan, moved)
    good = [one for one in plan.pictures if one.image_id not in moved.failed]
    moved.named = len(good)
    _rename(workspace, target, good)
    here = target.where == str(workspace.root)
    write_config(workspace.root, workspace.config.model_copy(update={"storage": "" if here else target.where}))
    if remove:
        moved.removed = sum(_remove(storage_at(place), good) for place in old)
    moved.left = [place for place in old if _holds_any(storage_at(place), good)]
    _remember(workspace, moved.left)
    return moved


def left_places(workspace: Workspace) -> list[str]:
    """Where copies of originals may lie besides the workspace's storage: what was moved from and not removed."""
    path = workspace.root / LEFT
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else []


def _remember(workspace: Workspace, places: Sequence[str]) -> None:
    path = workspace.root / LEFT
    if places:
        write_text(path, json.dumps(list(places), indent=1))
    else:
        path.unlink(missing_ok=True)


def _originals(workspace: Workspace) -> list[Original]:
    """Every picture of PICTURES and of the crawl, which may know some that were not exported yet."""
    rows = PICTURES.read_if_there(workspace.table("pictures"))
    known = list(zip(rows["image_id"], rows["blob"], rows["bytes"], strict=True))
    if (workspace.root / "project.db").exists():
        with contextlib.closing(workspace.project()) as db:
            found = db.execute("SELECT DISTINCT image_id, blob, bytes FROM frontier WHERE image_id IS NOT NULL")
            known += [(row["image_id"], row["blob"], row["bytes"]) for row in found]
    said: dict[str, dict[str, int]] = {}
    for image_id, blob, size in known:
        said.setdefault(image_id, {})[blob] = int(size)
    return [
        Original(image_id, "/".join(next(iter(of)).split("/")[-3:]), tuple(of), next(iter(of.values())))
        for image_id, of in said.items()
    ]


def _copy(plan: Plan, moved: Moved) -> None:
    work = partial(_copy_one, plan.workspace, plan.target)
    threads = max(plan.target.at_once, threads_for(said for one in plan.todo for said in one.said))
    try:
        with progress(len(plan.pictures), "pictures", done=len(plan.pictures) - len(plan.todo)) as bar:
            for one, why in zip(plan.todo, overlapped(work, plan.todo, threads), strict=True):
                if why is None:
                    moved.copied.append(one)
                else:
                    moved.failed[one.image_id] = why
                bar.update()
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped after {len(moved.copied):,} of {len(plan.todo):,} pictures; the same command goes on from there"
        ) from None
    except OSError as error:
        raise UserError(
            f"{plan.target.where}: cannot be written ({error.strerror or error}); the same command goes on from there"
        ) from error


def _copy_one(workspace: Workspace, target: Storage, one: Original) -> str | None:
    """Copy one picture; why not, where that cannot be."""
    why = ""
    for said in one.said:
        try:
            data = read_place(workspace.original(said))
        except OSError as error:
            why = f"{said} cannot be read ({error.strerror})"
            continue
        if hashlib.sha256(data).hexdigest() == one.image_id:
            target.write(one.name, data)
            return None
        why = f"{said} has changed: its bytes are not those of its image_id"
    return why


def _rename(workspace: Workspace, target: Storage, good: Sequence[Original]) -> None:
    """Name the new place in the crawl's memory, then in PICTURES; each of the two is changed whole."""
    new = {one.image_id: target.said(one.name) for one in good}
    if (workspace.root / "project.db").exists():
        with contextlib.closing(workspace.project()) as db:
            _rename_crawled(db, new)
    path = workspace.table("pictures")
    if path.exists():
        PICTURES.write(_renamed(PICTURES.read(path), new), path)


def _rename_crawled(db: sqlite3.Connection, new: Mapping[str, str]) -> None:
    with transaction(db):
        db.execute("CREATE TEMP TABLE moved (image_id TEXT PRIMARY KEY, blob TEXT)")
        db.executemany("INSERT INTO moved VALUES (?, ?)", new.items())
        db.execute(
            "UPDATE frontier SET blob = (SELECT blob FROM moved WHERE moved.image_id = frontier.image_id) "
            "WHERE image_id IN (SELECT image_id FROM moved)"
        )


def _renamed(pictures: pd.DataFrame, new: Mapping[str, str]) -> pd.DataFrame:
    return pictures.assign(blob=pictures["image_id"].map(new).fillna(pictures["blob"]))


def _remove(old: Storage, good: Sequence[Original]) -> int:
    """Remove the old copies of pictures that are at the new place; other files of that place are left alone."""
    names = [one.name for one in good]
    return sum(overlapped(old.remove, names, old.at_once))


def _holds_any(old: Storage, good: Sequence[Original]) -> bool:
    return any(size is not None for size in sizes([place_of(old.where, one.name) for one in good]))
