"""The table of broken and odd pictures: each is dropped with its reason, or measured as a person sees it."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate.clean.hashes import phash64
from curate.clean.measure import Limits, decode, inspect
from schemas.picture import as_seen, open_picture

LIMITS = Limits(min_side_px=64, max_pixels=50_000_000)


def photo(width: int = 300, height: int = 240, seed: int = 0) -> Image.Image:
    """A picture with shapes and some noise, so that its hash has content."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def far(a: int, b: int) -> int:
    return (a ^ b).bit_count()


def huge_png(width: int, height: int) -> bytes:
    """The header of a black-and-white PNG of any size, and a little data: what a bomb looks like before it is opened."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_a_good_picture_of_every_format_counts_and_is_measured(form: str) -> None:
    found = inspect(encoded(photo(), form), LIMITS)
    assert found.get("dropped") is None
    assert (found["format"], found["width_px"], found["height_px"], found["frames"]) == (form, 300, 240, 1)
    assert found["phash64"] > 0
    assert len(found["phash256"]) == 32
    assert found["sharpness"] > 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture"),
        (b"<!doctype html><h1>Sign in</h1>", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"\0" * 5000, "not a picture"),
        (encoded(photo())[:300], "broken"),
        (encoded(photo())[: len(encoded(photo())) // 2], "broken"),
        (encoded(photo())[:-20], "broken"),
        (encoded(photo(), "PNG")[:-60], "broken"),
        (encoded(photo(), "WEBP")[:-200], "broken"),
        (huge_png(20_000, 20_000), "too many pixels"),
        (huge_png(10_000, 10_000), "too many pixels (10000 x 10000)"),
        (encoded(photo(63, 400)), "too small (63 x 400)"),
        (encoded(Image.new("RGB", (1, 1))), "too small (1 x 1)"),
        (encoded(Image.new("1", (60_000, 2)), "PNG"), "too small (60000 x 2)"),
        (encoded(Image.new("RGB", (300, 300), "white")), "blank"),
        (encoded(Image.new("RGBA", (300, 300), (255, 0, 0, 0)), "PNG"), "blank"),
    ],
)
def test_a_picture_that_does_not_count_says_why(data: bytes, reason: str) -> None:
    assert inspect(data, LIMITS)["dropped"].startswith(reason)


def test_every_half_of_a_jpeg_is_noticed_in_the_reduced_decode() -> None:
    whole = encoded(photo(1200, 900), quality=85)
    for share in np.linspace(0.1, 0.95, 12):
        assert "dropped" in inspect(whole[: int(len(whole) * share)], LIMITS), share


def test_damage_in_the_middle_never_raises() -> None:
    whole = bytearray(encoded(photo(), "PNG"))
    rng = np.random.default_rng(1)
    for _ in range(20):
        spoiled = bytearray(whole)
        at = int(rng.integers(8, len(whole) - 40))
        spoiled[at : at + 30] = rng.bytes(30)
        inspect(bytes(spoiled), LIMITS)


def test_trailing_bytes_and_a_wrong_name_do_no_harm() -> None:
    plain = inspect(encoded(photo()), LIMITS)
    assert inspect(encoded(photo()) + b"trailing" * 50, LIMITS) == plain


def test_a_picture_is_measured_as_a_person_sees_it_turned_upright() -> None:
    image = photo()
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter, clockwise
    turned = inspect(encoded(image, exif=exif), LIMITS)
    as_shown = inspect(encoded(image.transpose(Image.Transpose.ROTATE_270)), LIMITS)
    assert (turned["width_px"], turned["height_px"]) == (240, 300)
    assert far(turned["phash64"], as_shown["phash64"]) <= 2


def test_sixteen_bits_look_like_eight() -> None:
    gray = np.asarray(photo().convert("L")).astype(np.uint16)
    deep = inspect(encoded(Image.fromarray(gray * 257), "PNG"), LIMITS)
    assert deep["mode"].startswith("I;16")
    assert far(deep["phash64"], inspect(encoded(photo().convert("L"), "PNG"), LIMITS)["phash64"]) == 0
    floats = inspect(encoded(Image.fromarray(gray.astype(np.float32) / 255), "TIFF"), LIMITS)
    assert far(floats["phash64"], deep["phash64"]) <= 2


def test_cmyk_looks_like_rgb() -> None:
    assert (
        far(inspect(encoded(photo().convert("CMYK")), LIMITS)["phash64"], inspect(encoded(photo()), LIMITS)["phash64"])
        <= 4
    )


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_hidden_by_transparency_is_white(mode: str) -> None:
    image = photo().convert("RGBA")
    hole = Image.new("L", image.size, 255)
    hole.paste(0, (0, 0, 150, 240))
    image.putalpha(hole)
    shown = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if mode == "LA":
        shown, image = shown.convert("L"), image.convert("LA")
    if mode == "P":
        image = image.quantize(64)
    assert (
        far(inspect(encoded(image, "PNG"), LIMITS)["phash64"], inspect(encoded(shown, "PNG"), LIMITS)["phash64"]) <= 4
    )


def test_an_animation_counts_by_its_first_frame_and_says_how_many_it_has() -> None:
    first, second = photo(seed=1), photo(seed=2)
    found = inspect(encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True), LIMITS)
    assert found.get("dropped") is None
    assert found["frames"] == 2
    assert found["phash64"] == inspect(encoded(first, "PNG"), LIMITS)["phash64"]


def test_a_blurred_picture_is_less_sharp_and_a_dark_one_less_bright() -> None:
    sharp, small = photo(1000, 800), photo(1000, 800).resize((20, 16)).resize((1000, 800))
    assert inspect(encoded(small), LIMITS)["sharpness"] < inspect(encoded(sharp), LIMITS)["sharpness"] / 2
    dark = sharp.point(lambda value: value // 4)
    assert inspect(encoded(dark), LIMITS)["brightness"] < inspect(encoded(sharp), LIMITS)["brightness"] / 3


@pytest.mark.parametrize(
    ("form", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"subsampling": 0, "progressive": True}),
        ("JPEG", "RGB", {"keep_rgb": True}),  # stored without being turned into brightness and color
        ("JPEG", "CMYK", {}),
        ("JPEG", "L", {}),
        ("WEBP", "RGB", {}),
        ("PNG", "P", {}),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_picture_is_measured_the_same_with_and_without_its_color(
    form: str, mode: str, options: dict[str, Any], orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(700, 900).convert(mode), form, exif=exif, **options)
    found, decoded = decode(data, LIMITS)
    assert decoded is not None
    assert inspect(data, LIMITS) == found
    assert (found["width_px"], found["height_px"]) == ((700, 900) if orientation == 1 else (900, 700))
    with open_picture(data) as image:
        plain = phash64(as_seen(image).convert("L"))
    assert far(found["phash64"], plain) <= 2
