"""What shops serve instead of pictures, as `curate check` meets it in files; beside the table of test_measure."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import likenesses
import numpy as np
import pytest
from PIL import Image, features

from curate.clean.looks import see_file
from curate.clean.reasons import Rules

PHOTO = likenesses.photo(5)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def check(data: bytes, folder: Path, name: str = "picture.jpg") -> dict[str, Any]:
    (folder / name).write_bytes(data)
    return see_file((0, str(folder / name), Rules()))[1]


def test_random_bytes_in_the_middle_of_a_png_are_noticed(tmp_path: Path) -> None:
    data = bytearray(encoded(PHOTO, "PNG"))
    data[len(data) // 2 : len(data) // 2 + 40] = np.random.default_rng(0).bytes(40)
    assert check(bytes(data), tmp_path)["dropped"].startswith("broken")


@pytest.mark.parametrize("seed", range(8))
def test_random_bytes_in_the_middle_of_a_jpeg_never_stop_the_run(tmp_path: Path, seed: int) -> None:
    data, rng = bytearray(encoded(PHOTO, "JPEG")), np.random.default_rng(seed)
    at = int(rng.integers(700, len(data) - 200))
    data[at : at + 60] = rng.bytes(60)
    found = check(bytes(data), tmp_path)
    assert found.get("dropped", "broken").startswith("broken") == ("look" not in found or "dropped" not in found)
    assert ("phash64" in found) == ("look" in found), "what is measured is looked at, and nothing else"


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_a_download_that_was_cut_is_broken(tmp_path: Path, share: float) -> None:
    data = encoded(PHOTO, "JPEG")
    assert check(data[: int(len(data) * share)], tmp_path)["dropped"].startswith(("broken", "not a picture"))


@pytest.mark.parametrize(
    "data",
    [b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200), b"%PDF-1.7\n", b'{"error": 404}', b"GIF89a"],
)
def test_what_no_picture_program_opens_is_kept_with_its_first_bytes(tmp_path: Path, data: bytes) -> None:
    dropped = check(data, tmp_path)["dropped"]
    assert dropped.startswith(("not a picture", "broken"))
    if dropped.startswith("not a picture"):
        assert repr(data[:16]) in dropped


def test_a_file_that_is_gone_says_so() -> None:
    assert "cannot be read" in see_file((3, "/no/such/file", Rules()))[1]["dropped"]


@pytest.mark.parametrize(
    ("image", "form", "name", "bits"),
    [
        (PHOTO, "PNG", "picture.jpg", 0),  # a wrong extension
        (PHOTO.convert("CMYK"), "JPEG", "picture.jpg", 6),
        (PHOTO.convert("L").convert("LA"), "PNG", "picture.png", 4),
        (PHOTO, "AVIF", "picture.avif", 6),
        (PHOTO, "JPEG2000", "picture.jp2", 6),
        (PHOTO.convert("1"), "PNG", "picture.png", 14),
    ],
)
def test_unusual_pictures_count_and_look_as_they_should(
    tmp_path: Path, image: Image.Image, form: str, name: str, bits: int
) -> None:
    if (form, False) in (("AVIF", features.check("avif")), ("JPEG2000", features.check("jpg_2000"))):
        pytest.skip(f"this Pillow was built without {form}")
    plain, found = check(encoded(PHOTO, "PNG"), tmp_path), check(encoded(image, form), tmp_path, name)
    assert (found.get("dropped"), found["format"]) == (None, form)
    assert (found["phash64"] ^ plain["phash64"]).bit_count() <= bits


def test_a_turned_picture_is_compared_as_it_is_seen(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = check(encoded(PHOTO, "JPEG", exif=exif, quality=95), tmp_path)["look"]
    shown = check(encoded(PHOTO.transpose(Image.Transpose.ROTATE_270), "JPEG", quality=95), tmp_path)["look"]
    assert (turned["mirror64"] ^ shown["mirror64"]).bit_count() <= 2


def test_transparent_parts_are_a_white_border(tmp_path: Path) -> None:
    hole = PHOTO.convert("RGBA")
    wide = Image.new("RGBA", (500, 500), (255, 0, 0, 0))  # red, hidden by transparency
    wide.paste(hole, (100, 50))
    found = check(encoded(wide, "PNG"), tmp_path, "picture.png")
    plain = check(encoded(PHOTO, "PNG"), tmp_path)
    assert (found["look"]["trimmed64"] ^ plain["phash64"]).bit_count() <= 4
