"""One original to one small JPEG."""

from __future__ import annotations

import io

import numpy as np
import pytest
from packs import photo
from PIL import Image

from curate.dataset.shrink import shrink
from schemas.pack import Format


def opened(jpeg: bytes | None) -> Image.Image:
    assert jpeg is not None
    return Image.open(io.BytesIO(jpeg))


def saved(image: Image.Image, form: str = "PNG", **save: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **save)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((400, 533), (256, 341)),
        ((533, 400), (341, 256)),
        ((1500, 1500), (256, 256)),  # decoded at a half
        ((4000, 2999), (341, 256)),  # at a quarter; the size is that of the original's sides, not of the reduced ones
        ((256, 300), (256, 300)),
        ((90, 120), (90, 120)),  # smaller than asked stays as it is
        ((3000, 300), (1024, 256)),  # a banner keeps its middle
        ((2, 2000), (2, 8)),
    ],
)
def test_the_short_side_is_as_asked_and_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    small = shrink(photo(1, size), Format())
    assert (small.width_px, small.height_px) == expected == opened(small.jpeg).size
    assert small.dropped is None


def test_a_banner_keeps_its_middle() -> None:
    wide = Image.new("RGB", (1000, 100), "red")
    wide.paste("blue", (400, 0, 600, 100))
    seen = opened(shrink(saved(wide), Format(50)).jpeg)
    assert seen.size == (200, 50)
    assert seen.getpixel((100, 25))[2] > 200  # type: ignore[index]
    assert seen.getpixel((20, 25))[0] > 200  # type: ignore[index]


def test_pictures_are_as_a_person_sees_them() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = shrink(photo(2, (800, 600), exif=exif), Format(100))
    assert (turned.width_px, turned.height_px) == (100, 133)
    clear = opened(shrink(saved(Image.new("RGBA", (80, 80), (200, 0, 0, 0))), Format(64)).jpeg)
    assert clear.getpixel((30, 30)) == (255, 255, 255)
    deep = Image.fromarray(np.full((80, 80), 128 * 257, dtype=np.uint16))
    assert abs(opened(shrink(saved(deep), Format(64)).jpeg).getpixel((30, 30))[0] - 128) <= 1  # type: ignore[index]


def test_nothing_of_the_file_but_its_pixels_goes_along() -> None:
    exif = Image.Exif()
    exif[0x010F] = "Somebody's phone"
    original = photo(3, (300, 400), exif=exif, comment=b"who took it", xmp=b"<x:xmpmeta/>", icc_profile=b"profile")
    for small in (shrink(original, Format(100)), shrink(original, Format(1000))):
        found = opened(small.jpeg)
        assert set(found.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert not any(word in (small.jpeg or b"") for word in (b"phone", b"who took", b"xmp", b"profile"))


def test_a_reduced_decode_differs_from_a_full_one_less_than_the_jpeg_does() -> None:
    """2,000 px wide: decoded at a half, so that the filter has twice the pixels that it writes."""
    original = photo(4, (2000, 2600))
    ours = np.asarray(opened(shrink(original, Format(quality=100, subsampling="4:4:4")).jpeg)).astype(float)
    whole = Image.open(io.BytesIO(original)).convert("RGB").resize((256, 333), Image.Resampling.BICUBIC)
    lossy = np.asarray(Image.open(io.BytesIO(saved(whole, "JPEG", quality=90)))).astype(float)
    full = np.asarray(whole).astype(float)
    assert ((ours - full) ** 2).mean() < ((lossy - full) ** 2).mean()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a picture (no bytes)"),
        (b"<html>", "not a picture (begins with b'<html>')"),
        (photo(5, (300, 300))[:3000], "broken: image file is truncated"),
        (saved(Image.new("1", (20_000, 20_000))), "too many pixels"),
    ],
)
def test_what_cannot_be_packed_says_why(data: bytes, why: str) -> None:
    small = shrink(data, Format())
    assert small.jpeg is None
    assert (small.dropped or "").startswith(why)
