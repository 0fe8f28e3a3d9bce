"""Pictures of a bucket come in: by class folder, many at once, and only what is new or changed is read again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from whole import photo, shown

from curate.cli import app
from curate.collect.bucket import import_bucket
from curate.collect.outcome import finish
from curate.workspace import Workspace
from schemas.errors import Partial, UserError
from schemas.storage import Storage, storage_at
from schemas.tables import FAILURES, LISTINGS, TRUTH


def fill(where: str, *names: str, start: int = 0) -> Storage:
    storage = storage_at(where)
    for number, name in enumerate(names, start=start):
        storage.write(name, photo(number))
    return storage


def sha(number: int) -> str:
    return hashlib.sha256(photo(number)).hexdigest()


def test_class_folders_become_known_classes_and_keys_are_listings(workspace: Workspace, s3: str) -> None:
    storage = fill(s3, "set/train/dots/1.jpg", "set/val/plain/2.jpg", "set2/plain/3.jpg", "set/.x/4.jpg")
    storage.write("set/readme.txt", b"hello")
    done = import_bucket(workspace, f"{s3}/set/")
    assert (done.counts.new, done.pictures, done.known.labels, done.skipped) == (2, 2, 2, 2)
    assert shown(workspace) == {("set/train/dots/1.jpg", 0, sha(0)), ("set/val/plain/2.jpg", 0, sha(1))}
    known = TRUTH.read(workspace.of_task("apron", "truth")).set_index("image_id")["label"].to_dict()
    assert known == {sha(0): "dots", sha(1): "plain"}
    assert set(LISTINGS.read(workspace.table("listings"))["marketplace"]) == {"shop-originals"}


def test_unknown_class_folders_are_named_and_nothing_is_written(workspace: Workspace, s3: str) -> None:
    fill(s3, "dots/1.jpg", "tartan/2.jpg")
    with pytest.raises(UserError, match=r"'tartan': no such class in task apron; .*--no-truth takes"):
        import_bucket(workspace, s3)
    assert not workspace.table("pictures").exists()
    assert import_bucket(workspace, s3, truth=False).pictures == 2


def test_run_again_it_reads_only_what_is_new_or_changed(
    workspace: Workspace, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import curate.collect.bucket as module

    storage = fill(s3, "1.jpg", "2.jpg", "3.jpg")
    import_bucket(workspace, s3)
    read: list[str] = []
    keep = module.read_place
    monkeypatch.setattr(module, "read_place", lambda place: (read.append(place), keep(place))[1])
    storage.write("2.jpg", photo(20))
    fill(s3, "4.jpg", start=3)
    storage.remove("3.jpg")
    done = import_bucket(workspace, s3)
    assert sorted(read) == [f"{s3}/2.jpg", f"{s3}/4.jpg"]
    assert (done.counts.new, done.counts.same, done.vanished) == (1, 2, 1)
    assert {(one, image) for one, _, image in shown(workspace)} >= {("2.jpg", sha(20)), ("4.jpg", sha(3))}


def test_what_cannot_be_taken_says_why(workspace: Workspace, s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import curate.collect.bucket as module

    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    storage = fill(s3, "1.jpg")
    storage.write("page.jpg", b"<html>")
    storage.write("huge.jpg", photo(1) + bytes(10_000))
    done = import_bucket(workspace, s3)
    assert done.pictures == 1
    failures = FAILURES.read(workspace.table("failures")).set_index("url")["dropped"].to_dict()
    assert failures[f"{s3}/page.jpg"] == "not a picture (begins with b'<html>')"
    assert "huge.jpg is larger than 0.01 MB" in failures.values()
    with pytest.raises(Partial, match="1 pictures failed: 1 not a picture"):
        finish(done)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("s3://no-such-bucket/x", "S3 refused ListObjectsV2"),
        ("s3://shop-originals/none", "holds no pictures"),
        ("folder", "should look like s3://bucket/prefix"),
    ],
)
def test_a_place_without_pictures_gets_one_line(workspace: Workspace, s3: str, where: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        import_bucket(workspace, where)
    assert not workspace.table("listings").exists()


def test_a_stopped_import_goes_on_and_the_command_says_what_it_did(
    workspace: Workspace, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import curate.collect.files as module

    names = [f"{n}.jpg" for n in range(12)]
    fill(s3, *names)
    put, left = module.put, [5]

    def full(*given: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return put(*given)

    monkeypatch.setattr(module, "put", full)
    with pytest.raises(UserError, match=r"No space left on device.*run the same command again"):
        import_bucket(workspace, s3)
    monkeypatch.setattr(module, "put", put)
    done = CliRunner().invoke(app, ["import", "s3", s3, "--marketplace", "mx", "-w", str(workspace.root)])
    assert done.exit_code == 0, done.output
    assert "12 listings" in done.stdout
    assert len(shown(workspace)) == 12
    assert not list(Path(workspace.blobs).rglob("*.part"))
