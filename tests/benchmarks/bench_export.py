"""Pictures per CPU second and peak memory of the Hugging Face export, beside `datasets` building the same. Run: make bench

Each contestant runs in a process of its own, in turn, three times; the least CPU and the largest memory are printed. All
write Parquet with the original bytes inside and an Image feature, in one process; each output is read back and counted.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 3
TIMES = int(os.environ.get("CONSENSO_TIMES", "1"))  # the same photos so many times: how memory grows with their number


def photos() -> list[Path]:
    """3,409 real clothing photos, in class folders."""
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    found = sorted((base / "clothing").rglob("*.jpg"))
    if not found:
        sys.exit("the clothing photos are not on this machine (CONSENSO_SHARED_DATA names their folder)")
    return found * TIMES


def manifest(path: Path) -> None:
    """A manifest of the photos; the one that our export reads."""
    from schemas.manifest import write_manifest
    from schemas.tables import MANIFEST

    rows = [
        {"image_id": hashlib.sha256(f"{n} {photo}".encode()).hexdigest(), "path": photo.as_posix().lstrip("/"),
         "label": photo.parent.name, "split": "train", "n_votes": 3, "n_agree": 3, "chosen_by": "random"}
        for n, photo in enumerate(photos())
    ]  # fmt: skip
    classes = sorted({row["label"] for row in rows})
    write_manifest(MANIFEST.frame(rows), [path], task="clothing", classes=classes)


def ours(folder: Path) -> None:
    """`curate export huggingface`, its library call."""
    from curate.dataset.export.choose import choose, find_pictures
    from curate.dataset.export.circumstances import Circumstances
    from curate.dataset.export.huggingface import export_huggingface
    from schemas.manifest import read_manifest

    chosen = find_pictures(choose(read_manifest(folder.parent / "clothing.parquet")), Path("/"))
    export_huggingface(chosen, folder / "out", Circumstances(), processes=1)


def from_dict(folder: Path) -> None:
    """Paths into a Dataset, cast to Image, bytes embedded as push_to_hub does it, to Parquet."""
    import datasets
    from datasets.table import embed_table_storage

    made = datasets.Dataset.from_dict(_columns()).cast(_features())
    made = made.with_format("arrow").map(
        embed_table_storage, batched=True, batch_size=100, cache_file_name=str(folder / "embedded.arrow")
    )
    made.with_format(None).to_parquet(folder / "train-00000-of-00001.parquet")


def from_generator(folder: Path) -> None:
    """Bytes from a generator into a Dataset, to Parquet."""
    import datasets

    columns = _columns()

    def rows() -> Any:
        for path, label in zip(columns["image"], columns["label"], strict=True):
            yield {"image": {"bytes": Path(path).read_bytes(), "path": Path(path).name}, "label": label}

    made = datasets.Dataset.from_generator(rows, features=_features(), cache_dir=str(folder / "cache"))
    made.to_parquet(folder / "train-00000-of-00001.parquet")


def _columns() -> dict[str, list[str]]:
    found = photos()
    return {"image": [str(path) for path in found], "label": [path.parent.name for path in found]}


def _features() -> Any:
    import datasets

    names = sorted(set(_columns()["label"]))
    return datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})


CONTESTANTS = {"ours": ours, "from_dict": from_dict, "from_generator": from_generator}


def contest(name: str, folder: Path) -> None:
    """One run in this process: prints CPU seconds of the work without imports, and peak memory in MB with them."""
    import datasets  # noqa: F401 - imported by all, so that imports weigh the same
    import pandas as pd  # noqa: F401
    import pyarrow.parquet as pq

    began = time.process_time()
    CONTESTANTS[name](folder)
    spent = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tables = [pq.read_table(path, columns=["image"]) for path in folder.rglob("*.parquet")]
    filled = sum(value is not None for table in tables for value in table["image"].combine_chunks().field("bytes"))
    assert filled == len(photos()), (name, filled)
    print(spent, peak)


def main() -> None:
    """Run all in turn and print the figures."""
    with tempfile.TemporaryDirectory() as place:
        manifest(Path(place) / "clothing.parquet")
        results: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
        for _ in range(ROUNDS):
            for name, all_ in results.items():
                folder = Path(place) / name
                folder.mkdir()
                env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
                done = subprocess.run(
                    [sys.executable, __file__, name, str(folder)],
                    env=env,
                    check=True,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                spent, peak = map(float, done.stdout.split()[-2:])
                all_.append((spent, peak))
                shutil.rmtree(folder)
    n = len(photos())
    print(f"{n:,} real photos, one process each, {ROUNDS} rounds")
    for name, all_ in results.items():
        spent, peak = min(s for s, _ in all_), max(p for _, p in all_)
        print(f"{name:15} {n / spent:7,.0f} pictures per CPU second, peak {peak:6,.0f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        contest(sys.argv[1], Path(sys.argv[2]))
    else:
        main()
