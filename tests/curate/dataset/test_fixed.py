from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from worlds import NOON, Picture, World, image

from curate.dataset.fixed import Fixed, check_fixed, crossing_message, read_fixed
from schemas.errors import UserError
from schemas.tables import APPEARANCES, SPLITS


def read(path: Path, pictures: int = 4) -> Fixed:
    """The given split of a collection imported from a folder as 0.jpg, 1.jpg, …"""
    world = World({n: Picture() for n in range(pictures)})
    local = [
        {
            "image_id": image(n),
            "marketplace": "local",
            "listing_id": f"photos/{n}.jpg",
            "position": 0,
            "first_seen_at": NOON,
        }
        for n in world.pictures
    ]
    return read_fixed(path, world.tables()[0], APPEARANCES.frame(local))


def csv(folder: Path, text: str, name: str = "given.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_split_is_read_by_image_id_in_any_row_order(tmp_path: Path) -> None:
    lines = [f"{image(0)},train", f"{image(1)},test", f"{image(2)},validation"]
    one = read(csv(tmp_path, "\n".join(["image_id,split", *lines])))
    two = read(csv(tmp_path, "\n".join(["image_id,split", *lines[::-1], lines[0]])))
    assert one.splits == two.splits == {image(0): "train", image(1): "test", image(2): "val"}
    assert one.describe() == f"given by {tmp_path / 'given.csv'}: 1 train, 1 val, 1 test"


def test_a_split_is_read_by_path_of_a_folder_import_or_of_the_bytes(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "path,split\nphotos/0.jpg,train\nblobs/1.jpg,Test\nphotos/9.jpg,test\n"))
    assert found.splits == {image(0): "train", image(1): "test"}
    assert found.unknown == ("photos/9.jpg",)
    assert found.describe().endswith("1 train, 1 test; 1 rows name no picture here, the first photos/9.jpg")


def test_a_split_is_read_from_parquet(tmp_path: Path) -> None:
    pd.DataFrame({"image_id": [image(3)], "split": ["out"]}).to_parquet(tmp_path / "given.parquet")
    assert read(tmp_path / "given.parquet").splits == {image(3): "out"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read as CSV"),
        ("image_id,split\n", "holds no rows"),
        ("file,fold\na,1\n", r"needs columns image_id \(or path\) and split; found file, fold"),
        (f"image_id,split\n{image(0)},holdout\n", "split 'holdout' in 1 rows; known are train, val, test and out"),
        (f"image_id,split\n{image(0)},unlabeled\n", "what has no label is unlabeled by itself"),
        (f"image_id,split\n{image(0)},\n", "image_id or split is missing in 1 of 1 rows"),
        (
            f"image_id,split\n{image(0)},train\n{image(0)},test\n",
            "says several things about 1 pictures, .*: test and train",
        ),
        ("path,split\nelse.jpg,train\n", "none of its 1 rows names a picture here, the first is path 'else.jpg'"),
    ],
)
def test_a_file_that_gives_no_split_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        read(csv(tmp_path, text))
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_parquet_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "given.csv")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read(csv(tmp_path, "image_id,split", "given.parquet"))


def test_what_is_decided_already_is_not_given_otherwise() -> None:
    row = {
        "image_id": "a",
        "task": "t",
        "group_id": "a",
        "split": "test",
        "since": datetime(2026, 11, 22, tzinfo=UTC),
        "seed": 0,
    }
    before = SPLITS.frame([row])
    check_fixed(Fixed(Path("given.csv"), {"a": "test", "b": "train"}, ()), before)
    check_fixed(Fixed(Path("given.csv"), {"a": "out"}, ()), before)
    with pytest.raises(UserError, match=r"says train of a, which is test since 2026-11-22 \(1 such pictures\)"):
        check_fixed(Fixed(Path("given.csv"), {"a": "train"}, ()), before)


def test_crossing_groups_are_named_and_the_way_out_is_told() -> None:
    crosses = pd.DataFrame({"image_id": ["a", "b", "c"], "group_id": ["a"] * 3, "side": ["test", "train", "train"]})
    said = crossing_message(Fixed(Path("given.csv"), {}, ()), crosses)
    assert said.startswith("given.csv: 1 groups cross its splits (3 pictures)")
    assert "--allow-crossing" in said
    assert "group a…: 1 test, 2 train, e.g. a… (test) and b… (train)" in said
