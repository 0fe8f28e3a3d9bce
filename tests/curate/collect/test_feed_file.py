"""Catalogue files as they come: encodings, broken rows by their line, and what is refused before anything is written."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from curate.collect.csv_records import LONGEST_LINE
from curate.collect.export import export_here
from curate.collect.feed import Ask, import_feed
from curate.collect.feed_columns import read_map
from curate.collect.feed_file import open_feed
from curate.collect.fetch import Manners
from curate.workspace import Workspace
from schemas.errors import UserError

HEAD = "id,title,image\n"


def read(
    tmp_path: Path, data: str | bytes, name: str = "feed.csv"
) -> tuple[dict[int, Any], dict[int, str], str | None]:
    """Values and faults by line, and the note."""
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with open_feed(path) as feed:
        rows = list(feed.rows())
        return (
            {row.line: list(row.values.values()) for row in rows if row.fault is None},
            {row.line: row.fault for row in rows if row.fault is not None},
            feed.note,
        )


@pytest.mark.parametrize(
    ("encoding", "note"),
    [("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("utf-16-le", None), ("utf-16-be", None),
     ("latin-1", "feed.csv is not UTF-8: read as cp1252")],
)  # fmt: skip
def test_text_is_read_in_the_encodings_that_occur(tmp_path: Path, encoding: str, note: str | None) -> None:
    text = HEAD + "A1,Diseño café para niños,1.jpg\n" * 3
    values, faults, said = read(tmp_path, text.encode(encoding))
    assert list(values.values()) == [["A1", "Diseño café para niños", "1.jpg"]] * 3
    assert (faults, said) == ({}, note)


def test_one_byte_that_is_not_utf8_far_down_the_file_is_found(tmp_path: Path) -> None:
    data = (HEAD + "A,plain,1.jpg\n" * 100_000).encode() + b"B,Dise\xf1o,2.jpg\n"
    values, _, note = read(tmp_path, data)
    assert (values[100_002], note) == (["B", "Diseño", "2.jpg"], "feed.csv is not UTF-8: read as cp1252")


def test_a_quote_that_is_never_closed_costs_its_own_row_only(tmp_path: Path) -> None:
    values, faults, _ = read(tmp_path, HEAD + 'A,one,1\nB,"two,2\nC,three,3\nD,"fo""ur\nmore",4\nE,five,5\n')
    assert {line: row[0] for line, row in values.items()} == {2: "A", 4: "C", 5: "D", 7: "E"}
    assert values[5][1] == 'fo"ur\nmore'
    assert [(line, why[:8]) for line, why in faults.items()] == [(3, "no CSV (")]
    values, faults, _ = read(tmp_path, HEAD + 'A,one,1\nB,two,"2\nC,three,3\n')
    assert ([row[0] for row in values.values()], faults) == (["A", "C"], {3: "no CSV (a quote that is never closed)"})


def test_rows_that_are_no_rows_are_named_by_their_line(tmp_path: Path) -> None:
    huge = "x" * 200_000
    values, faults, _ = read(tmp_path, HEAD + f"A,one,1\nB,{huge},2\n\nC,three\nD,four,4,5\n")
    assert {line: row[0] for line, row in values.items()} == {2: "A", 5: "C"}
    assert faults == {3: "a cell of more than 131,072 characters", 6: "4 cells under 3 columns"}


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    values, faults, _ = read(tmp_path, HEAD + "A,one,1\nB," + "x" * (2 * LONGEST_LINE) + ",2\nC,three,3\n")
    assert {line: row[0] for line, row in values.items()} == {2: "A", 4: "C"}
    assert faults == {3: "longer than 4,000,000 characters"}


def test_json_lines_that_are_none_are_named_by_number(tmp_path: Path) -> None:
    lines = ['{"id": "A"}', '{"id": "B"', "[1]", "", "[" * 100_000, '{"id": "C"}']
    values, faults, _ = read(tmp_path, "\n".join(lines), "feed.jsonl")
    assert values == {1: ["A"], 6: ["C"]}
    assert list(faults) == [2, 3, 5]
    assert faults[2].startswith("no JSON (")
    assert faults[3] == "JSON, but no object of names and values"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("feed.csv", b"", "feed.csv: is empty"),
        ("feed.csv", b"\xef\xbb\xbf \n", "feed.csv: is empty"),
        ("feed.csv", HEAD.encode(), "feed.csv: holds no rows under its columns id, title, image"),
        ("feed.csv", b"sku_code,pic\nA,1.jpg\n",
         "feed.csv: no column of listing ids; found sku_code, pic. Say --map listing_id=COLUMN"),
        ("feed.csv", b"uno,dos\nA,1\n",
         "feed.csv: no column of listing ids and no column of pictures; found uno, dos. "
         "Say --map listing_id=COLUMN,image_urls=COLUMN"),
        ("feed.csv.gz", gzip.compress((HEAD + "A,one,1.jpg\n" * 99_999).encode())[:-200],
         "feed.csv.gz: is a gzip that is cut off; nothing was taken in. Fetch the whole file"),
        ("feed.csv.gz", b"\x1f\x8b\x08\x00 broken", "feed.csv.gz: is a broken gzip"),
        ("feed.csv", (HEAD + "Ñ,one,1.jpg\n").encode("utf-16")[:-1], "feed.csv: is utf-16 that is broken"),
        ("feed.csv", b"PK\x03\x04 xlsx", "feed.csv: is a spreadsheet or an archive; save it as CSV (UTF-8)"),
        ("feed.csv", b"id,image\n\0\0\0\0A,1\n", "feed.csv: holds zero bytes, so it is no text"),
        ("feed.jsonl", b'[{"id": "A"}]', "feed.jsonl: is one JSON list; expected JSON lines"),
        ("feed.jsonl", b"{no", "feed.jsonl: line 1: no JSON"),
        ("feed.xml", b"<rss/>", "feed.xml: is XML or HTML"),
        ("feed.parquet", b"PAR1 cut", "feed.parquet: cannot be read as Parquet"),
        ("none.csv", None, "none.csv: no such file; expected CSV, TSV, JSON lines or Parquet"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused_in_one_line_and_nothing_is_written(
    workspace: Workspace, tmp_path: Path, name: str, data: bytes | None, said: str
) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    mapped = ["image_urls=pic"] if data and b"pic" in data else []
    with pytest.raises(UserError) as refused:
        import_feed(workspace, Ask(str(tmp_path / name), Manners("a@example.org"), mapped), export_here)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not workspace.table("listings").exists()
    with workspace.project() as db:
        assert db.execute("SELECT count(*) FROM frontier").fetchone()[0] == 0


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["a=b"], [("a", "b", None)]),
        (["a=b,c=d(;)"], [("a", "b", None), ("c", "d", ";")]),
        (["a=b(,)", "c=Precio (MXN)"], [("a", "b", ","), ("c", "Precio (MXN)", None)]),
        (["a=b, c,d=e(\\t)"], [("a", "b, c", None), ("d", "e", "\t")]),
    ],
)
def test_a_map_is_fields_columns_and_separators(given: list[str], found: list[Any]) -> None:
    assert read_map(given) == found


def test_a_map_that_is_none_or_names_no_column_says_so(tmp_path: Path) -> None:
    from curate.collect.feed_columns import plan_columns

    with pytest.raises(UserError, match=r"--map 'nothing': should look like listing_id=sku"):
        read_map(["nothing"])
    with pytest.raises(UserError, match=r"feed: --map listing_id=sku: no such column; found id, image"):
        plan_columns(["id", "image"], read_map(["listing_id=sku"]), "feed")
