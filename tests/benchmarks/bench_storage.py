"""What S3 costs: requests a picture, and seconds for 100 pictures when each request takes 30 ms, one at a time and overlapped.

A real S3 server (moto) stands behind a door that holds each request for 30 ms; folders are measured beside it.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from moto.server import ThreadedMotoServer
from PIL import Image

import schemas.storage as storage
from curate.clean.check import check_pictures
from curate.clean.measure import Limits
from curate.collect.folder import read_folder
from curate.dataset.shrink import made_small
from curate.workspace import now
from schemas.pack import Format
from schemas.storage import storage_at
from train.feed.load import load_pictures

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.waiting_s3 import WaitingS3

COUNT, DELAY = 100, 0.03


def measure(root: Path, where: str, door: WaitingS3) -> dict[str, tuple[float, float]]:
    """Seconds and requests a picture of each step."""
    found: dict[str, tuple[float, float]] = {}

    def step(name: str, call: Callable[[], object]) -> None:
        begun, asked = time.perf_counter(), door.requests
        call()
        found[name] = (time.perf_counter() - begun, (door.requests - asked) / COUNT)

    kept = storage_at(where)
    taken: list[object] = []
    step("import folder", lambda: taken.append(read_folder(root / "in", kept, now())))
    pictures = taken[0].pictures  # type: ignore[attr-defined]
    base = root if where.startswith("s3://") else Path(where)
    jobs = [(i, str(storage.place_of(base, b))) for i, b in zip(pictures["image_id"], pictures["blob"], strict=True)]

    def pack() -> None:
        with made_small(jobs, Format(), 1) as small:
            assert sum(one.jpeg is not None for one in small) == COUNT

    step("check", lambda: list(check_pictures(base, pictures, Limits())))
    step("pack", pack)
    step("train reads", lambda: load_pictures(pictures.rename(columns={"blob": "path"}), base, 64))
    return found


def main() -> None:
    """Measure and print."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    door = WaitingS3(f"http://{host}:{port}", together=0, delay=DELAY)
    os.environ |= {"AWS_ENDPOINT_URL": door.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    import boto3

    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="bench-originals")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "in").mkdir()
        for number in range(COUNT):
            shade = Image.effect_noise((400, 400), 40 + number / 4).convert("RGB")
            shade.save(root / "in" / f"{number}.jpg", quality=85)
        rows = {"folder": measure(root, str(root / "shop"), door)}
        rows["S3, 16 at once"] = measure(root, "s3://bench-originals/overlapped", door)
        storage.AT_ONCE = storage.Bucket.at_once = 1
        rows["S3, one at a time"] = measure(root, "s3://bench-originals/one", door)
    print(f"{COUNT} pictures, {DELAY * 1000:.0f} ms a request: seconds (requests a picture)")
    for name, row in rows.items():
        print(f"{name:18}", "  ".join(f"{step} {s:.1f} ({asked:.0f})" for step, (s, asked) in row.items()))
    server.stop()


if __name__ == "__main__":
    main()
