"""What a crawl of a test's shop must have brought: every listing and picture exactly once, with its own bytes."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np
from PIL import Image

from curate.workspace import Workspace
from schemas.storage import read_place
from schemas.tables import APPEARANCES, FAILURES, LISTINGS, PICTURES


def failures(workspace: Workspace) -> dict[str, str]:
    """Reason by path."""
    rows = FAILURES.read(workspace.table("failures"))
    return {"/" + url.split("/", 3)[3]: why for url, why in zip(rows["url"], rows["dropped"], strict=True)}


def shown(workspace: Workspace) -> set[tuple[str, int, str]]:
    """Listing, place and picture."""
    rows = APPEARANCES.read(workspace.table("appearances"))
    return set(zip(rows["listing_id"], rows["position"], rows["image_id"], strict=True))


def on_site(site: Any) -> set[tuple[str, int, str]]:
    """What `shown` must say of a whole shop."""
    paths = [path for path in site.replies if path.startswith("/i/")]
    parts = {path: path.removeprefix("/i/").removesuffix(".jpg").split("-") for path in paths}
    sums = {path: hashlib.sha256(site.replies[path].body).hexdigest() for path in paths}
    return {(f"S{listing}", int(place), sums[path]) for path, (listing, place) in parts.items()}


def assert_whole(workspace: Workspace, site: Any) -> None:
    """Every listing and picture of the shop is there exactly once, with its own bytes, and nothing else is."""
    expected = on_site(site)
    assert shown(workspace) == expected
    assert len(APPEARANCES.read(workspace.table("appearances"))) == len(expected)
    listings = LISTINGS.read(workspace.table("listings"))
    assert sorted(listings["listing_id"]) == sorted({listing for listing, *_ in expected})
    pictures = PICTURES.read(workspace.table("pictures"))
    assert set(pictures["image_id"]) == {image_id for *_, image_id in expected}
    kept = [workspace.storage.said(name) for name in workspace.storage.names("blobs/")]
    assert sorted(kept) == sorted(pictures["blob"])
    for image_id, blob in zip(pictures["image_id"], pictures["blob"], strict=True):
        assert hashlib.sha256(read_place(workspace.original(blob))).hexdigest() == image_id
    assert failures(workspace) == {}


def photo(seed: int) -> bytes:
    """A small JPEG that no other seed gives."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    small.resize((96, 96), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()
