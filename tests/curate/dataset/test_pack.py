"""A manifest, its pictures and their checksums in one folder: the same bytes whatever happened on the way."""

from __future__ import annotations

import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from packs import contents, photo, shop
from PIL import Image

from curate.dataset.pack import Packed, pack, plan_pack
from curate.dataset.pack_check import check_pack
from schemas.errors import Partial, UserError
from schemas.manifest import read_manifest, write_manifest
from schemas.pack import Format, Part, open_pack
from schemas.tables import PACK

SMALL = Format(side_px=32)
ALL = ("train", "val", "test", "unlabeled", "out", "unlabeled")


def packed(
    manifest: Path, out: Path, part_rows: int = 10, form: Format = SMALL, workers: int = 1, **more: Any
) -> Packed:
    return pack(replace(plan_pack(manifest, form, **more), part_rows=part_rows), out, workers)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return shop(tmp_path / "shop", [photo(n) for n in range(60)], ALL)


def test_a_pack_is_the_manifest_the_pictures_and_their_checksums(manifest: Path, tmp_path: Path) -> None:
    done = packed(manifest, tmp_path / "out")
    assert (done.pictures, done.encoded, done.left_out) == (50, 50, 10)  # 10 are out
    names = [f"apron.pack-000{n}.parquet" for n in range(5)]
    assert set(contents(tmp_path / "out")) == {*names, "apron.parquet", "SHA256SUMS"}
    assert (tmp_path / "out" / "apron.parquet").read_bytes() == manifest.read_bytes()
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path / "out", capture_output=True, text=True)
    assert checked.returncode == 0
    assert checked.stdout.count(": OK\n") == 6
    rows = pd.concat([PACK.read(tmp_path / "out" / name) for name in names])  # plain PACK tables, for pandas too
    assert rows["jpeg"].map(lambda jpeg: jpeg[:2]).eq(b"\xff\xd8").all()
    assert rows[["width_px", "height_px"]].drop_duplicates().to_numpy().tolist() == [[32, 43]]


def test_rows_stand_by_split_then_by_rank(manifest: Path, tmp_path: Path) -> None:
    packed(manifest, tmp_path / "out")
    ids = [image_id for path in open_pack(tmp_path / "out").parts for image_id in Part(path).column("image_id")]
    rows = read_manifest(manifest).rows.set_index("image_id").loc[ids]
    assert list(dict.fromkeys(rows["split"])) == ["train", "val", "test", "unlabeled"]
    for split, rank in (("train", "label_rank"), ("unlabeled", "unlabeled_rank")):
        assert rows.loc[rows["split"] == split, rank].is_monotonic_increasing


def test_the_number_of_processes_does_not_show(tmp_path: Path) -> None:
    many = shop(tmp_path / "shop", [photo(n, (40, 50)) for n in range(330)], ALL[:4])  # more than one process will do
    packed(many, tmp_path / "one", 100)
    packed(many, tmp_path / "three", 100, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_packing_again_touches_nothing(manifest: Path, tmp_path: Path) -> None:
    packed(manifest, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    done = packed(manifest, tmp_path / "out")
    assert (done.encoded, done.changed) == (0, False)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_a_manifest_that_grew_encodes_only_new_pictures_and_equals_a_fresh_pack(tmp_path: Path) -> None:
    photos = [photo(n) for n in range(60)]
    packed(shop(tmp_path / "shop", photos[:40], ALL), tmp_path / "out")
    grown = shop(tmp_path / "shop", photos, ALL)
    done = packed(grown, tmp_path / "out")
    assert done.encoded == sum(ALL[n % 6] != "out" for n in range(40, 60))
    packed(grown, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_manifest_that_shrank_or_was_split_anew_leaves_nothing_behind(tmp_path: Path) -> None:
    photos = [photo(n) for n in range(60)]
    packed(shop(tmp_path / "shop", photos, ALL), tmp_path / "out")
    other = shop(tmp_path / "shop", photos[20:], ("unlabeled", "test", "train"))
    done = packed(other, tmp_path / "out")
    assert done.encoded == 7  # the pictures of 20 to 59 that were out before
    packed(other, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_another_side_or_quality_encodes_everything_anew(manifest: Path, tmp_path: Path) -> None:
    packed(manifest, tmp_path / "out")
    assert packed(manifest, tmp_path / "out", form=Format(24)).encoded == 50
    assert packed(manifest, tmp_path / "out", form=Format(24, quality=80)).encoded == 50
    assert open_pack(tmp_path / "out").format == Format(24, quality=80)


def test_unreadable_pictures_keep_a_row_with_their_reason_and_are_tried_again(manifest: Path, tmp_path: Path) -> None:
    rows = read_manifest(manifest).rows.query("split == 'train'")
    files = [manifest.parent / path for path in rows["path"][:3]]
    originals = [path.read_bytes() for path in files]
    files[0].unlink()
    files[1].write_bytes(originals[1][:600])
    files[2].write_bytes(photo(999))
    done = packed(manifest, tmp_path / "out")
    assert sorted(done.dropped.values()) == [
        "its file has changed: the bytes are not those of its image_id",
        "its file has changed: the bytes are not those of its image_id",
        "no such file",
    ]
    assert done.encoded == 47
    with pytest.raises(Partial, match="3 of 50 pictures could not be packed"):
        done.raise_if_partial()
    assert check_pack(tmp_path / "out").dropped == 3
    for path, data in zip(files, originals, strict=True):
        path.write_bytes(data)
    again = packed(manifest, tmp_path / "out")
    assert (again.encoded, again.dropped) == (3, {})
    packed(manifest, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_damaged_file_is_found_and_made_anew(manifest: Path, tmp_path: Path) -> None:
    packed(manifest, tmp_path / "out")
    before = contents(tmp_path / "out")
    data = bytearray((tmp_path / "out" / "apron.pack-0002.parquet").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "out" / "apron.pack-0002.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"1 of 6 files differ from SHA256SUMS, the first is apron.pack-0002.parquet"):
        check_pack(tmp_path / "out")
    done = packed(manifest, tmp_path / "out")
    assert done.encoded == 10
    assert "apron.pack-0002.parquet did not match its checksum" in done.describe()
    assert contents(tmp_path / "out") == before


def test_a_manifest_that_was_never_split_is_packed_whole(tmp_path: Path) -> None:
    manifest = shop(tmp_path / "shop", [photo(n) for n in range(12)], (None,))
    done = packed(manifest, tmp_path / "out")
    assert done.pictures == 12
    assert "no splits yet" in done.describe()
    with pytest.raises(UserError, match="has no splits yet; run `curate split` first"):
        plan_pack(manifest, SMALL, ["train"])


def test_only_the_splits_that_are_asked_for(manifest: Path, tmp_path: Path) -> None:
    assert packed(manifest, tmp_path / "out", splits=["test", "val"]).pictures == 20
    with pytest.raises(UserError, match="no split 'testing'"):
        plan_pack(manifest, SMALL, ["testing"])


def refuse_other_files(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("x")


def refuse_a_file(out: Path) -> None:
    out.write_text("x")


def refuse_another_task(out: Path) -> None:
    packed(shop(out.parent / "other", [photo(1), photo(2)], task="phone"), out)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (refuse_other_files, "holds other files and no pack"),
        (refuse_a_file, "is a file; a pack is a folder"),
        (refuse_another_task, "the pack of another task"),
    ],
)
def test_a_folder_with_other_content_is_left_alone(
    manifest: Path, tmp_path: Path, prepare: Callable[[Path], None], said: str
) -> None:
    out = tmp_path / "out"
    prepare(out)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=said):
        packed(manifest, out)
    assert contents(tmp_path) == before


def test_originals_that_are_not_there_are_said_before_anything_is_written(manifest: Path, tmp_path: Path) -> None:
    shutil.move(manifest.parent / "blobs", tmp_path / "blobs")
    with pytest.raises(UserError, match=r"50 of 50 pictures looked for are not there.*--pictures DIR"):
        packed(manifest, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert packed(manifest, tmp_path / "out", pictures=tmp_path).encoded == 50


def test_nothing_to_pack_is_one_line(tmp_path: Path) -> None:
    manifest = shop(tmp_path / "shop", [photo(1)], ("out",))
    with pytest.raises(UserError, match="has no picture to pack"):
        packed(manifest, tmp_path / "out")


# A process of its own, as a person runs it; small files, so that there are many places to be killed at.
PROGRAM = """
import resource, signal, sys
from dataclasses import replace
from pathlib import Path
from curate.dataset.pack import pack, plan_pack
from schemas.errors import UserError
from schemas.pack import Format

if __name__ == "__main__":
    manifest, out, workers, limit = sys.argv[1:]
    if int(limit):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        pack(replace(plan_pack(Path(manifest), Format(32)), part_rows=20), Path(out), int(workers))
    except UserError as error:
        sys.exit(str(error))
"""


@pytest.fixture
def start(tmp_path: Path, root: Path) -> Callable[..., subprocess.Popen[str]]:
    (tmp_path / "packs_alone.py").write_text(PROGRAM)

    def begin(manifest: Path, out: Path, workers: int = 1, limit: int = 0) -> subprocess.Popen[str]:
        command = [sys.executable, tmp_path / "packs_alone.py", manifest, out, workers, limit]
        env = {**os.environ, "PYTHONPATH": str(root)}
        return subprocess.Popen(list(map(str, command)), env=env, text=True, stderr=subprocess.PIPE)

    return begin


def watch(out: Path, process: subprocess.Popen[str], files: int) -> bool:
    """Wait until so many files were begun; False when the process ended before."""
    while process.poll() is None:
        if out.exists() and sum(1 for _ in out.rglob("*.parquet*")) >= files:
            return True
        time.sleep(0.001)
    return False


def test_killed_at_any_moment_it_goes_on_and_the_result_is_the_same(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    manifest = shop(tmp_path / "shop", [photo(n, (200, 240)) for n in range(400)], ALL[:4])
    packed(manifest, tmp_path / "undisturbed", 20)
    expected = contents(tmp_path / "undisturbed")
    rng = random.Random(5)
    killed = 0
    for trial in range(3):
        out = tmp_path / f"killed-{trial}"
        for _ in range(5):
            process = start(manifest, out, workers=1 + trial % 2)
            done = len(list(out.rglob("*.parquet"))) if out.exists() else 0
            if watch(out, process, done + rng.randint(1, 6)):
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
            if (out / "SHA256SUMS").exists():
                check_pack(out)  # whatever is complete is whole
        process = start(manifest, out)
        assert (process.communicate()[1], process.returncode) == ("", 0)
        assert contents(out) == expected
    assert killed >= 6


def test_killed_while_files_move_into_place_it_goes_on(manifest: Path, tmp_path: Path) -> None:
    """The states between two renames, made by hand: they last too short to be hit by chance."""
    out, old = tmp_path / "out", tmp_path / "old"
    packed(shop(tmp_path / "before", [photo(n) for n in range(35)], ALL), old)
    packed(manifest, out)
    new = contents(out)
    for moved in range(6):
        state = tmp_path / f"state-{moved}"
        shutil.copytree(old, state)
        (state / "SHA256SUMS").unlink()
        (state / ".packing").mkdir()
        for number in range(5):
            name = f"apron.pack-000{number}.parquet"
            shutil.copy(out / name, state / name if number < moved else state / ".packing" / name)
        assert packed(manifest, state).encoded == 0
        assert contents(state) == new


def test_a_full_disk_is_one_line_and_what_is_packed_is_kept(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """A limit on the size of files stands in for the full disk: the same error at the same call."""
    few = [photo(n, (32, 40)) for n in range(20)]
    out = tmp_path / "out"
    packed(shop(tmp_path / "few", few), out, 20)
    before = contents(out)
    noise = np.random.default_rng(0).integers(0, 255, (32, 128, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(noise).save(sink, "PNG")
    more = shop(tmp_path / "more", [*few, *(photo(n, (32, 40)) for n in range(20, 39)), sink.getvalue()])
    process = start(more, out, limit=max(path.stat().st_size for path in out.iterdir()) + 500)
    said = process.communicate()[1]
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "out: cannot be written (File too large); what is packed so far is kept" in said
    now = contents(out)
    assert before.items() <= now.items()
    assert check_pack(out).pictures == 20  # the older pack is as good as it was
    process = start(more, out)
    assert (process.communicate()[1], process.returncode) == ("", 0)
    assert check_pack(out).pictures == 40
    assert not (out / ".packing").exists()


def test_two_packers_do_not_meet_in_one_folder(manifest: Path, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / "out").mkdir()
    handle = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="another `curate pack` is writing it"):
        packed(manifest, tmp_path / "out")
    os.close(handle)
    packed(manifest, tmp_path / "out")


def test_check_finds_what_is_wrong(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed(manifest, out)
    assert "all 50 pictures of the manifest are there" in check_pack(out).describe()
    (out / "apron.pack-0004.parquet").rename(tmp_path / "away")
    with pytest.raises(UserError, match=r"1 of 5 files are missing, the first is apron.pack-0004.parquet"):
        check_pack(out)
    (tmp_path / "away").rename(out / "apron.pack-0004.parquet")
    (out / "SHA256SUMS").rename(tmp_path / "sums")
    with pytest.raises(UserError, match="this pack is unfinished, it has no SHA256SUMS"):
        check_pack(out)
    with pytest.raises(UserError, match="holds no pack; make one with `curate pack"):
        check_pack(tmp_path)


def test_check_finds_a_picture_that_the_manifest_has_and_the_pack_has_not(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    packed(manifest, out, splits=["train", "val"])
    info = read_manifest(manifest)
    rows = info.rows.assign(split=info.rows["split"].replace("test", "val"))
    write_manifest(rows, [out / "apron.parquet"], task="apron", classes=info.classes)
    sums = (out / "SHA256SUMS").read_text().splitlines()
    digest = contents(out)["apron.parquet"]
    (out / "SHA256SUMS").write_text("\n".join([*sums[:-1], f"{digest}  apron.parquet"]) + "\n")
    with pytest.raises(UserError, match="10 pictures of the manifest are not in it"):
        check_pack(out)
