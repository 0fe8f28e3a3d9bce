"""Bytes are kept in a folder or in a bucket in the same way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.errors import UserError
from schemas.s3 import client
from schemas.storage import Bucket, Folder, Storage, place_of, read_place, storage_at


@pytest.fixture(params=["folder", "bucket", "bucket with prefix"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return storage_at(tmp_path)
    return storage_at(request.getfixturevalue("s3") + ("/shop one" if "prefix" in request.param else ""))


def test_what_was_written_is_read_found_and_removed(storage: Storage) -> None:
    assert storage.size("blobs/ab/x.jpg") is None
    storage.write("blobs/ab/x.jpg", b"first")
    storage.write("blobs/cd/y.jpg", b"other")
    storage.write("blobs/ab/x.jpg", b"seconds")
    assert (storage.size("blobs/ab/x.jpg"), storage.read("blobs/ab/x.jpg")) == (7, b"seconds")
    assert sorted(storage.names("blobs/")) == ["blobs/ab/x.jpg", "blobs/cd/y.jpg"]
    assert list(storage.names("blobs/cd/")) == ["blobs/cd/y.jpg"]
    assert storage.remove("blobs/ab/x.jpg")
    assert not storage.remove("blobs/ab/x.jpg")
    assert sorted(storage.names()) == ["blobs/cd/y.jpg"]
    with pytest.raises(FileNotFoundError):
        storage.read("blobs/ab/x.jpg")


def test_a_table_says_enough_to_find_the_bytes_again(storage: Storage, tmp_path: Path) -> None:
    storage.write("blobs/ab/x.jpg", b"bytes")
    assert read_place(place_of(tmp_path, storage.said("blobs/ab/x.jpg"))) == b"bytes"
    with pytest.raises(FileNotFoundError):
        read_place(place_of(tmp_path, storage.said("blobs/ab/none.jpg")))


def test_a_folder_says_relative_names_and_a_bucket_whole_places() -> None:
    assert storage_at("/data").said("blobs/x") == "blobs/x"
    assert storage_at("s3://shop/apron/").said("blobs/x") == "s3://shop/apron/blobs/x"
    assert isinstance(storage_at(Path("/data")), Folder)
    assert isinstance(storage_at("s3://shop"), Bucket)


def test_an_upload_carries_its_sha256_and_one_that_arrived_otherwise_is_refused(
    s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = Bucket(s3)
    bucket.write("a", b"abc")
    head = client().head_object(Bucket=bucket.bucket, Key="a")
    assert head["Metadata"]["sha256"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    real = client()

    class Cut:  # a service that keeps half of what it is sent, as moto would not
        def put_object(self, Body: bytes, **given: Any) -> Any:
            return real.put_object(Body=Body[:1], **given)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr("schemas.storage.client", Cut)
    with pytest.raises(UserError, match="/b: S3 holds other bytes than were sent"):
        bucket.write("b", b"abc")


def test_what_s3_refuses_is_one_clear_line(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"s3://nobody-has-this/x: S3 refused PutObject: .*NoSuchBucket"):
        storage_at("s3://nobody-has-this").write("x", b"1")
    with pytest.raises(UserError, match=r"s3:///x: should look like s3://bucket/prefix"):
        storage_at("s3:///x")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"s3://shop-originals/x: S3 does not answer"):
        storage_at("s3://shop-originals").size("x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UserError, match="no key for S3; set CURATE_S3_ACCESS_KEY_ID"):
        storage_at("s3://shop-originals").size("x")


def test_threads_that_all_begin_with_s3_find_it_whole(s3: str) -> None:
    storage_at(s3).write("blobs/ab/x.jpg", b"bytes")
    program = (
        "from schemas.storage import overlapped, read_place\n"
        f"print(set(overlapped(read_place, ['{s3}/blobs/ab/x.jpg'] * 32, 16)))"
    )  # in a process of its own: boto3 is not imported there yet
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        assert done.stdout == "{b'bytes'}\n", done.stderr


def test_sweeping_a_folder_removes_only_what_was_left_half_written(tmp_path: Path) -> None:
    storage = storage_at(tmp_path)
    storage.write("blobs/ab/x.jpg", b"1")
    (tmp_path / "blobs" / "ab" / "y.jpg.1-2.part").touch()
    assert storage.sweep("blobs/") == 1
    assert list(storage.names()) == ["blobs/ab/x.jpg"]
