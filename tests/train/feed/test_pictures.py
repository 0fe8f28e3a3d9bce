"""The ways to hold pictures give the same pixels; what cannot be held, read or shared is said."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from schemas.errors import UserError
from schemas.pack import open_pack
from train.feed import hold
from train.feed.decode import decode, has_simplejpeg
from train.feed.hold import choose_hold
from train.feed.load import load_pictures
from train.feed.pictures import InMemory, OnDevice, Streamed
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]
WAYS = ("memory", "device", "stream")


def jpeg(width: int, height: int, seed: int = 0, **save: object) -> bytes:
    """A picture with shades and structure."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noisy = np.clip(np.asarray(rough) + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", **{"quality": 90, **save})
    return buffer.getvalue()


def shop(folder: Path, n: int = 12) -> pd.DataFrame:
    """Photos of all shapes, one that is no picture."""
    rng = np.random.default_rng(1)
    names = [f"{number}.jpg" for number in range(n)]
    for number, name in enumerate(names):
        width, height = (int(length) for length in rng.integers(30, 90, 2))
        (folder / name).write_bytes(jpeg(300 if number == 5 else width, height, number))
    (folder / "0.jpg").write_bytes(b"no picture")
    return pd.DataFrame({"image_id": names, "path": names, "label": "x"})


def test_the_three_ways_give_the_same_pixels_and_the_same_failures(tmp_path: Path) -> None:
    rows = shop(tmp_path)
    held = {way: load_pictures(rows, tmp_path, 32, way) for way in WAYS}
    assert [type(pictures) for pictures, _ in held.values()] == [InMemory, OnDevice, Streamed]
    asked = rows.image_id[[7, 5, 3, 3, 11, 1]]
    first, failed = held["memory"]
    batch = first.batch(first.positions(asked))
    assert set(failed) == {"0.jpg"}
    assert len(set(map(tuple, batch.sizes.tolist()))) > 3  # else padding is not tried
    for pictures, reasons in held.values():
        other = pictures.batch(pictures.positions(asked))
        assert reasons == failed
        assert len(pictures) == 11
        assert torch.equal(other.pixels, batch.pixels)
        assert torch.equal(other.sizes, batch.sizes)
        assert other.pixels.stride() == batch.pixels.stride()  # sums depend on the layout


def test_a_batch_larger_than_what_is_gathered_at_once_is_whole(tmp_path: Path) -> None:
    rows = shop(tmp_path)
    memory, device = (load_pictures(rows, tmp_path, 24, way)[0] for way in ("memory", "device"))
    many = np.random.default_rng(0).integers(0, 11, 150)
    assert torch.equal(memory.batch(many).pixels, device.batch(many).pixels)


def test_a_pack_streams_the_pixels_that_memory_holds(make_manifest: Make, tmp_path: Path) -> None:
    from curate.dataset.pack import pack, plan_pack
    from schemas.manifest import read_manifest
    from schemas.pack import Format

    manifest = make_manifest()
    pack(plan_pack(manifest, Format(side_px=32)), tmp_path / "pack", workers=1)
    rows = read_manifest(manifest).rows
    kept = rows[rows["dropped"].isna()]
    held = [load_pictures(kept, open_pack(tmp_path / "pack"), 28, way)[0] for way in WAYS]
    batches = [pictures.batch(pictures.positions(kept.image_id[:20])).pixels for pictures in held]
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])


def test_a_picture_that_changes_under_a_stream_ends_the_run_with_its_name(tmp_path: Path) -> None:
    rows = shop(tmp_path)
    pictures, _ = load_pictures(rows, tmp_path, 32, "stream")
    (tmp_path / "4.jpg").unlink()
    with pytest.raises(UserError, match=r"picture 4\.jpg changed while the run read it \(no such file\)"):
        pictures.batch(pictures.positions(["3.jpg", "4.jpg"]))
    (tmp_path / "4.jpg").write_bytes(jpeg(40, 95))
    with pytest.raises(UserError, match="it has another size"):
        pictures.batch(pictures.positions(["4.jpg"]))


@pytest.mark.skipif(not has_simplejpeg(), reason="simplejpeg is not installed: Pillow decodes everything")
@pytest.mark.parametrize("side", [24, 64, 100])
@pytest.mark.parametrize(
    "save",
    [{}, {"subsampling": 0}, {"subsampling": 1}, {"progressive": True}, {"quality": 30}, {"optimize": True}],
    ids=str,
)
def test_both_decoders_give_the_same_pixels(side: int, save: dict[str, object]) -> None:
    for number, (width, height) in enumerate([(100, 133), (257, 100), (99, 64), (700, 64), (64, 64), (333, 251)]):
        data = jpeg(width, height, number, **save)
        (fast, slow) = decode(data, side), _by_pillow(data, side)
        assert isinstance(fast, np.ndarray)
        assert np.array_equal(fast, slow), (width, height)


def test_odd_jpegs_are_decoded_as_pillow_does() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    whole = jpeg(60, 40, exif=exif)
    turned = decode(whole, 40)
    assert isinstance(turned, np.ndarray)
    assert turned.shape == (60, 40, 3)
    assert np.array_equal(turned, _by_pillow(whole, 40))
    half = decode(jpeg(200, 150)[:3000], 40)
    assert isinstance(half, str)
    assert "truncated" in half
    for mode in ("L", "CMYK"):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(jpeg(60, 50))).convert(mode).save(buffer, "JPEG")
        assert np.array_equal(decode(buffer.getvalue(), 30), _by_pillow(buffer.getvalue(), 30))


def _by_pillow(data: bytes, side: int) -> np.ndarray:
    """As Pillow alone makes it."""
    from train.feed.decode import _middle, _resized

    return _middle(_resized(Image.open(io.BytesIO(data)), side), side)


# Which way a run takes


def test_auto_keeps_pictures_in_memory_where_they_fit_and_streams_them_where_they_do_not() -> None:
    free = hold.free_memory()
    one = hold.decoded_bytes(1, 256)
    assert choose_hold("auto", 10, 256, torch.device("cpu")) == "memory"
    assert choose_hold("auto", 2 * free // one, 256, torch.device("cpu")) == "stream"
    assert choose_hold("memory", 2 * free // one, 256, torch.device("cpu")) == "memory"


def test_a_word_that_is_no_way_is_one_line() -> None:
    with pytest.raises(UserError, match="--hold disk: say one of auto, device, memory, stream"):
        Request("vit", Path("m.parquet"), hold="disk")


def test_runs_that_hold_their_pictures_differently_end_with_the_same_weights_and_go_on_with_each_other(
    make_manifest: Make, ask: Ask, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ask(make_manifest(), "semivit", "epochs=2", "semi_steps=4", "eval_every=2")
    weights, prints = set(), set()
    for way in WAYS:
        record = train(replace(asked, hold=way, out=tmp_path / way))
        weights.add(hashlib.sha256((tmp_path / way / "model.safetensors").read_bytes()).hexdigest())
        prints.add(record["fingerprint"])
    assert len(weights) == len(prints) == 1
    said = capsys.readouterr().err
    for words in ("decoded once, kept in memory", "decoded once, kept on the GPU", "decoded anew for every batch"):
        assert words in said


# Several processes on one machine

SHARED = """
import hashlib, json, os, sys
from pathlib import Path
import numpy as np, pandas as pd
from train import ranks
from train.feed.load import load_pictures
ranks.join()
rows = pd.DataFrame(json.loads(Path(sys.argv[1], "rows.json").read_text()))
pictures, failed = load_pictures(rows, Path(sys.argv[1]), 32, sys.argv[2])
block = pictures.batch(np.arange(len(pictures)))
said = [len(pictures), failed, hashlib.sha256(block.pixels.contiguous().numpy().tobytes()).hexdigest()]
kept = sum(file.stat().st_size for file in Path("/proc/self/fd").iterdir() if file.exists() and file.is_file())
Path(sys.argv[1], f"{ranks.number()}-{sys.argv[2]}.json").write_text(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["memory", "stream"])
def test_processes_of_one_machine_read_the_pictures_once(tmp_path: Path, way: str) -> None:
    rows = shop(tmp_path)
    (tmp_path / "rows.json").write_text(json.dumps(rows.to_dict("list")))
    (tmp_path / "job.py").write_text(SHARED)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(scratch)}
    done = subprocess.run(
        [*launch, str(tmp_path / "job.py"), str(tmp_path), way], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    one, two = (json.loads((tmp_path / f"{number}-{way}.json").read_text()) for number in (0, 1))
    assert one == two
    alone, failed = load_pictures(rows, tmp_path, 32, way)
    block = alone.batch(np.arange(len(alone))).pixels.contiguous().numpy()
    assert one == [len(alone), failed, hashlib.sha256(block.tobytes()).hexdigest()]
    assert not [path for path in scratch.rglob("*") if path.is_file() and "torchelastic" not in str(path)]
    assert done.stderr.count("cannot be read") == 1
