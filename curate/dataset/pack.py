"""`curate pack`: a manifest and its pictures in one folder that travels, and nothing else. The format is schemas/pack.py.

The folder's bytes are a function of the manifest, the originals and the options: how many processes worked, what was killed
on the way, and which JPEGs came from an older pack do not show. Files in work lie in `.packing/`; each is moved to its place
when all are there, and SHA256SUMS comes last.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.dataset.pack_file import sync, write_part
from curate.dataset.shrink import Job, Small, made_small
from curate.workspace import FILE, Workspace, open_workspace
from schemas.engine import cores
from schemas.errors import Interrupted, Partial, UserError
from schemas.files import sha256_of
from schemas.manifest import picture_root
from schemas.pack import (
    PART_ROWS,
    STAGING,
    SUMS,
    Format,
    Part,
    part_files,
    part_name,
    places,
    read_sums,
)
from schemas.progress import progress
from schemas.storage import place_of, sizes
from schemas.tables import MANIFEST, SPLIT_NAMES

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "val", "test", "unlabeled")  # what is trained and judged on, in this order in the pack
LOOK_AT = 200  # paths that are looked for before anything is written


@dataclass(frozen=True)
class Plan:
    """What goes into a pack: pictures in their order, cut into files."""

    task: str
    manifest: bytes
    splits: tuple[str, ...] | None
    jobs: list[Job]  # image_id and path of the original
    form: Format
    left_out: int  # rows of the manifest that are dropped or of another split
    part_rows: int = PART_ROWS

    def parts(self) -> list[list[Job]]:
        """The rows of each file."""
        return [self.jobs[start : start + self.part_rows] for start in range(0, len(self.jobs), self.part_rows)]

    def info(self, rows: Sequence[Job]) -> dict[str, Any]:
        """The metadata of a file with these rows: equal metadata means an equal file."""
        named = hashlib.sha256("\n".join(image_id for image_id, _ in rows).encode()).hexdigest()
        return {**self.form.as_json(), "splits": self.splits, "rows": named}


@dataclass
class Packed:
    """What a run of `curate pack` did."""

    folder: Path
    pictures: int = 0
    encoded: int = 0
    bytes: int = 0
    parts: int = 0
    left_out: int = 0
    changed: bool = True
    split: bool = True
    dropped: dict[str, str] = field(default_factory=dict)  # image_id to reason
    damaged: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """One line for a person."""
        good = self.pictures - len(self.dropped)
        said = f"{good} pictures packed"
        if self.encoded < good:
            said += f", {self.encoded or 'none'} of them new"
        if self.left_out:
            said += f", {self.left_out} rows of the manifest left out (dropped, or of another split)"
        if self.damaged:
            said += f"; {', '.join(self.damaged)} did not match its checksum and was made anew"
        if not self.split:
            said += "; the manifest has no splits yet"
        files = f"{self.parts} file{'s' if self.parts > 1 else ''} of {_megabytes(self.bytes)} in all"
        return f"{said} -> {_near(self.folder)} ({files}{'' if self.changed else ', unchanged'})"

    def facts(self) -> dict[str, Any]:
        """The counts, for a log."""
        return {"pictures": self.pictures, "encoded": self.encoded, "dropped": len(self.dropped), "bytes": self.bytes}

    def raise_if_partial(self) -> None:
        """Raise Partial when pictures have a reason in place of a JPEG."""
        if not self.dropped:
            return
        image_id, reason = next(iter(self.dropped.items()))
        raise Partial(
            f"{len(self.dropped)} of {self.pictures} pictures could not be packed and say why in `dropped`; the first is "
            f"{image_id[:12]}… ({reason}). Once they are mended, the same command adds them"
        )


def _near(folder: Path) -> str:
    """The folder as a person standing here would write it."""
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def _megabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def manifest_to_pack(manifest: Path | None, task: str | None, workspace: Path | None) -> tuple[Path, Workspace | None]:
    """The manifest that is asked for, or the newest of the workspace's task; and the workspace it lies in, if any."""
    if manifest is None:
        here = open_workspace(workspace)
        return here.manifest(here.task(task).task), here
    root = picture_root(manifest)
    return manifest, open_workspace(root) if (root / FILE).exists() else None


def plan_pack(manifest: Path, form: Format, splits: Sequence[str] | None = None, pictures: Path | None = None) -> Plan:
    """Which pictures of a manifest go into its pack, and in which order: by split, then rank, then image_id.

    So a reader of a fraction of the labels or a prefix of the pool finds its rows side by side. Rows that are dropped or out
    are left out. A manifest that was never split is packed whole, in image_id order.

    Raises UserError for a manifest without such rows, and for splits it does not have.
    """
    content = _read_bytes(manifest)
    rows = MANIFEST.read(manifest, ["image_id", "path", "split", "dropped", "label_rank", "unlabeled_rank"])
    wanted = _splits(manifest, rows, splits)
    kept = rows[rows["dropped"].isna()]
    if wanted is not None:
        kept = kept[kept["split"].isin(wanted)]
        place = kept["split"].map({name: number for number, name in enumerate(wanted)})
        kept = kept.assign(place=place.astype(int), rank=kept["label_rank"].fillna(kept["unlabeled_rank"]))
        kept = kept.sort_values(["place", "rank", "image_id"])
    else:
        kept = kept.sort_values("image_id")
    kept = kept.drop_duplicates("image_id")
    if kept.empty:
        raise UserError(
            f"{manifest}: has no picture to pack; all of its {len(rows)} rows are dropped or of another split"
        )
    root = pictures or picture_root(manifest)
    jobs = [
        (image_id, str(place_of(root, path))) for image_id, path in zip(kept["image_id"], kept["path"], strict=True)
    ]
    task = MANIFEST.metadata(manifest).get("consenso.task") or manifest.stem
    return Plan(task, content, wanted, jobs, form, len(rows) - len(kept))


def _read_bytes(manifest: Path) -> bytes:
    """The manifest as it is now; what is missing or a folder is for the table's reader to say."""
    return manifest.read_bytes() if manifest.is_file() else b""


def _splits(manifest: Path, rows: pd.DataFrame, asked: Sequence[str] | None) -> tuple[str, ...] | None:
    """The splits to pack in their order; None where the manifest has none."""
    unknown = [name for name in asked or () if name not in SPLIT_NAMES]
    if unknown:
        raise UserError(
            f"--splits {','.join(asked or ())}: no split {unknown[0]!r}; there are {', '.join(SPLIT_NAMES)}"
        )
    if rows["split"].isna().all():
        if asked:
            raise UserError(
                f"{manifest}: has no splits yet; run `curate split` first, or leave --splits out to pack all"
            )
        return None
    return tuple(name for name in SPLIT_NAMES if name in (asked or SPLITS))


def pack(plan: Plan, folder: Path, workers: int | None = None) -> Packed:
    """Write the pack of a plan into a folder, or bring the one that is there up to date; see the top of this file.

    Pictures that a pack in the folder holds already, made in the same format, are copied from it. A picture that cannot be
    read gets a row with its reason, and is tried again the next time.

    Raises UserError before anything is written when the folder holds other things or the originals are not there, and for
    a full disk; Interrupted on Ctrl-C. What was done is kept, and the same call goes on from there.
    """
    folder = Path(folder)
    _check_folder(folder, plan.task)
    _check_originals(plan)
    with held(folder):
        try:
            return _Packing(plan, folder, workers or cores()).go()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            said = "the disk is full" if full else f"cannot be written ({error.strerror or error})"
            raise UserError(
                f"{folder}: {said}; what is packed so far is kept, and `curate pack` goes on from there"
            ) from error
        except BrokenProcessPool as error:
            raise UserError(
                "a process was ended by the system, most likely for want of memory; run `curate pack` again, it goes on "
                "from there; --workers 1 needs the least"
            ) from error


def _check_folder(folder: Path, task: str) -> None:
    """The folder is new, empty, or holds a pack of this task."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder}: is a file; a pack is a folder")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if (folder / STAGING).exists() or part_files(folder, task):
        return
    if other := part_files(folder):
        raise UserError(f"--out {folder}: holds the pack of another task ({other[0].name}); name another folder")
    raise UserError(f"--out {folder}: holds other files and no pack; name an empty folder or a new one")


def _check_originals(plan: Plan) -> None:
    """Look for some of the originals: when half of them are not there, the folder is wrong, not the pictures."""
    some = plan.jobs[:: max(1, len(plan.jobs) // LOOK_AT)]
    places = [path for _, path in some]
    absent = [place for place, size in zip(places, sizes(places), strict=True) if size is None]
    if 2 * len(absent) >= len(some):
        raise UserError(
            f"{len(absent)} of {len(some)} pictures looked for are not there, the first is {absent[0]}. Where are they? "
            "Name the folder that the manifest's paths start from with --pictures DIR"
        )


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """The folder, made and held for this process alone; freed even by kill -9."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"{folder}: another `curate pack` is writing it; wait for it to end") from None
    finally:
        os.close(handle)
        if new and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


class _Packing:
    """One run, its parts in order: what is there, what is missing, make it, move it into place."""

    def __init__(self, plan: Plan, folder: Path, workers: int) -> None:
        self.plan, self.folder, self.workers = plan, folder, workers
        self.staging = folder / STAGING
        self.done = Packed(folder, len(plan.jobs), left_out=plan.left_out, split=plan.splits is not None)
        self.names = [part_name(plan.task, number) for number in range(len(plan.parts()))]
        self.sums: dict[str, str] = {}

    def go(self) -> Packed:
        """Make what is missing and finish."""
        todo = self._todo()
        if todo:
            self.staging.mkdir(exist_ok=True)
            self._make(todo)
        self._finish()
        return self.done

    def _todo(self) -> dict[str, list[Job]]:
        """The files that are not there yet as they have to be, with their rows."""
        self.before = read_sums(self.folder) if (self.folder / SUMS).exists() else {}
        todo = {}
        for name, rows in zip(self.names, self.plan.parts(), strict=True):
            wanted = json.loads(json.dumps(self.plan.info(rows)))
            if _info(self.staging / name) == wanted:
                continue
            placed = self.folder / name
            if _info(placed) != wanted or self._is_damaged(placed) or _reasons(placed):
                todo[name] = rows
        return todo

    def _is_damaged(self, path: Path) -> bool:
        """Whether a file in its place differs from its checksum; remembers the checksum."""
        found = sha256_of(path)
        if found != self.before.get(path.name, found):
            self.done.damaged.append(path.name)
            return True
        self.sums[path.name] = found
        return False

    def _make(self, todo: Mapping[str, list[Job]]) -> None:
        """Write the missing files into the staging folder, one after another, pictures in order."""
        total, jobs = len(self.plan.jobs), [job for rows in todo.values() for job in rows]
        with (
            progress(total, "packing", " pictures", done=total - len(jobs)) as bar,
            _old_pictures(self._sources(), self.plan.form, {image_id for image_id, _ in jobs}) as old,
            made_small([job for job in jobs if job[0] not in old], self.plan.form, self.workers) as new,
        ):
            try:
                for name, rows in todo.items():
                    pictures = (old.get(i) if i in old else self._counted(next(new)) for i, _ in rows)
                    self.sums[name] = write_part(self.staging / name, rows, pictures, self.plan.info(rows), bar.update)
            except KeyboardInterrupt:
                raise Interrupted(
                    f"stopped at {bar.n} of {total} pictures; `curate pack` goes on from there, "
                    f"from the last whole file of {self.plan.part_rows} pictures"
                ) from None

    def _counted(self, small: Small) -> Small:
        self.done.encoded += small.jpeg is not None
        return small

    def _sources(self) -> list[Path]:
        """Files with pictures that may be used again: those in place that are not damaged, and those of a stopped run."""
        placed = [path for path in part_files(self.folder, self.plan.task) if path.name not in self.done.damaged]
        return placed + (part_files(self.staging) if self.staging.exists() else [])

    def _finish(self) -> None:
        """Move everything to its place, SHA256SUMS last; a pack that is there already as it has to be is not touched."""
        for name in self.names:
            staged = self.staging / name
            where = staged if staged.exists() else self.folder / name
            if name not in self.sums:
                self.sums[name] = sha256_of(where)
            self.done.bytes += where.stat().st_size
            self.done.dropped.update(_reasons(where))
        self.done.parts = len(self.names)
        self._check_enough()
        name = f"{self.plan.task}.parquet"
        self.sums[name] = hashlib.sha256(self.plan.manifest).hexdigest()
        sums = {name: self.sums[name] for name in sorted([*self.names, name])}
        here = self.folder / name
        same = self.before == sums and here.exists() and sha256_of(here) == sums[name]
        self.done.changed = not same or bool(self.done.damaged)
        if self.done.changed:
            self._place(sums)
        if self.staging.exists():
            shutil.rmtree(self.staging)

    def _place(self, sums: Mapping[str, str]) -> None:
        self.staging.mkdir(exist_ok=True)
        (self.folder / SUMS).unlink(missing_ok=True)
        for name in self.names:
            if (self.staging / name).exists():
                (self.staging / name).replace(self.folder / name)
        for path in part_files(self.folder, self.plan.task):
            if path.name not in sums:
                path.unlink()
        lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        for name, content in ((f"{self.plan.task}.parquet", self.plan.manifest), (SUMS, lines.encode())):
            with (self.staging / name).open("wb") as part:
                part.write(content)
                sync(part)
            (self.staging / name).replace(self.folder / name)

    def _check_enough(self) -> None:
        dropped = self.done.dropped
        if 2 * len(dropped) < len(self.plan.jobs):
            return
        paths = dict(self.plan.jobs)
        first = next(iter(dropped))
        raise UserError(
            f"{len(dropped)} of {len(paths)} pictures cannot be read, the first is {paths[first]} ({dropped[first]}); "
            "the pack is left unfinished. Mend them, or name the folder the manifest's paths start from with --pictures DIR"
        )


def _info(path: Path) -> dict[str, Any] | None:
    """The metadata of a pack's file; None where there is none that can be read."""
    try:
        with Part(path) as part:
            return part.info
    except UserError:
        return None


def _reasons(path: Path) -> dict[str, str]:
    """The pictures of a file that have a reason and no JPEG."""
    with Part(path) as part:
        return part.reasons()


class _Old:
    """JPEGs of older files, found by image_id; a few row groups stay in memory, as the new order follows the old."""

    def __init__(self, parts: Sequence[Part], found: Mapping[str, tuple[int, int, int]]) -> None:
        self._found = found
        self._rows = lru_cache(maxsize=8)(
            lambda part, group: parts[part].rows(group, ("jpeg", "width_px", "height_px", "dropped"))
        )

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._found

    def get(self, image_id: str) -> Small:
        """The picture, which must be here."""
        part, group, row = self._found[image_id]
        return Small(**self._rows(part, group)[row])


@contextmanager
def _old_pictures(sources: Sequence[Path], form: Format, wanted: set[str]) -> Iterator[_Old]:
    """The JPEGs among these files that were made in the same format and are wanted now."""
    alike = [path for path in sources if (info := _info(path)) and Format.of(info) == form]
    without = {image_id for path in alike for image_id in _reasons(path)}
    found = {image_id: place for image_id, place in places(alike) if image_id in wanted - without}
    with ExitStack() as stack:
        yield _Old([stack.enter_context(Part(path)) for path in alike], found)
