"""A small shop with pictures, and a real crowd server beside it."""

from __future__ import annotations

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

from curate.workspace import Workspace
from schemas.files import write_bytes
from schemas.tables import CLUSTERS, PICTURES, TRUTH


@dataclass
class Shop:
    """A workspace with pictures whose truth is known, and the crowd it asks."""

    workspace: Workspace
    ids: list[str]
    truth: dict[str, str]
    url: str = ""
    keys: dict[str, str] = field(default_factory=dict)

    def curate(self, *words: str, crash_at: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line in a process of its own, in the workspace, against the shop's crowd."""
        done = subprocess.run(
            [sys.executable, "-m", "curate.cli", *words],
            cwd=self.workspace.root,
            env={**os.environ, **self.keys, "CURATE_ENDPOINT": self.url, "CONSENSO_CRASH_AT": crash_at},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

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


@pytest.fixture
def open_shop(shop: Shop, tmp_path: Path) -> Iterator[Shop]:
    """The shop with a real crowd server on a free port, and keys for it."""
    database = f"sqlite:///{tmp_path / 'crowd.db'}"
    issued = json.loads(shop.curate("crowd", "keys", "issue", "tests", "--db", database, "--json").stdout)
    shop.keys = {"AWS_ACCESS_KEY_ID": issued["access_key_id"], "AWS_SECRET_ACCESS_KEY": issued["secret_access_key"]}
    words = ["crowd", "serve", "--db", database, "--port", "0", "--pictures", str(shop.workspace.blobs)]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "curate.cli", *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            assert line, (tmp_path / "server.log").read_text()
            shop.url = json.loads(line)["url"]
            yield shop
        finally:
            server.kill()
            server.wait()
