"""Partitions in, partitions out: on a disk and on S3, in a pool and over Daft, and after a kill nothing is missing or twice."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from curate.clean.measure import Limits, inspect
from curate.clean.partitions import hash_partitions
from curate.cli import app
from schemas.engine import POOL, Engine
from schemas.errors import UserError

needs_daft = pytest.mark.skipif(not find_spec("daft"), reason="the extra `scale` (Daft) is not installed")


def picture(seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    small = Image.fromarray(rng.integers(0, 255, (7, 7, 3), dtype=np.uint8))
    small.resize((120, 100), Image.Resampling.BICUBIC).save(file, "JPEG")
    return file.getvalue()


def write_parts(folder: Path, parts: int = 4, rows: int = 5) -> list[bytes]:
    """Partitions as Hugging Face writes them; the last picture of each is cut off."""
    folder.mkdir()
    every = []
    for part in range(parts):
        data = [picture(part * rows + row) for row in range(rows)]
        data[-1] = data[-1][:300]
        images = [{"bytes": one, "path": f"{part}/{row}.jpg"} for row, one in enumerate(data)]
        pq.write_table(pa.table({"image": images, "label": list(range(rows))}), folder / f"part-{part}.parquet")
        every += data
    return every


@pytest.mark.parametrize(
    "engine", [pytest.param(POOL, id="pool"), pytest.param(Engine("daft"), id="daft", marks=needs_daft)]
)
def test_every_row_of_every_partition_has_its_hashes_or_says_why(engine: Engine, tmp_path: Path) -> None:
    every = write_parts(tmp_path / "in")
    counts = hash_partitions(str(tmp_path / "in"), str(tmp_path / "out"), engine=engine)
    assert counts == {f"part-{part}.parquet": 5 for part in range(4)}
    done = pa.concat_tables([pq.read_table(tmp_path / "out" / name) for name in counts])
    assert done["row"].to_pylist() == [0, 1, 2, 3, 4] * 4
    assert done["path"].to_pylist() == [f"{part}/{row}.jpg" for part in range(4) for row in range(5)]
    for said, data in zip(done.to_pylist(), every, strict=True):
        found = inspect(data, Limits())
        assert {name: said[name] for name in found} == found
    assert [bool(reason) for reason in done["dropped"].to_pylist()] == [False] * 4 + [True] + ([False] * 4 + [True]) * 3
    assert json.loads((tmp_path / "out" / "_done.json").read_text())["rows"] == counts


def test_files_are_found_by_their_path_and_a_missing_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "a.jpg").write_bytes(picture(1))
    pq.write_table(pa.table({"path": ["a.jpg", "b.jpg"]}), tmp_path / "in" / "only.parquet")
    command = ["hash", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--root", str(tmp_path)]
    run = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "2 pictures in 1 partitions hashed" in run.stdout
    rows = pq.read_table(tmp_path / "out" / "only.parquet").to_pylist()
    assert rows[0]["phash64"] == inspect(picture(1), Limits())["phash64"]
    assert rows[1]["dropped"] == "broken: its file cannot be read (No such file or directory)"


def test_killed_at_any_moment_it_goes_on_and_the_result_is_the_same(tmp_path: Path) -> None:
    write_parts(tmp_path / "in", parts=12, rows=40)
    hash_partitions(str(tmp_path / "in"), str(tmp_path / "whole"))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "curate.cli", "hash", str(tmp_path / "in"), "--out", str(out)]
    running = subprocess.Popen(command, start_new_session=True)
    while running.poll() is None and len(list(out.glob("*.parquet"))) < 3:
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (out / "_done.json").exists()
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}
    subprocess.run(command, check=True, timeout=120)
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "whole").iterdir()}
    for path in (tmp_path / "whole").iterdir():
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in out.glob("*.parquet")}.items()


def test_partitions_are_read_from_s3_and_written_there(s3: str, tmp_path: Path) -> None:
    import boto3

    client = boto3.client("s3")
    client.create_bucket(Bucket="shop")
    write_parts(tmp_path / "in", parts=3)
    for path in (tmp_path / "in").iterdir():
        client.upload_file(str(path), "shop", f"pictures/{path.name}")
    # a process of its own: the pool of this one may have begun before these AWS_* were set
    command = [sys.executable, "-m", "curate.cli", "hash", "s3://shop/pictures", "--out", "s3://shop/hashes/"]
    run = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    assert "15 pictures in 3 partitions hashed -> s3://shop/hashes/" in run.stdout
    hash_partitions(str(tmp_path / "in"), str(tmp_path / "out"))
    for path in (tmp_path / "out").iterdir():
        assert client.get_object(Bucket="shop", Key=f"hashes/{path.name}")["Body"].read() == path.read_bytes()
    with pytest.raises(UserError, match=r"s3://none: S3 refused ListObjectsV2: .*\(NoSuchBucket\)"):
        hash_partitions("s3://none", "s3://shop/hashes")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("notes.txt", b"hello", "holds no .parquet files"),
        ("a.parquet", b"hello", "a.parquet: cannot be read as Parquet"),
        ("a.parquet", None, "has neither a column `image` nor `path`; found name"),
    ],
)
def test_what_is_no_partition_is_named(name: str, content: bytes | None, said: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    if content is None:
        pq.write_table(pa.table({"name": ["a"]}), folder / name)
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        hash_partitions(str(folder), str(tmp_path / "out"))
    assert not list((tmp_path / "out").glob("*.parquet*")) if (tmp_path / "out").exists() else True
