"""What was forgotten on request: crawls and imports leave it out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from curate.workspace import Workspace


def _sum(kind: str, *words: str) -> str:
    return hashlib.sha256("\0".join((kind, *words)).encode()).hexdigest()


@dataclass(frozen=True)
class Forgotten:
    """Hashes of pictures, listings and sellers that a workspace may not take in again."""

    hashes: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def of(cls, workspace: Workspace) -> Forgotten:
        """What a workspace has forgotten; nothing where there is no such table."""
        path = workspace.table("forgotten")
        if not path.exists():
            return cls()
        from schemas.table import read_parquet

        return cls(frozenset(read_parquet(path)["hash"].to_pylist()))

    def image(self, image_id: str) -> bool:
        """Whether a picture was forgotten."""
        return bool(self.hashes) and _sum("image", image_id) in self.hashes

    def listing(self, marketplace: str, listing_id: str) -> bool:
        """Whether a listing was forgotten."""
        return bool(self.hashes) and _sum("listing", marketplace, listing_id) in self.hashes

    def seller(self, name: str) -> bool:
        """Whether a seller was forgotten."""
        return bool(self.hashes) and _sum("seller", name) in self.hashes
