"""The folder of an export: made beside its final place, taken up again after a kill, and renamed when it is whole.

out/            only ever a finished export; `_done.json` says of what
out.part/       one under way, or what a killed one left; `_plan.json` says of what, so that the same command goes on
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from curate.dataset.export.choose import Chosen, describe
from schemas import __version__
from schemas.errors import Partial, UserError
from schemas.files import write_text

DONE = "_done.json"
PLAN = "_plan.json"
UNITS = "_units"  # what is finished so far; removed at the end
HOLDER = "_holder"  # locked by the process that exports
WORKERS = "_workers"  # locked by each of its worker processes: they outlive a killed parent by one unit

Facts = dict[str, Any]  # goes into _done.json: shards, failed, lines to say, in which {out} is the folder


@dataclass(frozen=True)
class Exported:
    """A finished export, new or from an earlier run."""

    out: Path
    counts: Mapping[str, int]  # pictures per split
    left_out: Mapping[str, int]  # reason to count
    facts: Facts
    new: bool

    def describe(self) -> str:
        """What a person wants to know: how many, where, what was left out, and how to go on."""
        parts = ", ".join(f"{n:,} {split}" for split, n in self.counts.items())
        state = "" if self.new else " (was there already, nothing to do)"
        lines = [f"{sum(self.counts.values()):,} pictures: {parts} -> {self.out}{state}"]
        if self.left_out:
            lines.append(f"left out: {describe(self.left_out)}")
        said = (line.replace("{out}", str(self.out)) for line in self.facts.get("said", []))
        return "\n".join([*lines, *said])

    def check(self) -> None:
        """Raise Partial when some pictures could not be read."""
        failed = self.facts.get("failed", [])
        if failed:
            image_id, reason = failed[0]
            raise Partial(
                f"{len(failed):,} pictures could not be read and are not in the export, first {image_id[:12]}: {reason}; "
                f"all of them stand in {self.out / DONE}"
            )


@dataclass(frozen=True)
class Place:
    """An export under way: write below `part`; it becomes `out` when it is whole."""

    out: Path
    part: Path


def export(
    chosen: Chosen, out: Path, form: str, options: Mapping[str, Any], make: Callable[[Place], Facts]
) -> Exported:
    """Make an export of the chosen pictures in the folder `out` by calling `make`, or find that it is there already.

    `options` is whatever else decides the content. Killed at any moment, nothing stands at `out`, and the same call goes on.
    Raises UserError when `out` holds anything else, or another process exports there.
    """
    out = Path(os.path.normpath(out.absolute()))
    plan = {"format": form, "manifest_id": chosen.manifest.manifest_id, "content": _content(chosen), **options}
    plan = json.loads(json.dumps(plan))
    if (done := _finished(out, plan)) is not None:
        return Exported(out, done["counts"], done["left_out"], done["facts"], new=False)
    with _part_of(out, plan) as place:
        facts = make(place)
        gone = {image_id for image_id, _ in facts.get("failed", [])}
        kept = chosen.rows.loc[~chosen.rows["image_id"].isin(gone), "split"].value_counts()
        counts = {split: int(kept.get(split, 0)) for split in chosen.splits}
        left_out = {**chosen.left_out, **({"unreadable": len(gone)} if gone else {})}
        done = {"plan": plan, "consenso": __version__, "counts": counts, "left_out": left_out, "facts": facts}
        _finish(place, done)
    return Exported(out, counts, left_out, facts, new=True)


def _content(chosen: Chosen) -> str:
    """Hash of which pictures go out, in which split, from files of which size."""
    rows = chosen.rows
    columns = [rows[name].astype(str) for name in ("image_id", "split", "size") if name in rows]
    text = "\n".join(" ".join(parts) for parts in zip(*columns, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _finished(out: Path, plan: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `_done.json` says when this very export stands at `out` already; None when there is nothing yet."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"{out}: is no folder; an export is a folder of its own, name another one with --out")
    if not out.exists() or not any(out.iterdir()):
        return None
    try:
        done: dict[str, Any] = json.loads((out / DONE).read_text(encoding="utf-8"))
        found = f"{done['plan']['format']} export of manifest {done['plan']['manifest_id'][:8]}"
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise UserError(f"{out}: holds other files; an export wants a new or empty folder, see --out") from None
    if done["plan"] != plan:
        raise UserError(
            f"{out}: holds another export ({found}, perhaps with other options or pictures); remove it, or say another --out"
        )
    return done


@contextmanager
def _part_of(out: Path, plan: Mapping[str, Any]) -> Iterator[Place]:
    """The folder beside `out` to export into, held by this process and cleared of what does not belong to the plan."""
    part = out.with_name(f"{out.name}.part")
    with ExitStack() as held:
        try:
            part.mkdir(parents=True, exist_ok=True)
            locks = [held.enter_context((part / name).open("a")) for name in (HOLDER, WORKERS)]
        except OSError as error:
            raise UserError(f"{part}: cannot be written ({error.strerror}); an export is made beside --out") from error
        if not _locked(locks[0]):
            raise UserError(f"{part}: another export writes here; wait for it to end, or stop it, and run this again")
        if not _locked(locks[1]):
            print("waiting for the processes of a killed export to end", file=sys.stderr)
            fcntl.flock(locks[1], fcntl.LOCK_EX)
        fcntl.flock(locks[1], fcntl.LOCK_UN)  # from here on it belongs to our own worker processes
        _clear(part, {"plan": plan, "boot": _boot()})
        yield Place(out, part)


def _locked(handle: IO[str]) -> bool:
    """Lock an open file for this process alone; False when another one holds it. Freed even by kill -9."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear(part: Path, plan: Mapping[str, Any]) -> None:
    """Make the folder ready for this plan: keep what an earlier run of it did, remove what is of another one."""
    stray = [path for path in part.iterdir() if path.name not in (HOLDER, WORKERS)]
    if stray and not (part / PLAN).exists():
        raise UserError(f"{part}: holds files that are no export's, and exports are made there; move them away")
    if stray and _read(part / PLAN) == plan:
        print("going on with an export that was stopped", file=sys.stderr)
        for left in part.rglob("*.part"):
            left.unlink()
    else:
        for path in sorted(stray, key=lambda path: path.name == PLAN):  # the plan last: killed here, it is still known
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        write_text(part / PLAN, json.dumps(plan, indent=1))
    (part / UNITS).mkdir(exist_ok=True)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None


def _boot() -> str:
    """Which start of the machine this is: files are not synced one by one, so what stood before a power cut is made anew."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _finish(place: Place, done: Mapping[str, Any]) -> None:
    """Sync, write `_done.json`, rename the folder to its final name, remove the notes of the work."""
    write_text(place.part / DONE, json.dumps(done, indent=1, ensure_ascii=False))
    shutil.rmtree(place.part / UNITS)
    os.sync()
    try:
        place.part.rename(place.out)  # also over an empty folder
    except OSError as error:
        raise UserError(
            f"{place.out}: cannot be put in place ({error.strerror}); the finished export stands in {place.part}"
        ) from error
    for name in (PLAN, HOLDER, WORKERS):
        (place.out / name).unlink()


def put(path: Path, data: bytes) -> None:
    """Write a file of an export whole, without a sync of its own: the export is synced at its end, or not there."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)
