"""Packs lose the pictures that are forgotten: their files are written anew without them, nothing is encoded again."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from curate.dataset.pack import held
from curate.dataset.pack_file import write_part
from curate.dataset.shrink import Small
from schemas.files import sha256_of, write_text
from schemas.pack import STAGING, SUMS, Part, part_files, read_sums
from schemas.tables import PACK


def holds(folder: Path, images: Collection[str]) -> int:
    """How many of the pictures a pack holds."""
    count = 0
    for path in part_files(folder):
        with Part(path) as part:
            count += len(set(part.column("image_id")) & set(images))
    return count


def rewrite_pack(folder: Path, images: Collection[str], finished: bool, manifests: Collection[Path]) -> None:
    """Take pictures out of a pack whose manifests are as they should be by now. `finished`: it had its checksums before.

    While files differ from the checksums there are none, so that nobody takes it for whole; killed, the same call ends it.
    A file that loses all of its pictures stays, empty; `curate pack` puts the files in order when it runs next.
    """
    with held(folder):
        shutil.rmtree(folder / STAGING, ignore_errors=True)
        for part in folder.glob("*.part"):
            part.unlink()
        _rewrite(folder, images, finished, manifests)


def _rewrite(folder: Path, images: Collection[str], finished: bool, manifests: Collection[Path]) -> None:
    known = read_sums(folder) if (folder / SUMS).exists() else {}
    changed = [path for path in part_files(folder) if _lost(path, images)]
    if not changed and known and not _stale(known, folder, manifests):
        return
    (folder / SUMS).unlink(missing_ok=True)
    for path in changed:
        known[path.name] = _without(path, images)
    if finished:
        _sums(folder, known, manifests)


def _stale(known: dict[str, str], folder: Path, manifests: Collection[Path]) -> bool:
    return any(known.get(path.name) != sha256_of(path) for path in manifests if path.parent == folder)


def _lost(path: Path, images: Collection[str]) -> bool:
    with Part(path) as part:
        return not set(images).isdisjoint(part.column("image_id"))


def _without(path: Path, images: Collection[str]) -> str:
    """Write a file of a pack anew without some pictures; returns its sha256."""
    with Part(path) as part:
        kept = [i for i in part.column("image_id") if i not in images]
        named = hashlib.sha256("\n".join(kept).encode()).hexdigest()
        return write_part(
            path, [(i, "") for i in kept], _pictures(part, images), {**part.info, "rows": named}, lambda _: None
        )


def _pictures(part: Part, images: Collection[str]) -> Iterator[Small]:
    for group, _ in part.groups():
        for row in part.rows(group):
            if row["image_id"] not in images:
                yield Small(**{name: row[name] for name in PACK.names if name != "image_id"})


def _sums(folder: Path, known: dict[str, str], manifests: Collection[Path]) -> None:
    """SHA256SUMS of what lies there now: the manifest and the files of the pack, what was not known read and summed."""
    files = sorted([*(path for path in manifests if path.parent == folder), *part_files(folder)])
    for path in files:
        if path.name not in known or path in manifests:
            known[path.name] = sha256_of(path)
    write_text(folder / SUMS, "".join(f"{known[path.name]}  {path.name}\n" for path in files))
