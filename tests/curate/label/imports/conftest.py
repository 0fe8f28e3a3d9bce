"""A workspace with six pictures, scraped and imported, and a person who types `curate import …`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from curate.cli import app
from curate.workspace import Workspace
from schemas.command import exit_code
from schemas.tables import APPEARANCES, GIVEN, PICTURES, VOTES

# Four pictures of a shop's pages, two of a folder; the id stands for the sha256 of the bytes.
PLACES = {
    "a": "https://shop.example/pictures/mx/MX100-1.jpg",
    "b": "https://shop.example/pictures/mx/MX100-2.jpg",
    "c": "https://shop.example/pictures/br/BR%20200.jpg",
    "d": "https://shop.example/img.php?id=4",
    "e": "photos/kitchen/0001.jpg",
    "f": "photos/garden/0001.jpg",
}
IDS = {name: name * 64 for name in PLACES}


def listing(place: str) -> str:
    return place if place.startswith("photos") else "L1"


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    """The workspace with its six pictures; the task has dots (Lunares), checks (Xadrez) and so on."""
    at = pd.Timestamp("2026-01-01T00:00:00Z")
    blobs = [{"image_id": i, "blob": f"blobs/{i[:2]}/{i}.jpg", "bytes": 9} for i in IDS.values()]
    PICTURES.write(PICTURES.frame(blobs), workspace.table("pictures"))
    shown = [
        {"image_id": IDS[n], "marketplace": "m", "listing_id": listing(p), "position": k, "url": p, "first_seen_at": at}
        for k, (n, p) in enumerate(PLACES.items())
    ]
    APPEARANCES.write(APPEARANCES.frame(shown), workspace.table("appearances"))
    return workspace


@dataclass
class Person:
    """Somebody who imports files and looks at the tables."""

    shop: Workspace
    type: Callable[..., tuple[int, str, str]]

    def imports(self, what: str, file: Path, *options: str) -> str:
        """Import a file that is right; returns what is said."""
        code, out, err = self.type("import", what, file, *options)
        assert (code, err) == (0, ""), err
        return out

    def refused(self, what: str, file: Path, *options: str) -> str:
        """Import a file that is wrong: one line, exit 1, and nothing in the workspace has changed. Returns the line."""
        before = self.contents()
        code, out, err = self.type("import", what, file, *options)
        assert (code, out) == (1, ""), out
        assert err.startswith("error: ")
        assert err.count("\n") == 1, err
        assert self.contents() == before
        return err

    def contents(self) -> dict[str, bytes]:
        files = [p for p in self.shop.root.rglob("*") if p.is_file() and p.name != ".lock"]
        return {str(p): p.read_bytes() for p in files}

    @property
    def votes(self) -> pd.DataFrame:
        """VOTES with pictures by their short name."""
        rows = VOTES.read(self.shop.of_task("apron", "votes"))
        return rows.assign(picture=rows["image_id"].str[0]).sort_values(["picture", "answer"], ignore_index=True)

    @property
    def given(self) -> pd.DataFrame:
        rows = GIVEN.read(self.shop.of_task("apron", "given"))
        return rows.assign(picture=rows["image_id"].str[0])

    def said(self) -> list[str]:
        """`picture label` of every vote, sorted."""
        return sorted(f"{v.picture} {v.label if isinstance(v.label, str) else '-'}" for v in self.votes.itertuples())


@pytest.fixture
def person(shop: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Person:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments), "--workspace", str(shop.root)])
        code = exit_code(app, "curate")
        said = capsys.readouterr()
        return code, said.out, said.err

    return Person(shop, run)


@pytest.fixture
def ids() -> dict[str, str]:
    """image_id by short name."""
    return IDS


@pytest.fixture
def places() -> dict[str, str]:
    """Address or path by short name."""
    return PLACES
