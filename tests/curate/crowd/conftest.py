"""A small shop with pictures, and a real crowd server beside it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image

from curate.cli import app
from curate.workspace import Workspace
from schemas.command import exit_code
from schemas.files import write_bytes
from schemas.tables import CLUSTERS, PICTURES, TRUTH


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Shop:
    """A workspace with pictures whose truth is known, and the crowd it asks."""

    workspace: Workspace
    ids: list[str]
    truth: dict[str, str]
    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    def curate(self, *words: str, check: bool = True) -> Done:
        """Run the command line in this process, in the workspace, against the shop's crowd."""
        out, err = io.StringIO(), io.StringIO()
        argv = ["curate", *words]
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.chdir(self.workspace.root),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.setattr(sys, "argv", argv)
            for name, value in self.environment().items():
                patch.setenv(name, value)
            done = Done(exit_code(app, "curate"), out.getvalue(), err.getvalue())
        assert not check or done.returncode == 0, done
        return done

    def start(self, *words: str, crash_at: str = "") -> subprocess.Popen[str]:
        """Start the command line in a process of its own, perhaps one that kills itself on the way."""
        return subprocess.Popen(
            [sys.executable, "-m", "curate.cli", *words],
            cwd=self.workspace.root,
            env={**os.environ, **self.environment(), "CONSENSO_CRASH_AT": crash_at},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        """Where the crowd is, and the keys for it."""
        return {**self.keys, "CURATE_ENDPOINT": self.url}

    def gold(self, count: int) -> None:
        """Make the first pictures gold."""
        rows = "\n".join(f"{i},{self.truth[i]}" for i in self.ids[:count])
        (self.workspace.root / "gold.csv").write_text(f"image_id,label\n{rows}\n")
        self.curate("gold", "import", "gold.csv")


@pytest.fixture
def shop(workspace: Workspace) -> Shop:
    """Sixty plain pictures, each a color of its own, two of each nine classes' turn."""
    keys = workspace.task().keys
    ids, truth = [], {}
    for number in range(60):
        buffer = io.BytesIO()
        Image.new("RGB", (80, 80), (number * 4, 255 - number * 4, number * 37 % 256)).save(buffer, "PNG")
        image_id = hashlib.sha256(buffer.getvalue()).hexdigest()
        write_bytes(workspace.root / f"blobs/{image_id[:2]}/{image_id}.png", buffer.getvalue())
        ids.append(image_id)
        truth[image_id] = keys[number % len(keys)]
    PICTURES.write(
        PICTURES.frame({"image_id": i, "blob": f"blobs/{i[:2]}/{i}.png", "bytes": 1} for i in ids),
        workspace.table("pictures"),
    )
    alone = {"representative": True, "kind": "single", "distance": 0}
    CLUSTERS.write(CLUSTERS.frame({"image_id": i, "cluster_id": i, **alone} for i in ids), workspace.table("clusters"))
    TRUTH.write(
        TRUTH.frame({"image_id": i, "task": "apron", "label": truth[i], "source": "drawn"} for i in ids),
        workspace.of_task("apron", "truth"),
    )
    return Shop(workspace, ids, truth)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address of a real crowd server on a free port, and its database. It needs no folder of pictures here."""
    folder = tmp_path_factory.mktemp("crowd")
    database = f"sqlite:///{folder / 'crowd.db'}"
    words = ["crowd", "serve", "--db", database, "--port", "0"]
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "curate.cli", *words], cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, (folder / "server.log").read_text()
            yield json.loads(line)["url"], database
        finally:
            server.kill()
            server.wait()
            server.stdout.close()


@pytest.fixture
def open_shop(shop: Shop, crowd: tuple[str, str], tmp_path: Path) -> Shop:
    """The shop with a requester's account of its own at a real crowd, and an entry test made there."""
    shop.url, database = crowd
    issued = json.loads(shop.curate("crowd", "keys", "issue", str(tmp_path), "--db", database, "--json").stdout)
    shop.keys = {"AWS_ACCESS_KEY_ID": issued["access_key_id"], "AWS_SECRET_ACCESS_KEY": issued["secret_access_key"]}
    shop.gold(14)
    assert "10 questions, pass mark 70%" in shop.curate("qual", "create").stdout
    return shop
