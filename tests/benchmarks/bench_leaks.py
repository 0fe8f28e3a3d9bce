"""Which changed copies `curate leaks` finds across the test line, and which strangers it accuses. Run: make bench

Thresholds were chosen on the train folder of the clothing photos; this measures on its validation folder: every 6th photo is a
test picture, and a changed copy of it lies in train among the 3,068 photos of the train folder. Beside it what a user would
write: one perceptual hash within 10 bits, or one cosine above 0.9.  --scale N adds the time of N pictures against 3,000.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from curate.clean.embed import _Writer, embed
from curate.clean.embed_model import load_embedder
from curate.clean.rehash import hashes_of, mirrored_hashes
from curate.dataset.leaks import _by_hash, _with_similarity, find_leaks
from schemas.picture import as_seen, open_picture
from schemas.tables import PICTURES

EVERY = 6


def cut(image: Image.Image, share: float) -> Image.Image:
    x, y = int(image.width * share), int(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


def on_square(image: Image.Image) -> Image.Image:
    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def marked(image: Image.Image) -> Image.Image:
    copy = image.copy()
    text = ImageDraw.Draw(copy)
    text.text((copy.width * 0.1, copy.height * 0.45), "SAMPLE SHOP", fill="white", font_size=copy.width // 8)
    return copy


def banner(image: Image.Image) -> Image.Image:
    copy = image.copy()
    ImageDraw.Draw(copy).rectangle((0, copy.height * 0.85, copy.width, copy.height), fill=(200, 30, 30))
    return copy


def padded(image: Image.Image, share: float) -> Image.Image:
    return ImageOps.expand(image, (int(image.width * share), int(image.height * share)), "white")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "re-encoded, quality 40": lambda image: image,
    "resized to 25 %": lambda image: image.resize((image.width // 4, image.height // 4), Image.Resampling.LANCZOS),
    "cropped 3 % each side": lambda image: cut(image, 0.03),
    "cropped 6 % each side": lambda image: cut(image, 0.06),
    "cropped 10 % each side": lambda image: cut(image, 0.10),
    "padded 5 % each side": lambda image: padded(image, 0.05),
    "padded 15 % each side": lambda image: padded(image, 0.15),
    "padded to a square": on_square,
    "mirrored": ImageOps.mirror,
    "mirrored, cropped 6 %": lambda image: cut(ImageOps.mirror(image), 0.06),
    "watermark": marked,
    "banner over 15 %": banner,
    "brightness 0.7": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "gray": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "turned by 2 degrees": lambda image: image.rotate(2, Image.Resampling.BICUBIC, fillcolor="white"),
}


def rows_of(paths: list[Path], split: str, root: Path) -> pd.DataFrame:
    """Manifest rows of these files."""
    ids = [hashlib.sha256(str(path).encode()).hexdigest() for path in paths]
    names = [str(path) if not path.is_relative_to(root) else str(path.relative_to(root)) for path in paths]
    return pd.DataFrame({"image_id": ids, "path": names, "split": split, "label": None, "group_id": ids})


def write_vectors(paths: list[Path], ids: list[str], file: Path) -> np.ndarray:
    """Vectors of these files, also as an EMBEDDINGS file."""
    embedder = load_embedder()
    vectors = np.stack([vector for _, found in embed(paths, embedder) for vector in found])
    with _Writer(file, embedder.model_id) as writer:
        writer.add(ids, embedder.model_id, vectors)
    return vectors


def photos() -> tuple[list[Path], list[Path]]:
    """The clothing photos of the validation and of the train folder; none where they are not on this machine."""
    base = Path(os.environ.get("CONSENSO_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "clothing"
    return sorted((base / "validation").rglob("*.jpg")), sorted((base / "train").rglob("*.jpg"))


def strangers(folder: Path) -> None:
    """How many pairs of the published validation and train folders are accused: as far as is known they are all strangers."""
    tests, others = photos()
    every = pd.concat([rows_of(tests, "test", folder), rows_of(others, "train", folder)], ignore_index=True)
    began = time.process_time()
    vectors = write_vectors([folder / path for path in every["path"]], every["image_id"].tolist(), folder / "e.parquet")
    print(f"embedding: {(time.process_time() - began) / len(every) * 1000:.1f} CPU ms a picture")
    hashes = hashes_of(folder, every, PICTURES.empty())
    mirrored = mirrored_hashes(folder, every[every["split"] == "test"])
    for title, file in (("hashes and vectors", folder / "e.parquet"), ("hashes alone", None)):
        found = find_leaks(every, hashes, mirrored, folder, file).pairs
        firm = found[found["kind"] != "look-alike"]
        said = f"{len(firm)} twins, {len(found) - len(firm)} look-alikes"
        print(f"strangers, {len(tests)} x {len(others)}, {title}: {said}")
        for row in firm.to_dict("records"):
            bits = f"bits {row['distance64']}/{row['distance256']}, detail {row['detail']}"
            print(f"    {row['path']} = {row['other_path']}: {bits}")
    code = hashes.set_index("image_id")["phash64"].reindex(every["image_id"]).to_numpy(np.uint64)
    n = len(tests)
    near = int((np.bitwise_count(code[:n, None] ^ code[None, n:]) <= 10).sum())
    print(
        f"strangers, one hash within 10 bits: {near}; one cosine from 0.9: {int((vectors[:n] @ vectors[n:].T >= 0.9).sum())}"
    )


def changed_copies(folder: Path) -> None:
    """Which share of copies of each kind is found."""
    tests, others = photos()
    tests = tests[::EVERY]
    copies: dict[str, list[Path]] = {}
    for number, (name, change) in enumerate(CHANGES.items()):
        copies[name] = [folder / f"{number}-{path.name}" for path in tests]
        for path, copy in zip(tests, copies[name], strict=True):
            with open_picture(path) as image:
                change(as_seen(image)).save(copy, quality=40 if "quality" in name else 85)
    every = pd.concat([rows_of(tests, "test", folder), rows_of(others, "train", folder)])
    every = pd.concat([every, *(rows_of(paths, "train", folder) for paths in copies.values())], ignore_index=True)
    vectors = write_vectors([folder / path for path in every["path"]], every["image_id"].tolist(), folder / "e.parquet")
    hashes = hashes_of(folder, every, PICTURES.empty())
    mirrored = mirrored_hashes(folder, every[every["split"] == "test"])
    code = hashes.set_index("image_id")["phash64"].reindex(every["image_id"]).to_numpy(np.uint64)

    natural = every.iloc[: len(tests) + len(others)].reset_index(drop=True)
    n, m = len(tests), len(tests) + len(others)
    print(f"{'copies found':26} both   hashes alone   or look-alike   one hash <= 10   cosine >= 0.9")
    total = np.zeros(5)
    for number, (name, paths) in enumerate(copies.items()):
        at = np.arange(m + number * n, m + number * n + n)
        rows = pd.concat([natural, every.iloc[at]], ignore_index=True)
        own = dict(zip(every["image_id"][:n], every["image_id"].iloc[at], strict=True))
        share = []
        for file in (folder / "e.parquet", None):
            found = find_leaks(rows, hashes, mirrored, folder, file).pairs
            hit = found[found["other_id"] == found["image_id"].map(own)]
            share.append((hit["kind"] != "look-alike").sum() / n)
            if file:
                alike = len(hit) / n
        cosine = (vectors[:n] * vectors[at]).sum(1)
        line = [*share, alike, (np.bitwise_count(code[:n] ^ code[at]) <= 10).mean(), (cosine >= 0.9).mean()]
        total += line
        print(
            f"{name:26} {line[0]:.2f}       {line[1]:.2f}           {line[2]:.2f}            {line[3]:.2f}             {line[4]:.2f}",
            flush=True,
        )
        assert len(paths) == n
    mean = total / len(copies)
    print(
        f"{'all':26} {mean[0]:.3f}      {mean[1]:.3f}          {mean[2]:.3f}           {mean[3]:.3f}            {mean[4]:.3f}"
    )


def scale(folder: Path, count: int, tests: int = 3000, width: int = 1280) -> None:
    """Time and memory of the candidates of `tests` pictures among `count` random ones; pictures are not opened."""
    rng = np.random.default_rng(0)
    ids = [f"{n:064x}" for n in range(count)]
    began = time.process_time()
    with _Writer(folder / "many.parquet", "random") as writer:
        for start in range(0, count, 8192):
            block = rng.normal(size=(min(8192, count - start), width)).astype(np.float32)
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            block = ((block.view(np.uint32) + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)
            writer.add(ids[start : start + len(block)], "random", block)
    size = (folder / "many.parquet").stat().st_size
    print(
        f"{count} x {width} written: {size / 1e9:.2f} GB (float32 plain {count * width * 4 / 1e9:.2f}), {time.process_time() - began:.0f} CPU s"
    )
    rows = pd.DataFrame({"image_id": ids, "split": ["test"] * tests + ["train"] * (count - tests)})
    level = np.where(rows["split"] == "test", 0, 2)
    code = pd.DataFrame(
        {"phash64": rng.integers(0, 2**64, count, dtype=np.uint64), "phash256": [rng.bytes(32) for _ in ids]}, index=ids
    )
    began = time.process_time()
    near = _by_hash(level, code, code, 10)
    print(f"hash candidates, {tests} x {count}: {time.process_time() - began:.1f} CPU s, {len(near)} pairs")
    began = time.process_time()
    near, _ = _with_similarity(near, rows, level, folder / "many.parquet", "random")
    print(f"nearest by vectors: {time.process_time() - began:.0f} CPU s, {len(near)} pairs")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def main() -> None:
    """Quality, or time if asked for."""
    asked = argparse.ArgumentParser()
    asked.add_argument("part", nargs="?", choices=["strangers", "copies"], help="default: both")
    asked.add_argument("--scale", type=int, default=0, help="instead: the time of so many pictures against 3,000")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.scale:
            scale(Path(folder), given.scale)
        elif not photos()[1]:
            print("the clothing photos are not on this machine: quality was not measured")
        else:
            for part in [given.part] if given.part else ["strangers", "copies"]:
                {"strangers": strangers, "copies": changed_copies}[part](Path(folder))


if __name__ == "__main__":
    sys.exit(main())
