"""The contract between `curate pack` and `train`: reading pictures by image_id, and saying what is wrong with a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import TableError, UserError
from schemas.pack import INFO, Format, Part, open_pack, part_files, part_name, places, read_sums
from schemas.tables import PACK


def write(
    path: Path, rows: list[tuple[str, bytes | None]], group: int = 2, splits: tuple[str, ...] | None = ("train",)
) -> None:
    """A file of a pack: image_ids and their JPEGs; one without gets a reason."""
    schema = PACK.schema({INFO: json.dumps({**Format(64).as_json(), "splits": splits, "rows": "x"})})
    table = [
        {"image_id": name, "jpeg": jpeg, "width_px": 64, "height_px": 64, "dropped": None if jpeg else "no such file"}
        for name, jpeg in rows
    ]
    pq.write_table(pa.Table.from_pylist(table, schema=schema), path, row_group_size=group)


def a_pack(folder: Path) -> Path:
    write(folder / "apron.pack-0000.parquet", [("d", b"4"), ("a", b"1"), ("c", None), ("b", b"2")])
    write(folder / "apron.pack-0001.parquet", [("e", b"5")])
    names = ["apron.pack-0001.parquet", "apron.pack-0000.parquet", "apron.parquet"]
    (folder / "SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in names))
    return folder


def test_pictures_come_by_their_id_in_file_order(tmp_path: Path) -> None:
    pack = open_pack(a_pack(tmp_path))
    assert list(pack.read({"e", "a", "c", "nobody"})) == [
        ("a", b"1", None),
        ("c", None, "no such file"),
        ("e", b"5", None),
    ]
    assert pack.missing(["e", "nobody", "c"]) == ["nobody"]
    assert (pack.jpeg("b"), pack.jpeg("e")) == (b"2", b"5")
    assert (pack.task, pack.format, pack.splits) == ("apron", Format(64), ("train",))
    for image_id, said in (("nobody", "holds no picture nobody"), ("c", "was dropped: no such file")):
        with pytest.raises(UserError, match=said):
            pack.jpeg(image_id)


def test_row_groups_without_a_wanted_picture_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = open_pack(a_pack(tmp_path))
    read: list[int] = []
    rows = Part.rows
    monkeypatch.setattr(Part, "rows", lambda part, group, columns: read.append(group) or rows(part, group, columns))
    assert [image_id for image_id, _, _ in pack.read({"b"})] == ["b"]
    assert read == [1]


def test_places_name_file_row_group_and_row(tmp_path: Path) -> None:
    pack = open_pack(a_pack(tmp_path))
    assert dict(places(pack.parts)) == {"d": (0, 0, 0), "a": (0, 0, 1), "c": (0, 1, 0), "b": (0, 1, 1), "e": (1, 0, 0)}


def test_files_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10_000, 9, 0):
        (tmp_path / part_name("apron", number)).touch()
    (tmp_path / "apron.parquet").touch()
    (tmp_path / part_name("phone", 3)).touch()
    assert [path.name for path in part_files(tmp_path, "apron")] == [part_name("apron", n) for n in (0, 9, 10_000)]


def test_a_format_of_other_code_is_another_format() -> None:
    assert Format.of(Format(64).as_json()) == Format(64)
    assert Format.of({**Format(64).as_json(), "algo": "pack-2"}) != Format(64)
    assert Format.of({"side_px": 256, "quality": 90, "subsampling": "4:2:0"}) != Format()


@pytest.mark.parametrize("content", [b"hello\n", b"\xff\xfe\x00", b"0" * 64 + b" ../../etc/passwd\n"])
def test_sums_in_another_form_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(content)
    with pytest.raises(UserError, match="line 1 is no `sha256  name` line"):
        read_sums(tmp_path)


def test_what_is_no_pack_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no pack; make one with `curate pack"):
        open_pack(tmp_path)
    a_pack(tmp_path)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  apron.parquet\n")
    with pytest.raises(UserError, match="names no file of a pack"):
        open_pack(tmp_path)
    (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(UserError, match="unfinished, it has no SHA256SUMS"):
        open_pack(tmp_path)


def test_another_table_under_the_name_of_a_part_is_refused(tmp_path: Path) -> None:
    a_pack(tmp_path)
    pq.write_table(pa.table({"image_id": ["a"]}), tmp_path / "apron.pack-0000.parquet")
    with pytest.raises(TableError, match="is no file of a pack"):
        open_pack(tmp_path)
