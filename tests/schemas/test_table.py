"""The door of every table: what goes in comes out the same, and what does not fit is told in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from schemas.errors import TableError
from schemas.table import Column, Table, read_parquet
from schemas.tables import LABELS, LISTINGS, PICTURES, SPLITS, TABLES, VOTES

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VALUES: dict[str, Any] = {
    "string": "x", "bool": True, "int32": 7, "int64": 2**60, "uint64": 2**64 - 1, "float32": 0.5, "float64": 0.1,
    "bytes": b"\x00\xff", "time": NOON, "votes": [{"pseudonym": "w1", "label": "dots"}], "map": {"color": "red"},
    "list<string>": ["a", "b"], "list<float64>": [0.25, 0.75], "list<float32>": [0.5, 0.5],
}  # fmt: skip


def full(table: Table) -> dict[str, Any]:
    """A row with a value in every column."""
    return {column.name: VALUES[column.type] for column in table.columns}


def bare(table: Table) -> dict[str, Any]:
    """A row with everything missing that may be, under another key."""
    row = {column.name: VALUES[column.type] for column in table.columns if not column.null}
    key = next(name for name in table.key if isinstance(row[name], str))
    return {**row, key: "y"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_empty_bare_and_full_parts_read_as_one_dataset(table: Table, tmp_path: Path) -> None:
    parts = {"empty": [], "bare": [bare(table)], "full": [full(table)]}
    paths = [table.write(table.frame(rows), tmp_path / f"{name}.parquet") for name, rows in parts.items()]
    for order in (paths, paths[::-1]):
        whole = ds.dataset(order, format="parquet").to_table()
        assert whole.num_rows == 2
        assert whole.schema.equals(table.schema())
    for path, rows in zip(paths, parts.values(), strict=True):
        assert len(table.read(path)) == len(rows)
        assert table.metadata(path)["consenso.table"] == table.name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_what_goes_in_comes_out(table: Table, tmp_path: Path) -> None:
    frame = table.frame([full(table), bare(table)])
    path = table.write(frame, tmp_path / "one.parquet")
    pd.testing.assert_frame_equal(table.read(path), frame)
    pd.testing.assert_frame_equal(table.check(table.read(path)), frame)
    assert pq.read_table(path).to_pylist()[0] == pa.Table.from_pylist([full(table)], table.schema()).to_pylist()[0]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_column_says_what_it_means(table: Table) -> None:
    assert all(column.comment for column in table.columns)
    assert set(table.key) <= set(table.names)
    assert all(not column.null for column in table.columns if column.name in table.key)


def picture(**values: Any) -> dict[str, Any]:
    return {"image_id": "a", "blob": "blobs/a.jpg", "bytes": 1, **values}


@pytest.mark.parametrize("value", [2**64 - 1, 2**53 + 1, 0])
def test_a_64_bit_hash_stays_exact_beside_a_missing_one(value: int, tmp_path: Path) -> None:
    frame = PICTURES.frame([picture(phash64=value), picture(image_id="b", phash64=None)])
    found = PICTURES.read(PICTURES.write(frame, tmp_path / "p.parquet")).phash64
    assert int(found[0]) == value
    assert pd.isna(found[1])


def test_a_hash_that_lost_digits_as_a_float_is_refused() -> None:
    frame = pd.DataFrame([picture(phash64=float(2**63))])
    with pytest.raises(TableError, match=r"column phash64 should be uint64: .*lost digits"):
        PICTURES.check(frame)


def test_times_become_utc() -> None:
    mexico = datetime(2026, 11, 22, 6, tzinfo=timezone(timedelta(hours=-6)))
    row = {**full(SPLITS), "since": mexico}
    assert SPLITS.frame([row]).since[0] == pd.Timestamp(NOON)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"bytes": "many"}, "column bytes should be int64"),
        ({"bytes": 1.5}, "column bytes should be int64: 1.5 is not a whole number"),
        ({"width_px": 2**40}, "column width_px should be int32"),
        ({"phash64": -1}, "column phash64 should be uint64"),
        ({"blob": 5}, "column blob should be string"),
        ({"blob": None}, "column blob is missing in 1 of 1 rows"),
        ({"widht_px": 5}, "unknown columns widht_px"),
    ],
)
def test_a_value_that_does_not_fit_is_told(values: dict[str, Any], said: str) -> None:
    with pytest.raises(TableError, match=said):
        PICTURES.frame([picture(**values)])


def test_a_missing_column_names_the_command_that_writes_it() -> None:
    with pytest.raises(
        TableError, match=r"missing columns blob; found image_id, bytes. Was it written by `curate scrape"
    ):
        PICTURES.check(pd.DataFrame({"image_id": ["a"], "bytes": [1]}))


def test_optional_columns_may_be_left_out() -> None:
    assert PICTURES.check(pd.DataFrame([picture()])).width_px.isna().all()


def test_two_rows_with_one_key_are_refused() -> None:
    with pytest.raises(TableError, match="2 rows have the key image_id=a; a key names one row"):
        PICTURES.frame([picture(), picture()])


def test_nothing_is_left_behind_when_a_table_does_not_fit(tmp_path: Path) -> None:
    path = PICTURES.write(PICTURES.frame([picture()]), tmp_path / "p.parquet")
    before = path.read_bytes()
    with pytest.raises(TableError):
        PICTURES.write(pd.DataFrame({"image_id": ["a"]}), path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("p.parquet", before)]


def test_an_all_missing_text_column_made_with_numpy_is_still_text() -> None:
    import numpy as np

    frame = PICTURES.frame([picture(), picture(image_id="b")])
    frame["dropped"] = np.where([False, False], "too small", None)  # dtype object, which Parquet would store as null
    assert PICTURES.to_arrow(frame).schema.field("dropped").type == pa.string()


# ---- files


def test_a_file_that_is_not_there_names_the_step_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"votes.parquet: no such file. Make it with `curate hits collect`"):
        VOTES.read(tmp_path / "votes.parquet")
    assert VOTES.read_if_there(tmp_path / "votes.parquet").columns.tolist() == VOTES.names


def test_another_steps_table_is_refused_by_name(tmp_path: Path) -> None:
    path = LABELS.write(LABELS.empty(), tmp_path / "labels.parquet")
    with pytest.raises(TableError, match="is a labels table, not votes"):
        VOTES.read(path)


def test_a_newer_version_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "votes.parquet"
    schema = VOTES.schema().with_metadata({"consenso.table": "votes", "consenso.version": "2"})
    pq.write_table(schema.empty_table(), path)
    with pytest.raises(TableError, match="was written as version 2 of votes; this program knows up to 1"):
        VOTES.read(path)


def test_an_older_file_without_a_later_column_is_read(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(PICTURES.to_arrow(PICTURES.frame([picture()])).drop_columns(["sharpness"]), path)
    assert PICTURES.read(path).sharpness.isna().all()


@pytest.mark.parametrize("keep", [0, 4, 100, -1, -40])
def test_a_cut_off_file_gives_one_line(keep: int, tmp_path: Path) -> None:
    path = PICTURES.write(PICTURES.frame([picture()]), tmp_path / "p.parquet")
    path.write_bytes(path.read_bytes()[:keep])
    for read in (PICTURES.read, PICTURES.metadata, read_parquet):
        with pytest.raises(TableError, match=r"p.parquet: cannot be read as Parquet") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is a folder"):
        VOTES.read(tmp_path)


def test_a_table_that_pandas_wrote_again_is_still_read(tmp_path: Path) -> None:
    row = full(LISTINGS)
    path = LISTINGS.write(LISTINGS.frame([row, {**bare(LISTINGS)}]), tmp_path / "l.parquet")
    columns = [c.name for c in LISTINGS.columns if c.type != "map"]  # pandas has no map type: it writes a struct
    pd.read_parquet(path)[columns].to_parquet(path)
    assert "consenso.table" not in LISTINGS.metadata(path)
    found = LISTINGS.read(path)
    assert found.title.tolist()[0] == "x"
    assert LISTINGS.check(found).equals(found)


def test_a_file_says_what_it_was_told_to_say(tmp_path: Path) -> None:
    path = LABELS.write(LABELS.empty(), tmp_path / "labels.parquet", {"consenso.classes": '["dots"]'})
    assert LABELS.metadata(path)["consenso.classes"] == '["dots"]'
    assert pq.read_schema(path).field("n_votes").metadata[b"comment"] == b"votes that counted"


def test_a_large_table_may_have_any_row_groups(tmp_path: Path) -> None:
    table = Table("numbers", ("n",), "nobody", (Column("n", "int64", "a number"),))
    path = tmp_path / "n.parquet"
    pq.write_table(table.to_arrow(pd.DataFrame({"n": range(1000)})), path, row_group_size=10)
    assert table.read(path).n.sum() == 499_500
