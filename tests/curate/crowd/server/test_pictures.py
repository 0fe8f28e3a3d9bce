from __future__ import annotations

import hashlib
import io

import httpx
import pytest
from PIL import Image

from curate.crowd.server.pictures import Originals


def display_copy(folder, image_id):
    return Originals((folder,), folder.parent / "display").copy(image_id)


def put(folder, data, ending):
    image_id = hashlib.sha256(data).hexdigest()
    path = folder / image_id[:2] / f"{image_id}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return image_id


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned_and_tagged():
    """Lies on its side, says so in EXIF, and carries a place and a comment."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    exif[0x010E] = "taken at home"
    image = Image.new("RGB", (300, 200), "white")
    image.paste("red", (0, 0, 300, 100))  # the upper half; upright it is the right half
    return encoded(image, "JPEG", exif=exif, comment=b"secret")


def test_a_copy_is_upright_and_carries_nothing_but_pixels(tmp_path):
    pictures = tmp_path / "blobs"
    copy = display_copy(pictures, put(pictures, turned_and_tagged(), "jpg"))
    assert b"home" not in copy.read_bytes()
    assert b"secret" not in copy.read_bytes()
    with Image.open(copy) as shown:
        assert shown.size == (200, 300)
        assert shown.getexif() == {}
        assert shown.getpixel((190, 150))[1] < 60  # red
        assert shown.getpixel((10, 150))[1] > 200  # white


@pytest.mark.parametrize(
    ("size", "shown"), [((3200, 800), (1600, 400)), ((1000, 4000), (400, 1600)), ((300, 200), (300, 200))]
)
def test_a_copy_is_at_most_1600_px_and_never_enlarged(tmp_path, size, shown):
    pictures = tmp_path / "blobs"
    image_id = put(pictures, encoded(Image.new("RGB", size, "navy"), "JPEG"), "jpg")
    with Image.open(display_copy(pictures, image_id)) as copy:
        assert copy.size == shown


def test_what_is_see_through_is_shown_on_white(tmp_path):
    pictures = tmp_path / "blobs"
    image_id = put(pictures, encoded(Image.new("RGBA", (80, 80), (0, 0, 0, 0)), "PNG"), "png")
    with Image.open(display_copy(pictures, image_id)) as copy:
        assert copy.getpixel((40, 40)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "CMYK", "I;16", "1"])
def test_every_mode_can_be_shown(tmp_path, mode):
    pictures = tmp_path / "blobs"
    kind = "JPEG" if mode == "CMYK" else "PNG"
    image_id = put(pictures, encoded(Image.new(mode, (80, 80)), kind), kind.lower())
    assert display_copy(pictures, image_id) is not None


@pytest.mark.parametrize("image_id", ["0" * 64, "../../etc/passwd", "A" * 64, ""])
def test_what_is_not_there_has_no_copy(tmp_path, image_id):
    assert display_copy(tmp_path / "blobs", image_id) is None


def test_a_broken_file_has_no_copy_and_leaves_none(tmp_path):
    pictures = tmp_path / "blobs"
    image_id = put(pictures, turned_and_tagged()[:200], "jpg")
    assert display_copy(pictures, image_id) is None
    assert list((tmp_path / "display").rglob("*.*")) == [] if (tmp_path / "display").exists() else True


def test_pictures_are_served_to_whoever_knows_their_hash(crowd_server):
    image_id = put(crowd_server.pictures, turned_and_tagged(), "jpg")
    reply = httpx.get(f"{crowd_server.url}/picture/{image_id}")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
    assert httpx.get(f"{crowd_server.url}/picture/{'0' * 64}").status_code == 404
