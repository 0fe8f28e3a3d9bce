"""How long `curate hits create` takes for many HITs, with a real crowd server on the same cores: profile both with --profile.

python tests/benchmarks/bench_hits.py [--hits 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from curate.crowd import journal
from curate.tasks import make_task
from curate.workspace import Config, Workspace, create_workspace
from schemas.files import write_text
from schemas.tables import CLUSTERS, PICTURES


def make_shop(root: Path, pictures: int) -> Workspace:
    """A workspace of so many pictures, none of which is there: HITs only name them."""
    workspace = create_workspace(root, Config(name="bench"))
    task = make_task("apron")
    crowd = task.crowd.model_copy(update={"pass_mark": 0, "gold_share": 0.0, "budget_usd": 1_000_000.0})
    (root / "tasks").mkdir(exist_ok=True)
    write_text(root / "tasks" / "apron.yaml", task.model_copy(update={"crowd": crowd}).dump())
    ids = [f"{number:064x}" for number in range(pictures)]
    PICTURES.write(PICTURES.frame({"image_id": i, "blob": "b", "bytes": 1} for i in ids), workspace.table("pictures"))
    alone = {"representative": True, "kind": "single", "distance": 0}
    CLUSTERS.write(CLUSTERS.frame({"image_id": i, "cluster_id": i, **alone} for i in ids), workspace.table("clusters"))
    return workspace


def main() -> None:
    """Make the HITs and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hits", type=int, default=10_000)
    parser.add_argument("--profile", type=Path, help="write the client's cProfile here")
    said = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        workspace = make_shop(root, 10 * said.hits)
        database = f"sqlite:///{Path(folder) / 'crowd.db'}"
        curate = [sys.executable, "-m", "curate.cli"]
        serve = [*curate, "crowd", "serve", "--db", database, "--port", "0"]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["url"]
            issue = [*curate, "crowd", "keys", "issue", "bench", "--db", database, "--json"]
            key = json.loads(subprocess.run(issue, check=True, capture_output=True, text=True).stdout)
            names = {"AWS_ACCESS_KEY_ID": "access_key_id", "AWS_SECRET_ACCESS_KEY": "secret_access_key"}
            environment = {**os.environ, **{name: key[field] for name, field in names.items()}, "CURATE_ENDPOINT": url}
            profile = ["-m", "cProfile", "-o", str(said.profile.resolve())] if said.profile else []
            words = ["-m", "curate.cli", "hits", "create", "--images", str(10 * said.hits), "--yes"]
            began = time.monotonic()
            subprocess.run([sys.executable, *profile, *words], cwd=root, env=environment, check=True)
            took = time.monotonic() - began
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            server.terminate()
        with closing(workspace.project()) as project:
            made = [entry for entry in journal.entries(project, "apron") if entry.state == "created"]
    assert len(made) == len({entry.hit_id for entry in made}) == said.hits
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(
        f"{said.hits} HITs of ten pictures: {took:.1f} s, {said.hits / took:.0f} a second; {cores} cores, load {load:.1f}"
    )
    print(
        f"client and server together {used.ru_utime + used.ru_stime:.1f} CPU s, largest {used.ru_maxrss / 1024:.0f} MB"
    )


if __name__ == "__main__":
    main()
