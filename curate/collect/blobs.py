"""Original bytes, kept once under their own sha256: `blobs/<first 2 hex>/<image_id>.<ext>`."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

# What a file's first bytes say it is. The extension follows them, never the name or Content-Type it came with.
_MAGIC = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF87a", "gif"), (b"GIF89a", "gif"))


def kind_of(data: bytes) -> str | None:
    """jpg, png, webp, gif or avif by the first bytes; None for anything else."""
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and (b"avif" in data[8:32] or b"avis" in data[8:32]):
        return "avif"
    return None


def name_of(data: bytes) -> tuple[str, str]:
    """The image_id of some bytes and their place, relative to the workspace."""
    image_id = hashlib.sha256(data).hexdigest()
    return image_id, f"blobs/{image_id[:2]}/{image_id}.{kind_of(data) or 'bin'}"


def put(root: Path, data: bytes, link: Path | None = None) -> tuple[str, str]:
    """Keep bytes in the workspace at `root`; returns image_id and the relative path. What is there already is left alone.

    The file appears whole or not at all. With `link`, the file that holds the bytes, it is hard-linked instead of copied
    where the file system can.
    """
    image_id, relative = name_of(data)
    path = root / relative
    if path.exists() and path.stat().st_size == len(data):
        return image_id, relative
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        if not (link and _linked(link, part)):
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return image_id, relative


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True


def sweep(root: Path) -> int:
    """Remove what a killed run left half written; returns how many. Call it only while holding the workspace's lock."""
    left = list((root / "blobs").glob("??/*.part"))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)
