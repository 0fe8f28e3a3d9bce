"""The hashes are imagehash's, from a cheaper decode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageOps

from curate.clean.hashes import frequencies, phash64, phash256
from curate.clean.measure import Limits, inspect
from curate.clean.shrunk import pixels_of, shrunk
from curate.neighbors import degenerate, distance256


def noise(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (9, 9), dtype=np.uint8))
    return small.resize((320, 260), Image.Resampling.BICUBIC)


def test_the_matrix_gives_the_bits_of_imagehash() -> None:
    for seed in range(30):
        image = noise(seed)
        assert phash64(image) == int(str(imagehash.phash(image)), 16)
        assert phash256(image) == bytes.fromhex(str(imagehash.phash(image, hash_size=16)))


@pytest.mark.parametrize(
    "size",
    [(64, 64), (267, 200), (200, 267), (200, 356), (200, 400), (65, 300), (399, 64), (900, 440), (30, 200), (2, 3)],
)
def test_a_shrunk_picture_is_byte_for_byte_what_pillow_makes(size: tuple[int, int]) -> None:
    for kind in ("noise", "stripes"):
        values = np.random.default_rng(size).integers(0, 256, size[::-1], dtype=np.uint8)
        gray = Image.fromarray(values if kind == "noise" else (values > 127).astype(np.uint8) * 255)
        for side in (32, 64):
            expected = np.asarray(gray.resize((side, side), Image.Resampling.LANCZOS))
            np.testing.assert_array_equal(shrunk(gray, pixels_of(gray), side), expected)


def test_a_picture_too_large_or_too_small_for_matrices_is_left_to_pillow() -> None:
    sizes = {(64, 64): True, (63, 200): False, (640, 620): True, (640, 640): False}
    for size, by_matrices in sizes.items():
        assert (pixels_of(Image.new("L", size)) is not None) == by_matrices


def test_both_hashes_at_once_and_those_of_the_mirror_image_are_the_same_as_one_by_one() -> None:
    for seed in range(30):
        image = noise(seed)
        turned = ImageOps.mirror(image)
        assert frequencies(image).hashes() == (phash64(image), phash256(image))
        assert frequencies(image).mirrored().hashes() == (phash64(turned), phash256(turned))


def test_on_real_photos_the_reduced_decode_moves_at_most_two_bits(shared_data: Callable[[str], Path]) -> None:
    paths = sorted((shared_data("clothing") / "train").rglob("*.jpg"))[::100]
    moved = []
    for path in paths:
        with Image.open(path) as image:
            full = int(str(imagehash.phash(image)), 16)
        moved.append((inspect(path.read_bytes(), Limits())["phash64"] ^ full).bit_count())
    assert max(moved) <= 2
    assert np.mean(moved) <= 0.6


def test_a_hash_that_says_nothing_is_called_degenerate() -> None:
    flat = phash64(Image.new("L", (100, 100), 200))
    hashes = np.array([flat, phash64(noise(1)), 0, 2**64 - 1], dtype=np.uint64)
    assert degenerate(hashes).tolist() == [True, False, True, True]


def test_distance_counts_differing_bits() -> None:
    a = np.array([[0] * 32, [255] * 32], dtype=np.uint8)
    b = np.array([[1] * 32, [255] * 32], dtype=np.uint8)
    assert distance256(a, b).tolist() == [32, 0]
