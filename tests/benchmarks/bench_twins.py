"""Which changed copies `curate dedup` finds by itself, which it shows to a person, and which strangers it joins. Run: make bench

Every threshold was chosen on the train folder of the clothing photos (--folder train); this measures on the validation folder.
For each kind of change, copies of every 3rd photo are put beside all photos of the folder, and the pairs are found anew. Beside
it what a user would write: one perceptual hash within 4 or 10 bits of 64. --pairs FILE draws the pairs of photos that nobody
changed, those that were joined first, to be looked at by eye. --vectors lets an embedding veto, as `curate embed` does.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from bench_leaks import CHANGES, photos, write_vectors
from PIL import Image, ImageDraw, ImageEnhance

from curate.clean.looks import see
from curate.clean.reasons import Rules
from curate.clean.twins import REFUSED, find_pairs
from schemas.picture import as_seen, open_picture
from schemas.tables import LOOKS, PICTURES

BITS = 10
EVERY = 3


def recolored(image: Image.Image) -> Image.Image:
    """The same picture with every hue a sixth of the circle on: as if the garment came in another color."""
    hue, saturation, value = image.convert("HSV").split()
    return Image.merge("HSV", (hue.point(lambda h: (h + 43) % 256), saturation, value)).convert("RGB")


KINDS: dict[str, Callable[[Image.Image], Image.Image]] = {
    **CHANGES,
    "brightness 1.3": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "mirrored, padded 15 %": lambda image: CHANGES["mirrored"](CHANGES["padded 15 % each side"](image)),
    "recolored (hue + 60)": recolored,
}


def seen(paths: list[Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """PICTURES and LOOKS of these files."""
    rows, looks = [], []
    for path in paths:
        image_id = hashlib.sha256(str(path).encode()).hexdigest()
        found = see(path.read_bytes(), Rules())
        looks.append({"image_id": image_id, **found.pop("look")})
        rows.append({"image_id": image_id, "blob": str(path), "bytes": path.stat().st_size, **found})
    return PICTURES.frame(rows), LOOKS.frame(looks)


def changed(paths: list[Path], kind: str, folder: Path) -> list[Path]:
    """A copy of each file changed in that way, as JPEG."""
    made = []
    for number, path in enumerate(paths):
        with open_picture(path) as image:
            copy = KINDS[kind](as_seen(image))
        made.append(folder / f"{kind.replace(' ', '-')}-{number}.jpg")
        copy.save(made[-1], quality=40 if kind.startswith("re-encoded") else 85)
    return made


def recall(kind: str, originals: pd.DataFrame, looks: pd.DataFrame, folder: Path, vectors: bool) -> None:
    """One row: which copies of that kind are joined, shown, and within 4 or 10 bits."""
    some = originals.iloc[::EVERY]
    copies, copy_looks = seen(changed([Path(blob) for blob in some["blob"]], kind, folder))
    every, all_looks = pd.concat([originals, copies], ignore_index=True), pd.concat([looks, copy_looks])
    file = None
    if vectors:
        file = folder / "vectors.parquet"
        write_vectors([Path(blob) for blob in every["blob"]], every["image_id"].tolist(), file)
    pairs, _ = find_pairs(every, all_looks, Path("/"), BITS, file)
    pairs = pairs[pairs["reason"] != REFUSED]
    wanted = {frozenset(pair) for pair in zip(some["image_id"], copies["image_id"], strict=True)}
    found = zip(pairs["image_id_a"], pairs["image_id_b"], strict=True)
    mine = pairs[np.array([frozenset(pair) in wanted for pair in found], bool)]
    bits = np.bitwise_count(some["phash64"].to_numpy(np.uint64) ^ copies["phash64"].to_numpy(np.uint64))
    reasons = ", ".join(f"{n} {why}" for why, n in mine["reason"].value_counts().items())
    lows = "" if mine["detail"].isna().all() else f"{mine['detail'].quantile(0.05):.2f}"
    print(
        f"| {kind} | {(bits <= 4).mean():.2f} | {(bits <= 10).mean():.2f} | {mine['verified'].sum() / len(some):.2f} | "
        f"{len(mine) / len(some):.2f} | {lows} | {reasons} |",
        flush=True,
    )
    if vectors:
        print(f"    similarity, 1st and 5th percentile: {mine['similarity'].quantile([0.01, 0.05]).round(2).tolist()}")


def natural(originals: pd.DataFrame, looks: pd.DataFrame, vectors: Path | None, sheet: Path | None) -> None:
    """The pairs among photos that nobody changed: every one that was joined is to be looked at."""
    began = time.process_time()
    pairs, refused = find_pairs(originals, looks, Path("/"), BITS, vectors)
    pairs = pairs[pairs["reason"] != REFUSED]
    print(
        f"natural pairs of {len(originals)} photos within {BITS} bits in some form: {refused} times refused, "
        f"{int(pairs['verified'].sum())} joined, "
        f"{int((~pairs['verified']).sum())} for a person; {time.process_time() - began:.1f} CPU s"
    )
    if sheet:
        draw(pairs.sort_values(["verified", "detail"], ascending=False), originals, sheet)


def draw(pairs: pd.DataFrame, originals: pd.DataFrame, sheet: Path, most: int = 32, side: int = 180) -> None:
    """The first pairs side by side in one picture."""
    blobs = dict(zip(originals["image_id"], originals["blob"], strict=True))
    pairs = pairs.head(most)
    page = Image.new("RGB", (4 * (2 * side + 20), max(1, -(-len(pairs) // 4)) * (side + 30)), "white")
    for at, row in enumerate(pairs.to_dict("records")):
        x, y = at % 4 * (2 * side + 20), at // 4 * (side + 30)
        for place, image_id in enumerate((row["image_id_a"], row["image_id_b"])):
            with Image.open(blobs[image_id]) as image:
                image.thumbnail((side - 6, side - 6))
                page.paste(image, (x + place * side, y + 24))
        words = (
            f"{row['how']} {row['distance256']} {row['detail']:.2f} {'joined' if row['verified'] else row['reason']}"
        )
        ImageDraw.Draw(page).text((x, y + 4), words, fill="black", font_size=13)
    page.save(sheet)


def main() -> None:
    """Print the tables of docs/benchmarks.md."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", choices=["train", "validation"], default="validation")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--vectors", action="store_true")
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--most", type=int, default=1500, help="photos of the folder")
    given = parser.parse_args()
    validation, train = photos()
    paths = (validation if given.folder == "validation" else train)[: given.most]
    if not paths:
        sys.exit("the clothing photos are not on this machine; set CONSENSO_SHARED_DATA")
    began = time.process_time()
    originals, looks = seen(paths)
    print(f"{len(paths)} photos, {(time.process_time() - began) / len(paths) * 1000:.1f} CPU ms each to check")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors = folder / "photos.parquet" if given.vectors else None
        if vectors:
            write_vectors(paths, originals["image_id"].tolist(), vectors)
        natural(originals, looks, vectors, given.pairs)
        print("| change | 64 bits <= 4 | <= 10 | joined | joined or shown | detail, 5th percentile | why shown |")
        for kind in given.kinds:
            recall(kind, originals, looks, folder, given.vectors)


if __name__ == "__main__":
    main()
