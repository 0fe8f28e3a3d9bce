"""A picture is opened the same way everywhere: upright, on white, in 8 bits."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from schemas.picture import TooManyPixels, as_seen, open_picture, upright_size


def data(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_a_turned_picture_is_upright_in_size_and_pixels() -> None:
    image = Image.new("RGB", (30, 20), "white")
    image.paste("black", (0, 0, 10, 10))  # the corner that shows which way is up
    exif = Image.Exif()
    exif[0x0112] = 6
    with open_picture(data(image, exif=exif)) as opened:
        assert upright_size(opened) == (20, 30)
        seen = as_seen(opened)
    assert seen.size == (20, 30)
    assert seen.getpixel((19, 0)) == (0, 0, 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    form = "TIFF" if mode in ("CMYK", "F", "I", "LA") else "PNG"
    with open_picture(data(Image.new(mode, (8, 8)), form)) as opened:
        assert as_seen(opened).mode == "RGB"


def test_transparent_is_white_and_half_transparent_is_in_between() -> None:
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    seen = as_seen(image)
    assert seen.getpixel((0, 0)) == (255, 255, 255)
    assert seen.getpixel((1, 0)) == (127, 127, 127)


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    values = np.array([[0, 32_896, 65_535]], dtype=np.uint16)
    with open_picture(data(Image.fromarray(values))) as opened:
        assert np.asarray(as_seen(opened))[0, :, 0].tolist() == [0, 128, 255]


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(TooManyPixels, match="30 x 20"):
        open_picture(data(Image.new("L", (30, 20))), max_pixels=599)


def test_what_is_no_picture_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    with pytest.raises(UnidentifiedImageError):
        open_picture(tmp_path / "page.jpg")
    with pytest.raises(UnidentifiedImageError):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def test_a_picture_cut_in_half_is_noticed() -> None:
    rng = np.random.default_rng(0)
    whole = data(Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)), "JPEG")
    with open_picture(whole[: len(whole) // 2]) as opened, pytest.raises(OSError, match="truncated"):
        as_seen(opened)
