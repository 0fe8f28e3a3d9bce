"""Makes sample_data/shop anew: draws a small market, and runs the real commands on it, a real crowd server included.

    python sample_data/make.py

Same pictures and same answers every time; ids of HITs, workers and times differ.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from curate.demo.market import draw_market
from curate.demo.process import Server, run, start

HERE = Path(__file__).parent
SEED, SCALE = 11, 0.095
LEFT_BEHIND = {"project.db", "crowd.db", "log.jsonl", ".lock", "runs", "reports"}  # state and names of one machine


def main() -> None:
    """Make the shop beside this file, replacing the one that is there."""
    with tempfile.TemporaryDirectory() as folder:
        made = make(Path(folder))
        shutil.rmtree(HERE / "shop", ignore_errors=True)
        shutil.copytree(made, HERE / "shop", ignore=_left_behind)
    size = sum(path.stat().st_size for path in (HERE / "shop").rglob("*") if path.is_file())
    print(f"{HERE / 'shop'}: {size / 1e6:.2f} MB")


def make(folder: Path) -> Path:
    """The whole story without the trainings, told in a folder; returns the workspace."""
    shop, market = folder / "shop", folder / "market"
    env = {"CURATE_WORKSPACE": str(shop), "HOME": str(folder)}

    def curate(*arguments: str | Path, allowed: tuple[int, ...] = (0,)) -> str:
        print("$ curate", *arguments, file=sys.stderr)
        return run("curate", arguments, env, allowed)

    draw_market(market, SEED, SCALE)
    servers: list[Server] = []
    try:
        servers.append(start("shop", [market], folder / "shop.log"))
        curate("init", shop, "--task", "apron", "--contact", "sample@example.org",
               "--set", "crowd.test_questions=5", "--set", "split.test=0.2")  # fmt: skip
        curate("scrape", servers[0].url, "--delay", "0", "--allow-private", allowed=(0, 3))
        curate("import", "truth", market / "truth.csv")
        curate("check")
        curate("dedup")
        key = json.loads(run("curate", ["crowd", "keys", "issue", "sample", "--json"], env).strip().splitlines()[-1])
        env |= {"AWS_ACCESS_KEY_ID": key["access_key_id"], "AWS_SECRET_ACCESS_KEY": key["secret_access_key"]}
        servers.append(start("curate", ["crowd", "serve", "--workspace", shop, "--port", "0"], folder / "crowd.log"))
        at = ("--endpoint", servers[1].url)
        curate("gold", "import", market / "gold.csv")
        curate("qual", "create", *at)
        curate("hits", "create", "--images", "56", "--seed", str(SEED), "--yes", *at)
        curate("crowd", "simulate", "--workers", "9", "--seed", str(SEED), *at)
        curate("hits", "collect", *at)
        curate("hits", "review", "--yes", *at)
    finally:
        for server in servers:
            server.stop()
    curate("aggregate")
    curate("split")
    return shop


def _left_behind(folder: str, names: list[str]) -> set[str]:
    """What is not copied: databases (they hold keys), the log (it holds paths), and side files of SQLite."""
    return {name for name in names if name in LEFT_BEHIND or name.endswith(("-wal", "-shm", ".part"))}


if __name__ == "__main__":
    main()
