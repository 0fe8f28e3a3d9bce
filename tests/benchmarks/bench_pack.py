"""Packing beside plain loops, and reading for training beside files and torchvision's ImageFolder. Run: make bench

On the real clothing photos (400 px and up) where they are, else on drawn ones. CPU time is of this process, one thread.
"""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import pandas as pd
from PIL import Image

from curate.dataset.pack import pack, plan_pack
from curate.demo.market import draw_market
from schemas.manifest import write_manifest
from schemas.pack import Format, open_pack

ROUNDS = 3
SOME = 1200  # photos of a round


def photos(folder: Path) -> list[Path]:
    """Real photos where they are, else drawn ones; one folder a class."""
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    real = sorted((base / "clothing" / "train").rglob("*.jpg"))
    if not real:
        draw_market(folder / "market", scale=0.3)
    found = real or sorted((folder / "market").rglob("*.jpg"))
    found = found[:: max(1, len(found) // SOME)]
    print(f"{len(found)} {'real photos' if real else 'drawn pictures'}, {os.cpu_count()} cores")
    return found


def manifest_of(paths: list[Path], folder: Path, times: int = 1) -> Path:
    """A manifest of the photos, each under `times` names."""
    rows = [
        {"image_id": f"{k}-{path.stem}", "path": str(path.resolve()), "split": "unlabeled", "unlabeled_rank": 0.5}
        for k in range(times)
        for path in paths
    ]
    folder.mkdir(parents=True)
    write_manifest(pd.DataFrame(rows), [folder / "clothes.parquet"], task="clothes", classes=["a", "b"])
    return folder / "clothes.parquet"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """CPU seconds of this process and wall seconds; Pillow as a user's program has it, if ours does not set it up itself."""
    Image.core.set_blocks_max(0)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def plain_loop(paths: list[Path], out: Path) -> None:
    """What a user would write first."""
    out.mkdir()
    for path in paths:
        with Image.open(path) as image:
            scale = 256 / min(image.size)
            size = (round(image.width * scale), round(image.height * scale))
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(out / path.name, quality=90)


def downloader_like(paths: list[Path], out: Path) -> None:
    """As data set downloaders do: threads, each picture whole in memory, resized, encoded, a file of its own and its row."""

    def one(path: Path) -> dict[str, object]:
        image = Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        sink = io.BytesIO()
        image.save(sink, "JPEG", quality=90)
        (out / path.name).write_bytes(sink.getvalue())
        return {"key": path.stem, "width": image.width, "height": image.height}

    out.mkdir()
    with ThreadPoolExecutor(2) as pool:
        pd.DataFrame(list(pool.map(one, paths))).to_parquet(out / "rows.parquet")


def bench_packing(paths: list[Path], folder: Path) -> Path:
    """Interleaved rounds of three ways to make 256 px JPEGs; returns the last pack."""
    source = manifest_of(paths, folder / "source")
    ways: dict[str, Callable[[Path], object]] = {
        "curate pack, 1 process": lambda out: pack(plan_pack(source, Format()), out, workers=1),
        "curate pack, 2 processes": lambda out: pack(plan_pack(source, Format()), out, workers=2),
        "plain loop, a file each": lambda out: plain_loop(paths, out),
        "2 threads, a file each": lambda out: downloader_like(paths, out),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(ROUNDS):
        for name, way in ways.items():
            out = folder / f"{name} {turn}"
            spent[name].append(timed(lambda way=way, out=out: way(out)))
            size = sum(path.stat().st_size for path in out.iterdir())
            files = len(list(out.iterdir()))
            if turn == ROUNDS - 1:
                cpu, wall = (median(times[n] for times in spent[name]) for n in (0, 1))
                rate = f"{len(paths) / cpu:6.0f} pictures a CPU second" if "2 processes" not in name else " " * 30
                print(
                    f"{name:26} {rate} {len(paths) / wall:6.0f}/s wall {size / len(paths) / 1000:6.1f} KB each {files:5} files"
                )
    return folder / f"curate pack, 1 process {ROUNDS - 1}"


def bench_memory(paths: list[Path], folder: Path) -> None:
    """Peak memory of the command over so many pictures and over four times as many."""
    code = (
        "import re, sys; from pathlib import Path; from curate.dataset.pack import pack, plan_pack; "
        "from schemas.pack import Format; pack(plan_pack(Path(sys.argv[1]), Format(64)), Path(sys.argv[2]), 1); "
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    for times in (1, 4):
        source = manifest_of(paths, folder / f"memory-{times}", times)
        command = [sys.executable, "-c", code, str(source), str(folder / f"packed-{times}")]
        peak = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        print(f"peak memory of packing {times * len(paths):6} pictures in one process: {peak} MB")


def bench_reading(paths: list[Path], packed: Path) -> None:
    """Reading whole and at random."""
    source = open_pack(packed)
    ids = [f"0-{path.stem}" for path in paths]
    size = sum(part.stat().st_size for part in source.parts)
    cpu, _ = timed(lambda: sum(1 for _ in source.read(ids)))
    print(
        f"reading the whole pack, nothing decoded: {len(ids) / cpu:.0f} pictures a CPU second, {size / cpu / 1e9:.2f} GB/s"
    )
    some = random.Random(0).sample(ids, 200)
    source.jpeg(some[0])
    cpu, _ = timed(lambda: [source.jpeg(image_id) for image_id in some])
    print(f"one picture at random: {cpu / len(some) * 1000:.1f} CPU ms")
    tenth = ids[: len(ids) // 10]
    cpu, _ = timed(
        lambda: sum(1 for _ in source.read([f"0-{p.stem}" for p in sorted(paths, key=lambda p: p.stem)[: len(tenth)]]))
    )
    print(f"a tenth that stands side by side: {cpu * 1000:.0f} CPU ms")


def bench_loading(paths: list[Path], packed: Path) -> None:
    """One pass over the pictures, decoded to a short side."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    from train.feed.load import load_pictures

    rows = pd.DataFrame({"image_id": [f"0-{p.stem}" for p in paths], "path": [str(p.resolve()) for p in paths]})
    kept = {str(path) for path in paths}
    for side in (64, 224):
        steps = [v2.Resize(side, v2.InterpolationMode.BICUBIC), v2.CenterCrop(side), v2.PILToTensor()]
        peer = ImageFolder(str(paths[0].parents[1]), v2.Compose(steps), is_valid_file=lambda path: path in kept)
        ways: dict[str, Callable[[], object]] = {
            "the pack": lambda side=side: load_pictures(rows, open_pack(packed), side),
            "the original files": lambda side=side: load_pictures(rows, Path("/"), side),
            "ImageFolder + DataLoader": lambda peer=peer: sum(len(x) for x, _ in DataLoader(peer, 64)),
        }
        spent: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                spent[name].append(timed(way)[0])
        best = median(spent["the pack"])
        for name, times in spent.items():
            cpu = median(times)
            print(
                f"to {side:3} px from {name:26} {len(paths) / cpu:6.0f} pictures a CPU second, {cpu / best:.2f} times the pack's CPU"
            )


def main() -> None:
    """Print all four."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = photos(folder)
        packed = bench_packing(paths, folder)
        bench_reading(paths, packed)
        bench_loading(paths, packed)
        bench_memory(paths, folder)


if __name__ == "__main__":
    sys.exit(main())
