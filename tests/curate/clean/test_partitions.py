"""Partitions in, partitions out: on a disk and on S3, in a pool and over Daft, and after a kill nothing is missing or twice."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import timm
import torch
from photos import photo, save
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from curate.clean.embed import embed
from curate.clean.embed_model import load_embedder
from curate.clean.measure import Limits, inspect
from curate.clean.partitions import hash_partitions
from curate.cli import app
from curate.embeddings import read_vectors
from curate.workspace import Workspace
from schemas.engine import POOL, Engine
from schemas.errors import UserError
from schemas.tables import LOOKS, PICTURES

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

    bucket = boto3.resource("s3").Bucket(s3.removeprefix("s3://"))
    write_parts(tmp_path / "in", parts=3)
    for path in (tmp_path / "in").iterdir():
        bucket.upload_file(str(path), f"pictures/{path.name}")
    # a process of its own: the pool of this one may have begun before these AWS_* were set
    command = ("hash", f"{s3}/pictures", "--out", f"{s3}/hashes/")
    assert f"15 pictures in 3 partitions hashed -> {s3}/hashes/" in curate(*command)
    hash_partitions(str(tmp_path / "in"), str(tmp_path / "out"))
    for path in (tmp_path / "out").iterdir():
        assert bucket.Object(f"hashes/{path.name}").get()["Body"].read() == path.read_bytes()
    bucket.Object("hashes/part-1.parquet").delete()
    curate(*command)  # the others are known by the ends of their files
    again = bucket.Object("hashes/part-1.parquet").get()["Body"].read()
    assert again == (tmp_path / "out" / "part-1.parquet").read_bytes()
    with pytest.raises(UserError, match=r"s3://none: S3 refused ListObjectsV2: .*\(NoSuchBucket\)"):
        hash_partitions("s3://none", f"{s3}/hashes")


def test_partitions_of_other_work_do_not_mix(tmp_path: Path) -> None:
    write_parts(tmp_path / "in", parts=2)
    hash_partitions(str(tmp_path / "in"), str(tmp_path / "out"))
    with pytest.raises(
        UserError, match=r'part-0.parquet: was made by .*"min_side_px": 64.*this run is .*"min_side_px": 10'
    ):
        hash_partitions(str(tmp_path / "in"), str(tmp_path / "out"), limits=Limits(min_side_px=10))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's tiniest model."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model("test_efficientnet", num_classes=7).state_dict(), path)
    return path


def curate(*arguments: object, timeout: int = 200) -> str:
    """What the command says, run in a process of its own: Daft knows one place a process, and forks none."""
    run = subprocess.run(
        [sys.executable, "-m", "curate.cli", *map(str, arguments)], timeout=timeout, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def same_files(folder: Path, other: Path) -> bool:
    files = sorted(folder.iterdir())
    return [f.name for f in files] == sorted(f.name for f in other.iterdir()) and all(
        f.read_bytes() == (other / f.name).read_bytes() for f in files
    )


def embed_options(weights: Path) -> list[object]:
    return ["--model", "test_efficientnet", "--weights", weights, "--side", "64"]


def test_every_row_has_a_vector_or_says_why_and_they_are_those_of_the_model(weights: Path, tmp_path: Path) -> None:
    every = write_parts(tmp_path / "in", parts=2)
    said = curate("embed", tmp_path / "in", "--out", tmp_path / "out", *embed_options(weights))
    assert "10 pictures in 2 partitions embedded" in said
    embedder = load_embedder("test_efficientnet", weights, 64)
    done = pa.concat_tables([pq.read_table(tmp_path / "out" / f"part-{part}.parquet") for part in range(2)]).to_pylist()
    expected = [v for start in (0, 5) for _, found in embed(every[start : start + 5], embedder) for v in found]
    for row, vector in zip(done, expected, strict=True):
        if isinstance(vector, str):
            assert (row["failed"], row["vector"], row["model_id"]) == (vector, None, None)
        else:
            assert (row["model_id"], row["failed"]) == (embedder.model_id, None)
            np.testing.assert_allclose(row["vector"], vector, atol=2e-3)
    assert [bool(row["failed"]) for row in done] == ([False] * 4 + [True]) * 2
    assert json.loads((tmp_path / "out" / "_done.json").read_text())["model_id"] == embedder.model_id


@needs_daft
def test_vectors_over_daft_are_those_of_the_pool_byte_for_byte(weights: Path, tmp_path: Path) -> None:
    write_parts(tmp_path / "in", parts=3)
    for out, engine in (("pool", "pool"), ("daft", "daft")):
        curate("embed", tmp_path / "in", "--out", tmp_path / out, "--engine", engine, *embed_options(weights))
    assert same_files(tmp_path / "pool", tmp_path / "daft")


def working(head: int) -> list[int]:
    """Processes below that one in which Ray runs steps at this moment."""
    parents, names = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, rest = stat.read_text().split(" (", 1)
            names[int(pid)], rest = rest.rsplit(") ", 1)
            parents[int(pid)] = int(rest.split()[1])
    titles = {}
    for pid in parents:
        with suppress(OSError):
            titles[pid] = Path(f"/proc/{pid}/cmdline").read_bytes()

    def below(pid: int) -> bool:
        while pid in parents and pid != head:
            pid = parents[pid]
        return pid == head

    return [pid for pid in parents if titles.get(pid, b"").startswith(b"ray::UDFActor.eval") and below(pid)]


def test_a_ray_cluster_writes_the_same_bytes_though_a_worker_is_killed(
    ray_cluster: str, weights: Path, tmp_path: Path
) -> None:
    write_parts(tmp_path / "in", parts=24, rows=40)
    over_ray = ["--engine", "daft", "--ray", ray_cluster]
    for command, options in (("hash", []), ("embed", embed_options(weights))):
        source, pool, out = tmp_path / "in", tmp_path / f"{command}-pool", tmp_path / f"{command}-ray"
        curate(command, source, "--out", pool, *options)
        running = subprocess.Popen(
            [sys.executable, "-m", "curate.cli", command, *map(str, (source, "--out", out, *options, *over_ray))]
        )
        killed = []
        while running.poll() is None:
            if not killed and len(list(out.glob("*.parquet"))) >= 3 and (killed := working(os.getpid())[:1]):
                os.kill(killed[0], signal.SIGKILL)
            time.sleep(0.002)
        assert running.returncode == 0
        assert killed, "no worker was there to be killed"
        assert same_files(pool, out)


def test_a_ray_cluster_reads_and_writes_s3(ray_cluster: str, s3: str, tmp_path: Path) -> None:
    import boto3

    write_parts(tmp_path / "in", parts=3)
    bucket = boto3.resource("s3").Bucket(s3.removeprefix("s3://"))
    for path in (tmp_path / "in").iterdir():
        bucket.upload_file(str(path), f"pictures/{path.name}")
    curate("hash", f"{s3}/pictures", "--out", f"{s3}/hashes", "--engine", "daft", "--ray", ray_cluster)
    curate("hash", tmp_path / "in", "--out", tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        assert bucket.Object(f"hashes/{path.name}").get()["Body"].read() == path.read_bytes()


def test_check_and_embed_of_a_workspace_over_ray_are_those_of_one_process(
    ray_cluster: str, weights: Path, workspace: Workspace, tmp_path: Path
) -> None:
    for n in range(70):
        save(tmp_path / "photos" / f"{n}.jpg", photo(n))
    there = ("--workspace", workspace.root)
    curate("import", "folder", tmp_path / "photos", *there)
    found = []
    for over in ([], ["--engine", "daft", "--ray", ray_cluster]):
        curate("check", "--again", *over, *there)
        curate("embed", *embed_options(weights), *over, *there)
        ids, vectors, _ = read_vectors(workspace.table("embeddings"))
        looks = LOOKS.read(workspace.table("looks")).sort_values("image_id", ignore_index=True)
        found.append((PICTURES.read(workspace.table("pictures")), looks, vectors[np.argsort(ids)]))
        workspace.table("embeddings").unlink()
    assert found[0][0].equals(found[1][0])
    assert found[0][1].equals(found[1][1])
    assert len(found[0][2]) == 70
    assert (found[0][2] == found[1][2]).all()


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
