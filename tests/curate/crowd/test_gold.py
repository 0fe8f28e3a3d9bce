from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from curate.crowd.gold import add_gold, read_gold, spread
from curate.tasks import make_task
from schemas.errors import UserError
from schemas.tables import GOLD, PICTURES
from schemas.task import Task

IDS = [f"{number:064x}" for number in range(40)]


def pictures(dropped: dict[str, str] | None = None) -> pd.DataFrame:
    return PICTURES.frame(
        {"image_id": i, "blob": f"blobs/{i[:2]}/{i}.jpg", "bytes": 1, "dropped": (dropped or {}).get(i)} for i in IDS
    )


def rows(text: str) -> pd.DataFrame:
    """Rows from words like `3:dots` or `3:dots:hidden`: number of the picture, label, use."""
    words = [(word + "::").split(":")[:3] for word in text.split()]
    return pd.DataFrame(
        [{"image_id": IDS[int(n)], "label": label, "use": use, "explanation": ""} for n, label, use in words]
    )


def small(questions: int) -> Task:
    task = make_task("apron")
    return task.model_copy(update={"crowd": task.crowd.model_copy(update={"test_questions": questions})})


def uses(gold: pd.DataFrame) -> dict[int, str]:
    return {IDS.index(i): use for i, use in zip(gold["image_id"], gold["use"], strict=True)}


def test_rows_without_a_use_fill_the_test_with_every_class_in_turn_and_the_rest_is_hidden() -> None:
    gold = add_gold(rows("0:dots 1:dots 2:dots 3:plain 4:stars"), GOLD.empty(), pictures(), small(3), "gold.csv")
    assert uses(gold) == {0: "test", 1: "hidden", 2: "hidden", 3: "test", 4: "test"}


def test_a_given_use_is_kept_and_counts_towards_the_test() -> None:
    gold = add_gold(rows("0:dots:test 1:dots 2:plain:practice 3:stars"), GOLD.empty(), pictures(), small(2), "gold.csv")
    assert uses(gold) == {0: "test", 1: "test", 2: "practice", 3: "hidden"}


def test_more_gold_later_is_hidden_once_the_test_is_full() -> None:
    first = add_gold(rows("0:dots 1:plain"), GOLD.empty(), pictures(), small(2), "a.csv")
    both = add_gold(rows("2:stars 3:dots"), first, pictures(), small(2), "b.csv")
    assert uses(both) == {0: "test", 1: "test", 2: "hidden", 3: "hidden"}
    assert add_gold(rows("2:stars 3:dots"), both, pictures(), small(2), "b.csv").equals(both)


def test_a_spread_gives_rare_classes_their_turn() -> None:
    labels = {"a": "dots", "b": "dots", "c": "dots", "d": "plain"}
    assert spread(labels, ["plain", "dots"], 3) == ["d", "a", "b"]
    assert spread({}, ["plain"], 3) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:dotz", "gold.csv: line 2: label 'dotz' is not a class of apron; did you mean dots?"),
        ("0:dots:quiz", "use 'quiz' is not allowed; it can be test, hidden, practice, or empty"),
        ("0:dots:test 0:dots:hidden", "line 3: picture 000000000000… came before as dots test"),
        ("0:dots 0:plain", "one picture has one answer"),
        ("39:dots", "picture 000000000000… was dropped: too small"),
    ],
)
def test_rows_that_cannot_be_gold_are_named_by_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as fault:
        add_gold(rows(text), GOLD.empty(), pictures({IDS[39]: "too small"}), small(2), "gold.csv")
    assert said in str(fault.value)


def test_a_picture_of_another_workspace_is_refused() -> None:
    stranger = rows("0:dots").assign(image_id="cat.jpg")
    with pytest.raises(UserError, match=r"'cat.jpg' is not in this workspace; an image_id is the sha256"):
        add_gold(stranger, GOLD.empty(), pictures(), small(2), "gold.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"image_id,answer\nx,y\n", "missing columns label; found image_id, answer"),
        (b"", "is not readable as CSV"),
        (b"\xff\xfe\x00\x01", "is not readable as CSV"),
    ],
)
def test_a_file_that_is_no_gold_gets_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "gold.csv").write_bytes(content)
    with pytest.raises(UserError) as fault:
        read_gold(tmp_path / "gold.csv")
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_a_missing_file_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file"):
        read_gold(tmp_path / "nothing.csv")


def test_csv_and_parquet_read_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_id": IDS[:2], "label": ["dots", "plain"], "use": ["test", None]})
    frame.to_csv(tmp_path / "gold.csv", index=False)
    frame.to_parquet(tmp_path / "gold.parquet")
    assert read_gold(tmp_path / "gold.csv").equals(read_gold(tmp_path / "gold.parquet"))
