"""Everything else that lies in the workspace: files with a picture in their name, texts, reports, exports."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.dataset.export.place import DONE
from curate.dataset.export.place import PLAN as UNDER_WAY
from curate.forget.plan import Plan
from curate.forgotten import Forgotten, hashed
from curate.storage_move import left_places
from curate.workspace import FILE, Workspace
from schemas.files import clear_killed, write_bytes
from schemas.pack import is_pack
from schemas.storage import storage_at

TEXTS = {
    ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".md", ".yaml", ".yml", ".xml", ".html", ".htm", ".manifest", ".log"
}  # fmt: skip
_ID = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_PICTURE_INSIDE = b"data:image/"
_URL_END = r"(?![\w./?&=%+~#-])"


@dataclass
class Found:
    """The files of a workspace by what is to be done with them."""

    tables: list[Path] = field(default_factory=list)  # Parquet, packs left out
    others: list[Path] = field(default_factory=list)
    packs: list[Path] = field(default_factory=list)
    exports: list[Path] = field(default_factory=list)


def walk(workspace: Workspace) -> Found:
    """All files but blobs and display copies, whose names alone say what they are, in order of their paths."""
    found = Found()
    for where, folders, names in os.walk(workspace.root):
        here = Path(where)
        if here == workspace.root:
            folders[:] = [name for name in folders if name not in ("blobs", "display")]
        folders.sort()
        if DONE in names or UNDER_WAY in names:
            found.exports.append(here)
            folders[:] = []
            continue
        packed = is_pack(here)
        if packed:
            found.packs.append(here)
            folders[:] = []
        for name in sorted(names):
            path = here / name
            if path.is_symlink() or not path.is_file() or (packed and ".pack-" in name):
                continue
            (found.tables if path.suffix == ".parquet" else found.others).append(path)
    return found


def clear_parts(workspace: Workspace) -> None:
    """Remove what killed commands left half written anywhere; the lock is ours, so nobody else of the workspace writes."""
    for path in workspace.root.rglob("*.part"):
        if path.is_file():
            clear_killed(path.with_name(re.sub(r"\.\d+\.part$", "", path.name)))


def exports_with(exports: list[Path], plan: Plan, forgotten: Forgotten) -> list[Path]:
    """Exports made from a manifest that held one of the pictures, or that name one."""
    ids = set(plan.manifests.values())
    return [folder for folder in exports if _made_from(folder) in ids or _names_one(folder, forgotten)]


def _made_from(folder: Path) -> str | None:
    for name in (DONE, UNDER_WAY):
        if (folder / name).exists():
            said: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            return said.get("plan", said).get("manifest_id")
    return None


def _names_one(folder: Path, forgotten: Forgotten) -> bool:
    return any(
        forgotten.names(path.name) or (path.suffix.lower() in TEXTS and holds(path, forgotten))
        for path in folder.rglob("*")
        if path.is_file()
    )


def holds(path: Path, forgotten: Forgotten) -> bool:
    """Whether a file's bytes name a forgotten picture."""
    return any(forgotten.image(found.decode()) for found in set(_ID.findall(path.read_bytes())))


class Texts:
    """Texts that name what is forgotten: the hash stands there afterwards."""

    def __init__(self, workspace: Workspace, plan: Plan, forgotten: Forgotten) -> None:
        self.workspace, self.plan, self.forgotten = workspace, plan, forgotten
        salt = forgotten.salt
        self.words = {i: hashed(salt, "listing", m, i) for m, i in sorted(plan.names)}
        urls = sorted(plan.urls, key=len, reverse=True)
        self.urls = re.compile("|".join(re.escape(url) + _URL_END for url in urls)) if urls else None

    def is_report(self, path: Path) -> bool:
        """A page with pictures inside: nobody can tell which, so it goes and is made again."""
        return (
            bool(self.plan.images) and path.suffix.lower() in (".html", ".htm") and _PICTURE_INSIDE in path.read_bytes()
        )

    def named(self, path: Path) -> bool:
        """A file that is called by a forgotten picture."""
        return self.forgotten.names(path.name)

    def rewritten(self, path: Path) -> bytes | None:
        """What the file is to hold; None where it stays as it is, or is no text."""
        if path.suffix.lower() not in TEXTS or path == self.workspace.root / FILE:
            return None
        data = path.read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return None
        new = self._without_examples(text) if path.parent == self.workspace.root / "tasks" else text
        new = self.forgotten.veil(new)
        if self.urls:
            new = self.urls.sub(lambda found: hashed(self.forgotten.salt, "listing", found[0]), new)
        if path == self.workspace.root / "log.jsonl":
            new = "".join(self._log_line(line) for line in new.splitlines(keepends=True))
        return None if new == text else new.encode()

    def _without_examples(self, text: str) -> str:
        """A task file without forgotten pictures among the examples of its classes."""
        if not self.forgotten.names(text):
            return text
        for image in self.plan.images:
            one = rf"[\"']?{image}[\"']?"
            text = re.sub(rf"\n[ \t]*-[ \t]*{one}[ \t]*(?=\n|$)", "", text)
            text = re.sub(rf"{one}\s*,\s*|\s*,\s*{one}|{one}", "", text)
        return re.sub(r"(\n[ \t]*examples:)[ \t]*(?=\n(?![ \t]*-[ \t]*[\"']?[0-9a-f]{64})|$)", r"\1 []", text)

    def _log_line(self, line: str) -> str:
        """A line of the log with the hash in place of a listing's id."""
        if not any(word in line for word in self.words):
            return line
        try:
            said = json.loads(line)
        except ValueError:
            return line
        return json.dumps(_replaced(said, self.words), ensure_ascii=False) + "\n"


def _replaced(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return words.get(value, value)
    if isinstance(value, list):
        return [_replaced(each, words) for each in value]
    if isinstance(value, dict):
        return {key: _replaced(each, words) for key, each in value.items()}
    return value


def drop_examples(config: Path, images: set[str]) -> None:
    """Take pictures that go out of the examples of a model's bundle; `train verify` then compares the others."""
    try:
        said = json.loads(config.read_bytes())
        examples = said["consenso"]["examples"]
        gone = [one["file"] for one in examples if one["image_id"] in images]
    except (ValueError, KeyError, TypeError):  # not ours
        return
    for name in gone:
        (config.parent / "examples" / Path(name).name).unlink(missing_ok=True)
    if gone:
        said["consenso"]["examples"] = [one for one in examples if one["image_id"] not in images]
        clear_killed(config)
        write_bytes(config, json.dumps(said, indent=1, ensure_ascii=False).encode())


def apply(path: Path, texts: Texts) -> None:
    """Bring one file up to date, or take it away."""
    if path.name == "config.json":
        drop_examples(path, set(texts.plan.images))
    if texts.named(path) or texts.is_report(path):
        path.unlink(missing_ok=True)
    elif (data := texts.rewritten(path)) is not None:
        clear_killed(path)
        write_bytes(path, data)


def remove_bytes(workspace: Workspace, plan: Plan) -> Iterator[int]:
    """Take away originals and display copies, here and in S3; yields after each."""
    images = set(plan.images)
    for blob in plan.blobs:
        _remove(workspace, blob)
        yield 1
    for folder in (workspace.root / "blobs", workspace.root / "display"):
        for image in images:
            for path in (folder / image[:2]).glob(f"{image}.*"):
                path.unlink(missing_ok=True)
    for place in left_places(workspace):  # where originals were before they moved
        storage = storage_at(place)
        for image in images:
            for name in [name for name in storage.names(f"blobs/{image[:2]}/") if image in name]:
                storage.remove(name)
                yield 1
    for place, key in plan.uploads:
        from curate.s3 import Bucket

        Bucket(place).remove(key)
        yield 1


def _remove(workspace: Workspace, blob: str) -> None:
    """An original by the column `blob`; a whole path outside the workspace is somebody's own file and stays."""
    if "://" in blob:
        folder, _, name = blob.rpartition("/")
        storage_at(folder).remove(name)
    elif Path(os.path.normpath(workspace.root / blob)).is_relative_to(workspace.root):
        (workspace.root / blob).unlink(missing_ok=True)
