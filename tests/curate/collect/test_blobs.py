"""Bytes are kept once, whole, under their own hash."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from curate.collect.blobs import kind_of, put, sweep
from schemas.storage import storage_at


def test_bytes_land_under_their_sha256_with_the_ending_of_what_they_are(tmp_path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n rest"
    image_id, place = put(storage_at(tmp_path), data)
    assert image_id == hashlib.sha256(data).hexdigest()
    assert place == f"blobs/{image_id[:2]}/{image_id}.png"
    assert (tmp_path / place).read_bytes() == data


def test_the_same_bytes_are_written_once(tmp_path: Path) -> None:
    _, place = put(storage_at(tmp_path), b"\xff\xd8\xff one")
    (tmp_path / place).touch()
    before = (tmp_path / place).stat().st_mtime_ns
    assert put(storage_at(tmp_path), b"\xff\xd8\xff one")[1] == place
    assert (tmp_path / place).stat().st_mtime_ns == before


def test_a_file_cut_short_by_a_power_cut_is_written_anew(tmp_path: Path) -> None:
    _, place = put(storage_at(tmp_path), b"\xff\xd8\xff whole")
    (tmp_path / place).write_bytes(b"\xff\xd8")
    put(storage_at(tmp_path), b"\xff\xd8\xff whole")
    assert (tmp_path / place).read_bytes() == b"\xff\xd8\xff whole"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"GIF89a", "gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1", "avif"),
        (b"<html>", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"", None),
    ],
)
def test_the_first_bytes_say_what_a_file_is(head: bytes, kind: str | None) -> None:
    assert kind_of(head) == kind


def test_sweeping_removes_only_what_was_left_half_written(tmp_path: Path) -> None:
    _, place = put(storage_at(tmp_path), b"\xff\xd8\xff")
    half = (tmp_path / place).with_name("x.jpg.1-2.part")
    half.write_bytes(b"half")
    assert sweep(storage_at(tmp_path)) == 1
    assert not half.exists()
    assert (tmp_path / place).exists()
