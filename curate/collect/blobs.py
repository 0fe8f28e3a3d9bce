"""Original bytes, kept once under their own sha256: `blobs/<first 2 hex>/<image_id>.<ext>`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from schemas.storage import Storage

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
    """The image_id of some bytes and the name they are kept under."""
    image_id = hashlib.sha256(data).hexdigest()
    return image_id, f"blobs/{image_id[:2]}/{image_id}.{kind_of(data) or 'bin'}"


def put(storage: Storage, data: bytes, link: Path | None = None) -> tuple[str, str]:
    """Keep bytes; returns image_id and what the column `blob` says. What is there already is left alone.

    They appear whole or not at all. With `link`, the file that holds the bytes, it is hard-linked instead of copied where the
    file system can.
    """
    image_id, name = name_of(data)
    if storage.size(name) != len(data):
        storage.write(name, data, link)
    return image_id, storage.said(name)


def sweep(storage: Storage) -> int:
    """Remove what a killed run left half written; returns how many. Call it only while holding the workspace's lock."""
    return storage.sweep("blobs/")
